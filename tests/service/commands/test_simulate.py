from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from models.pump import KINDS, NAMES
from tests.service.commandline import limen, misused, refused


def test_it_writes_a_line_for_every_machine_and_tick(tmp_path: Path) -> None:
    file = tmp_path / "fleet.csv"
    done = limen("simulate", "--out", file, "--machines", 3, "--ticks", 200, "--interval-seconds", 60)
    assert (done.status, done.err) == (0, "")
    table = pl.read_csv(file)
    assert table.columns == ["time", "equipment", *NAMES, "label"]
    assert table["equipment"].value_counts().sort("equipment").rows() == [
        ("pump-1", 200),
        ("pump-2", 200),
        ("pump-3", 200),
    ]
    assert table["time"][0] == "2026-01-01T00:00:00Z"
    assert table["time"][-1] == "2026-01-01T03:19:00Z"
    assert f"{file}: 600 readings of 3 machine(s) and 11 sensors" in done.out


def test_it_says_which_faults_are_where_and_the_labels_agree(tmp_path: Path) -> None:
    file = tmp_path / "fleet.csv"
    found = json.loads(limen("simulate", "--out", file, "--ticks", 2000, "--json").out)
    assert sorted(fault["kind"] for fault in found["faults"]) == sorted(KINDS)
    table, labelled = pl.read_csv(file), 0
    for fault in found["faults"]:
        during = pl.col("time").is_between(pl.lit(fault["from"]), pl.lit(fault["to"]))
        within = table.filter(pl.col("equipment") == fault["equipment"], during)
        assert within["label"].min() == 1
        assert set(fault["sensors"]) <= set(NAMES)
        labelled += len(within)
    assert labelled == table["label"].sum()
    assert [fault["from"] for fault in found["faults"]] == sorted(fault["from"] for fault in found["faults"])


def test_a_person_reads_the_same_faults_as_a_program(tmp_path: Path) -> None:
    arguments = ("simulate", "--out", tmp_path / "fleet.csv", "--ticks", 2000)
    found, lines = json.loads(limen(*arguments, "--json").out), limen(*arguments).out.splitlines()
    assert len(lines) == 1 + len(found["faults"])
    for line, fault in zip(lines[1:], found["faults"], strict=True):
        for text in (fault["kind"], fault["equipment"], fault["from"], fault["to"], *fault["sensors"]):
            assert text in line


def test_a_normal_fleet_has_no_label_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "fleet.csv"
    done = limen("simulate", "--out", file, "--ticks", 300, "--normal")
    assert "no faults" in done.out
    assert pl.read_csv(file)["label"].sum() == 0


def test_the_same_seed_is_the_same_file_and_another_is_not(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        limen("simulate", "--out", tmp_path / name, "--ticks", 50, "--seed", seed)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--start", "soon"), "start is 'soon'; expected a time"),
        (("--start", "2026-01-01T00:00:00"), "expected whole seconds and a zone"),
        (("--machines", 10_000, "--ticks", 20_000), "200,000,000 readings; expected at most 20,000,000"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, words: tuple[object, ...], expected: str
) -> None:
    refused(limen("simulate", "--out", tmp_path / "fleet.csv", *words), expected)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "fleet.csv"
    refused(limen("simulate", "--out", file, "--ticks", 20), str(file))


@pytest.mark.parametrize("words", [(), ("--out", "x.csv", "--machines", 0), ("--out", "x.csv", "--ticks", "many")])
def test_wrong_usage_is_told_with_2(words: tuple[object, ...]) -> None:
    misused(limen("simulate", *words))
