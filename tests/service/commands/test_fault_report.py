from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.pump import NAMES, SENSORS, Fault
from models.simulate import Fleet
from service.commands.fault_report import compare, lines
from tests.service.running import START, time_of

FAULTS = (Fault("leak", 0, 100, 200), Fault("frozen_sensor", 1, 50, 80, sensor="speed"))


def fleet(*faults: Fault) -> Fleet:
    """Two machines over 1000 seconds; what they measure is of no interest here."""
    time = (START + np.arange(1000)) * 1_000_000
    shape = (2, 1000, len(SENSORS))
    return Fleet(NAMES, ("",) * len(NAMES), ("p1", "p2"), time, np.zeros(shape), np.zeros(shape[:2]), faults)


def alarm(
    number: int, equipment: str, start: int, end: int | None, peak: float = 2.0, sensor: str = "flow"
) -> dict[str, Any]:
    return {
        "id": f"0-{number}-0",
        "kind": "process",
        "equipment": equipment,
        "start": time_of(start),
        "end": None if end is None else time_of(end),
        "peak": peak,
        "sensors": [{"sensor": sensor, "share": 0.8}],
    }


END = (START + 999) * 1_000_000


def test_the_delay_is_that_of_the_first_alarm_and_the_sensors_are_those_of_the_strongest() -> None:
    alarms = [alarm(2, "p1", 150, 170, peak=90.0), alarm(1, "p1", 112, 120, peak=1.2, sensor="speed")]
    report = compare(fleet(*FAULTS), alarms, END)
    frozen, leak = report.faults
    assert (leak.delay_seconds, leak.alarm and leak.alarm["id"], leak.right) == (12.0, "0-2-0", True)
    assert (frozen.alarm, frozen.delay_seconds) == (None, None)
    assert (report.found, report.false_alarms) == (1, [])


def test_an_alarm_that_points_elsewhere_is_marked_wrong() -> None:
    report = compare(fleet(FAULTS[0]), [alarm(1, "p1", 112, 120, sensor="speed")], END)
    assert not report.faults[0].right
    assert "pointing at speed 80%; wrong: it shows in flow, discharge_pressure" in lines(report, 200)[0]


def test_a_silence_alarm_finds_a_fault_and_points_nowhere() -> None:
    silent = {**alarm(1, "p1", 112, None), "kind": "silent", "peak": None, "sensors": []}
    assert "found after 12 s by a silence alarm; it shows in" in lines(compare(fleet(FAULTS[0]), [silent], END), 200)[0]


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_broken(width: int) -> None:
    report = compare(fleet(*FAULTS), [alarm(1, "p1", 3, None), alarm(2, "p2", 3, 60, sensor="x" * 30)], END)
    said = lines(report, width)
    assert max(map(len, said)) <= width
    whole = " ".join(line.strip() for line in lines(report, 10_000))
    assert " ".join(" ".join(said).split()) == " ".join(whole.split())


def test_an_alarm_of_another_machine_finds_nothing_and_is_false() -> None:
    report = compare(fleet(*FAULTS), [alarm(1, "p2", 112, 120)], END)
    assert report.found == 0
    assert [found["id"] for found in report.false_alarms] == ["0-1-0"]


def test_an_alarm_before_or_after_a_fault_is_false() -> None:
    report = compare(fleet(FAULTS[0]), [alarm(1, "p1", 10, 99), alarm(2, "p1", 200, None)], END)
    assert report.found == 0
    assert len(report.false_alarms) == 2


def test_an_alarm_that_was_open_already_finds_it_at_once_and_is_not_false() -> None:
    report = compare(fleet(FAULTS[0]), [alarm(1, "p1", 90, None)], END)
    assert report.faults[0].delay_seconds == 0.0
    assert report.false_alarms == []


def test_a_fault_that_was_not_streamed_is_not_called_missed() -> None:
    report = compare(fleet(*FAULTS), [], (START + 60) * 1_000_000)
    assert [judged.streamed for judged in report.faults] == [True, False]
    said = lines(report, 120)
    assert "missed" in said[0]
    assert "not streamed yet" in said[1]
    assert said[2] == "0 of 1 faults found, 0 false alarms in 1 min of readings of 2 machines"


def test_where_nothing_was_streamed_nothing_is_judged() -> None:
    report = compare(fleet(*FAULTS), [], None)
    assert [judged.streamed for judged in report.faults] == [False, False]
    assert report.seconds == 0


def test_the_lines_name_sensors_of_alarm_and_fault() -> None:
    said = lines(compare(fleet(FAULTS[0]), [alarm(1, "p1", 130, None)], END), 120)
    assert "found after 30 s, pointing at flow 80%; right: it shows in flow, discharge_pressure" in said[0]
    assert lines(compare(fleet(), [], END), 120) == [
        "0 of 0 faults found, 0 false alarms in 16 min 39 s of readings of 2 machines"
    ]
