"""When a machine was silent for so long that its memory starts anew: one rule for training, files and serving."""

from __future__ import annotations

import numpy as np

from models.contract import Bools, Ints

GAP_TICKS_MIN = 10


def gap_reset_ticks(window: int) -> int:
    """Ticks without a reading after which what a memory of `window` ticks holds is of no use: that window."""
    return max(window, GAP_TICKS_MIN)


def after_gap(time: Ints, before: Ints, limit: int) -> Bools:
    """Readings (n,) more than `limit` microseconds after the one `before` (n,) them.

    >>> after_gap(np.array([9, 20]), np.array([5, 9]), 10)
    array([False,  True])
    """
    return time - before > limit


def first_after_gap(time: Ints, limit: int) -> Bools:
    """Ticks (n,) of one machine that come after a gap.

    >>> first_after_gap(np.array([0, 10, 30]), 15)
    array([False, False,  True])
    """
    return np.concatenate([np.zeros(len(time[:1]), np.bool_), after_gap(time[1:], time[:-1], limit)])
