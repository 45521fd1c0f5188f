"""Alarms beside the faults that were simulated: which were found, after how long, and which alarms were false.

An alarm and a fault of one machine belong together where they overlap in time. A fault is found where an alarm belongs
to it; the delay is from its first tick to the first tick of the first such alarm. What the alarms say of it is what the
strongest one says, that with the highest peak: it is right where the first of its sensors is one in which the fault
shows. An alarm that belongs to no fault is false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.contract import MICROSECONDS
from models.exports.findings import plural
from models.pump import Fault
from models.simulate import Fleet
from service.commands.alarm_watch import AlarmJson, kind_word, sensors_text
from service.commands.console import aligned, duration, hanging
from service.ingest.times import parse_time


@dataclass(frozen=True, slots=True)
class Judged:
    """One fault; `alarm` is the strongest that belongs to it, if any, and the delay that of the first one; `streamed`
    whether its first tick was."""

    fault: Fault
    equipment: str
    streamed: bool
    alarm: AlarmJson | None
    delay_seconds: float | None

    @property
    def right(self) -> bool:
        """Whether the alarm points at a sensor in which the fault shows."""
        sensors = self.alarm["sensors"] if self.alarm else []
        return bool(sensors) and sensors[0]["sensor"] in self.fault.sensors


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
        first = min((parse_time(alarm["start"]) for alarm in own), default=None)
        delay = None if first is None else max(first - start, 0) / MICROSECONDS
        strongest = max(own, key=lambda alarm: alarm["peak"] or 0.0, default=None)
        judged.append(Judged(fault, equipment, until is not None and start <= until, strongest, delay))
    false = [alarm for alarm in alarms if alarm["id"] not in used]
    return FaultReport(judged, false, len(fleet.equipment), (last - int(fleet.time[0])) / MICROSECONDS)


def lines(report: FaultReport, width: int) -> list[str]:
    """The report for a person, in lines of at most `width`; what is long goes on under its own column."""
    heads = aligned([(judged.equipment, judged.fault.kind) for judged in report.faults]) if report.faults else []
    column = max(map(len, heads), default=0) + 2
    told = [hanging(head.ljust(column), _outcome(j), width) for head, j in zip(heads, report.faults, strict=True)]
    streamed = sum(judged.streamed for judged in report.faults)
    last = (
        f"{report.found} of {streamed} faults found, {plural(len(report.false_alarms), 'false alarm')} in "
        f"{duration(report.seconds)} of readings of {plural(report.machines, 'machine')}"
    )
    return [line for text in (*told, hanging("", last, width)) for line in text.splitlines()]


def _outcome(judged: Judged) -> str:
    where = ", ".join(judged.fault.sensors)
    if judged.alarm is None:
        return f"{'missed' if judged.streamed else 'not streamed yet'}; it shows in {where}"
    after = f"found after {duration(judged.delay_seconds or 0)}"
    if not judged.alarm["sensors"]:
        return f"{after} by a {kind_word(judged.alarm)}; it shows in {where}"
    mark = "right" if judged.right else "wrong"
    return f"{after}, pointing at {sensors_text(judged.alarm['sensors'])}; {mark}: it shows in {where}"


def _overlaps(alarm: AlarmJson, start: int, end: int) -> bool:
    return parse_time(alarm["start"]) <= end and (alarm["end"] is None or parse_time(alarm["end"]) >= start)
