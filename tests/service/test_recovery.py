from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from models.artifact import LoadedModel
from service import recovery, snapshot
from service.alarms import Alarm
from service.equipment import NO_BANK
from service.journal import JournalError, SqliteJournal
from service.phases import load
from service.scoring import step
from service.shard import Shard
from service.snapshot import Snapshot, SnapshotError
from service.status import Status
from tests.builders import process, trained
from tests.service import fleet
from tests.service.fleet import SECOND, START, in_columns, normal, post, seconds, statuses

PUMPS, FANS = fleet.model(), fleet.model("fans", seed=4, sensors=2, prefix="fan")
TRAINED = LoadedModel(
    msgspec.structs.replace(trained().manifest, artifact_id="trained"), trained().detector, trained().drift
)
MODELS = {model.artifact_id: model for model in (PUMPS, FANS, TRAINED)}


def resolve(equipment: str) -> LoadedModel:
    return {"p": PUMPS, "f": FANS, "t": TRAINED}[equipment[0]]


def sent(equipment: str, first: int, count: int) -> dict[str, Any]:
    detector = resolve(equipment).detector
    return in_columns(
        equipment, detector.sensors, seconds(first, count), normal(detector, 3, 90)[first : first + count]
    )


def faulty(first: int, count: int, by: float) -> dict[str, Any]:
    x = process(5, 200)[first : first + count]
    x[:, 2] += by
    return in_columns("t", TRAINED.detector.sensors, seconds(first, count), x)


def lived() -> Shard:
    """A shard with machines of three models, an open alarm, a closed one and a silent machine."""
    shard = Shard(resolve, fleet.ANY_TIME)
    post(shard, faulty(0, 20, 0.0), now=START + 90 * SECOND)
    post(shard, faulty(20, 9, 50.0), now=START + 90 * SECOND)
    post(shard, faulty(29, 120, 0.0), now=START + 90 * SECOND)
    post(shard, faulty(149, 9, 50.0), now=START + 90 * SECOND)
    post(shard, sent("p1", 0, 40), sent("p2", 0, 2), sent("f1", 0, 9), now=START + 90 * SECOND)
    post(shard, sent("p1", 40, 1), sent("f1", 9, 1), faulty(158, 1, 50.0), now=START + 200 * SECOND)
    shard.sweep(START + 201 * SECOND)
    return shard


def restored(found: Snapshot, models: dict[str, LoadedModel] = MODELS) -> Shard:
    shard = Shard(resolve, fleet.ANY_TIME)
    recovery.restore(shard, found, models.get)
    return shard


def test_what_goes_on_is_equal_whether_it_stopped_or_not() -> None:
    old = lived()
    new = restored(recovery.capture(old))
    assert new.sequence == old.sequence
    assert list(new.book.newest_first()) == list(old.book.newest_first())
    assert {alarm.kind for alarm in new.book.select(open=True)[0]} == {"process", "silent"}
    assert new.silent() == old.silent() == 1
    more = [sent("p1", 38, 20), sent("p2", 2, 9), sent("f1", 10, 9), faulty(155, 40, 0.0)]
    for ours, theirs in zip(post(new, *more), post(old, *more), strict=True):
        for name in ("status", "reason", "flags", "score", "p_value", "alarm"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert list(new.book.newest_first()) == list(old.book.newest_first())
    assert new.silent() == 0
    ours, theirs = recovery.capture(new), recovery.capture(old)
    assert ours.header == theirs.header
    for name, array in theirs.arrays.items():
        np.testing.assert_array_equal(ours.arrays[name], array, name)


def test_a_capture_is_a_copy() -> None:
    shard = lived()
    found = recovery.capture(shard)
    before = {name: array.copy() for name, array in found.arrays.items()}
    post(shard, sent("p1", 41, 20), sent("p9", 0, 1))
    for name, array in before.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_a_model_whose_machines_cannot_be_copied_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shard = lived()
    (fans,) = [bank for bank in shard.banks.values() if bank.model is FANS]

    def fail() -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(fans, "drift_state", fail)
    new = restored(recovery.capture(shard))
    assert "the machines of model fans version 1 are left out of the snapshot: operands" in caplog.text
    (before,), (after,) = (post(one, sent("p1", 41, 9)) for one in (shard, new))
    np.testing.assert_array_equal(before.score, after.score)
    (outcome,) = post(new, sent("f1", 10, 2))
    assert statuses(outcome) == ["warming"] * 2, "those start anew"


def test_drift_goes_on_after_a_stop() -> None:
    shard = Shard(resolve, fleet.ANY_TIME)
    x = np.tile(normal(PUMPS.detector, 3, 90), (3, 1)) + 5
    post(shard, in_columns("p", PUMPS.detector.sensors, seconds(0, 270), x))
    new = restored(recovery.capture(shard))
    (old_bank,), (new_bank,) = shard.banks.values(), new.banks.values()
    np.testing.assert_array_equal(new_bank.settled_monitor().input_drift(), old_bank.settled_monitor().input_drift())
    assert new_bank.settled_monitor().input_drift().max() > 1


def test_drift_goes_on_from_a_snapshot_that_holds_no_readings_that_wait() -> None:
    found = recovery.capture(lived())
    old = {name: array for name, array in found.arrays.items() if ".waiting_" not in name}
    assert len(old) < len(found.arrays)
    new = restored(Snapshot(found.header, old))
    post(new, sent("p1", 41, 5))
    assert recovery.capture(new).arrays["drift.0.weight"] == found.arrays["drift.0.weight"]


def test_free_rows_are_given_out_again_after_a_start() -> None:
    old = lived()
    slot = old.equipment_table.slot("p2")
    assert slot is not None
    old.leave(slot)
    new = restored(recovery.capture(old))
    (bank,) = [bank for bank in new.banks.values() if bank.model is PUMPS]
    assert (bank.columns.used, bank.machines) == (2, 1)
    (outcome,) = post(new, sent("p3", 0, 5))
    assert statuses(outcome) == ["warming"] * 3 + ["scored"] * 2
    assert bank.columns.used == 2


def test_machines_of_a_model_that_is_gone_start_anew_and_their_alarms_end() -> None:
    found = recovery.capture(lived())
    shard = Shard(resolve, fleet.ANY_TIME)
    kept = {PUMPS.artifact_id: PUMPS, FANS.artifact_id: FANS}
    notes = recovery.restore(shard, found, kept.get)
    assert len(notes) == 1
    assert "is gone; its machines start anew" in notes[0]
    slot = shard.equipment_table.slot("t")
    assert shard.columns["bank"][slot] == NO_BANK
    assert not load(shard.columns, int(slot or 0)).open
    assert shard.book.current("t", "process") is None
    stepped = step(shard, [fleet.body(faulty(160, 5, 50.0)), fleet.body(sent("p1", 41, 1))], START)
    assert statuses(stepped.outcomes[0])[:3] == ["warming"] * 3
    assert not stepped.outcomes[0].alarm[:3].any()
    assert statuses(stepped.outcomes[1]) == ["scored"]
    assert [alarm.equipment for alarm in stepped.record.alarms if alarm.kind == "process"] == ["t"]


def other(found: Snapshot, arrays: dict[str, Any] | None = None, **header: Any) -> Snapshot:
    """A snapshot with some of it replaced; None takes an array away."""
    changed = {name: array for name, array in {**found.arrays, **(arrays or {})}.items() if array is not None}
    return Snapshot(msgspec.structs.replace(found.header, **header), changed)


@pytest.mark.parametrize(
    ("arrays", "header", "complaint"),
    [
        ({}, {"shard": 3}, "is of shard 3; expected 0"),
        ({"ids": None}, {}, "lacks its ids"),
        ({"alarms": None}, {}, "lacks its alarms"),
        ({"ids": snapshot.text(b'["a"]')}, {}, "has 1 equipment ids; expected 4"),
        ({"ids": snapshot.text(b"[1]")}, {}, "ids of the snapshot are not as this program writes them"),
        ({"alarms": snapshot.text(b'[{"id": "0-1-1", "kind": "loud"}]')}, {}, "alarms of the snapshot are not"),
        ({"drift.0.cells": np.zeros((1, 1))}, {}, "does not fit model"),
        ({"drift.0.waiting_z": np.zeros((7, 1))}, {}, "does not fit model"),
        ({"bank.0.memory": None}, {}, "'memory' of the snapshot is absent"),
        ({}, {"equipment": 5}, "expected 5"),
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused_and_changes_nothing(
    arrays: dict[str, Any], header: dict[str, Any], complaint: str
) -> None:
    shard = Shard(resolve, fleet.ANY_TIME)
    with pytest.raises(SnapshotError, match=complaint):
        recovery.restore(shard, other(recovery.capture(lived()), arrays, **header), MODELS.get)
    assert (len(shard), shard.sequence, shard.banks, shard.book.select()) == (0, 1, {}, ([], 0))
    assert statuses(post(shard, sent("p1", 0, 1))[0]) == ["warming"]


def test_a_snapshot_without_a_field_of_today_is_restored_with_its_default() -> None:
    found = recovery.capture(lived())
    fields = tuple(field for field in found.header.fields if field.name != "heard")
    shard = restored(other(found, {"equipment.heard": None}, fields=fields))
    assert (shard.columns["heard"][: len(shard)] == -(1 << 62)).all()
    assert shard.sweep(START + 10**12) is None, "who was never heard is not silent"
    (outcome,) = post(shard, sent("p1", 40, 2))
    assert outcome.status.tolist() == [Status.DUPLICATE, Status.SCORED]


# -- from a folder -----------------------------------------------------------------------------------------------------


def test_the_newest_snapshot_is_restored(tmp_path: Path) -> None:
    shard = lived()
    snapshot.write(tmp_path, recovery.capture(shard))
    post(shard, sent("p1", 41, 1))
    newest = snapshot.write(tmp_path, recovery.capture(shard))
    new = Shard(resolve, fleet.ANY_TIME)
    assert recovery.recover(new, tmp_path, MODELS.get) == (newest, [])
    assert new.sequence == shard.sequence


def test_a_damaged_one_is_put_aside_and_the_one_before_it_taken(tmp_path: Path) -> None:
    shard = lived()
    older = snapshot.write(tmp_path, recovery.capture(shard))
    post(shard, sent("p1", 41, 1))
    newest = snapshot.write(tmp_path, recovery.capture(shard))
    newest.write_bytes(newest.read_bytes()[:-7])
    new = Shard(resolve, fleet.ANY_TIME)
    path, notes = recovery.recover(new, tmp_path, MODELS.get)
    assert path == older
    assert notes[0].startswith(f"{newest.name} is not used and put aside as refused-{newest.name}: ")
    assert snapshot.paths(tmp_path) == [older]
    post(new, sent("p1", 41, 1))
    snapshot.write(tmp_path, recovery.capture(new), kept=1)
    again = Shard(resolve, fleet.ANY_TIME)
    assert recovery.recover(again, tmp_path, MODELS.get)[1] == []
    assert again.sequence == new.sequence


def test_one_of_a_newer_program_is_left_where_it_is_and_the_one_before_it_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = lived()
    older = snapshot.write(tmp_path, recovery.capture(shard))
    post(shard, sent("p1", 41, 1))
    found = recovery.capture(shard)
    newer = snapshot.write(tmp_path, Snapshot(msgspec.structs.replace(found.header, format=2), found.arrays))
    new = Shard(resolve, fleet.ANY_TIME)
    path, notes = recovery.recover(new, tmp_path, MODELS.get)
    assert path == older
    assert notes == [f"{newer.name} is not used: {newer.name} has format 2; this program reads format 1"]
    assert snapshot.paths(tmp_path) == [newer, older]
    monkeypatch.setattr(snapshot, "FORMAT", 2)
    again = Shard(resolve, fleet.ANY_TIME)
    assert recovery.recover(again, tmp_path, MODELS.get) == (newer, []), "the newer program goes on from it"


def test_without_a_snapshot_everything_starts_empty(tmp_path: Path) -> None:
    shard = Shard(resolve)
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert recovery.recover(shard, folder, MODELS.get) == (None, [])
    assert (len(shard), shard.sequence) == (0, 1)


# -- from a journal ----------------------------------------------------------------------------------------------------


def journalled(path: Path) -> SqliteJournal:
    """A journal of four records with readings."""
    journal, shard = SqliteJournal(path), Shard(resolve, fleet.ANY_TIME)
    for first in range(4):
        journal.append(step(shard, [fleet.body(sent("p1", first, 1))], START).record)
    asyncio.run(journal.sync())
    return journal


def test_records_that_come_after_a_snapshot_are_replayed(tmp_path: Path) -> None:
    shard = Shard(resolve, fleet.ANY_TIME)
    with closing(journalled(tmp_path / "journal.sqlite")) as journal:
        assert recovery.catch_up(shard, journal, MODELS.get) == 4
    assert (shard.sequence, shard.columns["last_time"][0]) == (5, START + 3 * SECOND)


def test_an_alarm_that_is_replayed_is_not_counted_again(tmp_path: Path) -> None:
    shard, again = Shard(resolve, fleet.ANY_TIME), Shard(resolve, fleet.ANY_TIME)
    with closing(SqliteJournal(tmp_path / "journal.sqlite")) as journal:
        for readings in (faulty(0, 20, 0.0), faulty(20, 9, 50.0)):
            journal.append(step(shard, [fleet.body(readings)], START).record)
        asyncio.run(journal.sync())
        recovery.catch_up(again, journal, MODELS.get)
    assert list(again.book.newest_first()) == list(shard.book.newest_first())
    assert (shard.counters.alarms.total(), again.counters.alarms.total()) == (1, 0)


@pytest.mark.parametrize(
    ("start", "removed", "lost"),
    [
        (1, "sequence < 3", "records 1 to 2 are"),
        (2, "sequence = 2", "record 2 is"),
        (1, "sequence > 0", "records 1 to 4 are"),
        (3, "sequence > 0", "records 3 to 4 are"),
    ],
)
def test_a_start_names_the_records_that_neither_a_snapshot_nor_the_journal_has(
    tmp_path: Path, start: int, removed: str, lost: str
) -> None:
    shard = Shard(resolve, fleet.ANY_TIME, sequence=start)
    with closing(journalled(tmp_path / "journal.sqlite")) as journal:
        journal._connection.execute(f"DELETE FROM record WHERE {removed}")
        with pytest.raises(JournalError, match=f"^{lost} neither in a snapshot nor in the journal: put back"):
            recovery.catch_up(shard, journal, MODELS.get)


def silent_after_a_start(path: Path) -> tuple[SqliteJournal, list[Alarm]]:
    """A journal of two machines that fell silent after a start, and their alarms."""
    journal, shard = SqliteJournal(path), Shard(resolve, fleet.ANY_TIME)
    journal.append(step(shard, [fleet.body(sent("p1", 0, 1)), fleet.body(sent("f1", 0, 1))], START).record)
    shard.hear_all(START + 500 * SECOND)
    record = shard.sweep(START + 900 * SECOND)
    assert record is not None
    journal.append(record)
    asyncio.run(journal.sync())
    return journal, list(shard.book.newest_first())


def test_a_replay_has_silence_begin_when_it_did(tmp_path: Path) -> None:
    shard = Shard(resolve, fleet.ANY_TIME)
    journal, told = silent_after_a_start(tmp_path / "journal.sqlite")
    with closing(journal):
        recovery.catch_up(shard, journal, MODELS.get)
    assert [alarm.start for alarm in told] == [START + 500 * SECOND] * 2
    assert list(shard.book.newest_first()) == told


def test_machines_whose_model_is_gone_do_not_keep_silence_from_being_replayed(tmp_path: Path) -> None:
    shard = Shard(resolve, fleet.ANY_TIME)
    journal, _ = silent_after_a_start(tmp_path / "journal.sqlite")
    with closing(journal):
        recovery.catch_up(shard, journal, {PUMPS.artifact_id: PUMPS}.get)
    assert [alarm.equipment for alarm in shard.book.newest_first()] == ["p1"]
    assert shard.silent() == 1
