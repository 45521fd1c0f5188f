from __future__ import annotations

import csv
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models import artifact
from models.backfill import walk
from models.forecast import forecast
from tests.builders import trained
from tests.service.commandline import limen, misused, refused
from tests.service.commands.recordings import FAULT, ROWS, machine, warmup, write_csv
from tests.service.running import SENSORS, START, model_folder, time_of

HEADER = ["time", "equipment", "sensor", "forecast", "lower", "upper"]


@pytest.fixture
def normal(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "normal.csv", machine("p1"), machine("p2"))


def lines(text: str) -> list[dict[str, str]]:
    found = list(csv.reader(text.splitlines()))
    assert found[0] == HEADER
    return [dict(zip(HEADER, line, strict=True)) for line in found[1:]]


def test_there_is_a_line_for_each_machine_time_and_sensor(normal: Path) -> None:
    done = limen("forecast", model_folder(), normal, "--horizon", 3)
    assert (done.status, done.err) == (0, "")
    found = lines(done.out)
    assert [(one["equipment"], one["time"], one["sensor"]) for one in found] == [
        (name, time_of(ROWS + tick), sensor) for name in ("p1", "p2") for tick in range(3) for sensor in SENSORS
    ]
    assert all(float(one["lower"]) < float(one["forecast"]) < float(one["upper"]) for one in found)


def test_the_figures_are_those_of_the_memory_after_the_last_row(normal: Path) -> None:
    model, one = artifact.load(model_folder()), machine("p1")
    *_, (_, state, _) = walk(model.detector, "p1", one.time, one.values)
    expected = forecast(model.detector, model.horizons, state, 0, 4, 0.8)
    done = limen("forecast", model_folder(), normal, "--horizon", 4, "--coverage", 0.8, "--sensor", SENSORS[1])
    found = lines(done.out)[:4]
    for name, values in (("forecast", expected.expected), ("lower", expected.lower), ("upper", expected.upper)):
        np.testing.assert_allclose([float(row[name]) for row in found], values[:, 1], rtol=1e-6)


def test_rows_end_the_history_and_what_comes_after_them_changes_nothing(normal: Path, tmp_path: Path) -> None:
    short = write_csv(tmp_path / "short.csv", machine("p1"))
    text = short.read_text().splitlines()
    short.write_text("\n".join(text[: 1 + 50]) + "\n")
    whole = write_csv(tmp_path / "whole.csv", machine("p1"))
    done = [limen("forecast", model_folder(), path, "--horizon", 2, "--rows", "0:50").out for path in (short, whole)]
    assert done[0] == done[1]
    assert lines(done[0])[0]["time"] == time_of(50)


def test_a_machine_in_several_files_is_forecast_where_it_ends_last(tmp_path: Path) -> None:
    later = write_csv(tmp_path / "a.csv", machine("p1", start=START + ROWS))
    earlier = write_csv(tmp_path / "b.csv", machine("p1"))
    found = lines(limen("forecast", model_folder(), later, earlier, "--horizon", 1).out)
    assert [one["time"] for one in found] == [time_of(2 * ROWS)] * len(SENSORS)


def test_json_tells_the_limits_that_are_reached(normal: Path) -> None:
    near, far = f"{SENSORS[0]}=101", f"{SENSORS[0]}=1e6"
    done = limen("forecast", model_folder(), normal, "--horizon", 8, "--json", "--limit", near, "--limit", far)
    found = json.loads(done.out)
    assert [one["equipment"] for one in found] == ["p1", "p2"]
    first = found[0]
    assert len(first["times"]) == len(first["sensors"][3]["upper"]) == 8
    assert first["limits"][0]["earliest"] in first["times"]
    assert [first["limits"][1][name] for name in ("expected", "earliest", "latest")] == [None] * 3
    assert first["interval_ticks_max"] == trained().horizons.ticks_max


def test_limits_are_told_beside_the_file(normal: Path, tmp_path: Path) -> None:
    out = tmp_path / "forecast.csv"
    limits = ("--limit", f"{SENSORS[0]}=101", "--limit", f"{SENSORS[1]}=-1e6")
    done = limen("forecast", model_folder(), normal, "--horizon", 8, "--out", out, *limits)
    assert len(lines(out.read_text())) == 2 * 8 * len(SENSORS)
    assert done.out.count("not within the horizon") >= 2
    assert "falls to -1e+06" in done.out


def test_checked_forecasts_cover_what_they_promise(normal: Path) -> None:
    found = json.loads(limen("forecast", model_folder(), normal, "--horizon", 12, "--check", "--json").out)
    assert [one["horizon"] for one in found["horizons"]] == [1, 2, 5, 10, 12]
    assert all(0.8 < one["covered"] < 1 for one in found["horizons"])
    assert found["horizons"][0]["error"] < found["horizons"][0]["last_value_error"]
    text = limen("forecast", model_folder(), normal, "--horizon", 12, "--check").out
    assert "within intervals to cover 90%" in text


def test_rows_that_the_label_marks_are_not_checked(tmp_path: Path) -> None:
    faulty = write_csv(tmp_path / "faulty.csv", machine("p1", faulty=True))
    lines_of = faulty.read_text().splitlines()
    labelled = [f"{line},{int(row in range(FAULT.start, FAULT.stop))}" for row, line in enumerate(lines_of[1:])]
    faulty.write_text("\n".join([lines_of[0] + ",label", *labelled]) + "\n")
    given = ("forecast", model_folder(), faulty, "--check", "--json", "--horizon", 1)
    found = [
        json.loads(limen(*given, *label).out)["horizons"][0] for label in (("--label", "label"), ("--ignore", "label"))
    ]
    assert found[0]["values"] == found[1]["values"] - len(SENSORS) * (FAULT.stop - FAULT.start + 1)
    assert found[0]["covered"] > found[1]["covered"]


def test_a_model_whose_blocks_disagree_says_that_intervals_may_cover_less(normal: Path, tmp_path: Path) -> None:
    old = trained()
    (record,) = old.manifest.calibration
    manifest = msgspec.structs.replace(old.manifest, calibration=(msgspec.structs.replace(record, supported=False),))
    artifact.save(manifest, old.detector, old.drift, tmp_path / "model", old.horizons)
    assert "may cover less" in limen("forecast", tmp_path / "model", normal, "--horizon", 1).err


def test_a_model_without_errors_of_forecasts_has_none_and_says_so(normal: Path, tmp_path: Path) -> None:
    old = trained()
    artifact.save(old.manifest, old.detector, old.drift, tmp_path / "old")
    done = limen("forecast", tmp_path / "old", normal, "--horizon", 1)
    assert "no intervals; train it again" in done.err
    assert all(one["lower"] == one["upper"] == "" and one["forecast"] for one in lines(done.out))
    refused(limen("forecast", tmp_path / "old", normal, "--check"), "no intervals to check")


def test_a_rival_forecasts_without_intervals_and_does_not_send_anyone_to_train_it_again(
    normal: Path, tmp_path: Path
) -> None:
    assert limen("train", normal, "--method", "pca", "--out", tmp_path / "pca").status == 0
    done = limen("forecast", tmp_path / "pca", normal, "--horizon", 2)
    assert done.status == 0
    assert "no intervals; models of other kinds than the LMN have none" in done.err
    assert all(one["lower"] == one["upper"] == "" and one["forecast"] for one in lines(done.out))


def test_a_machine_that_is_warming_up_is_named_and_left_out(normal: Path, tmp_path: Path) -> None:
    short = machine("p2")
    text = write_csv(tmp_path / "both.csv", machine("p1"), short).read_text().splitlines()
    both = tmp_path / "both.csv"
    both.write_text("\n".join(text[: 1 + ROWS + warmup() - 1]) + "\n")
    done = limen("forecast", model_folder(), both, "--horizon", 1)
    assert "no forecast of p2: it is warming up and needs 1 more tick" in done.err
    assert {one["equipment"] for one in lines(done.out)} == {"p1"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("--limit", "flow"), "limit is 'flow'; expected SENSOR=VALUE"),
        (("--limit", "sensor-0=hot"), "limit is 'sensor-0=hot'"),
        (("--limit", "flow=3"), "sensor 'flow' is not known to model pumps; expected one of sensor-0"),
        (("--sensor", "flow"), "sensor 'flow' is not known"),
        (("--rows", "0:3"), "no machine has the"),
    ],
)
def test_what_cannot_be_used_is_named(normal: Path, given: tuple[str, str], expected: str) -> None:
    done = limen("forecast", model_folder(), normal, *given)
    assert done.status == 1
    assert expected in done.err


def test_a_horizon_of_nothing_is_wrong_usage(normal: Path) -> None:
    misused(limen("forecast", model_folder(), normal, "--horizon", 0), "--horizon")
