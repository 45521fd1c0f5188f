"""Readings of one equipment -> what is admitted, and what is a duplicate, a conflict, late or in the future. Pure.

The key of a reading is (equipment, event time). Readings are taken in the order of arrival:

- newer than the last one: ADMITTED;
- time found among the recent ones: DUPLICATE where the values are equal, CONFLICT where they differ;
- older otherwise: LATE;
- beyond the horizon (clock + tolerance): FUTURE, and the last time stays where it is.

`in_order` says for many machines at once which readings need no such judging: nearly all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from models.gaps import NEVER

__all__ = ["NEVER", "Verdict", "align", "in_order"]


class Verdict(IntEnum):
    """What alignment says of one reading."""

    ADMITTED = 0
    DUPLICATE = 1
    CONFLICT = 2
    LATE = 3
    FUTURE = 4


def in_order(time: NDArray[np.int64], before: NDArray[np.int64], horizon: int | None) -> NDArray[np.bool_]:
    """Readings (n,) newer than the one `before` (n,) them and not beyond `horizon` (None: nothing is future).

    >>> in_order(np.array([5, 9, 9, 40]), np.array([NEVER, 5, 9, 9]), 30)
    array([ True,  True, False, False])
    """
    admitted: NDArray[np.bool_] = time > before
    if horizon is not None:
        admitted &= time <= horizon
    return admitted


def align(
    last: int,
    known: Iterable[tuple[int, int]],
    readings: Iterable[tuple[int, int]],
    horizon: int | None,
    depth: int,
) -> tuple[list[Verdict], list[int]]:
    """Judge the `readings` (time, digest) of one equipment one after the other.

    `known` are (time, digest) of its recent readings, oldest first, of which `depth` are remembered at any moment;
    `last` is the time of the last one. Returns a verdict each, and for duplicates what they repeat: an index into
    `known`, continued by `readings` (-1 otherwise).

    >>> align(10, [(5, 111), (10, 222)], [(10, 222), (11, 7), (11, 8), (5, 111), (4, 1), (99, 1)], 50, 32)[0]
    [<Verdict.DUPLICATE: 1>, <Verdict.ADMITTED: 0>, <Verdict.CONFLICT: 2>, <Verdict.DUPLICATE: 1>, <Verdict.LATE: 3>, \
<Verdict.FUTURE: 4>]
    """
    recent = {time: (digest, index) for index, (time, digest) in enumerate(known)}
    base = len(recent)
    verdicts: list[Verdict] = []
    sources: list[int] = []
    for index, (time, digest) in enumerate(readings, start=base):
        source = -1
        if horizon is not None and time > horizon:
            verdict = Verdict.FUTURE
        elif time > last:
            verdict, last = Verdict.ADMITTED, time
            recent[time] = (digest, index)
            if len(recent) > depth:
                del recent[next(iter(recent))]
        elif time not in recent:
            verdict = Verdict.LATE
        elif recent[time][0] != digest:
            verdict = Verdict.CONFLICT
        else:
            verdict, source = Verdict.DUPLICATE, recent[time][1]
        verdicts.append(verdict)
        sources.append(source)
    return verdicts, sources
