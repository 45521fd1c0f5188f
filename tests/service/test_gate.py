from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service.body import InFlight
from service.gate import PIECE, Gate, host_name
from service.metrics import Metrics

MIB = 1024 * 1024


def counted(registry: CollectorRegistry) -> set[tuple[str, str]]:
    """Route and status of the requests that were counted."""
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    requests = [sample for sample in samples if sample.name == "limen_request_duration_seconds_count"]
    return {(sample.labels["route"], sample.labels["status"]) for sample in requests}


def passed(
    registry: CollectorRegistry,
    hosts: list[str],
    path: str = "/v1/models",
    host: bytes | None = b"localhost",
    kind: str = "http",
    in_flight: InFlight | None = None,
) -> tuple[int | None, bool]:
    """The status that comes back, and whether the application was reached."""
    reached: list[str] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        if path == "/fails":
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if host is None else [(b"accept", b"x"), (b"host", host)]
    scope = {"type": kind, "path": path, "headers": headers}
    asyncio.run(Gate(app, hosts, Metrics(registry), in_flight or InFlight(MIB))(scope, None, send))  # type: ignore[arg-type]
    return (sent[0]["status"] if sent else None), bool(reached)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.mark.parametrize(
    ("hosts", "host", "allowed"),
    [
        *((["localhost"], b"LocalHost:80", True), (["localhost"], b"evil", False), (["::1"], b"[::1]:8000", True)),
        *((["*.plant"], b"a.plant", True), (["*.plant"], b"plant", False), (["*"], b"anything", True)),
        *((["localhost"], None, False), (["*"], None, True), (["*.plant"], b"a.plant.evil", False)),
    ],
)
def test_hosts_on_the_list_pass(
    registry: CollectorRegistry, hosts: list[str], host: bytes | None, allowed: bool
) -> None:
    status, reached = passed(registry, hosts, host=host)
    assert (status, reached) == ((204, True) if allowed else (400, False))
    assert counted(registry) == {("/v1/models", str(status))}


def test_probes_pass_by_any_name() -> None:
    assert passed(CollectorRegistry(), ["localhost"], "/health/live", b"10.0.0.7") == (204, True)
    assert passed(CollectorRegistry(), ["localhost"], "/health/live/x", b"10.0.0.7") == (400, False)


@pytest.mark.parametrize(("path", "route"), [("/v1/readings", "/v1/readings"), ("/v1/anything/at/all", "other")])
def test_readings_are_counted_apart_and_addresses_do_not_make_series(
    registry: CollectorRegistry, path: str, route: str
) -> None:
    passed(registry, ["localhost"], path)
    assert counted(registry) == {(route, "204")}


def test_an_application_that_fails_is_counted_as_a_500(registry: CollectorRegistry) -> None:
    with pytest.raises(ZeroDivisionError):
        passed(registry, ["localhost"], "/fails")
    assert counted(registry) == {("other", "500")}


def test_what_is_no_request_passes_uncounted(registry: CollectorRegistry) -> None:
    assert passed(registry, [], kind="lifespan") == (204, True)
    assert counted(registry) == set()


def test_a_request_without_a_host_has_none() -> None:
    assert host_name({"headers": []}) == ""


def test_a_long_answer_is_in_flight_until_its_last_piece_is_taken(registry: CollectorRegistry) -> None:
    whole, in_flight = bytes(range(256)) * 1024, InFlight(MIB)
    taken: list[tuple[bytes, bool, int]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": whole})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            taken.append((bytes(message["body"]), message["more_body"], in_flight.held))

    scope = {"type": "http", "path": "/", "headers": []}
    asyncio.run(Gate(app, ["*"], Metrics(registry), in_flight)(scope, None, send))  # type: ignore[arg-type]
    assert b"".join(piece for piece, *_ in taken) == whole
    assert [more for _, more, _ in taken] == [True, True, True, False]
    assert {held for *_, held in taken} == {len(whole)}
    assert max(len(piece) for piece, *_ in taken) == PIECE
    assert in_flight.held == 0


def test_while_answers_that_nobody_reads_fill_the_room_only_probes_are_answered() -> None:
    full = InFlight(MIB, answers=MIB)
    assert passed(CollectorRegistry(), ["localhost"], in_flight=full) == (503, False)
    assert passed(CollectorRegistry(), ["localhost"], "/health/live", in_flight=full) == (204, True)
