"""What a record did, done again: after a crash, the state is what it was, bit for bit on the same engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models.artifact import LoadedModel
from service import ring
from service.admission import Holes, in_waves
from service.bank import Bank
from service.columns import Index
from service.entry import enter_again, missing_values, ordered
from service.equipment import NO_BANK
from service.merging import Merged, merge
from service.records import ModelReadings, Record
from service.scoring import Results, remember, step_bank
from service.shard import Shard
from service.sources import shifts_in

ModelOf = Callable[[str], LoadedModel | None]  # by artifact id


def replay(shard: Shard, record: Record, model_of: ModelOf) -> None:
    """Take a shard through the record that comes next. Machines whose model is gone have no memory after it."""
    if record.sequence != shard.sequence:
        raise ValueError(f"record {record.sequence} is replayed after {shard.sequence - 1}")
    for slot, equipment in record.registered:
        if shard.register(equipment) != slot:
            raise ValueError(f"record {record.sequence} registers slot {slot} of {equipment!r} out of order")
    for slot, artifact_id in record.followed:
        model = model_of(artifact_id) if artifact_id else None
        if model is not None:
            shard.follow(slot, model)
        elif shard.columns["bank"][slot] != NO_BANK:
            shard.leave(slot)
    shard.sources.remember(shifts_in(record))
    _wait_again(shard, record, model_of)
    for readings in record.readings:
        model = model_of(readings.artifact_id)
        if model is None:
            _keep_times(shard, readings, record.now)
        else:
            _score_again(shard, shard.bank(model), readings, record.now, heard=record.kind == "readings")
    if record.silenced:
        since = [alarm.start for alarm in record.alarms if alarm.kind == "silent"]  # one each, in this order
        shard.silence(record.silenced, since)
    shard.record(record.kind, record.now, record.received_at, detail=record.detail)


def replay_together(shard: Shard, group: Sequence[Record], model_of: ModelOf) -> None:
    """Take a shard through neighbouring records, all at once where they may be merged."""
    parts = merge(group) if len(group) > 1 else []
    models = [model_of(merged.readings.artifact_id) for merged in parts]
    if not parts or None in models or group[0].sequence != shard.sequence:
        for record in group:
            replay(shard, record, model_of)
        return
    for record in group:
        _wait_again(shard, record, model_of)
    now = np.array([record.now for record in group])
    for merged, model in zip(parts, models, strict=True):
        assert model is not None
        _score_again(shard, shard.bank(model), merged.readings, int(now[-1]), True, merged)
    for record in group:
        for slots in [part.slot for part in record.readings] + [points.slot for points in record.held]:
            shard.columns["heard"][slots] = record.now
    last = group[-1]
    shard.sequence = last.sequence
    shard.record(last.kind, last.now, last.received_at)


def _score_again(
    shard: Shard, bank: Bank, readings: ModelReadings, now: int, heard: bool, merged: Merged | None = None
) -> None:
    """The steps of `scoring.score` for readings that were admitted; the outcomes that were answered stand."""
    missing = missing_values(readings.values)
    valued = None if missing is None else ~np.all(missing, axis=1)
    prints = ring.prints(readings.values, missing, bank.keys)
    admitted = ordered(shard, bank, readings.slot, readings.time, valued)
    rows = admitted.rows
    parts = merged.parts(admitted) if merged else None
    ticks = step_bank(shard, bank, readings.values.take(rows, axis=0), admitted, parts)
    results = _told(readings, rows)
    shard.follow_pace(bank, admitted, results.historical)
    shard.follow_alarms(bank, admitted, ticks, results.alarm, results.historical, now, heard)
    remember(shard, bank, admitted, prints, valued, results, now, heard)


def _wait_again(shard: Shard, record: Record, model_of: ModelOf) -> None:
    """The points of a record wait, and those whose ticks it has scored wait no more."""
    for points in record.held:
        model = model_of(points.artifact_id)
        if model is not None:
            enter_again(shard, points, shard.bank(model), record.now)
    for readings in record.readings if shard.waiting.machines else ():
        _close_again(shard, readings)


def _close_again(shard: Shard, readings: ModelReadings) -> None:
    """Ticks that waited and are scored now wait no more."""
    for slot, time in zip(readings.slot.tolist(), readings.time.tolist(), strict=True):
        if slot in shard.waiting.machines:
            shard.waiting.machines[slot].close_until(time)
            shard.waiting.settle(slot)


def _keep_times(shard: Shard, readings: ModelReadings, now: int) -> None:
    """Readings of a model that is gone: they stay taken, with what was answered, so that none is taken in twice."""
    slot, time, order = readings.slot, readings.time, np.arange(len(readings.slot))
    admitted = in_waves(slot, time, order, Holes(broken=np.ones(len(slot), np.bool_)))
    prints = ring.Prints(np.zeros(len(slot), np.uint64), np.zeros((len(slot), 0), np.uint8))
    missing = missing_values(readings.values)
    valued = None if missing is None else ~np.all(missing, axis=1)
    remember(shard, None, admitted, prints, valued, _told(readings, admitted.rows), now)


def _told(readings: ModelReadings, rows: Index) -> Results:
    """What was answered to some readings; whether an alarm was open is found out again."""
    return Results(
        readings.status[rows], readings.reason[rows], readings.flags[rows], readings.score[rows],
        readings.p_value[rows], np.zeros(len(rows), np.bool_),
    )  # fmt: skip
