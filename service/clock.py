"""Two clocks: the wall's, and that of the data.

`serve --clock event` has the newest event time taken in for now: old files are replayed as if they happened, nothing
is in the future, and silence is measured against the machines that still talk.
"""

from __future__ import annotations

import time
from typing import Literal, Protocol

from models.contract import MICROSECONDS

ClockName = Literal["wall", "event"]


class Clock(Protocol):
    """Time in int64 microseconds since 1970-01-01 UTC."""

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
    """The computer's clock."""

    judges_future = True

    def now(self) -> int:
        return time.time_ns() * MICROSECONDS // 1_000_000_000

    def observe(self, newest: int) -> None:
        return


class EventClock:
    """The newest event time taken in; never runs backwards.

    >>> clock = EventClock()
    >>> clock.observe(5_000_000); clock.observe(3_000_000)
    >>> clock.now()
    5000000
    """

    judges_future = False

    def __init__(self, start: int = 0) -> None:
        self._now = start

    def now(self) -> int:
        return self._now

    def observe(self, newest: int) -> None:
        self._now = max(self._now, newest)


def make_clock(name: ClockName) -> Clock:
    """The clock called `name`."""
    return EventClock() if name == "event" else WallClock()
