from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.commands import evaluate
from tests.service.commandline import limen, refused
from tests.service.commands.recordings import FAULT, ROWS, machine, warmup, write_csv
from tests.service.running import SENSORS, model_folder, time_of


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "faulty.csv", machine("p1", faulty=True), machine("p2"))


@pytest.fixture
def labelled(faulty: Path) -> Path:
    """With a column that is 1 during the fault of the first machine."""
    head, *lines = faulty.read_text().splitlines()
    marked = [f"{line},{int(FAULT.start <= row < FAULT.stop)}" for row, line in enumerate(lines)]
    faulty.write_text("\n".join([f"{head},label", *marked]))
    return faulty


def figures(file: Path, *words: object) -> dict[str, Any]:
    """What a program gets."""
    found: dict[str, Any] = json.loads(
        limen("evaluate", model_folder(), file, "--label", "label", "--json", *words).out
    )
    return found


def test_scores_are_compared_with_labels(labelled: Path) -> None:
    done = limen("evaluate", model_folder(), labelled, "--label", "label")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("f1 ")
    said = dict(line.split("  ", 1) for line in done.out.splitlines())
    assert said["episodes"].strip() == "1 of 1 detected"
    assert said["alarms"].strip().startswith("1 raised, 0 false")


def test_every_episode_has_a_line_with_machine_start_delay_peak_and_sensor(labelled: Path) -> None:
    last = limen("evaluate", model_folder(), labelled, "--label", "label").out.splitlines()[-1]
    equipment, start, delay, peak, sensor = last.split("  ")
    assert (equipment, start, sensor) == ("p1", time_of(FAULT.start), SENSORS[2])
    assert delay == "found after 0 s"
    assert float(peak.removeprefix("peak ")) > 1


def test_a_program_gets_the_figures_as_json(labelled: Path) -> None:
    found = figures(labelled)
    assert found["recall"] > 0.9
    assert found["ticks_left_out"] == 2 * warmup()
    assert found["episodes"][0]["start_time"] == time_of(FAULT.start)
    assert (found["episodes"][0]["equipment"], found["episodes"][0]["top_sensor"]) == ("p1", SENSORS[2])
    assert found["episodes"][0]["peak"] > 1
    assert found["ticks"] == 2 * (ROWS - warmup())
    assert (found["alarms"], found["false_alarms"], found["false_alarms_per_machine_day"]) == (1, 0, 0.0)
    assert 0 < found["normal_time_in_alarm"] < 0.3


def test_most_false_alarms_are_tails_of_the_fault_and_told_apart(labelled: Path) -> None:
    found = figures(labelled)
    assert found["recovery_ticks"] == evaluate.RECOVERY_TICKS
    assert 0 < found["false_positives_in_recovery"] <= found["false_positives"]
    assert (
        found["false_alarm_rate_in_recovery"] > found["false_alarm_rate"] > found["false_alarm_rate_outside_recovery"]
    )


def test_with_rows_left_out_the_sensor_is_still_that_of_the_peak(labelled: Path) -> None:
    found = figures(labelled, "--rows", "50:200")
    assert (found["ticks"], found["episodes"][0]["top_sensor"]) == (150, SENSORS[2])


def test_an_episode_that_was_missed_or_never_judged_says_so() -> None:
    episode = {"equipment": "p1", "start_time": time_of(0), "top_sensor": None, "peak": None, "detected": False}
    assert evaluate.episode_row({**episode, "judged": 0})[2:] == ("no tick has a score", "", "")
    assert evaluate.episode_row({**episode, "judged": 9, "peak": 0.5})[2:] == ("missed", "peak 0.50", "")


def test_labels_that_are_not_there_are_refused(faulty: Path) -> None:
    refused(limen("evaluate", model_folder(), faulty, "--label", "fault"), "faulty.csv", "'fault'", "is no column")
