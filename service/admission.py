"""Which readings of a micro-batch are admitted, and the order in which the detector takes them.

Judged for all machines at once where times simply go up; machine by machine (`align`) where they do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.gaps import after_gap, skipped_ticks
from service import ring
from service.align import NEVER, Past, Print, Verdict, align, in_order
from service.columns import Columns, Index
from service.ring import Prints

RADIX_SORTED = 1 << 16  # slots below it sort in linear time


@dataclass(slots=True)
class Admitted:
    """Admitted readings in wave order: wave k holds the k-th reading of every machine that has one, machines with more
    readings first."""

    rows: Index  # (n,) reading of each row
    time: NDArray[np.int64]  # (n,)
    slot: Index  # (n,)
    rank: Index | None  # (n,) which reading of its machine; None where every machine has one
    machines: Index  # (m,) slots, most readings first
    counts: Index  # (m,) readings of each
    sizes: list[int]  # of the waves
    reset: NDArray[np.bool_] | None  # (n,) after a gap; None where there is none
    skipped: NDArray[np.int64] | None = None  # (n,) ticks that did not come before it; None where none is missing
    broken: NDArray[np.bool_] | None = None  # (n,) a tick was missed before it; None where none was

    def rows_of(self, machine: int) -> Index:
        """Rows of one machine (index into `machines`), in order of time."""
        starts = np.cumsum([0, *self.sizes[: self.counts[machine] - 1]])
        return starts + machine

    def last(self) -> Index:
        """Row of the last reading of each machine."""
        if self.rank is None:
            return np.arange(len(self.machines))
        starts = np.cumsum([0, *self.sizes])
        return starts[self.counts - 1] + np.arange(len(self.machines))


@dataclass(slots=True)
class Admission:
    """What alignment said of the readings of one model (indices into the arrays given to `admit`)."""

    admitted: Admitted
    refused: list[tuple[int, Verdict]] = field(default_factory=list)  # conflict, late, future
    repeated: list[tuple[int, int]] = field(default_factory=list)  # duplicate, and the reading of this batch it repeats
    stored: list[tuple[int, int, int]] = field(
        default_factory=list
    )  # duplicate, its slot, and place in the recent ring


@dataclass(frozen=True, slots=True)
class Pace:
    """How the readings of a model follow each other, in microseconds: ticks of `interval` (0: nothing is known of
    them); over `gap` without any value, the memory starts anew."""

    gap: int
    interval: int = 0

    @property
    def stride(self) -> int:
        """How far neighbours may be apart with no tick missed between them."""
        return 2 * self.interval - self.interval // 2 - 1


Marks = Callable[[int], NDArray[np.uint8]]  # of the recent readings (k, d) of a slot, oldest first


def admit(
    columns: Columns,
    slots: Index,
    time: NDArray[np.int64],
    prints: Prints,
    horizon: int | None,
    pace: Pace,
    marks: Marks,
    valued: NDArray[np.bool_] | None = None,
) -> Admission:
    """Align readings, given in order of arrival: `slots`, `time`, `prints` (n,). Readings beyond `horizon` are future;
    `valued` (n,) are those with any value (None: all), `marks` are asked for where readings are not in order."""
    order = by_machine(slots, columns.used)
    before = time_before(columns, slots[order], time[order])
    ordered = in_order(time[order], before, horizon)
    admission = Admission(_NOTHING)
    if not ordered.all():
        order = _align_disordered(columns, slots, time, prints, horizon, pace, marks, order, ordered, admission)
        before = time_before(columns, slots[order], time[order])
    admission.admitted = in_waves(slots, time, order, holes(columns, slots, time, order, before, valued, pace))
    return admission


def by_machine(slots: Index, used: int) -> Index:
    """Readings sorted by machine, each machine's in order of arrival."""
    if len(slots) == 1:
        return np.zeros(1, np.intp)
    return np.argsort(slots.astype(np.uint16) if used <= RADIX_SORTED else slots, kind="stable")


def _starts(slot: Index) -> Index:
    """Where each machine begins in an array sorted by machine."""
    edge = np.empty(len(slot), np.bool_)
    edge[:1] = True
    np.not_equal(slot[1:], slot[:-1], out=edge[1:])
    return np.flatnonzero(edge)


def time_before(columns: Columns, slot: Index, time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Time of the reading before each one, in arrays sorted by machine."""
    before = np.empty_like(time)
    before[1:] = time[:-1]
    starts = _starts(slot)
    before[starts] = columns["last_time"][slot[starts]]
    return before


def _align_disordered(
    columns: Columns,
    slots: Index,
    time: NDArray[np.int64],
    prints: Prints,
    horizon: int | None,
    pace: Pace,
    marks: Marks,
    order: Index,
    ordered: NDArray[np.bool_],
    admission: Admission,
) -> Index:
    """Judge the machines that have a reading out of order one reading after the other; what is left of `order`."""
    starts = _starts(slots[order])
    ends = np.append(starts[1:], len(order))
    keep = np.ones(len(order), np.bool_)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if ordered[start:end].all():
            continue
        rows = order[start:end].tolist()
        slot = int(slots[rows[0]])
        recent = ring.recent(columns, slot)
        known = zip(recent.time.tolist(), _prints(recent.digest, marks(slot)), strict=True)
        readings = zip(time[rows].tolist(), _prints(prints.digest[rows], prints.marks[rows]), strict=True)
        past = Past(int(columns["last_time"][slot]), int(columns["unbroken"][slot]), pace.stride)
        verdicts, sources = align(past, known, readings, horizon, ring.RING_RESULTS)
        keep[start:end] = [verdict is Verdict.ADMITTED for verdict in verdicts]
        for row, verdict, source in zip(rows, verdicts, sources, strict=True):
            if verdict is Verdict.DUPLICATE and source < len(recent):
                admission.stored.append((row, slot, source))
            elif verdict is Verdict.DUPLICATE:
                admission.repeated.append((row, rows[source - len(recent)]))
            elif verdict is not Verdict.ADMITTED:
                admission.refused.append((row, verdict))
    return order[keep]


def _prints(digest: NDArray[np.uint64], marks: NDArray[np.uint8]) -> list[Print]:
    return [Print(of_all, of_each.tobytes()) for of_all, of_each in zip(digest.tolist(), marks, strict=True)]


@dataclass(frozen=True, slots=True)
class Holes:
    """What did not come before readings (n,): see `Admitted`."""

    reset: NDArray[np.bool_] | None = None
    skipped: NDArray[np.int64] | None = None
    broken: NDArray[np.bool_] | None = None

    def of(self, rows: Index) -> tuple[Any, Any, Any]:
        """Those of some rows."""
        return tuple(  # type: ignore[return-value]
            None if array is None else array[rows] for array in (self.reset, self.skipped, self.broken)
        )


def in_waves(slots: Index, time: NDArray[np.int64], order: Index, before: Holes) -> Admitted:
    """From readings sorted by machine (`order`, and in it what did not come `before`) to readings in wave order."""
    slot, starts = slots[order], _starts(slots[order])
    count = len(order)
    if len(starts) == count:  # one reading a machine: one wave
        ones, sizes = np.ones(count, np.intp), [count] if count else []
        return Admitted(order, time[order], slot, None, slot, ones, sizes, before.reset, before.skipped, before.broken)
    counts = np.diff(starts, append=count)
    rank = np.arange(count) - np.repeat(starts, counts)
    by_count = np.argsort(-counts, kind="stable")
    place = np.empty(len(counts), np.intp)
    place[by_count] = np.arange(len(counts))
    size = np.cumsum(np.bincount(counts)[:0:-1])[::-1]
    row = (np.cumsum(size) - size)[rank] + np.repeat(place, counts)
    wave_order = np.empty(count, np.intp)
    wave_order[row] = np.arange(count)
    rows = order[wave_order]
    return Admitted(
        rows,
        time[rows],
        slot[wave_order],
        rank[wave_order],
        slot[starts][by_count],
        counts[by_count],
        size.tolist(),
        *before.of(wave_order),
    )


def holes(
    columns: Columns,
    slots: Index,
    time: NDArray[np.int64],
    order: Index,
    before: NDArray[np.int64],
    valued: NDArray[np.bool_] | None,
    pace: Pace,
) -> Holes:
    """What did not come before readings sorted by machine; `before` (n,) is the time of the reading before each."""
    when, own = time[order], None if valued is None else valued[order]
    last = _last_valued(columns, slots[order], before, when, own)
    broken: NDArray[np.bool_] = when - before > pace.stride
    return Holes(
        _after_gap(when, last, own, pace.gap),
        _skipped(when, before, last, pace) if broken.any() else None,
        broken if broken.any() else None,
    )


def _last_valued(
    columns: Columns,
    slot: Index,
    before: NDArray[np.int64],
    time: NDArray[np.int64],
    valued: NDArray[np.bool_] | None,
) -> NDArray[np.int64]:
    """Time of the last reading with any value before each one, in arrays sorted by machine."""
    starts = _starts(slot)
    if not len(starts):
        return before
    entering = columns["valued_time"][slot[starts]]
    if valued is None:
        valued_before = before.copy()
        valued_before[starts] = entering
        return valued_before
    counts = np.diff(starts, append=len(slot))
    place = np.where(valued, np.arange(len(time)), -1)
    last = np.maximum.accumulate(np.concatenate([[-1], place[:-1]]))
    return np.where(last >= np.repeat(starts, counts), time[last], np.repeat(entering, counts))


def _after_gap(
    time: NDArray[np.int64], valued_before: NDArray[np.int64], valued: NDArray[np.bool_] | None, gap: int
) -> NDArray[np.bool_] | None:
    """Readings before which the machine had sent no value for longer than `gap`; None where there is none. A reading
    without any value starts nothing anew: the next one with a value does."""
    reset: NDArray[np.bool_] = after_gap(time, valued_before, gap) & (valued_before != NEVER)
    if valued is not None:
        reset &= valued
    return reset if reset.any() else None


def _skipped(
    time: NDArray[np.int64], before: NDArray[np.int64], valued_before: NDArray[np.int64], pace: Pace
) -> NDArray[np.int64] | None:
    """Ticks that did not come before each reading; None where none is missing, or nothing is known of ticks. Before the
    first value there is no memory that could go on."""
    if not pace.interval:
        return None
    skipped = np.where(valued_before == NEVER, 0, skipped_ticks(time, before, pace.interval, pace.gap))
    return skipped if skipped.any() else None


_NONE: Any = np.empty(0, np.intp)
_NOTHING = Admitted(_NONE, _NONE, _NONE, None, _NONE, _NONE, [], None)
