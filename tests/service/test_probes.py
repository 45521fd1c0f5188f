"""Probes are answered at once, whatever the disk does; who asks for state waits until it is safe."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from service.lifecycle import Service
from tests.service.running import columns, run, settings


def test_probes_do_not_wait_for_the_disk_as_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        syncing, resting = asyncio.Event(), asyncio.Event()
        sync = service.consumer.journal.sync

        async def slow() -> None:
            syncing.set()
            await resting.wait()
            await sync()

        monkeypatch.setattr(service.consumer.journal, "sync", slow)
        posting = asyncio.create_task(client.post("/v1/readings", json=columns("p1", 0, 3)))
        await syncing.wait()
        listing = asyncio.create_task(client.get("/v1/equipment"))
        for probe in ("/health/live", "/health/ready"):
            assert (await client.get(probe)).json()["equipment"] == 1, "not safe yet, and counted"
        assert not posting.done()
        assert not listing.done()
        resting.set()
        assert (await posting).json()["received"] == 3
        assert (await listing).json()["total"] == 1

    run(settings(tmp_path), scenario)
