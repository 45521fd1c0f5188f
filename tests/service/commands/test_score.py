from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from models import artifact
from models.backfill import score_series
from tests.service.commandline import limen, refused
from tests.service.commands.recordings import FAULT, ROWS, machine, warmup, write_csv
from tests.service.running import SENSORS, model_folder, time_of

HEADER = ["time", "equipment", "status", "score", "p_value", "alarm", "top_sensor"]


def rows_of(text: str) -> list[dict[str, str]]:
    lines = list(csv.reader(text.splitlines()))
    assert lines[0] == HEADER
    return [dict(zip(HEADER, line, strict=True)) for line in lines[1:]]


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "faulty.csv", machine("p1", faulty=True), machine("p2"))


def test_there_is_a_line_for_every_row_in_its_order(faulty: Path) -> None:
    done = limen("score", model_folder(), faulty)
    assert (done.status, done.err) == (0, "")
    found = rows_of(done.out)
    assert [row["equipment"] for row in found] == ["p1"] * ROWS + ["p2"] * ROWS
    assert [row["time"] for row in found] == [time_of(second) for second in range(ROWS)] * 2
    for first in (0, ROWS):
        statuses = [row["status"] for row in found[first : first + ROWS]]
        assert statuses == ["warming"] * warmup() + ["scored"] * (ROWS - warmup())
    assert all((row["score"] == "") is (row["status"] == "warming") for row in found)


def test_a_fault_raises_the_score_and_the_alarm_and_names_its_sensor(faulty: Path) -> None:
    found = rows_of(limen("score", model_folder(), faulty).out)
    during, quiet = found[FAULT.start + 5 : FAULT.stop], found[ROWS:]
    assert all(float(row["score"]) >= 1 and row["alarm"] == "1" for row in during)
    assert found[FAULT.start]["top_sensor"] == SENSORS[2]
    assert all(row["alarm"] == "0" for row in quiet)
    assert sum(float(row["score"] or 0) >= 1 for row in quiet) < 0.05 * ROWS


def test_scores_read_back_as_the_same_number_whatever_reads_them(faulty: Path) -> None:
    model = artifact.load(model_folder()).detector
    one = machine("p1", faulty=True)
    exact = score_series(model, "p1", one.time, one.values)
    found = rows_of(limen("score", model_folder(), faulty).out)[:ROWS]
    for name, values in (("score", exact.score), ("p_value", exact.p_value)):
        texts = [row[name] for row in found]
        np.testing.assert_array_equal([float(text or "nan") for text in texts], values.astype(np.float64))


def test_a_file_takes_the_lines_and_standard_output_stays_empty(faulty: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    done = limen("score", model_folder(), faulty, "--out", out)
    assert (done.status, done.out) == (0, "")
    assert out.read_text() == limen("score", model_folder(), faulty).out


def test_rows_before_the_chosen_ones_warm_up_and_are_not_written(faulty: Path) -> None:
    whole, part = limen("score", model_folder(), faulty), limen("score", model_folder(), faulty, "--rows", "100:150")
    assert part.out.splitlines()[1:] == whole.out.splitlines()[101:151]


def test_times_out_of_order_and_repeated_ones_keep_their_place(faulty: Path) -> None:
    head, *lines = faulty.read_text().splitlines()
    faulty.write_text("\n".join([head, *reversed(lines[:ROWS]), lines[3]]))
    found = rows_of(limen("score", model_folder(), faulty).out)
    straight = rows_of(limen("score", model_folder(), write_csv(faulty, machine("p1", faulty=True))).out)
    assert found[:ROWS] == straight[::-1]
    assert found[ROWS]["status"] == "duplicate"


def test_rows_that_contradict_each_other_are_rejected(faulty: Path) -> None:
    head, *lines = faulty.read_text().splitlines()
    other = ",".join([*lines[3].split(",")[:2], "1", "2", "3", "4"])
    faulty.write_text("\n".join([head, *lines[:ROWS], other]))
    assert rows_of(limen("score", model_folder(), faulty).out)[ROWS]["status"] == "rejected"


def test_what_model_and_data_do_not_share_is_told_beside_the_result(faulty: Path) -> None:
    faulty.write_text(faulty.read_text().replace("sensor-1,", "humidity,"))
    done = limen("score", model_folder(), faulty)
    assert done.status == 0
    assert len(rows_of(done.out)) == 2 * ROWS
    assert "limen: not in the data, scored as missing: sensor-1" in done.err
    assert "limen: not known to the model, left out: humidity" in done.err


def test_times_without_a_zone_are_read_as_utc_with_a_notice(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "local.csv", machine("p1"), zone="")
    done = limen("score", model_folder(), file)
    assert rows_of(done.out)[0]["time"] == time_of(0)
    assert "--timezone" in done.err
    told = limen("score", model_folder(), file, "--timezone", "Asia/Tokyo")
    assert rows_of(told.out)[0]["time"] == time_of(-9 * 3600)
    assert told.err == ""


def test_a_file_of_another_pace_is_told(tmp_path: Path) -> None:
    slow = machine("p1", rows=50)
    slow.time[:] = slow.time[0] + (slow.time - slow.time[0]) * 60
    done = limen("score", model_folder(), write_csv(tmp_path / "slow.csv", slow))
    assert done.status == 0
    assert "limen: the model was trained on one tick every 1 s, the file has one every 60 s" in done.err


def test_a_file_of_another_machine_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("time,oil,gas\n2026-01-01T00:00:00Z,1,2\n2026-01-01T00:00:01Z,2,1\n")
    refused(limen("score", model_folder(), file), "none of the model's sensors is in the data", "oil")


def test_a_folder_without_a_model_is_refused(tmp_path: Path, faulty: Path) -> None:
    refused(limen("score", tmp_path / "none", faulty), "manifest.json is not there")
