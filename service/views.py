"""What the GET routes answer, as they answer it: times as text, missing numbers as null. Reads, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.contract import MICROSECONDS
from models.diagnosis import Diagnosis, diagnose
from models.manifest import Manifest
from service import ring
from service.alarms import Alarm, Opening, SensorShare
from service.align import NEVER
from service.bank import Bank
from service.ingest.times import time_text, time_texts
from service.inspection import SensorView, sensor_views
from service.registry import Registry
from service.shard import Shard
from service.status import REASON_NAMES, STATUS_NAMES, flag_names


class AlarmView(msgspec.Struct):
    """One alarm episode; `end` is null while it is open. `sensors` are those behind all of it, `opening` is what it was
    when it opened: both are told for alarms of kind process."""

    id: str
    kind: str
    equipment: str
    model: str
    version: int
    start: str
    end: str | None
    open: bool
    peak: float | None
    peak_time: str | None
    sensors: list[SensorShare]
    opening: Opening | None
    historical: bool


class AlarmPage(msgspec.Struct):
    """Alarms, newest first, and how many fit in all."""

    alarms: list[AlarmView]
    total: int
    offset: int


class EquipmentEntry(msgspec.Struct):
    """One machine in the list: its last reading and what came of it."""

    equipment: str
    model: str | None
    version: int | None
    last_time: str | None
    status: str | None
    score: float | None
    p_value: float | None
    alarm: bool
    silent: bool


class EquipmentPage(msgspec.Struct):
    """Machines in order of appearance, and how many there are in all."""

    equipment: list[EquipmentEntry]
    total: int
    offset: int


class EquipmentDetail(msgspec.Struct):
    """One machine at its last reading. The contributions sum to `statistic`, the squared prediction error; `leading`
    names the statistic that made the score, of which `share` is each sensor's part."""

    equipment: str
    model: str | None
    version: int | None
    last_time: str | None
    status: str | None
    reason: str
    flags: list[str]
    score: float | None
    p_value: float | None
    alarm: AlarmView | None
    silent: bool
    interval_seconds: float | None
    observed_interval_seconds: float | None
    held: int
    leading: str | None
    statistic: float | None
    sensors: list[SensorView]


class ScoreEntry(msgspec.Struct):
    """What came of one recent reading."""

    time: str
    status: str
    score: float | None
    p_value: float | None
    alarm: bool
    reason: str
    flags: list[str]


class RecentScores(msgspec.Struct):
    """Readings of one machine, oldest first: the last ones, or a page of its history."""

    equipment: str
    scores: list[ScoreEntry]
    next: str | msgspec.UnsetType | None = msgspec.UNSET


class ModelVersion(msgspec.Struct):
    """One version of a model."""

    version: int
    artifact_id: str
    active: bool
    sensors: list[str]
    interval_seconds: float
    memory_size: int
    warmup_ticks: int
    false_alarm_rate: float | None


class ModelEntry(msgspec.Struct):
    """One model; `active` is null where none of its versions serves."""

    name: str
    default: bool
    active: int | None
    versions: list[ModelVersion]


class ModelList(msgspec.Struct):
    """All models of the registry."""

    models: list[ModelEntry]


class Registered(msgspec.Struct):
    """Where an uploaded model is now."""

    name: str
    version: int
    artifact_id: str
    active: bool


class Health(msgspec.Struct):
    """Whether the service works, and what it has: nothing while it starts."""

    status: str
    models: int
    equipment: int
    queued_readings: int


def alarm_view(alarm: Alarm) -> AlarmView:
    """One alarm."""
    return AlarmView(
        id=alarm.id,
        kind=alarm.kind,
        equipment=alarm.equipment,
        model=alarm.model,
        version=alarm.version,
        start=time_text(alarm.start),
        end=_text(alarm.end),
        open=alarm.open,
        peak=alarm.peak,
        peak_time=_text(alarm.peak_time),
        sensors=alarm.sensors,
        opening=alarm.opening,
        historical=alarm.historical,
    )


def alarm_page(alarms: Iterable[Alarm], total: int, offset: int) -> AlarmPage:
    """A page of alarms."""
    return AlarmPage([alarm_view(alarm) for alarm in alarms], total, offset)


def equipment_page(shard: Shard, offset: int, limit: int) -> EquipmentPage:
    """A page of machines."""
    ids, total = shard.equipment_ids(offset, limit)
    return EquipmentPage([_entry(shard, offset + place, name) for place, name in enumerate(ids)], total, offset)


def _entry(shard: Shard, slot: int, equipment: str) -> EquipmentEntry:
    columns = shard.columns
    bank = shard.banks.get(int(columns["bank"][slot]))
    results, last = ring.recent(columns, slot), int(columns["last_time"][slot])
    seen = len(results) > 0
    return EquipmentEntry(
        equipment=equipment,
        model=bank.model.name if bank else None,
        version=bank.model.version if bank else None,
        last_time=None if last == NEVER else time_text(last),
        status=STATUS_NAMES[results.status[-1]] if seen else None,
        score=_number(results.score[-1]) if seen else None,
        p_value=_number(results.p_value[-1]) if seen else None,
        alarm=shard.book.current(equipment, "process") is not None,
        silent=bool(columns["silent"][slot]),
    )


def equipment_detail(shard: Shard, equipment: str) -> EquipmentDetail | None:
    """One machine; None where it has never been seen."""
    slot = shard.equipment_table.slot(equipment)
    if slot is None:
        return None
    entry, results = _entry(shard, slot, equipment), ring.recent(shard.columns, slot)
    alarm = shard.book.current(equipment, "process")
    bank, found = _diagnosis(shard, slot)
    return EquipmentDetail(
        equipment=equipment,
        model=entry.model,
        version=entry.version,
        last_time=entry.last_time,
        status=entry.status,
        reason=REASON_NAMES[results.reason[-1]] if len(results) else "",
        flags=flag_names(int(results.flags[-1])) if len(results) else [],
        score=entry.score,
        p_value=entry.p_value,
        alarm=alarm_view(alarm) if alarm else None,
        silent=entry.silent,
        interval_seconds=bank.detector.interval / MICROSECONDS if bank else None,
        observed_interval_seconds=float(np.median(np.diff(results.time))) / MICROSECONDS if len(results) > 1 else None,
        held=shard.waiting.ticks(slot),
        leading=found.leading if found else None,
        statistic=found.statistic if found else None,
        sensors=sensor_views(bank.detector, found) if bank and found else [],
    )


def _diagnosis(shard: Shard, slot: int) -> tuple[Bank | None, Diagnosis | None]:
    """The bank that a machine is in, and its last tick taken apart."""
    bank = shard.banks.get(int(shard.columns["bank"][slot]))
    if bank is None:
        return None, None
    row = int(shard.columns["row"][slot])
    return bank, diagnose(bank.detector, bank.state(slice(row, row + 1)), int(shard.columns["centre"][slot]))


def recent_scores(shard: Shard, equipment: str) -> RecentScores | None:
    """The ring of one machine; None where it has never been seen."""
    slot = shard.equipment_table.slot(equipment)
    if slot is None:
        return None
    found = ring.recent(shard.columns, slot)
    columns = found.status, found.score, found.p_value, found.alarm, found.reason, found.flags
    return RecentScores(equipment, score_entries(found.time, *columns))


def score_entries(
    time: NDArray[np.int64],
    status: NDArray[np.uint8],
    score: NDArray[np.float32],
    p_value: NDArray[np.float32],
    alarm: NDArray[np.bool_],
    reason: NDArray[np.uint8],
    flags: NDArray[np.uint16],
) -> list[ScoreEntry]:
    """What came of some readings (n), one by one."""
    texts = time_texts(time) if len(time) else []
    rows = zip(texts, *(column.tolist() for column in (status, score, p_value, alarm, reason, flags)), strict=True)
    return [
        ScoreEntry(text, STATUS_NAMES[state], level, share, open_, REASON_NAMES[why], flag_names(bits))
        for text, state, level, share, open_, why, bits in rows
    ]


def model_list(registry: Registry) -> ModelList:
    """All models, by name."""
    return ModelList([model_entry(registry, name) for name in sorted(registry.view.versions)])


def model_entry(registry: Registry, name: str) -> ModelEntry:
    """One model."""
    view = registry.view
    active = view.active[name].version if name in view.active else None
    versions = [_version(number, manifest, active) for number, manifest in sorted(view.versions[name].items())]
    return ModelEntry(name, name == registry.default, active, versions)


def _version(number: int, manifest: Manifest, active: int | None) -> ModelVersion:
    budgets = [record.budget for record in manifest.calibration]
    return ModelVersion(
        version=number,
        artifact_id=manifest.artifact_id,
        active=number == active,
        sensors=[sensor.name for sensor in manifest.sensors],
        interval_seconds=manifest.interval / MICROSECONDS,
        memory_size=manifest.p,
        warmup_ticks=manifest.warmup_ticks,
        false_alarm_rate=budgets[0] if budgets else None,
    )


def _number(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)


def _text(time: int | None) -> str | None:
    return None if time is None else time_text(time)
