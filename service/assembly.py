"""What waits before it is scored: ticks that came before their turn, and points that are joined to ticks.

A machine either sends whole readings, each a tick of its own time, or (`joined`) points of single sensors at their own
rates, of which tick T of the model's grid takes the last ones up to T. Ticks are closed in order of time:

- at once, when nothing can change them any more: all sensors have come at the time of the tick, and no tick before it
  is missing;
- when the machine has sent something later by the reorder window;
- when the window has passed by the clock.

No micro-batch closes more than some ten thousand ticks: what is left is closed by the next ones. A tick that is closed
is scored as any reading. Here are the rules and what waits; nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from models.contract import Bools, Floats, Ints
from models.gaps import NEVER
from service.admission import Pace
from service.align import Verdict
from service.ingest.times import TIME_MAX
from service.point_marks import PointMarks

FILLED_MAX = 1_000  # ticks of one machine that are made of held values alone, at once
CLOSED_MAX = 32_768  # ticks that one micro-batch or look closes: then it begins with no further one
FORCED_MAX = 262_144  # ticks from which even machines of which too many wait have no silence filled


@dataclass(frozen=True, slots=True)
class Window:
    """How long ticks wait, in microseconds; `ticks_max` of one machine at most."""

    reorder: int = 0
    ticks_max: int = 1_000


@dataclass(slots=True)
class Room:
    """How many ticks one micro-batch or look has `closed`, and whether some that were ready are left (`more`, until the
    next look): the next ones close them, in the same order."""

    closed: int = 0
    more: bool = False

    @property
    def full(self) -> bool:
        """Whether no further tick is begun with."""
        return self.closed >= CLOSED_MAX

    def take(self, ticks: Iterable[Closed]) -> Iterator[Closed]:
        """Ticks that are closed."""
        for tick in ticks:
            self.closed += 1
            yield tick


@dataclass(slots=True)
class OpenTick:
    """A tick that may still change: `value` (d,) and `stamp` (d,), the time of each sensor's point, NEVER where none
    has come. `came` is what the clock said at its first point."""

    time: int
    came: int
    value: Floats
    stamp: Ints


@dataclass(frozen=True, slots=True)
class Closed:
    """A tick that is ready to be scored: `values` (d,)."""

    time: int
    values: Floats


@dataclass(slots=True)
class Waiting:
    """What waits of one machine whose model has the sensors `names`; `value` and `stamp` (d,) are the last points of
    closed ticks, kept for a machine that is `joined`."""

    names: tuple[str, ...]
    joined: bool
    value: Floats = field(init=False)
    stamp: Ints = field(init=False)
    ticks: dict[int, OpenTick] = field(default_factory=dict)
    marks: PointMarks | None = None  # of the points of closed ticks, once there are any

    def __post_init__(self) -> None:
        self.value = np.full(len(self.names), np.nan)
        self.stamp = np.full(len(self.names), NEVER)

    @property
    def empty(self) -> bool:
        """Whether nothing is kept."""
        return not self.ticks and not (self.joined and (self.stamp != NEVER).any())

    def newest(self, last: int) -> int:
        """Time of the newest point; `last` is that of the last tick that was closed."""
        newest = int(self.stamp.max(initial=NEVER)) if self.joined else last
        return max([newest, *(int(tick.stamp.max()) for tick in self.ticks.values())])

    def tick_of(self, time: int, interval: int) -> int:
        """The tick that a point belongs to: its own time or, joined, the end of its cell of the grid, but none
        after the year 9999.

        >>> Waiting(("flow",), True).tick_of(1_500_000, 1_000_000), Waiting(("flow",), False).tick_of(7, 5)
        (2000000, 7)
        """
        return min(-(-time // interval) * interval, TIME_MAX) if self.joined else time

    def add(self, tick: int, time: int, values: Floats, given: Bools, now: int) -> Verdict:
        """Take in a reading of an open tick: the sensors `given` (d,), NaN among their `values` (d,) where they have
        none. CONFLICT, with nothing changed, where a sensor came with another value at the same time; DUPLICATE where
        all of it came before."""
        found = self.ticks.get(tick)
        if found is not None:
            same = given & (found.stamp == time)
            if not np.array_equal(found.value[same], values[same], equal_nan=True):
                return Verdict.CONFLICT
            if np.array_equal(same, given):
                return Verdict.DUPLICATE
        self.put(tick, time, values, given, now)
        return Verdict.ADMITTED

    def put(self, tick: int, time: int, values: Floats, given: Bools, now: int) -> None:
        """Enter points; those of a sensor that has a newer one change nothing."""
        found = self.open(tick, now)
        newer = given & (found.stamp < time)
        found.value[newer], found.stamp[newer] = values[newer], time

    def open(self, tick: int, now: int) -> OpenTick:
        """A tick that waits, from `now` on where it is new."""
        if tick not in self.ticks:
            sensors = len(self.names)
            self.ticks[tick] = OpenTick(tick, now, np.full(sensors, np.nan), np.full(sensors, NEVER))
        return self.ticks[tick]

    def late(self, tick: int, time: int, values: Floats, given: Bools) -> Verdict:
        """What a point of a closed tick of a joined machine is: by the last point of each of its sensors, and what is
        remembered of those before."""
        last = given & (self.stamp == time)
        if not np.array_equal(self.value[last], values[last], equal_nan=True):
            return Verdict.CONFLICT
        if self.marks is not None and not np.array_equal(last, given):
            same, other = self.marks.compare(tick, time, values)
            if (given & other).any():
                return Verdict.CONFLICT
            last |= given & same
        return Verdict.DUPLICATE if np.array_equal(last, given) else Verdict.CLOSED

    def close_until(self, time: int) -> None:
        """Ticks up to `time` are closed: their points are the last ones now."""
        for tick in sorted(tick for tick in self.ticks if tick <= time):
            found = self.ticks.pop(tick)
            if self.joined:
                newer = found.stamp > self.stamp
                self.value[newer], self.stamp[newer] = found.value[newer], found.stamp[newer]
                self.marks = self.marks or PointMarks(len(self.names))
                self.marks.enter(tick, found.value, found.stamp)

    def closing(self, last: int, now: int, window: Window, pace: Pace, holds: Ints, room: Room) -> Iterator[Closed]:
        """Close the ticks that are ready and for which there is `room`, in order of time; `last` is the last one that
        was closed. A value is held for `holds` (d,) microseconds (0: for good)."""
        while self.ticks:
            tick = self.ticks[min(self.ticks)]
            if not self._ready(tick, last, now, window, pace):
                return
            if room.full and len(self.ticks) <= window.ticks_max:
                room.more = True
                return
            if self.joined and room.closed < FORCED_MAX:
                yield from room.take(self._filled(last, tick.time - pace.interval, pace.interval, holds))
            self.close_until(tick.time)
            yield from room.take([Closed(tick.time, self.held(tick.time, holds) if self.joined else tick.value)])
            last = tick.time

    def quiet(self, last: int, until: int, pace: Pace, holds: Ints, room: Room) -> Iterator[Closed]:
        """Ticks of held values alone up to the time `until`, where nothing waits and there is `room`."""
        if not self.joined or self.ticks or last == NEVER:
            return
        if room.full:
            room.more = True
            return
        yield from room.take(self._filled(last, until, pace.interval, holds))

    def _ready(self, tick: OpenTick, last: int, now: int, window: Window, pace: Pace) -> bool:
        if len(self.ticks) > window.ticks_max:
            return True
        if self.newest(last) - tick.time >= max(window.reorder, int(self.joined)):
            return True
        if now - tick.came >= window.reorder + self.joined * pace.interval:
            return True
        complete = (tick.stamp == tick.time).all()
        return bool(complete) and (last == NEVER or tick.time - last <= pace.stride)

    def held(self, time: int, holds: Ints) -> Floats:
        """Values (d,) at a tick: the last ones, missing where they are older than they may be."""
        age = time - self.stamp
        return np.where((holds > 0) & (age > holds), np.nan, self.value)

    def _filled(self, last: int, until: int, interval: int, holds: Ints) -> Iterator[Closed]:
        """Ticks of the grid after `last` up to `until`, while a value that would not be held for good can be."""
        if last == NEVER:
            return
        lasting = ~np.isnan(self.value) & (holds > 0)
        final = min(until, int((self.stamp + holds)[lasting].max(initial=NEVER))) // interval
        for number in range(max(last // interval + 1, final - FILLED_MAX + 1), final + 1):
            yield Closed(number * interval, self.held(number * interval, holds))

    def follow(self, names: tuple[str, ...]) -> None:
        """The machine follows a model with other sensors: what waits goes with the names that it shares."""
        if names == self.names:
            return
        place = {name: column for column, name in enumerate(self.names)}
        mine = np.array([i for i, name in enumerate(names) if name in place], np.intp)
        theirs = np.array([place[name] for name in names if name in place], np.intp)
        self.names = names
        self.value, self.stamp = _moved(self.value, self.stamp, mine, theirs, len(names))
        if self.marks is not None:
            self.marks.follow(mine, theirs, len(names))
        for tick in self.ticks.values():
            tick.value, tick.stamp = _moved(tick.value, tick.stamp, mine, theirs, len(names))


def _moved(value: Floats, stamp: Ints, mine: Ints, theirs: Ints, sensors: int) -> tuple[Floats, Ints]:
    values, stamps = np.full(sensors, np.nan), np.full(sensors, NEVER)
    values[mine], stamps[mine] = value[theirs], stamp[theirs]
    return values, stamps
