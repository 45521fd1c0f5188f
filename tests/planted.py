"""Mistakes that a service could have, to be planted from outside: each must be found by the proofs of durability.

`PLANTED` names them. `plant(name, patch)` puts one in, where `patch(owner, name, value)` is `setattr` or that of a
test's monkeypatch; `program(name)` is that of a service process which has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from models import detector, judgement, lmn
from models.contract import Array
from service import records, recovery, replay, scoring, shard, snapshot
from service.alarms import LETTERS, AlarmBook, Kind
from service.align import NEVER
from service.consumer import Consumer, Step
from service.journal import SqliteJournal
from service.lifecycle import Service
from service.records import ModelReadings, Record
from service.ring import RING_FIELDS
from service.settings import SNAPSHOTS, load
from service.shard import Shard
from service.snapshot import Snapshot

Patch = Callable[[Any, str, Any], None]
COMMIT_SECONDS = 0.1  # of a service process here, sound or not: time to be killed between answer and commit

under_way: set[asyncio.Task[None]] = set()


def answer_before_sync(patch: Patch) -> None:
    """Readings are answered while their record is still being written."""

    async def sync(self: Consumer) -> None:
        under_way.add(asyncio.create_task(self.journal.sync()))

    patch(Consumer, "_sync", sync)


def readers_do_not_wait(patch: Patch) -> None:
    """Whoever looks sees results that are not on disk yet; snapshots wait."""
    save = Service.save

    async def settled(self: Consumer) -> None:
        self.check()

    async def saved(self: Service) -> None:
        await self.consumer._settled.wait()
        await save(self)

    patch(Consumer, "settled", settled)
    patch(Service, "save", saved)


def snapshot_ahead_of_the_journal(patch: Patch) -> None:
    """Every snapshot is saved before the record of the last batch in it is written."""
    append = Consumer._append

    def saved_first(self: Consumer, step: Step) -> None:
        assert isinstance(self.journal, SqliteJournal)
        snapshot.write(self.journal.path.parent.parent / SNAPSHOTS, recovery.capture(self.shard))
        append(self, step)

    async def saved_already(self: Service) -> None:
        self._readings_since_snapshot = 0

    patch(Consumer, "_append", saved_first)
    patch(Service, "save", saved_already)


def snapshot_without_the_last_batch(patch: Patch) -> None:
    """A snapshot says that it holds the last batch and does not."""
    step, capture = scoring.step, recovery.capture
    before: dict[Shard, Snapshot] = {}

    def stepped(of: Shard, *given: Any) -> scoring.Stepped:
        before[of] = capture(of)
        return step(of, *given)

    def captured(of: Shard) -> Snapshot:
        found = before.get(of) or capture(of)
        return replace(found, header=msgspec.structs.replace(found.header, sequence=of.sequence))

    patch(scoring, "step", stepped)
    patch(recovery, "capture", captured)


def snapshot_without_closed_alarms(patch: Patch) -> None:
    """A snapshot keeps the alarms that are open, and only those."""
    saved = AlarmBook.saved

    def without(self: AlarmBook) -> bytes:
        return msgspec.json.encode([alarm for alarm in msgspec.json.decode(saved(self)) if alarm["end"] is None])

    patch(AlarmBook, "saved", without)


def watermark_not_restored(patch: Patch) -> None:
    """After a start from a snapshot, nothing is known of the last time of a machine."""
    restore = recovery.restore

    def restored(of: Shard, *given: Any) -> list[str]:
        notes = restore(of, *given)
        of.columns["last_time"][: len(of)] = NEVER
        return notes

    patch(recovery, "restore", restored)


def watermark_not_replayed(patch: Patch) -> None:
    """Replayed readings leave the last time of their machine where the snapshot had it."""
    _forget_when_replaying(patch, ("last_time",))


def results_not_replayed(patch: Patch) -> None:
    """Replayed readings leave nothing that a duplicate could repeat."""
    _forget_when_replaying(patch, tuple(RING_FIELDS))


def _forget_when_replaying(patch: Patch, names: Sequence[str]) -> None:
    remember = replay.remember

    def remembered(of: Shard, *given: Any) -> None:
        before = {name: of.columns[name].copy() for name in names}
        remember(of, *given)
        for name, array in before.items():
            of.columns[name][:] = array

    patch(replay, "remember", remembered)


def product_that_depends_on_the_batch(patch: Patch) -> None:
    """Several rows are multiplied in another way than one, as by a matrix product: last bits differ."""
    alone = lmn.product_by_row

    def product(rows: Array, weights: Array) -> Array:
        together: Array = (rows.astype(np.float64) @ weights).astype(np.float32)
        return together if len(rows) > 1 else alone(rows, weights)

    for owner in (lmn, detector, judgement):
        patch(owner, "product_by_row", product)


def alarms_numbered_from_the_start(patch: Patch) -> None:
    """Alarm ids count records from the start of the process on: after a restart they are given out again."""
    first: list[int] = []

    def numbered(number: int, sequence: int, row: int, kind: Kind) -> str:
        first.append(sequence)
        return f"{number}-{sequence - first[0] + 1}-{row}{LETTERS[kind]}"

    patch(shard, "alarm_id", numbered)


def record_out_of_order(patch: Patch) -> None:
    """The readings of a machine stand in a record with the newest first."""

    def newest_first(self: ModelReadings) -> ModelReadings:
        order = np.lexsort((-self.time, self.slot))
        return ModelReadings(self.artifact_id, *(getattr(self, name)[order] for name in records.ARRAYS))

    patch(ModelReadings, "ordered", newest_first)


def record_without_its_last_reading(patch: Patch) -> None:
    """The last reading of a record is answered and not written."""
    ordered = ModelReadings.ordered

    def shorter(self: ModelReadings) -> ModelReadings:
        found = ordered(self)
        return ModelReadings(found.artifact_id, *(getattr(found, name)[:-1] for name in records.ARRAYS))

    patch(ModelReadings, "ordered", shorter)


def one_record_too_many_pruned(patch: Patch) -> None:
    """Where records are removed, the first one that the older snapshot needs goes too."""
    prune = SqliteJournal.prune
    patch(SqliteJournal, "prune", lambda self, before, *bound: prune(self, before + 1, *bound))


PLANTED: dict[str, Callable[[Patch], None]] = {
    bug.__name__: bug
    for bug in (
        answer_before_sync,
        readers_do_not_wait,
        snapshot_ahead_of_the_journal,
        snapshot_without_the_last_batch,
        snapshot_without_closed_alarms,
        watermark_not_restored,
        watermark_not_replayed,
        results_not_replayed,
        product_that_depends_on_the_batch,
        alarms_numbered_from_the_start,
        record_out_of_order,
        record_without_its_last_reading,
        one_record_too_many_pruned,
    )
}


def plant(name: str, patch: Patch) -> None:
    """Put a mistake in; "": none."""
    if name:
        PLANTED[name](patch)


def slow_commits(patch: Patch, seconds: float = COMMIT_SECONDS) -> None:
    """Every commit takes so long before it begins."""
    commit = SqliteJournal._commit

    def slowly(self: SqliteJournal, pending: list[Record]) -> int:
        time.sleep(seconds)
        return commit(self, pending)

    patch(SqliteJournal, "_commit", slowly)


def program(name: str) -> str:
    """Python text of a service process with a mistake ("": none), whose commits are slow."""
    return f"from service.commands.tether import hold; hold(); from tests.planted import serve; serve({name!r})"


def serve(name: str) -> None:
    """Serve with a mistake until told to stop."""
    import service.serve

    slow_commits(setattr)
    plant(name, setattr)
    raise SystemExit(service.serve.serve(load()))
