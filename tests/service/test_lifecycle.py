from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.requests import ClientDisconnect

from service.body import BodyReader
from service.errors import NotReady, Unavailable
from service.journal import Record, Unjournaled
from service.lifecycle import InFlight, Service
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
        for _ in range(100):
            await asyncio.sleep(0.02)
            if service.snapshots.exists() and service.shard.silent():
                break
        assert service.shard.silent() == 1
        assert list(service.snapshots.glob("snapshot-*.safetensors"))

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


def test_a_sender_that_hangs_up_leaves_nothing_in_flight():
    async def receive() -> dict[str, object]:
        return parts.pop(0)

    parts: list[dict[str, object]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    in_flight = InFlight(100)
    reader = BodyReader(in_flight, 10, 1.0)
    with pytest.raises(ClientDisconnect):
        asyncio.run(reader.read(receive, {}))  # type: ignore[arg-type]
    assert in_flight.held == 1
    reader.close()
    assert in_flight.held == 0
    with pytest.raises(Unavailable, match="in flight"):
        in_flight.take(101)
