"""What has left the journal: files that are no part of it, damaged, or gone while they are looked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.contract import MICROSECONDS
from service import exported, history
from service.exported import Exported, Wanted
from service.history import DAY, HISTORY, Part, Source
from service.records import ModelReadings
from service.score_history import FIRST, LAST
from tests.service.followers.test_history_export import MIDNIGHT, Plant

YESTERDAY = MIDNIGHT // DAY - 1


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    """Yesterday's readings of two machines, exported; those of today wait."""
    made = Plant(tmp_path)
    made.post("a", -20, 5)
    made.post("b", -20, 5)
    made.post("a", 7200, 5)
    made.follow()
    yield made
    made.follower.store.close()
    made.journal.close()


def times(data_dir: Path, day: int, before: int = LAST, limit: int = 100) -> list[int]:
    """Of what is found of machine a, in seconds from midnight."""
    found = Exported(data_dir).of_day(day, Wanted("a", 0, FIRST, LAST, limit), before)
    return [(time - MIDNIGHT) // MICROSECONDS for time, _ in found]


def test_exported_and_waiting_readings_of_one_machine_are_found(plant: Plant, tmp_path: Path) -> None:
    assert list(Exported(tmp_path).days()) == [YESTERDAY, YESTERDAY + 1]
    assert all(Exported(tmp_path).days().values())
    assert times(tmp_path, YESTERDAY) == list(range(-20, -15))
    assert times(tmp_path, YESTERDAY + 1) == list(range(7200, 7205))
    assert times(tmp_path, YESTERDAY + 1, limit=2) == [7200, 7201]
    assert times(tmp_path, YESTERDAY, before=1) == times(tmp_path, YESTERDAY + 1, before=3) == []


def test_readings_that_are_exported_and_still_wait_are_found_once(plant: Plant, tmp_path: Path) -> None:
    """As after a crash between the file and its end in the store."""
    (record,) = plant.reader.read(3)
    (part,) = history.by_day(3, record.readings[0])
    source = plant.follower.sources[part.readings.artifact_id]
    history.write(tmp_path / HISTORY, source, part.day, {0: "a"}, [part])
    assert times(tmp_path, YESTERDAY + 1) == list(range(7200, 7205))


def test_files_that_cannot_be_read_are_left_out_and_named(
    plant: Plant, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / HISTORY / history.day_name(YESTERDAY)
    (folder / "damaged.parquet").write_bytes(b"PAR1 no more")
    pl.DataFrame({"x": [1]}).write_parquet(folder / "foreign.parquet")
    assert times(tmp_path, YESTERDAY) == list(range(-20, -15))
    assert "damaged.parquet of the history cannot be read and is left out" in caplog.text
    assert "foreign" not in caplog.text


def test_a_file_that_is_removed_meanwhile_is_no_trouble(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = exported.history_columns

    def removed(path: Path) -> object:
        path.unlink()
        return read(path)

    monkeypatch.setattr(exported, "history_columns", removed)
    assert times(tmp_path, YESTERDAY) == []
    assert not caplog.records


def test_sensors_that_are_called_like_results_are_no_results(tmp_path: Path) -> None:
    source = Source("pumps", 1, "x", ("score", "time"), ("", ""))
    one = np.array([1])
    readings = ModelReadings(
        "x", one - 1, one * (MIDNIGHT - MICROSECONDS), np.array([[7.0, 8.0]]), one * 0, one * 0, one.astype(np.uint16),
        np.array([0.5], np.float32), np.array([np.nan], np.float32),
    )  # fmt: skip
    history.write(tmp_path / HISTORY, source, YESTERDAY, {0: "a"}, [Part(1, YESTERDAY, readings)])
    ((_, entry),) = Exported(tmp_path).of_day(YESTERDAY, Wanted("a", 0, FIRST, LAST, 5), 2)
    assert (entry.time, entry.status, entry.score, entry.p_value) == ("2026-09-21T23:59:59Z", "scored", 0.5, None)
    assert (entry.flags, entry.reason, entry.alarm) == (["historical"], "", False)
