"""The clock of the data goes on where no later reading will come: what waits is scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.lifecycle import Service
from tests.service.running import WARMUP, columns, run, settings, time_of
from tests.service.test_app import is_problem

COUNT, HOLE, WINDOW = 40, 35, 10  # readings of a second each; one never comes
TAIL = list(range(HOLE + 1, COUNT))


def with_a_hole(equipment: str) -> dict[str, Any]:
    """Readings of which one does not come: those after it wait for it."""
    body = columns(equipment, 0, COUNT)
    for part in ("times", "values"):
        del body[part][HOLE]
    return body


async def scored(client: httpx.AsyncClient, equipment: str) -> list[str]:
    """Times of the readings that have a score."""
    page = (await client.get(f"/v1/equipment/{equipment}/scores?limit=1000")).json()
    return [entry["time"] for entry in page["scores"] if entry["status"] == "scored"]


@pytest.mark.parametrize("joined", [False, True])
def test_what_waits_at_the_end_of_the_data_is_scored_when_the_clock_goes_on(tmp_path: Path, joined: bool) -> None:
    given = settings(tmp_path, reorder_seconds=WINDOW, join=["p1"] if joined else [])

    async def closed(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=with_a_hole("p1"))
        clock = (await client.get("/v1/clock")).json()
        assert (clock["clock"], clock["time"]) == ("event", time_of(COUNT - 1))
        assert clock["held"] == len(TAIL)
        assert time_of(TAIL[-1]) not in await scored(client, "p1")
        assert (await client.put("/v1/clock", json={"time": time_of(0)})).json() == clock, "it never runs backwards"
        after = (await client.put("/v1/clock", json={"time": clock["due"]})).json()
        assert after == {"clock": "event", "time": clock["due"], "held": 0, "due": None}
        found = await scored(client, "p1")
        assert found[-len(TAIL) :] == [time_of(second) for second in TAIL]
        if not joined:
            assert found == [time_of(second) for second in range(WARMUP, COUNT) if second != HOLE]

    async def later(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.get("/v1/clock")).json()["held"] == 0
        assert (await scored(client, "p1"))[-1] == time_of(TAIL[-1])
        again = (await client.post("/v1/readings", json=with_a_hole("p1"))).json()
        assert (again["duplicate"] + again["late"], again["held"]) == (COUNT - 1, 0)

    run(given, closed)
    run(given, later)


def test_the_clock_of_the_wall_is_not_set(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        found = (await client.get("/v1/clock")).json()
        assert (found["clock"], found["held"], found["due"]) == ("wall", 0, None)
        is_problem(await client.put("/v1/clock", json={"time": "2100-01-01T00:00:00Z"}), 409, "conflict")
        assert (await client.get("/v1/clock")).json()["time"] < "2100"

    run(settings(tmp_path, clock="wall"), scenario)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"time": "2026-01-01"}, 422, "time is '2026-01-01', which has no zone; expected a time with a zone"),
        ({"time": 5}, 422, "time is 5; expected a time with a zone"),
        ({}, 422, "the body is an object of 0; expected {"),
        ({"time": "2026-01-01T00:00:00Z", "zone": "UTC"}, 422, "the body is an object of 2; expected {"),
        ([], 422, "the body is an array of 0; expected {"),
    ],
)
def test_a_time_that_is_none_is_refused(tmp_path: Path, body: Any, status: int, sentence: str) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        found = is_problem(await client.put("/v1/clock", json=body), status, "invalid")
        assert found["detail"].startswith(sentence)
        assert found["field"] == "time"

    run(settings(tmp_path), scenario)
