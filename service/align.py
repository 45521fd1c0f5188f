"""Readings of one equipment -> what is admitted, and what is a duplicate, a conflict, late or in the future. Pure.

The key of a reading is (equipment, event time). Readings are taken in the order of arrival:

- newer than the last one: ADMITTED;
- time found among the recent ones: CONFLICT where a sensor that came with both has another value, DUPLICATE where all
  that it brings came before, CLOSED where it brings sensors that did not: their tick has been judged without them;
- older than all that is remembered, while no tick has been missed since: REPEATED, its tick was processed;
- older otherwise: LATE;
- beyond the horizon (clock + tolerance): FUTURE, and the last time stays where it is.

`in_order` says for many machines at once which readings need no such judging: nearly all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from models.gaps import NEVER

__all__ = ["NEVER", "Past", "Print", "Verdict", "align", "in_order"]


class Verdict(IntEnum):
    """What alignment says of one reading."""

    ADMITTED = 0
    DUPLICATE = 1
    CONFLICT = 2
    LATE = 3
    FUTURE = 4
    REPEATED = 5
    CLOSED = 6


@dataclass(frozen=True, slots=True)
class Print:
    """What is remembered of the values of a reading: `digest` of all, and a `mark` of each sensor, 0 where it brought
    none."""

    digest: int
    marks: bytes

    def beside(self, stored: Print) -> Verdict:
        """What a reading with this print is, where one of the same time is `stored`.

        >>> stored = Print(1, bytes([7, 0, 9]))
        >>> [Print(2, bytes(m)).beside(stored).name for m in ([7, 0, 0], [8, 0, 9], [7, 5, 9])]
        ['DUPLICATE', 'CONFLICT', 'CLOSED']
        """
        if self.digest == stored.digest:
            return Verdict.DUPLICATE
        pairs = list(zip(self.marks, stored.marks, strict=True))
        if any(mine and theirs and mine != theirs for mine, theirs in pairs):
            return Verdict.CONFLICT
        return Verdict.CLOSED if any(mine and not theirs for mine, theirs in pairs) else Verdict.DUPLICATE


@dataclass(slots=True)
class Past:
    """What is known of the readings that one equipment sent before: the time of the `last` one, since when none was
    missed (`unbroken`, microseconds), and by how much two neighbours may be apart for that (`stride`)."""

    last: int = NEVER
    unbroken: int = NEVER
    stride: int = 0

    def admit(self, time: int) -> None:
        """A newer reading has come."""
        if time - self.last > self.stride:
            self.unbroken = time
        self.last = time


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
    past: Past,
    known: Iterable[tuple[int, Print]],
    readings: Iterable[tuple[int, Print]],
    horizon: int | None,
    depth: int,
) -> tuple[list[Verdict], list[int]]:
    """Judge the `readings` (time, print) of one equipment one after the other; `past` is taken along.

    `known` are (time, print) of its recent readings, oldest first, of which `depth` are remembered at any moment.
    Returns a verdict each, and for duplicates what they repeat: an index into `known`, continued by `readings` (-1
    otherwise).

    >>> one, two = Print(1, b"1"), Print(2, b"2")
    >>> sent = [(10, two), (11, one), (11, two), (5, one), (4, one), (99, one)]
    >>> [verdict.name for verdict in align(Past(10, 5, 1), [(5, one), (10, two)], sent, 50, 32)[0]]
    ['DUPLICATE', 'ADMITTED', 'CONFLICT', 'DUPLICATE', 'LATE', 'FUTURE']
    """
    recent = {time: (print, index) for index, (time, print) in enumerate(known)}
    base = len(recent)
    verdicts: list[Verdict] = []
    sources: list[int] = []
    for index, (time, print) in enumerate(readings, start=base):
        source = -1
        if horizon is not None and time > horizon:
            verdict = Verdict.FUTURE
        elif time > past.last:
            verdict = Verdict.ADMITTED
            past.admit(time)
            recent[time] = (print, index)
            if len(recent) > depth:
                del recent[next(iter(recent))]
        elif time in recent:
            verdict = print.beside(recent[time][0])
            if verdict is Verdict.DUPLICATE:
                source = recent[time][1]
        elif len(recent) == depth and past.unbroken <= time < next(iter(recent)):
            verdict = Verdict.REPEATED
        else:
            verdict = Verdict.LATE
        verdicts.append(verdict)
        sources.append(source)
    return verdicts, sources
