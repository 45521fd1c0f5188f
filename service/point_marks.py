"""What is remembered of the points of closed ticks: two bytes of each, that tell a repeat from another value and from a
point that had not come.

The first byte is of its time, the second of its value. The last `RING_RESULTS` ticks with points are remembered: no
fewer than have a stored result.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.contract import Bools, Floats, Ints
from models.gaps import NEVER
from service.ring import RING_RESULTS

TIMES = 251  # times that a mark tells apart: a prime, so that steps of any usual unit go through all
Marks = NDArray[np.uint16]
_MIX, _HALF, _REST = np.uint64(0x9E3779B97F4A7C15), np.uint64(32), np.uint64(56)


def marks(value: Floats, stamp: Ints) -> Marks:
    """Marks of points (d,), 0 where none has come.

    >>> first = marks(np.array([1.5, np.nan, 0.0]), np.array([7, 7, NEVER]))
    >>> (first > 0).tolist(), (first >> 8 == marks(np.array([2.5, 2.5, 0.0]), np.array([7, 8, 9])) >> 8).tolist()
    ([True, True, False], [True, False, False])
    """
    mixed = (np.where(np.isnan(value), np.nan, value + 0.0).view(np.uint64) + _MIX) * _MIX  # one NaN, 0.0 as -0.0
    mixed = (mixed ^ mixed >> _HALF) * _MIX >> _REST
    found = ((stamp % TIMES + 1) << 8 | mixed.view(np.int64)).astype(np.uint16)
    found[stamp == NEVER] = 0
    return found


@dataclass(slots=True)
class PointMarks:
    """The marks of the points of one machine with `sensors` sensors: of each remembered tick (NEVER: none)."""

    sensors: int
    tick: Ints = field(init=False)
    mark: Marks = field(init=False)

    def __post_init__(self) -> None:
        self.tick = np.full(RING_RESULTS, NEVER)
        self.mark = np.zeros((RING_RESULTS, self.sensors), np.uint16)

    def enter(self, tick: int, value: Floats, stamp: Ints) -> None:
        """A tick is closed that had these points; it takes the place of the oldest one."""
        place = int(self.tick.argmin())
        self.tick[place], self.mark[place] = tick, marks(value, stamp)

    def of(self, tick: int) -> Marks | None:
        """Those of one tick (d,); None where it is not remembered."""
        places = np.flatnonzero(self.tick == tick)
        return self.mark[places[0]] if len(places) else None

    def compare(self, tick: int, time: int, value: Floats) -> tuple[Bools, Bools]:
        """Sensors (d,) of which a point came at this time, and those of which it had another value."""
        found = self.of(tick)
        if found is None:
            none = np.zeros(self.sensors, np.bool_)
            return none, none
        asked = marks(value, np.full(self.sensors, time))
        return found >> 8 == asked >> 8, (found >> 8 == asked >> 8) & (found != asked)

    def follow(self, mine: NDArray[np.intp], theirs: NDArray[np.intp], sensors: int) -> None:
        """Other sensors: column `mine` is what `theirs` was."""
        mark = np.zeros((RING_RESULTS, sensors), np.uint16)
        mark[:, mine] = self.mark[:, theirs]
        self.sensors, self.mark = sensors, mark
