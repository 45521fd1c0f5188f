"""The table of contents of serving: how a reading becomes a score. `score` shows the order of the steps; `step` makes
of it what is answered and what is kept.

What `score` calls is pure or writes to one place only; the branches are here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.artifact import LoadedModel
from models.contract import Bools, Floats
from models.explain import shares, top_sensors
from models.state import Ticks
from service import ring
from service.admission import Admission, Admitted
from service.alarms import SHARE_MIN
from service.align import NEVER
from service.assembly import Room
from service.bank import Bank
from service.columns import Index
from service.entry import Entry, due, enter, missing_values, ordered
from service.ingest.batch import Body
from service.limits import ShardLimits
from service.merging import Parts
from service.micro_batch import MicroBatch, gather
from service.outcome import TOP_SENSORS, BodyOutcome, Outcome
from service.records import HeldPoints, ModelReadings, Record
from service.ring import Prints
from service.shard import Shard
from service.sources import Shift, told
from service.status import Flag, Reason, Status


@dataclass(frozen=True, slots=True)
class Instant:
    """When a micro-batch is scored, in microseconds: what the clock says, the last time that is not the future, and the
    first one that is not `historical` (both None where the clock follows the readings)."""

    now: int
    horizon: int | None
    historical: int | None = None

    @classmethod
    def of(cls, limits: ShardLimits, now: int, wall: int) -> Instant:
        """The clock and the wall's may differ: neither alone makes readings future or historical."""
        if limits.future is None:
            return cls(now, None)
        return cls(now, max(now, wall) + limits.future, min(now, wall) - limits.historical)

    def after(self, entries: Sequence[Entry]) -> int:
        """What the clock says once some readings are in: where it follows them, at least their newest time."""
        if self.horizon is not None:
            return self.now
        taken = [entry.admission.admitted.time for entry in entries]
        taken += [entry.held.time for entry in entries if entry.held]
        return max([self.now, *(int(time.max(initial=NEVER)) for time in taken)])


@dataclass(slots=True)
class Results:
    """What came of the admitted readings of one model, in wave order."""

    status: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    flags: NDArray[np.uint16]
    score: NDArray[np.float32]
    p_value: NDArray[np.float32]
    alarm: Bools

    @property
    def historical(self) -> Bools:
        """Which of them are of long ago (n,)."""
        found: Bools = (self.flags & Flag.HISTORICAL) != 0
        return found


@dataclass(frozen=True, slots=True)
class Stepped:
    """What one micro-batch came to; the outcomes may be told once the record is safe."""

    outcomes: list[BodyOutcome]
    record: Record


def step(shard: Shard, bodies: Sequence[Body], now: int, received_at: int | None = None) -> Stepped:
    """Admit and score the readings of some bodies; `now` is what the clock says, `received_at` the wall's time."""
    received_at = now if received_at is None else received_at
    shifts: list[Shift] = []
    if shard.limits.future is not None:  # else the readings are the clock
        bodies, shifts = shard.sources.place(bodies, max(now, received_at))
    scored = score(shard, bodies, Instant.of(shard.limits, now, received_at))
    batch, outcome = scored.batch, scored.outcome
    shard.counters.readings += np.bincount(outcome.status[: batch.received], minlength=len(Status))
    shard.counters.unknown_values += outcome.unknown_values
    outcomes = []
    for number, body in enumerate(bodies):
        lo, hi = batch.offsets[number], batch.offsets[number + 1]
        for refusal in body.refused:
            outcome.reason[lo + refusal.row] = refusal.reason
        warnings = _warnings(outcome.unknown.get(number, ()), shard.limits.warnings_max)
        outcomes.append(outcome.body(lo, hi, body.form == "rows", shard.names, warnings))
    record = shard.record("readings", scored.now, received_at, scored.kept, detail=told(shifts), held=scored.held)
    return Stepped(outcomes, record)


def score(shard: Shard, bodies: Sequence[Body], instant: Instant) -> Scored:
    """The steps of serving, in their order, for all readings that wait."""
    shard.waiting.room = Room(more=shard.waiting.room.more)
    batch = gather(bodies)
    outcome = Outcome.blank(batch.received, top=any(body.form == "rows" for body in bodies))
    runs = shard.place(batch.equipment, Welcome(shard, batch, instant.horizon))
    entries = [
        enter(shard, bank, batch, flat, slot, instant.now, instant.horizon, outcome)
        for bank, flat, slot in _by_model(shard, batch, runs, outcome)
    ]
    now = instant.after(entries)
    kept: list[ModelReadings] = []
    for entry in entries:
        bank, admitted, places = entry.bank, entry.admission.admitted, entry.places
        _hold(shard, entry, now)
        _repeat_stored(shard, entry.admission, places, outcome)
        if admitted.sizes:
            x = entry.x.take(admitted.rows, axis=0)
            ticks = step_bank(shard, bank, x, admitted)
            results = _judge(ticks, admitted, entry.missing, instant.historical)
            shard.follow_pace(bank, admitted, results.historical)
            shard.follow_alarms(bank, admitted, ticks, results.alarm, results.historical, now)
            remember(shard, bank, admitted, entry.prints, entry.valued, results, now)
            _write(outcome, places[admitted.rows], results)
            _name_sensors(outcome, batch, places[admitted.rows], bank, ticks, bodies)
            kept.append(_keep(bank, admitted, x, results))
        _repeat_new(entry.admission, places, outcome)
    return Scored(batch, outcome, kept, [entry.held for entry in entries if entry.held], now)


def look(shard: Shard, now: int, received_at: int | None = None) -> Record | None:
    """What is due by the clock: ticks that waited are scored, machines that fell silent have an alarm. The record,
    None where there is nothing."""
    wall = now if received_at is None else received_at
    historical = Instant.of(shard.limits, now, wall).historical
    shard.waiting.room = Room()
    kept: list[ModelReadings] = []
    for bank, slot, time, x in due(shard, now):
        missing = missing_values(x)
        valued = None if missing is None else ~np.all(missing, axis=1)
        admitted = ordered(shard, bank, slot, time, valued)
        rows = x.take(admitted.rows, axis=0)
        ticks = step_bank(shard, bank, rows, admitted)
        results = _judge(ticks, admitted, missing, historical)
        shard.follow_pace(bank, admitted, results.historical)
        shard.follow_alarms(bank, admitted, ticks, results.alarm, results.historical, now, heard=False)
        prints = ring.prints(x, missing, bank.keys)
        remember(shard, bank, admitted, prints, valued, results, now, heard=False)
        kept.append(_keep(bank, admitted, rows, results))
    return shard.sweep(now, received_at, kept)


def _hold(shard: Shard, entry: Entry, now: int) -> None:
    """What waits came `now`."""
    for tick in entry.opened:
        tick.came = now
    if entry.held is not None:
        shard.hear(np.unique(entry.held.slot).tolist(), now)


@dataclass(frozen=True, slots=True)
class Scored:
    """A micro-batch that was scored at `now`: what became of its readings, and what is kept of them."""

    batch: MicroBatch
    outcome: Outcome
    kept: list[ModelReadings]
    held: list[HeldPoints]
    now: int


def step_bank(shard: Shard, bank: Bank, x: Floats, admitted: Admitted, parts: Parts | None = None) -> Ticks:
    """Advance the machines of one model by their admitted readings `x` (n, d); `parts` as `Bank.step` has it."""
    return bank.step(shard.columns["row"][admitted.machines], x, admitted, shard.centres(bank, admitted.slot), parts)


class Welcome:
    """Whether a machine that is met for the first time gets a place: not for readings that will be rejected."""

    def __init__(self, shard: Shard, batch: MicroBatch, horizon: int | None) -> None:
        self.shard, self.batch, self.horizon = shard, batch, horizon
        self._starts = np.cumsum([0, *batch.counts[:-1]]) if batch.counts else np.empty(0, np.intp)
        self._bare: dict[str, Bools] = {}  # by artifact id

    def __call__(self, run: int, model: LoadedModel) -> Reason:
        """NONE, or why no reading of the run can be admitted."""
        if self.horizon is not None and self._earliest[run] > self.horizon:
            return Reason.FUTURE
        return Reason.NO_SENSOR if self._without_sensor(model)[run] else Reason.NONE

    @cached_property
    def _earliest(self) -> NDArray[np.int64]:
        return np.minimum.reduceat(self.batch.time, self._starts)

    def _without_sensor(self, model: LoadedModel) -> Bools:
        """Runs (r,) in which no reading has a sensor that the model knows."""
        if model.artifact_id not in self._bare:
            blind = self.shard.looked_into(model).blind(self.batch, np.arange(self.batch.readings))
            none = np.zeros(self.batch.readings, np.bool_)
            self._bare[model.artifact_id] = np.logical_and.reduceat(none if blind is None else blind, self._starts)
        return self._bare[model.artifact_id]


def _by_model(shard: Shard, batch: MicroBatch, runs: Index, outcome: Outcome) -> Iterator[tuple[Bank, Index, Index]]:
    """Readings of each model in order of arrival, and their slots; those with no model, no room or no sensor that the
    model knows are rejected."""
    slot = batch.per_reading(runs)
    flat = np.arange(batch.readings) if batch.arrival is None else batch.arrival
    if len(runs) and runs.min() < 0:
        for reason in (Reason.NO_MODEL, Reason.LIMIT, Reason.FUTURE, Reason.NO_SENSOR):
            outcome.reject(batch.places(np.flatnonzero(slot == -reason)), reason)
        flat = flat[slot[flat] >= 0]
    if not len(flat):
        return
    slot = slot[flat]
    number = shard.columns["bank"][slot]
    for bank in shard.banks_of(number):
        mine = slice(None) if (number == bank.number).all() else np.flatnonzero(number == bank.number)
        found, of = flat[mine], slot[mine]
        for strangers in bank.unknown(batch, found):
            outcome.leave_out(*strangers)
        blind = bank.blind(batch, found)
        if blind is not None:
            outcome.reject(batch.places(found[blind]), Reason.NO_SENSOR)
            found, of = found[~blind], of[~blind]
        yield bank, found, of


def _repeat_stored(shard: Shard, admission: Admission, places: Index, outcome: Outcome) -> None:
    """Duplicates of readings that were answered before: from the ring, before new results take their place there."""
    for row, slot, source in admission.stored:
        recent, place = ring.recent(shard.columns, slot), places[row]
        outcome.status[place], outcome.reason[place] = Status.DUPLICATE, recent.reason[source]
        outcome.flags[place], outcome.alarm[place] = recent.flags[source], recent.alarm[source]
        outcome.score[place], outcome.p_value[place] = recent.score[source], recent.p_value[source]


def _repeat_new(admission: Admission, places: Index, outcome: Outcome) -> None:
    """Duplicates of readings of this very micro-batch."""
    for row, source in admission.repeated:
        place, origin = places[row], places[source]
        for array in (outcome.reason, outcome.flags, outcome.alarm, outcome.score, outcome.p_value):
            array[place] = array[origin]
        outcome.status[place] = Status.DUPLICATE


def _judge(ticks: Ticks, admitted: Admitted, missing: Bools | None, historical: int | None) -> Results:
    """Status, reason and flags of admitted readings; those before `historical` are of long ago."""
    count = len(ticks.score)
    status = np.where(ticks.warming, np.uint8(Status.WARMING), np.uint8(Status.SCORED))
    unscored = np.isnan(ticks.score) & ~ticks.warming
    status[unscored] = Status.UNSCORED
    reason, flags = np.zeros(count, np.uint8), np.zeros(count, np.uint16)
    reason[unscored] = Reason.NO_SENSOR
    if admitted.reset is not None:
        reason[admitted.reset] = Reason.GAP
    if missing is not None:
        imputed: Bools = np.any(missing, axis=1)[admitted.rows]
        flags[imputed & ~unscored] = Flag.IMPUTED
    if historical is not None:
        flags[admitted.time < historical] |= np.uint16(Flag.HISTORICAL)
    return Results(status, reason, flags, ticks.score, ticks.p_value, np.zeros(count, np.bool_))


def remember(
    shard: Shard,
    bank: Bank | None,
    admitted: Admitted,
    prints: Prints,
    valued: Bools | None,
    results: Results,
    now: int,
    heard: bool = True,
) -> None:
    """Last times, and the results in the rings. `bank` None: the model is gone, and the marks with it; `heard` False:
    the machines did not send anything now."""
    columns = shard.columns
    flags = results.flags
    if results.alarm.any():
        flags = flags | (results.alarm * np.uint16(ring.ALARM_BIT))
    stored = (
        admitted.time,
        prints.digest[admitted.rows],
        results.score,
        results.p_value,
        results.status,
        results.reason,
        flags,
    )
    places = ring.write(columns, admitted.slot, 0 if admitted.rank is None else admitted.rank, stored)
    if bank is not None:
        bank.columns["marks"][columns["row"][admitted.slot], places] = prints.marks[admitted.rows]
    columns["ring_count"][admitted.machines] += admitted.counts
    time = admitted.time if admitted.rank is None else admitted.time[admitted.last()]
    columns["last_time"][admitted.machines] = time
    if heard:
        columns["heard"][admitted.machines] = now
    if admitted.broken is not None:
        np.maximum.at(columns["unbroken"], admitted.slot[admitted.broken], admitted.time[admitted.broken])
    if valued is None:
        columns["valued_time"][admitted.machines] = time
    else:
        own = valued[admitted.rows]
        np.maximum.at(columns["valued_time"], admitted.slot[own], admitted.time[own])


def _write(outcome: Outcome, places: Index, results: Results) -> None:
    outcome.status[places] = results.status
    outcome.reason[places] = results.reason
    outcome.flags[places] = results.flags
    outcome.score[places] = results.score
    outcome.p_value[places] = results.p_value
    outcome.alarm[places] = results.alarm


def _name_sensors(
    outcome: Outcome, batch: MicroBatch, places: Index, bank: Bank, ticks: Ticks, bodies: Sequence[Body]
) -> None:
    """The sensors with the greatest shares, for readings that came in rows and have a score."""
    if outcome.top_sensor is None or outcome.top_share is None:
        return
    asked = np.zeros(len(outcome.status), np.bool_)
    asked[: batch.received] = np.repeat([body.form == "rows" for body in bodies], np.diff(batch.offsets))
    wanted = asked[places]
    rows = np.flatnonzero(wanted & ~np.isnan(ticks.score))
    share = shares(ticks.attribution[rows])
    top = top_sensors(share, TOP_SENSORS)
    height = np.take_along_axis(share, top, axis=1)
    count = top.shape[1]
    outcome.top_sensor[places[rows], :count] = np.where(height >= SHARE_MIN, bank.name_numbers[top], -1)
    outcome.top_share[places[rows], :count] = height


def _keep(bank: Bank, admitted: Admitted, x: Floats, results: Results) -> ModelReadings:
    return ModelReadings(
        bank.model.artifact_id,
        admitted.slot,
        admitted.time,
        x,
        results.status,
        results.reason,
        results.flags | (results.alarm * np.uint16(ring.ALARM_BIT)),
        results.score,
        results.p_value,
    )


def _warnings(unknown: Sequence[str], warnings_max: int) -> list[str]:
    """Sentences on the sensors of one body that its models do not know, each named once."""
    names = list(dict.fromkeys(unknown))
    shown = names[:warnings_max]
    rest = len(names) - len(shown)
    text = [f"sensor {name!r} is not one of the model's; its values were left out" for name in shown]
    return text + [f"and {rest} more sensors that the model does not know"] * (rest > 0)
