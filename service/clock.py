"""Two clocks to live by: one that goes on steadily from the wall's time, and that of the data.

The computer's own clock may be set while the service runs, or be wrong at its start: what the service lives by goes on
as time passes, so that no machine falls silent at once. Only when records came in, and how old readings are, is told by
the wall's.

`serve --clock event` has the newest event time taken in for now: old files are replayed as if they happened, nothing
is in the future, and silence is measured against the machines that still talk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Literal, Protocol

from models.contract import MICROSECONDS

ClockName = Literal["wall", "event"]
TimeSource = Literal["event", "offset", "arrival"]  # whose clock counts for the times of a body
Nanoseconds = Callable[[], int]
NANOSECONDS = 1_000_000_000 // MICROSECONDS  # in a microsecond
STEP = 1_000_000_000  # by which a clock was set rather than kept right

log = logging.getLogger("limen")


class Clock(Protocol):
    """Time in int64 microseconds since 1970-01-01 UTC."""

    @property
    def name(self) -> ClockName:
        """As the setting has it."""
        ...

    @property
    def judges_future(self) -> bool:
        """Whether a reading can be ahead of this clock."""
        ...

    def now(self) -> int:
        """The time."""
        ...

    def observe(self, newest: int) -> None:
        """Say the time of what has just been taken in: a clock that follows readings is not behind it."""
        ...


class WallClock:
    """The computer's clock, whoever sets it."""

    def __init__(self, wall: Nanoseconds = time.time_ns) -> None:
        self._wall = wall

    def now(self) -> int:
        return self._wall() // NANOSECONDS


class SteadyClock:
    """The computer's clock as it was at the start; from then on, as time passes. Where that clock is set, the log says
    so once.

    >>> passed, wall = [0], [1_700_000_000_000_000_000]
    >>> clock = SteadyClock(lambda: wall[0], lambda: passed[0])
    >>> passed[0] += 5_000_000_000; wall[0] -= 3600 * 1_000_000_000
    >>> clock.now()
    1700000005000000
    """

    name: ClockName = "wall"
    judges_future = True

    def __init__(self, wall: Nanoseconds = time.time_ns, passed: Nanoseconds = time.monotonic_ns) -> None:
        self._wall, self._passed = wall, passed
        self._start = self._last = wall() - passed()

    def now(self) -> int:
        passed = self._passed()
        start, self._last = self._last, self._wall() - passed
        step = self._last - start
        if abs(step) > STEP:
            log.warning(
                "the computer's clock was set %s by %.1f s; the service keeps its own time until it is started again",
                "forward" if step > 0 else "back",
                abs(step) / (MICROSECONDS * NANOSECONDS),
            )
        return (self._start + passed) // NANOSECONDS

    def observe(self, newest: int) -> None:
        return

    def go_on_from(self, newest: int) -> None:
        """Not be behind the newest time of an earlier run."""
        behind = newest * NANOSECONDS - self._passed() - self._start
        if behind > 0:
            self._start += behind
        if behind > STEP:
            log.warning(
                "the computer's clock is %.1f s behind the newest record; the service's time goes on from that record",
                behind / (MICROSECONDS * NANOSECONDS),
            )


class EventClock:
    """The newest event time taken in; never runs backwards.

    >>> clock = EventClock()
    >>> clock.observe(5_000_000); clock.observe(3_000_000)
    >>> clock.now()
    5000000
    """

    name: ClockName = "event"
    judges_future = False

    def __init__(self, start: int = 0) -> None:
        self._now = start

    def now(self) -> int:
        return self._now

    def observe(self, newest: int) -> None:
        self._now = max(self._now, newest)


def make_clock(name: ClockName) -> Clock:
    """The clock called `name`."""
    return EventClock() if name == "event" else SteadyClock()
