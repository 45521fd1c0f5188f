"""What a service that was killed again and again has come to, beside a run that nothing ever interrupted.

Three things must say the same, bit for bit: what was answered and seen, the journal (every reading posted, once, in
order, with its result), and `models/backfill.py` over the whole recording. The state that was saved at the end must be
that of a shard that is taken through the journal from its first record on.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifact import LoadedModel, load
from models.backfill import Backfill, score_series
from service import recovery, snapshot
from service.alarms import Alarm
from service.journal import SqliteJournal
from service.limits import ShardLimits
from service.records import Record
from service.replay import replay
from service.shard import Shard
from service.snapshot import Snapshot
from service.status import STATUS_NAMES
from tests.crash import Machine, Plant
from tests.service.running import model_folder

UNCOUNTED = "equipment.generation"  # says when assignments were looked up last, which a start does anew

Told = tuple[str, float | None, float | None]


def check(plant: Plant, folder: Path) -> None:
    """Answers, what was seen, journal and state against a run without any kill."""
    model, records = load(model_folder()), records_in(folder)
    kept = by_machine(records)
    replayed = replayed_from(records, model, ShardLimits(future=None))
    alarms = alarms_of(replayed)
    told: dict[str, list[Told]] = {}
    alarming: dict[str, list[bool]] = {}
    for machine in plant.machines:
        wanted = score_series(model.detector, machine.name, machine.time, machine.x)
        told[machine.name], alarming[machine.name] = told_by(wanted), wanted.alarm.tolist()
        _check_journal(machine, told[machine.name], kept[machine.name])
        _check_answers(machine, told[machine.name], alarming[machine.name])
        check_episodes(machine.name, alarming[machine.name], alarms)
    check_seen(plant, told, alarming, {machine.name: machine.place for machine in plant.machines})
    final = snapshot.read(snapshot.paths(folder / "snapshots")[0])
    compare_states(final, recovery.capture(replayed))


def records_in(folder: Path) -> list[Record]:
    """All records of the journal in a data folder."""
    journal = SqliteJournal(folder / "journal" / "shard-0.sqlite")
    try:
        return list(journal.read())
    finally:
        journal.close()


def by_machine(records: list[Record]) -> dict[str, list[tuple[int, bytes, Told]]]:
    """Time, values and result of every reading in the journal, by machine, in the order of the records."""
    ids: dict[int, str] = {}
    kept: dict[str, list[tuple[int, bytes, Told]]] = defaultdict(list)
    for record in records:
        ids.update(record.registered)
        for part in record.readings:
            results = zip(part.status.tolist(), part.score.tolist(), part.p_value.tolist(), strict=True)
            told = [(STATUS_NAMES[status], _number(score), _number(p)) for status, score, p in results]
            rows = zip(part.slot.tolist(), part.time.tolist(), part.values, told, strict=True)
            for slot, time, values, result in rows:
                kept[ids[slot]].append((time, values.tobytes(), result))
    return kept


def told_by(wanted: Backfill) -> list[Told]:
    """What an uninterrupted run answers."""
    results = zip(wanted.status, wanted.score.tolist(), wanted.p_value.tolist(), strict=True)
    return [(status, _number(score), _number(p)) for status, score, p in results]


def _number(value: float) -> float | None:
    return None if value != value else value


def _check_journal(machine: Machine, told: list[Told], kept: list[tuple[int, bytes, Told]]) -> None:
    """Every reading once, in order, with its values and its result."""
    for tick, (time, wanted) in enumerate(zip(machine.time.tolist(), told, strict=True)):
        place = f"{machine.name}, reading {tick}"
        found = [row for row in kept if row[0] == time] if tick >= len(kept) or kept[tick][0] != time else [kept[tick]]
        assert found, f"{place} is not in the journal"
        assert kept[tick][0] == time, f"{place} is in the journal {len(found)} times or out of order"
        assert kept[tick][1] == machine.x[tick].tobytes(), f"{place} has other values in the journal than were posted"
        assert kept[tick][2] == wanted, f"{place} is in the journal as {kept[tick][2]}; uninterrupted: {wanted}"
    assert len(kept) == len(told), f"{machine.name} has {len(kept)} readings in the journal; {len(told)} were posted"


def _check_answers(machine: Machine, told: list[Told], alarm: list[bool]) -> None:
    """Every answer is what an uninterrupted run gives; a duplicate repeats it."""
    assert len(machine.answers) == len(told)
    for tick, (answer, wanted, alarming) in enumerate(zip(machine.answers, told, alarm, strict=True)):
        place = f"{machine.name}, reading {tick} was answered with {answer}; uninterrupted: {wanted}, alarm {alarming}"
        assert answer[0] in (wanted[0], "duplicate"), place
        assert (*answer[1:3], answer[3]) == (*wanted[1:], alarming), place


def check_seen(
    plant: Plant, told: dict[str, list[Told]], alarming: dict[str, list[bool]], places: dict[str, dict[str, int]]
) -> None:
    """What was read meanwhile, too; `places` has where the time of each tick is, by machine."""
    for (name, text), found in plant.witness.results.items():
        wanted = told[name][places[name][text]]
        assert found == wanted, f"{name} at {text} was seen as {found}; uninterrupted: {wanted}"
    for (name, text), alarm in plant.witness.alarming.items():
        assert alarm == alarming[name][places[name][text]], f"{name} at {text} was seen with alarm {alarm}"


def replayed_from(records: list[Record], model: LoadedModel, limits: ShardLimits) -> Shard:
    """A shard that is taken through all records, from none on."""
    shard = Shard(lambda equipment: model, limits)
    for record in records:
        replay(shard, record, lambda artifact_id: model)
    return shard


def alarms_of(replayed: Shard) -> list[Alarm]:
    """All alarms, of which no two may have one id."""
    alarms = list(replayed.book.newest_first())
    assert len({alarm.id for alarm in alarms}) == len(alarms), "two alarms have one id"
    return alarms


def compare_states(found: Snapshot, wanted: Snapshot, uncounted: Container[str] = (UNCOUNTED,)) -> None:
    """Two states are equal, bit for bit, but for some arrays."""
    assert found.header.sequence == wanted.header.sequence, (
        f"the state is that before record {found.header.sequence}; expected {wanted.header.sequence}"
    )
    other = found.arrays.keys() ^ wanted.arrays.keys()
    assert not other, f"state {', '.join(sorted(other))} is in one of the saved state and an uninterrupted replay only"
    assert (found.header.equipment, found.header.banks) == (wanted.header.equipment, wanted.header.banks)
    for name, array in wanted.arrays.items():
        if name not in uncounted:
            ours = found.arrays[name]
            same = ours.tobytes() == array.tobytes()
            assert same, f"state {name} is not that of an uninterrupted replay: {_difference(ours, array)}"


def _difference(found: NDArray[Any], wanted: NDArray[Any]) -> str:
    """What differs first, and where."""
    if found.dtype == np.uint8 and found.ndim == 1 and found.tobytes()[:1] == b"[":  # JSON
        pairs = zip_longest(json.loads(found.tobytes()), json.loads(wanted.tobytes()))
        return next((f"{ours}; expected {theirs}" for ours, theirs in pairs if ours != theirs), "other text")
    if found.shape != wanted.shape:
        return f"shape {found.shape}; expected {wanted.shape}"
    row = next(row for row in range(len(found)) if found[row].tobytes() != wanted[row].tobytes())
    return f"row {row} is {found[row]}; expected {wanted[row]}"


def check_episodes(name: str, alarming: list[bool], alarms: list[Alarm]) -> None:
    """A process alarm for each time that the recording opens one."""
    opened = sum(now and not before for before, now in pairwise([False, *alarming]))
    found = sum(alarm.kind == "process" and alarm.equipment == name for alarm in alarms)
    assert found == opened, f"{name} has {found} alarms; uninterrupted: {opened}"
