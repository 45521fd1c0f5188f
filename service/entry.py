"""Readings on their way in: collected by model, put together where they wait for others, and aligned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.contract import Bools, Floats, Ints
from models.gaps import NEVER
from service import ring
from service.admission import Admission, Admitted, admit, by_machine, holes, in_waves, time_before
from service.align import Verdict
from service.assembly import Closed, OpenTick, Waiting
from service.bank import Bank
from service.columns import Columns, Index
from service.micro_batch import MicroBatch
from service.outcome import Outcome
from service.records import HELD_ARRAYS, HeldPoints
from service.ring import Prints
from service.shard import Shard
from service.status import Reason, Status

VERDICTS = {
    Verdict.CONFLICT: (Status.REJECTED, Reason.CONFLICT),
    Verdict.LATE: (Status.LATE, Reason.NONE),
    Verdict.FUTURE: (Status.REJECTED, Reason.FUTURE),
    Verdict.REPEATED: (Status.DUPLICATE, Reason.ALREADY_PROCESSED),
    Verdict.CLOSED: (Status.LATE, Reason.ALREADY_PROCESSED),
    Verdict.DUPLICATE: (Status.DUPLICATE, Reason.NONE),  # of a reading that waits
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Readings (n) of one model that go on to be scored, in order of arrival, and what alignment said of them; `held`
    are the points that wait, in ticks of which `opened` are new."""

    bank: Bank
    places: Index  # where the outcome of each goes
    x: Floats  # (n, d)
    missing: Bools | None  # (n, d); None where nothing is
    valued: Bools | None  # (n,) readings with any value; None: all
    prints: Prints
    admission: Admission
    held: HeldPoints | None = None
    opened: list[OpenTick] = field(default_factory=list)


def missing_values(x: Floats) -> Bools | None:
    """Which values are missing (n, d); None where none is."""
    missing: Bools = np.isnan(x)
    return missing if missing.any() else None


def enter(
    shard: Shard, bank: Bank, batch: MicroBatch, flat: Index, slot: Index, now: int, horizon: int | None, out: Outcome
) -> Entry:
    """Align the readings `flat` of one model. What is refused, repeats an earlier one or waits has its outcome."""
    places, time, x = batch.places(flat), batch.time[flat], bank.collect(batch, flat)
    held, opened = None, []
    judged = horizon
    if shard.waiting.possible:
        meeting = Meeting(shard, bank, now, horizon, out)
        given = bank.given(batch, flat)
        slow = _waits(shard, bank, slot, time, given)
        if horizon is not None:
            slow |= time > horizon  # they are refused here; what waited has been judged
        judged = None
        if slow.any():
            for row in np.flatnonzero(slow).tolist():
                meeting.take(int(slot[row]), int(time[row]), x[row], None if given is None else given[row], places[row])
            at_once = ~slow
            slot, time, x, places = meeting.after(slot[at_once], time[at_once], x[at_once], places[at_once])
            held, opened = meeting.points(), meeting.opened
    missing = missing_values(x)
    valued: Bools | None = None if missing is None else ~np.all(missing, axis=1)
    prints = ring.prints(x, missing, bank.keys)
    admission = admit(
        shard.columns, slot, time, prints, judged, bank.pace, partial(_marks, shard.columns, bank), valued
    )
    for row, verdict in admission.refused:
        if shard.columns["joined"][slot[row]]:
            verdict = Verdict.REPEATED  # of its ticks, only those go to be aligned again that are known to be closed
        out.status[places[row]], out.reason[places[row]] = VERDICTS[verdict]
    return Entry(bank, places, x, missing, valued, prints, admission, held, opened)


def _marks(columns: Columns, bank: Bank, slot: int) -> NDArray[np.uint8]:
    """Marks of the recent readings of one machine, oldest first."""
    marks: NDArray[np.uint8] = bank.columns["marks"][columns["row"][slot], ring.order(columns, slot)]
    return marks


def _waits(shard: Shard, bank: Bank, slot: Index, time: Ints, given: Bools | None) -> Bools:
    """Readings (n,) of machines that send points, have ticks that wait, or send what is not simply their next tick."""
    columns = shard.columns
    slow: Bools = columns["joined"][slot] | columns["waits"][slot]
    if shard.limits.window.reorder:
        order = by_machine(slot, columns.used)
        before = time_before(columns, slot[order], time[order])
        step = time[order] - before
        other = np.empty(len(slot), np.bool_)
        other[order] = (step <= 0) | ((step > bank.pace.stride) & (before != NEVER))
        if given is not None:
            other |= ~given.all(1)
        of_machine = np.zeros(columns.used, np.bool_)
        of_machine[slot[other]] = True
        slow |= of_machine[slot]
    return slow


class Meeting:
    """Where the readings of one model that may have to wait meet what waits already, one after the other."""

    def __init__(self, shard: Shard, bank: Bank, now: int, horizon: int | None, outcome: Outcome) -> None:
        self.shard, self.bank, self.now, self.horizon, self.outcome = shard, bank, now, horizon, outcome
        self.opened: list[OpenTick] = []
        self._last: dict[int, int] = {}
        self._through: list[tuple[int, int, Floats, int]] = []  # slot, time, values, place
        self._unseen = 0  # ticks that no reading of this micro-batch is answered for
        self._points: list[tuple[int, int, int, int, float]] = []

    def take(self, slot: int, time: int, values: Floats, given: Bools | None, place: int) -> None:
        """One reading: it goes on, waits, or has its outcome."""
        self._take(slot, time, values, given, place)
        self.shard.waiting.settle(slot)

    def _take(self, slot: int, time: int, values: Floats, given: Bools | None, place: int) -> None:
        machine = self.shard.waiting.of(slot, self.bank.detector.sensors)
        last = self._last.get(slot, int(self.shard.columns["last_time"][slot]))
        tick = machine.tick_of(time, self.bank.pace.interval)
        if self.horizon is not None and time > self.horizon:
            self.outcome.reject(np.array([place]), Reason.FUTURE)
            return
        if tick <= last and not machine.joined:
            self._through.append((slot, time, values, place))
            return
        given = np.ones(len(values), np.bool_) if given is None else given
        new = tick not in machine.ticks
        late = tick <= last
        verdict = machine.late(tick, time, values, given) if late else machine.add(tick, time, values, given, self.now)
        if late and verdict is Verdict.DUPLICATE:
            self._through.append((slot, tick, np.full(len(values), np.nan), place))  # for the result of its tick
            return
        if verdict is not Verdict.ADMITTED:
            self.outcome.status[place], self.outcome.reason[place] = VERDICTS[verdict]
            return
        if new:
            self.opened.append(machine.ticks[tick])
        if not self._close(machine, slot, last, tick, place) or machine.joined:
            self._points += [
                (slot, tick, time, sensor, float(values[sensor])) for sensor in np.flatnonzero(given).tolist()
            ]

    def _close(self, machine: Waiting, slot: int, last: int, own: int, place: int) -> bool:
        """Close the ticks that are ready; whether that of the reading itself, tick `own`, is one of them."""
        self.outcome.status[place], self.outcome.reason[place] = Status.HELD, Reason.NONE
        answered = False
        limits, room = self.shard.limits, self.shard.waiting.room
        holds = limits.holds(self.bank.model)
        for closed in machine.closing(last, self.now, limits.window, self.bank.pace, holds, room):
            mine = closed.time == own
            answered |= mine
            self._through.append((slot, closed.time, closed.values, place if mine else -1))
            self._unseen += not mine
            self._last[slot] = closed.time
        return answered

    def after(self, slot: Index, time: Ints, x: Floats, places: Index) -> tuple[Index, Ints, Floats, Index]:
        """These readings, and then those that went on; ticks that nobody asked for get a place beyond all others."""
        if not self._through:
            return slot, time, x, places
        slots, times, rows, own = zip(*self._through, strict=True)
        place = np.array(own, np.intp)
        place[place < 0] = self.outcome.extend(self._unseen) + np.arange(self._unseen)
        return (
            np.concatenate([slot, np.array(slots, np.intp)]),
            np.concatenate([time, np.array(times, np.int64)]),
            np.concatenate([x, np.stack(rows)]),
            np.concatenate([places, place]),
        )

    def points(self) -> HeldPoints | None:
        """What was taken in and waits, for the record."""
        if not self._points:
            return None
        arrays: list[Any] = list(zip(*self._points, strict=True))
        named = {name: np.array(array, dtype) for (name, dtype), array in zip(HELD_ARRAYS.items(), arrays, strict=True)}
        return HeldPoints(self.bank.model.artifact_id, **named)


def due(shard: Shard, now: int) -> list[tuple[Bank, Index, Ints, Floats]]:
    """Ticks that waited and are closed by the clock, by model: the slot (n,), time (n,) and values (n, d) of each, by
    machine and time."""
    found: dict[int, list[tuple[int, Closed]]] = {}
    for slot in sorted(shard.waiting.machines):
        if shard.waiting.room.full:
            shard.waiting.room.more = True
            break
        bank = shard.banks.get(int(shard.columns["bank"][slot]))
        if bank is not None:
            closed = list(_due(shard, bank, slot, shard.waiting.of(slot, bank.detector.sensors), now))
            found.setdefault(bank.number, []).extend((slot, tick) for tick in closed)
            shard.waiting.settle(slot)
    return [
        (
            shard.banks[number],
            np.array([slot for slot, _ in ticks], np.intp),
            np.array([tick.time for _, tick in ticks], np.int64),
            np.stack([tick.values for _, tick in ticks]),
        )
        for number, ticks in sorted(found.items())
        if ticks
    ]


def all_due(shard: Shard) -> int | None:
    """When the clock will have closed every tick that waits now; None where none does."""
    found = []
    for slot, machine in shard.waiting.machines.items():
        bank = shard.banks.get(int(shard.columns["bank"][slot]))
        if bank is not None and machine.ticks:
            wait = shard.limits.window.reorder + bool(shard.columns["joined"][slot]) * bank.pace.interval
            found.append(max(tick.came for tick in machine.ticks.values()) + wait)
    return max(found, default=None)


def _due(shard: Shard, bank: Bank, slot: int, machine: Waiting, now: int) -> Iterator[Closed]:
    """The ticks of one machine. One that has fallen quiet goes on with the values that it may hold: its clock is taken
    to go on since it was heard."""
    limits, room = shard.limits, shard.waiting.room
    last, heard = int(shard.columns["last_time"][slot]), int(shard.columns["heard"][slot])
    holds = limits.holds(bank.model)
    until = machine.newest(last) + (now - heard) - limits.window.reorder - bank.pace.interval
    for tick in machine.closing(last, now, limits.window, bank.pace, holds, room):
        last = tick.time
        yield tick
    yield from machine.quiet(last, until, bank.pace, holds, room)


def ordered(shard: Shard, bank: Bank, slot: Index, time: Ints, valued: Bools | None) -> Admitted:
    """Readings (n,) that are known to be admitted, by machine and time, in wave order; `valued` are those with any
    value (None: all)."""
    before, order = time_before(shard.columns, slot, time), np.arange(len(slot))
    return in_waves(slot, time, order, holes(shard.columns, slot, time, order, before, valued, bank.pace))


def enter_again(shard: Shard, points: HeldPoints, bank: Bank, now: int) -> None:
    """Points of a record: they wait again. Those of one reading are together."""
    place = np.stack([points.slot, points.tick, points.time])
    starts = np.flatnonzero(np.append(True, (np.diff(place) != 0).any(0))[: len(points.slot)])
    bounds = [*starts.tolist(), len(points.slot)]
    sensors, values = points.sensor.tolist(), points.value.tolist()
    for (slot, tick, time), (start, end) in zip(place[:, starts].T.tolist(), pairwise(bounds), strict=True):
        found = shard.waiting.of(slot, bank.detector.sensors).open(tick, now)
        for sensor, value in zip(sensors[start:end], values[start:end], strict=True):
            if found.stamp[sensor] < time:
                found.value[sensor], found.stamp[sensor] = value, time
    slots = np.unique(points.slot).tolist()
    for slot in slots:
        shard.waiting.settle(slot)
    shard.hear(slots, now)
