"""Whether machines send at the interval of their model: a count of steps at another pace, in arrays over slots.

A step is the time between two neighbouring readings of a machine. One that is outside the tolerance of its model (of
0.5: shorter than 1/1.25 or longer than 1.25 intervals) counts one up, any other one down, between 0 and 64. At 32 the
machine has another interval than its model was trained at; back at 0 it has not. Readings that are lost or late now and
then come nowhere near it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.contract import Bools
from models.episodes import Transition
from service.admission import Admitted
from service.align import NEVER
from service.columns import Columns, Field

PACE_FIELDS = {
    "off_pace": Field("uint8"),  # the count
    "mismatched": Field("bool"),  # an alarm of kind sampling_mismatch is open
}
OPEN_AT = 32
COUNT_MAX = 64


def off_pace(step: NDArray[np.int64], interval: int, tolerance: float) -> Bools:
    """Which steps (n,) are none of a machine that sends every `interval`, half of `tolerance` more or less.

    >>> off_pace(np.array([79, 80, 100, 125, 126, 1000]), 100, 0.5).tolist()
    [True, False, False, False, True, True]
    """
    most = 1 + tolerance / 2
    found: Bools = (step < math.ceil(interval / most)) | (step > math.floor(interval * most))
    return found


def count(columns: Columns, admitted: Admitted, interval: int, tolerance: float) -> NDArray[np.int16] | None:
    """The count after each reading (n,), kept for the next ones; None where every machine keeps pace."""
    before = _time_before(columns, admitted)
    off = off_pace(admitted.time - before, interval, tolerance) & (before != NEVER)
    entering = columns["off_pace"][admitted.machines]
    if not (off.any() or entering.any()):
        return None
    change = np.where(off, np.int16(1), np.int16(-1))
    level, levels, start = entering.astype(np.int16), np.empty(len(off), np.int16), 0
    for size in admitted.sizes:
        wave, end = level[:size], start + size
        wave += change[start:end]
        np.maximum(wave, 0, out=wave)
        np.minimum(wave, COUNT_MAX, out=wave)
        levels[start:end] = wave
        start = end
    columns["off_pace"][admitted.machines] = level
    return levels


def _time_before(columns: Columns, admitted: Admitted) -> NDArray[np.int64]:
    """Time of the reading before each one."""
    entering: NDArray[np.int64] = columns["last_time"][admitted.machines]
    if admitted.rank is None:
        return entering
    rows = np.arange(len(entering), len(admitted.rows))
    previous = rows - np.array(admitted.sizes)[admitted.rank[rows] - 1]
    return np.concatenate([entering, admitted.time[previous]])


def turning(columns: Columns, admitted: Admitted, levels: NDArray[np.int16]) -> Bools:
    """Machines (m,) that take up another interval, or come back to theirs, at some reading."""
    starts = np.cumsum([0, *admitted.sizes])
    machine = np.arange(len(levels)) - (0 if admitted.rank is None else starts[admitted.rank])
    mismatched = columns["mismatched"][admitted.machines]
    turns = np.zeros(len(mismatched), np.bool_)
    turns[machine[np.where(mismatched[machine], levels == 0, levels >= OPEN_AT)]] = True
    return turns


def walk(
    columns: Columns, admitted: Admitted, levels: NDArray[np.int16], machine: int
) -> Iterator[tuple[int, bool, Transition | None]]:
    """The readings of one machine, in order of time: row, whether it is mismatched then, and what changed."""
    slot, rows = int(admitted.machines[machine]), admitted.rows_of(machine)
    mismatched = bool(columns["mismatched"][slot])
    for row, level in zip(rows.tolist(), levels[rows].tolist(), strict=True):
        transition: Transition | None = None
        if not mismatched and level >= OPEN_AT:
            mismatched, transition = True, "opened"
        elif mismatched and level == 0:
            mismatched, transition = False, "closed"
        yield row, mismatched, transition
    columns["mismatched"][slot] = mismatched


def rest(columns: Columns, slot: int) -> None:
    """A machine has left its model: nothing is counted."""
    columns["off_pace"][slot], columns["mismatched"][slot] = 0, False
