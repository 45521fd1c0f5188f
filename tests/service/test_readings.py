from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from service.lifecycle import Service
from service.readings import ReadingsRoute
from tests.service.running import columns, run, settings

HEADERS = [(b"content-type", b"application/json"), (b"host", b"localhost")]


def test_a_sender_that_hangs_up_gets_no_answer_and_holds_nothing(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        parts = [{"type": "http.request", "body": b"{" * 100, "more_body": True}, {"type": "http.disconnect"}]
        sent: list[Any] = []

        async def receive() -> Any:
            return parts.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        await ReadingsRoute(service)({"type": "http", "headers": HEADERS}, receive, send)
        assert (sent, service.in_flight.held) == ([], 0)

    run(settings(tmp_path), scenario)


@pytest.mark.parametrize("thread_bytes_min", [1, 1_000_000])
def test_a_request_that_is_cut_off_holds_nothing_and_its_readings_count(tmp_path, thread_bytes_min):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        blocked = asyncio.Event()
        sync = service.consumer.journal.sync

        async def waiting() -> None:
            await blocked.wait()
            await sync()

        service.consumer.journal.sync = waiting  # type: ignore[method-assign]
        post = asyncio.create_task(client.post("/v1/readings", json=columns("p1", 0, 9)))
        while not len(service.shard):
            await asyncio.sleep(0.001)
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await post
        assert service.in_flight.held == 0
        blocked.set()
        again = (await client.post("/v1/readings", json=columns("p1", 0, 9))).json()
        assert again["duplicate"] == 9

    run(settings(tmp_path, thread_bytes_min=thread_bytes_min), scenario)
