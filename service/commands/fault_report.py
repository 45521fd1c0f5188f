"""Alarms beside the faults that were simulated: which were found, after how long, and which alarms were false.

An alarm and a fault of one machine belong together where they overlap in time. A fault is found where an alarm belongs
to it; the delay is from its first tick to the first tick of the first such alarm. An alarm that belongs to no fault is
false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.contract import MICROSECONDS
from models.pump import Fault
from models.simulate import Fleet
from service.commands.alarm_watch import AlarmJson, sensors_text
from service.commands.console import aligned, duration
from service.ingest.times import parse_time


@dataclass(frozen=True, slots=True)
class Judged:
    """One fault; `alarm` is the first that belongs to it, if any; `streamed` whether its first tick was."""

    fault: Fault
    equipment: str
    streamed: bool
    alarm: AlarmJson | None
    delay_seconds: float | None


@dataclass(frozen=True, slots=True)
class FaultReport:
    """All faults, in order of time, the false alarms, and how long each machine was watched."""

    faults: list[Judged]
    false_alarms: list[AlarmJson]
    machines: int
    seconds: float

    @property
    def found(self) -> int:
        """Faults that were found."""
        return sum(judged.alarm is not None for judged in self.faults)


def compare(fleet: Fleet, alarms: Sequence[AlarmJson], until: int | None) -> FaultReport:
    """Judge `alarms` of a stream of the fleet that was sent up to `until` (microseconds; None: nothing was)."""
    last = int(fleet.time[0]) if until is None else until
    judged: list[Judged] = []
    used: set[str] = set()
    for fault in sorted(fleet.faults, key=lambda fault: fault.start):
        start, end = int(fleet.time[fault.start]), int(fleet.time[fault.end - 1])
        equipment = fleet.equipment[fault.machine]
        own = [alarm for alarm in alarms if alarm["equipment"] == equipment and _overlaps(alarm, start, end)]
        used.update(alarm["id"] for alarm in own)
        first = min(own, key=lambda alarm: parse_time(alarm["start"]), default=None)
        delay = None if first is None else max(parse_time(first["start"]) - start, 0) / MICROSECONDS
        judged.append(Judged(fault, equipment, until is not None and start <= until, first, delay))
    false = [alarm for alarm in alarms if alarm["id"] not in used]
    return FaultReport(judged, false, len(fleet.equipment), (last - int(fleet.time[0])) / MICROSECONDS)


def lines(report: FaultReport) -> list[str]:
    """The report for a person."""
    rows = [(j.equipment, j.fault.kind, _outcome(j), f"shows in {', '.join(j.fault.sensors)}") for j in report.faults]
    streamed = sum(judged.streamed for judged in report.faults)
    watched = f"{report.machines} machine(s) watched for {duration(report.seconds)} of their time"
    return [
        *(aligned(rows) if rows else []),
        f"{report.found} of {streamed} faults found, {len(report.false_alarms)} false alarm(s); {watched}",
    ]


def _outcome(judged: Judged) -> str:
    if judged.alarm is None:
        return "missed" if judged.streamed else "not streamed yet"
    return f"found after {duration(judged.delay_seconds or 0)}: {sensors_text(judged.alarm) or judged.alarm['kind']}"


def _overlaps(alarm: AlarmJson, start: int, end: int) -> bool:
    return parse_time(alarm["start"]) <= end and (alarm["end"] is None or parse_time(alarm["end"]) >= start)
