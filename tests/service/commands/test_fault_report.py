from __future__ import annotations

from typing import Any

import numpy as np

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


def alarm(number: int, equipment: str, start: int, end: int | None) -> dict[str, Any]:
    return {
        "id": f"0-{number}-0",
        "kind": "process",
        "equipment": equipment,
        "start": time_of(start),
        "end": None if end is None else time_of(end),
        "sensors": [{"sensor": "flow", "share": 0.8}],
    }


END = (START + 999) * 1_000_000


def test_a_fault_is_found_by_the_first_alarm_that_overlaps_it() -> None:
    report = compare(fleet(*FAULTS), [alarm(2, "p1", 150, 170), alarm(1, "p1", 112, 120)], END)
    frozen, leak = report.faults
    assert (leak.delay_seconds, leak.alarm and leak.alarm["id"]) == (12.0, "0-1-0")
    assert (frozen.alarm, frozen.delay_seconds) == (None, None)
    assert (report.found, report.false_alarms) == (1, [])


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
    said = lines(report)
    assert "missed" in said[0]
    assert "not streamed yet" in said[1]
    assert said[2] == "0 of 1 faults found, 0 false alarm(s); 2 machine(s) watched for 1 min of their time"


def test_where_nothing_was_streamed_nothing_is_judged() -> None:
    report = compare(fleet(*FAULTS), [], None)
    assert [judged.streamed for judged in report.faults] == [False, False]
    assert report.seconds == 0


def test_the_lines_name_sensors_of_alarm_and_fault() -> None:
    said = lines(compare(fleet(FAULTS[0]), [alarm(1, "p1", 130, None)], END))
    assert "found after 30 s: flow 80%" in said[0]
    assert "shows in flow, discharge_pressure" in said[0]
    assert lines(compare(fleet(), [], END)) == [
        "0 of 0 faults found, 0 false alarm(s); 2 machine(s) watched for 16 min 39 s of their time"
    ]
