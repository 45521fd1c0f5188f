from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import progress, recovery
from service.app import create_app
from service.journal import JournalError
from service.lifecycle import Service
from service.progress import Abandoned, Progress
from tests.service.running import columns, run, settings
from tests.service.test_app import is_problem


class Held:
    """Holds a start back where it would restore a snapshot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        recover = recovery.recover

        def held(*given: Any) -> Any:
            self.reached.set()
            assert self.go_on.wait(20)
            return recover(*given)

        monkeypatch.setattr(recovery, "recover", held)


async def begun(service: Service, held: Held) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(service.settings, service), raise_app_exceptions=False)
    service.begin()
    assert await asyncio.to_thread(held.reached.wait, 20)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def test_while_it_starts_it_lives_and_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        ready: list[bool] = []
        service, held = Service(settings(tmp_path)), Held(monkeypatch)
        service.on_ready = lambda: ready.append(True)
        async with await begun(service, held) as client:
            alive = await client.get("/health/live")
            assert (alive.status_code, alive.json()["equipment"]) == (200, 0)
            found = await client.get("/health/ready")
            is_problem(found, 503, "not-ready")
            assert found.json()["progress"]["phase"] == "snapshot"
            assert "snapshot" in found.json()["detail"]
            posted = await client.post("/v1/readings", json=columns("p1", 0, 5))
            is_problem(posted, 503, "not-ready")
            assert int(posted.headers["Retry-After"]) >= 1
            assert not ready
            held.go_on.set()
            await service.started()
            assert ready == [True]
            assert (await client.get("/health/ready")).status_code == 200
            assert (await client.post("/v1/readings", json=columns("p1", 0, 5))).json()["received"] == 5
        await service.stop()

    asyncio.run(play())


def test_a_stop_gives_a_start_up_and_saves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        service, held = Service(settings(tmp_path)), Held(monkeypatch)
        service.on_failure = lambda: pytest.fail("a stop is no failure")
        async with await begun(service, held) as client:
            stopping = asyncio.create_task(service.stop())
            await asyncio.sleep(0)
            is_problem(await client.get("/health/ready"), 503, "stopping")
            held.go_on.set()
            await stopping
        service.check_started()

    asyncio.run(play())
    assert not (tmp_path / "snapshots").exists()


def test_what_stops_a_start_is_told_when_the_process_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        ended: list[bool] = []

        def fail(*given: Any) -> int:
            raise JournalError("record 7 is missing")

        monkeypatch.setattr(recovery, "catch_up", fail)
        service = Service(settings(tmp_path))
        service.on_failure = lambda: ended.append(True)
        service.begin()
        with pytest.raises(JournalError):
            await service.started()
        await service.stop()
        assert ended == [True]
        with pytest.raises(JournalError, match="record 7 is missing"):
            service.check_started()

    asyncio.run(play())


def test_records_and_readings_of_a_replay_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def first(client: httpx.AsyncClient, service: Service) -> None:
        for start in (0, 5, 10):
            await client.post("/v1/readings", json=columns("p1", start, 5))

    async def second(client: httpx.AsyncClient, service: Service) -> None:
        done = service.progress
        assert (done.phase, done.records_done, done.readings_done) == ("ready", done.records, 15)

    async def nothing(service: Service) -> None:
        return

    with monkeypatch.context() as without:
        without.setattr(Service, "save", nothing)  # as after a crash: there is no snapshot
        run(settings(tmp_path), first)
    run(settings(tmp_path), second)


def test_a_long_start_is_told_now_and_then(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "limen")
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    start = Progress(began=100.0, _told=100.0)
    start.enter("replay", 1000)
    for done in range(1, 1001):
        clock[0] += 0.012
        start.replayed(done, 100 * done)
    assert len(caplog.messages) == 2
    assert "417 of 1000 records of the journal (41700 readings), for 5.0 s" in caplog.messages[0]


def test_a_start_that_is_to_stop_does_not_go_on() -> None:
    start = Progress()
    start.stopping.set()
    with pytest.raises(Abandoned):
        start.replayed(1, 1)
