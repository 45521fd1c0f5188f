from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from models.data import DataOptions
from service.commands import options, replay
from tests.service.commandline import limen


def test_every_data_option_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[DataOptions] = []
    monkeypatch.setattr(replay, "run", lambda data, url, speed, given, as_json: found.append(given))
    words = ["--time", "t", "--equipment", "e", "--label", "l", "--ignore", "a", "--ignore", "b", "--rows", "1:2"]
    words += ["--map", "tags.csv", "--time-format", "%d", "--timezone", "Asia/Tokyo", "--missing", "Off"]
    words += [
        "--running",
        "current > 1",
        "--settle",
        "10m",
        "--exclude",
        "A/B",
        "--separator",
        ";",
        "--encoding",
        "cp932",
    ]
    assert limen("replay", "x.csv", *words).status == 0
    assert found == [
        DataOptions(
            "t", "e", "l", ("a", "b"), "1:2", Path("tags.csv"), "%d", "Asia/Tokyo", ("Off",), "current > 1", "10m",
            ("A/B",), ";", "cp932",
        )
    ]  # fmt: skip


def test_without_options_files_are_read_as_they_are() -> None:
    assert options.DataFlags().options() == DataOptions()


def test_there_is_an_option_for_everything_that_reading_can_be_told() -> None:
    assert [field.name for field in fields(options.DataFlags)] == [field.name for field in fields(DataOptions)]
