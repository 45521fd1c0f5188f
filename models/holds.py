"""How long a value may stand for its sensor: learned from how long values stood in training.

Sensors that send only what changes are silent while nothing does. In training that shows as a run of one value, where
the export filled it in, or as missing cells. A value may be held for twice the longest such time of its sensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.contract import MICROSECONDS, Bools, Floats, Ints
from models.preprocess import Segment

UNLIMITED = 0  # of a sensor that never moved in training: nothing was learned
HOLD_MAX = 10_000 * 366 * 86_400 * MICROSECONDS
SLACK = 2  # times the longest that was seen


def learn_holds(segments: Sequence[Segment], constant: Bools, interval: int) -> Ints:
    """How long a value of each sensor may be held, (d,) microseconds, from ticks every `interval`; UNLIMITED where the
    sensor is `constant` (d,).

    >>> x = np.array([[1.0, 5.0, 7.0], [2.0, 5.0, np.nan], [2.0, 5.0, np.nan], [3.0, 6.0, 7.0]])
    >>> learn_holds([Segment("pump", x)], np.array([False, False, True]), 10)
    array([40, 60,  0])
    """
    ticks = [max(longest_wait(segment.x[:, i]) for segment in segments) for i in range(len(constant))]
    holds = [min(SLACK * wait * interval, HOLD_MAX) for wait in ticks]
    return np.where(constant, UNLIMITED, np.array(holds, np.int64))


def longest_wait(values: Floats) -> int:
    """The most ticks from one value of a sensor (n,) to the next one that was measured, or was another where every cell
    has one; at least 1. What lies before the first value or after the last one is not counted.

    >>> [longest_wait(np.array(x)) for x in ([4.0, 4.0, 4.0, 5.0], [4.0, np.nan, 4.0, 5.0], [np.nan, np.nan, 4.0])]
    [3, 2, 1]
    """
    places = np.flatnonzero(np.isfinite(values))
    if not len(places):
        return 1
    between, measured = np.diff(places), values[places]
    ends = np.flatnonzero((between > 1) | (measured[1:] != measured[:-1]))  # of runs of one value, cell by cell
    runs = np.diff(np.concatenate([[-1], ends, [len(places) - 1]]))
    return max(int(runs.max()), int(between.max(initial=1)))
