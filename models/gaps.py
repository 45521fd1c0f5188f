"""What a hole in the readings of a machine means: one rule for training, files and serving.

A few ticks that did not come are masked: the memory goes on from its own predictions, as with a tick without any value,
and the first reading after them is judged by what can be known so far ahead. After a longer silence it starts anew.
"""

from __future__ import annotations

import numpy as np

from models.contract import Bools, Floats, Ints

GAP_TICKS_MIN = 10
NEVER = -(1 << 62)  # the time of a reading that there was not


def gap_reset_ticks(window: int) -> int:
    """Ticks without a reading after which what a memory of `window` ticks holds is of no use: that window."""
    return max(window, GAP_TICKS_MIN)


def after_gap(time: Ints, before: Ints, limit: int) -> Bools:
    """Readings (n,) more than `limit` microseconds after the one `before` (n,) them.

    >>> after_gap(np.array([9, 20]), np.array([5, 9]), 10)
    array([False,  True])
    """
    return time - before > limit


def skipped_ticks(time: Ints, before: Ints, interval: int, limit: int) -> Ints:
    """Ticks (n,) of `interval` microseconds that did not come between the reading `before` and the one at `time`; 0
    where there was a gap of more than `limit`. Up to half an interval early or late is in time.

    >>> skipped_ticks(np.array([10, 24, 90]), np.array([0, 0, 0]), 10, 50)
    array([0, 1, 0])
    """
    step = time - before
    missed = (step + interval // 2) // interval - 1
    return np.where(step > limit, 0, np.maximum(missed, 0))


def on_grid(time: Ints, x: Floats, interval: int) -> Floats:
    """Readings (n, d) of one machine with a row of NaN for every tick that did not come: (n + skipped, d).

    >>> on_grid(np.array([0, 10, 30]), np.array([[1.0], [2.0], [3.0]]), 10).ravel()
    array([ 1.,  2., nan,  3.])
    """
    missed = skipped_ticks(time[1:], time[:-1], interval, int(time[-1] - time[0]))
    if not missed.any():
        return x
    place = np.arange(len(x)) + np.concatenate([[0], np.cumsum(missed)])
    whole = np.full((int(place[-1]) + 1, x.shape[1]), np.nan)
    whole[place] = x
    return whole


def last_valued(time: Ints, valued: Bools, entering: int) -> Ints:
    """Time of the last reading with any value before each of one machine's (n,), `entering` before the first.

    >>> last_valued(np.array([10, 20, 30]), np.array([True, False, True]), 5)
    array([ 5, 10, 10])
    """
    return np.maximum.accumulate(np.concatenate([[entering], np.where(valued, time, entering)[:-1]]))[: len(time)]


def first_after_gap(time: Ints, valued: Bools, limit: int) -> Bools:
    """Ticks (n,) of one machine that come after a gap: the first with any value after a time without one.

    >>> first_after_gap(np.array([0, 10, 30, 40]), np.array([True, False, True, True]), 15)
    array([False, False,  True, False])
    """
    before = last_valued(time, valued, NEVER)
    return valued & (before != NEVER) & after_gap(time, before, limit)
