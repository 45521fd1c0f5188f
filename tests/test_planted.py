"""Planted mistakes that one process can show: an interrupted run, and what can be seen while a record is written."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import httpx
import pytest

from models.artifact import load
from models.backfill import score_series
from service import recovery, scoring, snapshot
from service.ingest.batch import Body
from service.journal import JournalError, SqliteJournal
from service.lifecycle import Service
from service.outcome import BodyOutcome
from service.shard import Shard
from service.snapshot import Snapshot
from service.status import Status
from tests.crash import Machine
from tests.planted import PLANTED, plant
from tests.service import fleet, running
from tests.service.fleet import in_columns
from tests.uninterrupted import compare_states

MACHINES, TICKS = 12, 120
SNAPSHOTS, CRASH, AGAIN = (6, 12), 14, 3  # after so many batches, and how many of them are posted again after it
TIMELESS = {"/v1/models", "/health/live", "/health/ready"}  # routes that tell nothing of readings


@dataclass(frozen=True)
class Batch:
    """Readings of some machines that come together: (machine, first reading, count)."""

    parts: tuple[tuple[int, int, int], ...]


@cache
def recordings() -> tuple[Machine, ...]:
    return tuple(Machine.of(f"m-{number}", 70 + number, TICKS) for number in range(MACHINES))


@cache
def batches() -> tuple[Batch, ...]:
    """Everything in batches of uneven sizes; the last ones before the crash come again after it."""
    rng, at, found = random.Random(3), [0] * MACHINES, []
    while left := [number for number in range(MACHINES) if at[number] < TICKS]:
        chosen = rng.sample(left, rng.randint(1, len(left) // 2 + 1))
        counts = [min(rng.randint(1, 12), TICKS - at[number]) for number in chosen]
        found.append(Batch(tuple((number, at[number], count) for number, count in zip(chosen, counts, strict=True))))
        for number, count in zip(chosen, counts, strict=True):
            at[number] += count
    return (*found[:CRASH], *found[CRASH - AGAIN : CRASH], *found[CRASH:])


def bodies(batch: Batch) -> list[Body]:
    made = []
    for number, first, count in batch.parts:
        machine, rows = recordings()[number], slice(first, first + count)
        made.append(fleet.body(in_columns(machine.name, running.SENSORS, machine.time[rows], machine.x[rows])))
    return made


def empty() -> Shard:
    model = load(running.model_folder())
    return Shard(lambda equipment: model, fleet.ANY_TIME)


def stepped(shard: Shard, batch: Batch) -> scoring.Stepped:
    now = max(int(recordings()[number].time[first + count - 1]) for number, first, count in batch.parts)
    return scoring.step(shard, bodies(batch), now)


@cache
def uninterrupted() -> tuple[list[list[BodyOutcome]], Snapshot]:
    """Outcomes and last state of a run without a crash and without a mistake."""
    shard = empty()
    outcomes = [stepped(shard, batch).outcomes for batch in batches()]
    _check_scores(outcomes)
    return outcomes, recovery.capture(shard)


def _check_scores(outcomes: list[list[BodyOutcome]]) -> None:
    """Scores are those of each recording on its own, bit for bit: they do not depend on the batches."""
    detector = load(running.model_folder()).detector
    wanted = [score_series(detector, machine.name, machine.time, machine.x).score for machine in recordings()]
    for batch, found in zip(batches(), outcomes, strict=True):
        for (number, first, count), outcome in zip(batch.parts, found, strict=True):
            same = outcome.score.tobytes() == wanted[number][first : first + count].tobytes()
            assert same, f"scores of m-{number} from reading {first} on depend on the batch"


def interrupted(folder: Path, damaged: bool) -> None:
    """The same run, with a crash in it; `damaged`: the newest snapshot is lost with it."""
    shard, outcomes = empty(), []
    journal = SqliteJournal(folder / "shard-0.sqlite")
    for number, batch in enumerate(batches()):
        if number == CRASH:
            journal.close()
            journal = SqliteJournal(folder / "shard-0.sqlite")
            shard = recovered(folder, journal, damaged)
        outcomes.append(keep(shard, journal, batch))
        if number + 1 in SNAPSHOTS:
            snapshot.write(folder, recovery.capture(shard))
    journal.close()
    _check_outcomes(outcomes)
    _check_scores(outcomes)
    compare_states(recovery.capture(shard), uninterrupted()[1])


def keep(shard: Shard, journal: SqliteJournal, batch: Batch) -> list[BodyOutcome]:
    """Step, append, sync, answer."""
    found = stepped(shard, batch)
    journal.append(found.record)
    asyncio.run(journal.sync())
    return found.outcomes


def recovered(folder: Path, journal: SqliteJournal, damaged: bool) -> Shard:
    """A shard as a start finds it, in a journal without the records that no snapshot needs."""
    newest, older = snapshot.paths(folder)
    journal.prune(snapshot.sequence_of(older))
    if damaged:
        newest.write_bytes(newest.read_bytes()[:-1])
    shard, model = empty(), load(running.model_folder())
    recovery.recover(shard, folder, lambda artifact_id: model)
    recovery.catch_up(shard, journal, lambda artifact_id: model)
    return shard


def _check_outcomes(outcomes: list[list[BodyOutcome]]) -> None:
    """Every answer, duplicates among them, is that of the run without a crash."""
    for batch, ours, theirs in zip(batches(), outcomes, uninterrupted()[0], strict=True):
        for (number, first, _), our, their in zip(batch.parts, ours, theirs, strict=True):
            for name in ("status", "reason", "flags", "score", "p_value", "alarm"):
                found, wanted = getattr(our, name), getattr(their, name)
                place = f"{name} of m-{number} from reading {first} on is {found}; uninterrupted: {wanted}"
                assert found.tobytes() == wanted.tobytes(), place


# -- what can be seen while a record is written -----------------------------------------------------------------------


def seen_too_soon(folder: Path, patch: pytest.MonkeyPatch) -> set[str]:
    """What is answered, told by a GET route or saved in a snapshot while its record is not on disk yet."""
    writing, free, early = asyncio.Event(), asyncio.Event(), set[str]()
    sync = SqliteJournal.sync

    async def held(self: SqliteJournal) -> None:
        writing.set()
        await free.wait()
        await sync(self)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        addresses = await addresses_of_readings(client)
        patch.setattr(SqliteJournal, "sync", held)
        answer = asyncio.create_task(client.post("/v1/readings", json=running.columns("p1", 0, 20)))
        await asyncio.wait_for(writing.wait(), 20)
        under_way = {"an answer": answer}
        under_way |= {address: asyncio.create_task(client.get(address)) for address in addresses}
        saving = asyncio.create_task(service.save())
        for _ in range(100):
            await asyncio.sleep(0)  # whoever does not wait for the disk is through
        early.update(name for name, task in under_way.items() if task.done())
        early.update("a snapshot" for _ in snapshot.paths(service.snapshots))
        free.set()
        await asyncio.gather(*under_way.values(), saving)

    running.run(running.settings(folder), scenario)
    return early


async def addresses_of_readings(client: httpx.AsyncClient) -> list[str]:
    """Every GET route that may tell what came of readings."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    told = [path for path, operations in paths.items() if "get" in operations and path not in TIMELESS]
    assert len(told) >= 6
    return [path.replace("{equipment}", "p1").replace("{alarm_id}", "0-1-0") for path in told]


# -- the proofs of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damaged", [False, True])
def test_an_interrupted_run_equals_an_uninterrupted_one(tmp_path: Path, damaged: bool) -> None:
    again = chain.from_iterable(uninterrupted()[0][CRASH : CRASH + AGAIN])
    assert {code for outcome in again for code in outcome.status} == {Status.DUPLICATE}
    interrupted(tmp_path, damaged)


INTERRUPTED = {
    "snapshot_without_the_last_batch": "m-|state",
    "snapshot_without_closed_alarms": "alarm",
    "watermark_not_restored": "status of m-",
    "watermark_not_replayed": "status of m-",
    "results_not_replayed": "of m-",
    "product_that_depends_on_the_batch": "depend on the batch|score of m-",
    "alarms_numbered_from_the_start": "state alarms",
    "record_out_of_order": "m-|state",
    "record_without_its_last_reading": "m-|state",
    "one_record_too_many_pruned": r"record 7 is neither in a snapshot nor in the journal",
}
SEEN_TOO_SOON = {
    "answer_before_sync": {"an answer"},
    "readers_do_not_wait": {"/v1/equipment", "/v1/equipment/p1/scores", "/v1/alarms", "/metrics"},
    "snapshot_ahead_of_the_journal": {"a snapshot"},
}


def test_every_planted_mistake_is_tried() -> None:
    assert PLANTED.keys() == INTERRUPTED.keys() | SEEN_TOO_SOON


@pytest.mark.parametrize("planted", sorted(INTERRUPTED))
def test_a_mistake_that_an_interrupted_run_meets_is_found(
    tmp_path: Path, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted()
    plant(planted, monkeypatch.setattr)
    with pytest.raises((AssertionError, JournalError), match=INTERRUPTED[planted]):
        interrupted(tmp_path, damaged=planted == "one_record_too_many_pruned")


def test_nothing_is_answered_told_or_saved_before_it_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seen_too_soon(tmp_path, monkeypatch) == set()


@pytest.mark.parametrize("planted", sorted(SEEN_TOO_SOON))
def test_what_can_be_seen_too_soon_is_found(tmp_path: Path, planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(planted, monkeypatch.setattr)
    assert SEEN_TOO_SOON[planted] <= seen_too_soon(tmp_path, monkeypatch)
