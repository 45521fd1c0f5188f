from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import snapshot
from service.errors import NotReady
from service.followers.store import Place
from service.journal import SqliteJournal, Unjournaled
from service.lifecycle import Service
from service.records import Record
from tests.service.running import columns, run, settings
from tests.service.test_app import is_problem


class FullDisk(Unjournaled):
    """A journal that can append but not make safe."""

    async def sync(self) -> None:
        raise OSError(28, "No space left on device")

    def append(self, record: Record) -> int:
        return super().append(record)


def test_when_readings_cannot_be_made_safe_nothing_is_told_and_the_process_is_to_end(tmp_path):
    ended: list[bool] = []

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        service.on_failure = lambda: ended.append(True)
        service.consumer.journal = FullDisk(service.shard.sequence)
        is_problem(await client.post("/v1/readings", json=columns("p1", 0, 5)), 503, "unavailable")
        for path in ("/health/ready", "/v1/equipment", "/v1/alarms", "/metrics"):
            is_problem(await client.get(path), 503, "unavailable")
        is_problem(await client.post("/v1/readings", json=columns("p1", 0, 5)), 503, "unavailable")
        assert (await client.get("/health/live")).status_code == 200

    run(settings(tmp_path), scenario)
    assert ended == [True]
    assert not (tmp_path / "snapshots").exists()


def test_snapshots_and_looks_for_silence_happen_by_themselves(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("quiet", 0, 10))
        await client.post("/v1/readings", json=columns("loud", 0, 40))
        async with asyncio.timeout(30):
            while not (snapshot.paths(service.snapshots) and service.shard.silent()):
                await asyncio.sleep(0.02)
        assert service.shard.silent() == 1

    run(settings(tmp_path, snapshot_seconds=0.05, silent_check_seconds=0.05), scenario)


def test_a_snapshot_that_cannot_be_written_is_told_and_tried_again(tmp_path, caplog):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        service.snapshots.write_text("in the way")
        await asyncio.sleep(0.3)
        assert (await client.get("/health/ready")).status_code == 200
        service.snapshots.unlink()

    run(settings(tmp_path, snapshot_seconds=0.05, silent_check_seconds=0.05), scenario)
    assert "no snapshot could be saved" in caplog.text


def test_a_damaged_snapshot_is_left_aside_with_a_note(tmp_path, caplog):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / f"snapshot-{7:020d}.safetensors").write_bytes(b"damaged")

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.get("/v1/equipment")).json()["total"] == 0

    run(settings(tmp_path), scenario)
    assert "is not used" in caplog.text


def test_a_service_that_has_not_started_is_not_ready(tmp_path):
    service = Service(settings(tmp_path))
    with pytest.raises(NotReady):
        service.check_ready()
    asyncio.run(service.stop())


def test_a_last_snapshot_that_cannot_be_saved_is_a_failure(tmp_path, caplog):
    ended: list[bool] = []

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        service.on_failure = lambda: ended.append(True)
        await client.post("/v1/readings", json=columns("p1", 0, 5))
        service.snapshots.write_text("in the way")

    run(settings(tmp_path), scenario)
    assert ended == [True]
    assert "no snapshot could be saved" in caplog.text


def test_a_defect_in_saving_is_told_with_its_place_and_ends_nothing_before_its_time(tmp_path, caplog, monkeypatch):
    ended: list[bool] = []

    def fail(*given: Any) -> Path:
        raise ValueError("a defect")

    monkeypatch.setattr(snapshot, "write", fail)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        service.on_failure = lambda: ended.append(True)
        await asyncio.sleep(0.3)
        assert (await client.get("/health/ready")).status_code == 200
        assert not ended

    run(settings(tmp_path, snapshot_seconds=0.05, silent_check_seconds=0.05), scenario)
    assert ended == [True]
    assert "no snapshot could be saved: a defect" in caplog.text
    assert "no snapshot could be saved" in caplog.text
    assert "Traceback" in caplog.text


def test_a_snapshot_that_is_being_written_is_finished_before_the_last_one(tmp_path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []
    write = snapshot.write

    def slow(*given: Any) -> Path:
        number = len(order) // 2
        order.append(f"begin {number}")
        if number == 0:
            begun.set()
            assert go_on.wait(20)
        path = write(*given)
        order.append(f"end {number}")
        return path

    monkeypatch.setattr(snapshot, "write", slow)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 5))
        await asyncio.to_thread(begun.wait, 20)
        stopping = asyncio.create_task(service.stop())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not stopping.done()
        go_on.set()
        await stopping
        assert order == ["begin 0", "end 0", "begin 1", "end 1"]

    run(settings(tmp_path, snapshot_seconds=0.05, silent_check_seconds=0.05), scenario)


@pytest.mark.parametrize("clock", ["event", "wall"])
def test_silence_is_judged_anew_after_a_start(tmp_path, clock):
    """By the clock of the data nothing has passed; by the wall's, nobody listened meanwhile."""
    interval = 1_000_000

    async def first(client: httpx.AsyncClient, service: Service) -> None:
        for name in ("silent", "p1"):
            await client.post("/v1/readings", json=columns(name, 0, 5))
        slot = service.shard.equipment_table.slot("silent")
        service.shard.columns["heard"][slot] -= 100 * interval
        await service.consumer.sweep()
        assert service.shard.silent() == 1

    async def second(client: httpx.AsyncClient, service: Service) -> None:
        now = service.clock.now()
        assert service.shard.sweep(now + 4 * interval) is None, "only the one is silent, as before"
        (alarm,) = (await client.get("/v1/alarms?kind=silent&open=true")).json()["alarms"]
        assert alarm["equipment"] == "silent"
        assert service.shard.sweep(now + 60 * interval) is not None

    wall = {"future_seconds_max": 366 * 86_400.0}
    run(settings(tmp_path, clock=clock, **wall), first)
    run(settings(tmp_path, clock=clock, model=None, **wall), second)


def test_a_journal_over_its_bound_keeps_what_comes_after_the_older_snapshot(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        for first in (0, 10):
            await client.post("/v1/readings", json=columns("p1", first, 10))
            await service.save()
        older = min(snapshot.sequence_of(path) for path in snapshot.paths(service.snapshots))
        assert service.consumer.journal.first_sequence() == older

    run(settings(tmp_path, journal_bytes_max=1), scenario)


def test_records_over_the_bound_of_age_go_but_for_those_that_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        for first in (0, 10):
            await client.post("/v1/readings", json=columns("p1", first, 10))
            await service.save()
        journal, older = service.consumer.journal, min(map(snapshot.sequence_of, snapshot.paths(service.snapshots)))
        assert journal.first_sequence() == 1, "they are of today"
        monkeypatch.setattr("service.lifecycle.DAY", -86_400_000_000)
        service._prune()
        assert journal.first_sequence() == older

    run(settings(tmp_path), scenario)


@pytest.mark.parametrize("sizes", [(10**9, 0), (10**9, 10**9)])
def test_what_a_follower_has_not_read_goes_only_where_the_bound_would_be_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int]
) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        for first in (0, 10):
            await client.post("/v1/readings", json=columns("p1", first, 10))
            await service.save()
        journal = service.consumer.journal
        oldest = min(snapshot.sequence_of(path) for path in snapshot.paths(service.snapshots))
        monkeypatch.setattr(journal, "bytes_used", lambda: sizes[journal.first_sequence() != 1])
        monkeypatch.setattr(service.followers, "places", lambda: {"history": Place(1, 0)})
        service._prune()
        assert journal.first_sequence() == (2 if sizes[1] == 0 else oldest)
        monkeypatch.setattr(journal, "bytes_used", lambda: 0)
        assert oldest > 2

    run(settings(tmp_path), scenario)


def test_a_snapshot_is_saved_where_records_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(journal: SqliteJournal, before: int, bytes_max: int) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    ended: list[bool] = []
    monkeypatch.setattr(SqliteJournal, "prune", fail)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        service.on_failure = lambda: ended.append(True)
        await client.post("/v1/readings", json=columns("p1", 0, 5))

    run(settings(tmp_path, journal_bytes_max=1), scenario)
    assert not ended
    assert snapshot.paths(tmp_path / "snapshots")
    assert "no records could be removed from the journal: database or disk is full" in caplog.text
