"""What should become of readings in time, said plainly: lists and dictionaries, one reading at a time.

The service is compared with it by `test_time.py`: the status of every reading, and the ticks that are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from service.point_marks import marks

SECOND = 1_000_000
STEP = SECOND  # the interval of the model, where nothing else is said
Values = dict[str, float | None]


def seen(value: float | None) -> int:
    """What the service remembers of the value of a point, but for the last one of each sensor."""
    return int(marks(np.array([np.nan if value is None else value]), np.array([0]))[0])


@dataclass
class Point:
    """A value of a sensor (None: it said that it has none) and its time."""

    stamp: int
    value: float | None


@dataclass
class PlainMachine:
    """One machine: `closed` are the ticks that went on to be scored, in order; `waiting` those that did not, with what
    the clock said at their first point. A value stands for its sensor up to `age`, or as long as `ages` says (0: for
    good)."""

    sensors: tuple[str, ...]
    joined: bool
    reorder: int
    age: int
    depth: int
    step: int = STEP
    ticks_max: int = 1_000
    ages: Mapping[str, int] = field(default_factory=dict)
    closed: list[tuple[int, Values]] = field(default_factory=list)
    since: list[int] = field(default_factory=lambda: [0])  # ticks that were closed when it followed each of its models
    waiting: dict[int, dict[str, Point]] = field(default_factory=dict)
    came: dict[int, int] = field(default_factory=dict)
    points: list[tuple[int, dict[str, Point]]] = field(default_factory=list)  # of the last ticks that had any
    last: dict[str, Point] = field(default_factory=dict)
    heard: int = 0

    def follow(self, sensors: tuple[str, ...], ages: Mapping[str, int] | None = None) -> None:
        """Another model: what waits, and what is held, goes with the names that it shares."""
        self.sensors, self.ages = sensors, ages or {}
        self.since.append(len(self.closed))
        for tick, points in self.waiting.items():
            self.waiting[tick] = {name: points[name] for name in sensors if name in points}
        self.last = {name: self.last[name] for name in sensors if name in self.last}
        self.points = [
            (tick, {name: points[name] for name in sensors if name in points}) for tick, points in self.points
        ]

    def post(self, time: int, values: Values, now: int, horizon: int) -> tuple[str, str]:
        """One reading: its status and reason."""
        tick = -(-time // self.step) * self.step if self.joined else time
        values = {name: value for name, value in values.items() if name in self.sensors}
        if not values:
            return "rejected", "no_sensor"
        if time > horizon:
            return "rejected", "future"
        if self.closed and tick <= self.closed[-1][0]:
            return self._late(time, values)
        points = self.waiting.get(tick, {})
        same = {name for name in values if name in points and points[name].stamp == time}
        if any(points[name].value != values[name] for name in same):
            return "rejected", "conflict"
        if tick in self.waiting and same == set(values):
            return "duplicate", ""
        self.waiting.setdefault(tick, {})
        self.came.setdefault(tick, now)
        for name, value in values.items():
            if name not in points or points[name].stamp < time:
                self.waiting[tick][name] = Point(time, value)
        before = len(self.closed)
        self._close(now)
        self.heard = now
        own = any(closed == tick for closed, _ in self.closed[before:])
        return ("scored", "") if own else ("held", "")

    def _late(self, time: int, values: Values) -> tuple[str, str]:
        if self.joined:
            return self._late_point(-(-time // self.step) * self.step, time, values)
        some = {name: value for name, value in values.items() if value is not None}
        for number, (tick, stored) in list(enumerate(self.closed))[-self.depth :]:
            if tick == time and number < self.since[-1]:  # the values themselves went with the model of then
                known = {name: value for name, value in stored.items() if value is not None}
                return ("duplicate", "") if some == known or not some else ("late", "already_processed")
            if tick == time:
                if any(stored.get(name) not in (None, value) for name, value in some.items()):
                    return "rejected", "conflict"
                return ("late", "already_processed") if any(stored.get(n) is None for n in some) else ("duplicate", "")
        times = [tick for tick, _ in self.closed]
        older = [tick for tick in times if tick <= time]
        later = [tick for tick in times if tick > time]
        around = older[-1:] + later
        unbroken = all(2 * (b - a) < 3 * self.step for a, b in pairwise(around))
        beyond = len(times) > self.depth and time < times[-self.depth]
        return ("duplicate", "already_processed") if older and unbroken and beyond else ("late", "")

    def _late_point(self, tick: int, time: int, values: Values) -> tuple[str, str]:
        last, before = (
            {name: point.value for name, point in known.items() if name in values and point.stamp == time}
            for known in (self.last, dict(self.points).get(tick, {}))
        )
        other = any(last[name] != values[name] for name in last)
        if other or any(seen(before[name]) != seen(values[name]) for name in before):
            return "rejected", "conflict"
        if {*last, *before} != {*values}:
            return "late", "already_processed"
        stored = any(tick == closed for closed, _ in self.closed[-self.depth :])
        return "duplicate", "" if stored else "already_processed"

    def look(self, now: int) -> None:
        """What is due by the clock."""
        self._close(now)
        if self.joined and not self.waiting and self.closed and self.last:
            newest = max(point.stamp for point in self.last.values())
            self._fill((newest + now - self.heard - self.reorder - self.step) // self.step * self.step)

    def _close(self, now: int) -> None:
        while self.waiting:
            tick = min(self.waiting)
            points = self.waiting[tick]
            stamps = [point.stamp for other in self.waiting.values() for point in other.values()]
            before = [point.stamp for point in self.last.values()] if self.joined else [t for t, _ in self.closed[-1:]]
            newest = max([*stamps, *before], default=-self.step)
            passed = newest - tick >= self.reorder and (newest > tick or not self.joined)
            waited = now - self.came[tick] >= self.reorder + (self.step if self.joined else 0)
            whole = all(name in points and points[name].stamp == tick for name in self.sensors)
            following = not self.closed or 2 * (tick - self.closed[-1][0]) < 3 * self.step
            many = len(self.waiting) > self.ticks_max
            if not (passed or waited or many or (whole and following)):
                return
            if self.joined:
                self._fill(tick - self.step)
                for name, point in points.items():
                    if name not in self.last or self.last[name].stamp < point.stamp:
                        self.last[name] = point
                self.points = [*self.points, (tick, points)][-self.depth :]
                self.closed.append((tick, self._held(tick)))
            else:
                self.closed.append((tick, {name: point.value for name, point in points.items()}))
            del self.waiting[tick], self.came[tick]

    def _held(self, tick: int) -> Values:
        return {
            name: point.value if self.age_of(name) == 0 or tick - point.stamp <= self.age_of(name) else None
            for name, point in self.last.items()
        }

    def age_of(self, name: str) -> int:
        """How long a value of a sensor is held; 0: for good."""
        return self.ages.get(name, self.age)

    def _fill(self, until: int) -> None:
        while self.closed and self.closed[-1][0] + self.step <= until:
            tick = self.closed[-1][0] + self.step
            values = self._held(tick)
            if all(value is None or self.age_of(name) == 0 for name, value in values.items()):
                return
            self.closed.append((tick, values))
