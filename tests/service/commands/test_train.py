from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import artifact
from tests.service.commandline import limen, refused
from tests.service.commands.recordings import FAULT, machine, write_csv
from tests.service.running import SENSORS, time_of

SMALL = ("--memory", "fixed", "--memory-size", 8, "--window", 4, "--features", "none")


@pytest.fixture
def normal(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "normal.csv", machine("pump-1", 1, rows=500), machine("pump-2", 2, rows=500))


def test_it_says_what_a_person_wants_to_know_and_nothing_else(tmp_path: Path, normal: Path) -> None:
    out = tmp_path / "Pump skids"
    done = limen("train", normal, "--out", out, *SMALL, "--false-alarm-rate", 0.05)
    assert (done.status, done.err) == (0, "")
    said = dict(line.split("  ", 1) for line in done.out.splitlines())
    assert list(said) == [
        "rows",
        "time",
        "machines",
        "sensors",
        "memory",
        "training took",
        "threshold",
        "held-out rows",
        "blocks",
        "model",
        "next",
    ]
    assert said["rows"].strip() == "1,000 used of 1,000, in 2 stretches without a gap"
    assert said["time"].strip() == f"{time_of(0)} to {time_of(499)}, one tick every 1 s"
    assert said["sensors"].strip() == f"4: {', '.join(SENSORS)}"
    assert said["next"].strip() == f"limen serve --model '{out}'"
    assert said["machines"].strip() == "2: pump-1, pump-2"
    assert said["memory"].strip().startswith("8 values, window 4, discount 0.95; no score in the first ")
    assert "at most 5.00% of normal ticks" in said["threshold"]
    assert "promised 5.00%" in said["held-out rows"]
    assert said["model"].strip() == f"pump-skids version 1 in {out}"
    assert artifact.load(out).detector.equipment == ("pump-1", "pump-2")


def test_a_program_gets_json(tmp_path: Path, normal: Path) -> None:
    found = json.loads(limen("train", normal, "--out", tmp_path / "m", *SMALL, "--name", "skids", "--json").out)
    assert (found["model"], found["version"], found["folder"]) == ("skids", 1, str(tmp_path / "m"))
    assert (found["rows"], found["rows_used"], found["memory_size"], found["window"]) == (1000, 1000, 8, 4)
    assert found["artifact_id"] == artifact.load(tmp_path / "m").manifest.artifact_id


def test_the_memory_is_chosen_but_for_what_is_given_and_the_choice_is_told(tmp_path: Path, normal: Path) -> None:
    said = dict(line.split("  ", 1) for line in limen("train", normal, "--out", tmp_path / "m").out.splitlines())
    assert "candidates: held-out error 0." in said["chosen"]
    found = json.loads(limen("train", normal, "--out", tmp_path / "m", "--window", 5, "--json").out)
    chosen = [tried for tried in found["memory_candidates"] if tried["chosen"]]
    assert chosen == [{**chosen[0], **{key: found[key] for key in ("memory_size", "window", "discount")}}]
    assert {tried["window"] for tried in found["memory_candidates"]} == {5}
    kept = artifact.load(tmp_path / "m").manifest.fit.memory_candidates
    assert [tried["error"] for tried in found["memory_candidates"]] == [tried.error for tried in kept]
    assert json.loads(limen("train", normal, "--out", tmp_path / "m", *SMALL, "--json").out)["memory_candidates"] == []


def test_features_are_tried_unless_there_is_something_said_of_them(tmp_path: Path, normal: Path) -> None:
    words = ("train", normal, "--out", tmp_path / "m", "--window", 4)
    said = dict(line.split("  ", 1) for line in limen(*words).out.splitlines())
    assert said["features"].strip().startswith("none: held-out error 0.")
    assert "features       8 tanh features, as asked for" in limen(*words, "--features", 8).out
    found = json.loads(limen(*words, "--json").out)["feature_candidates"]
    assert [(tried["features"], tried["chosen"]) for tried in found] == [(0, True), (16, False)]
    refused(limen(*words, "--features", "many"), "features are 'many'; expected auto, none, or a number up to 256")


def test_rows_that_are_labelled_as_faulty_are_not_trained_on(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "labelled.csv", machine("pump-1", 1, rows=500, faulty=True))
    head, *lines = file.read_text().splitlines()
    marked = [f"{line},{int(FAULT.start <= row < FAULT.stop)}" for row, line in enumerate(lines)]
    file.write_text("\n".join([f"{head},faulty", *marked]))
    out = limen("train", file, "--out", tmp_path / "m", *SMALL, "--label", "faulty").out
    assert f"left out       {FAULT.stop - FAULT.start} rows labelled as faulty" in out
    assert "470 used of 500, in 2 stretches" in out
    assert artifact.load(tmp_path / "m").detector.sensors == SENSORS


def test_the_model_goes_into_a_folder_called_model_where_none_is_named(
    tmp_path: Path, normal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_line(limen("train", normal, *SMALL).out) == "model version 1 in model"
    assert artifact.load(tmp_path / "model").version == 1
    assert model_line(limen("train", normal, *SMALL).out) == "model version 2 in model, in place of version 1"
    assert json.loads(limen("train", normal, *SMALL, "--json").out)["replaced_version"] == 2


def model_line(out: str) -> str:
    """What a report says of the model."""
    return next(line.removeprefix("model").strip() for line in out.splitlines() if line.startswith("model "))


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, normal: Path) -> None:
    refused(
        limen("train", normal, "--out", tmp_path, *SMALL), "holds 'normal.csv', which is no part of a model", "--out"
    )
    refused(limen("train", normal, "--out", normal, *SMALL), "normal.csv is a file; expected a folder")


def test_constant_sensors_missing_cells_and_gaps_are_told(tmp_path: Path) -> None:
    one = machine("pump-1", 1, rows=600)
    one.values[:, 3] = 7.0
    one.values[10:20, 0] = float("nan")
    one.time[300:] += 3_600_000_000
    done = limen("train", write_csv(tmp_path / "x.csv", one), "--out", tmp_path / "m", *SMALL)
    assert "600 used of 600, in 2 stretches without a gap" in done.out
    assert "sensor-3: any movement will be news" in done.out
    assert "never changes" not in done.out, "said twice"
    assert "missing cells  10 (0.4%)" in done.out


def test_rows_and_ignored_columns_are_left_out(tmp_path: Path, normal: Path) -> None:
    words = ("--rows", "0:600", "--ignore", "sensor-3", "--json")
    found = json.loads(limen("train", normal, "--out", tmp_path / "m", *SMALL, *words).out)
    assert (found["rows"], found["rows_used"]) == (1000, 600)
    assert found["sensors"] == ["sensor-0", "sensor-1", "sensor-2"]


def test_a_recording_whose_level_wanders_does_not_support_its_budget(tmp_path: Path) -> None:
    one = machine("pump-1", 1, rows=600)
    one.values[:, 1] += [row / 20 for row in range(600)]
    file = write_csv(tmp_path / "warming.csv", one)
    done = limen("train", file, "--out", tmp_path / "m", *SMALL)
    assert "do NOT agree: the level of sensor-1 wanders" in done.out
    assert "as while warming up, or in a recording shorter than its own daily cycle" in done.out
    assert "does not support a budget of 1.00%" in done.out
    assert not json.loads(limen("train", file, "--out", tmp_path / "m", *SMALL, "--json").out)["blocks_agree"]


def test_units_stand_beside_the_sensors_and_one_stretch_is_one(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("pump-1", 1, rows=500))
    head, *lines = file.read_text().splitlines()
    file.write_text("\n".join([head, ",,bar,m3/h,,", *lines]))
    out = limen("train", file, "--out", tmp_path / "m", *SMALL).out
    assert "4: sensor-0 (bar), sensor-1 (m3/h), sensor-2, sensor-3" in out
    assert "500 used of 500, in 1 stretch without a gap" in out


def test_a_sensor_that_is_constant_on_one_machine_only_is_found(tmp_path: Path) -> None:
    one, other = machine("pump-1", 1, rows=500), machine("pump-2", 2, rows=500)
    one.values[:, 3] = 7.0
    out = limen("train", write_csv(tmp_path / "x.csv", one, other), "--out", tmp_path / "m", *SMALL).out
    assert "1 sensor never changes: sensor-3 of 'pump-1'" in out
    assert "\nconstant " not in out


def test_the_rows_that_a_provisional_budget_wants_are_enough_and_no_more_than_that(tmp_path: Path) -> None:
    whole = write_csv(tmp_path / "x.csv", machine("pump-1", 1, rows=900))

    def trained_on(rows: int) -> tuple[bool, int | None, str]:
        words = (whole, "--out", tmp_path / f"m{rows}", *SMALL, "--rows", f"0:{rows}")
        found = json.loads(limen("train", *words, "--json").out)
        return found["provisional"], found["rows_wanted"], limen("train", *words).out

    provisional, wanted, said = trained_on(500)
    assert provisional
    assert wanted is not None
    assert 500 < wanted < 600
    assert f"provisional until there are {wanted:,} normal rows" in said
    assert trained_on(wanted - 1)[0]
    assert trained_on(wanted)[:2] == (False, None)


def test_a_cell_that_is_no_number_is_named_by_file_line_column_and_value(tmp_path: Path, normal: Path) -> None:
    lines = normal.read_text().splitlines()
    cells = lines[41].split(",")
    cells[3] = "broken"
    lines[41] = ",".join(cells)
    normal.write_text("\n".join(lines))
    done = limen("train", normal, "--out", tmp_path / "m", *SMALL)
    refused(done, "normal.csv", "line 42", "'sensor-1'", "'broken'", "--missing")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--false-alarm-rate", 2), "false-alarm rate is 2.0; expected"),
        (("--discount", 0), "discount is 0.0; expected"),
        (("--ignore", "nothing"), "'nothing'"),
        (("--rows", "9000:9100"), "no row"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, normal: Path, words: tuple[object, ...], expected: str
) -> None:
    refused(limen("train", normal, "--out", tmp_path / "m", *SMALL, *words), expected)
    assert not (tmp_path / "m").exists()
