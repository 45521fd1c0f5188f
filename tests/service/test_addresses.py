from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from service.lifecycle import Service
from tests.service.running import columns, run, settings
from tests.service.test_app import is_problem


def test_an_id_may_end_like_the_address_of_scores(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        for name in ("x", "x/scores", "scores", "x/scores/scores"):
            await client.post("/v1/readings", json=columns(name, 0, 3))
            address = f"/v1/equipment/{name.replace('/', '%2F')}"
            detail, recent = (await client.get(address)).json(), (await client.get(f"{address}/scores")).json()
            assert (detail["equipment"], "sensors" in detail) == (name, True)
            assert (recent["equipment"], len(recent["scores"])) == (name, 3)
        plain = (await client.get("/v1/equipment/x/scores?limit=1")).json()
        assert (plain["equipment"], len(plain["scores"])) == ("x", 1)

    run(settings(tmp_path), scenario)


@pytest.mark.parametrize(
    ("address", "name", "expected"),
    [
        ("/v1/equipment/p1/scores?form=2026-11-24T00:00:00Z", "form", "expected from, to, limit, cursor"),
        ("/v1/equipment?limit=2&page=3", "page", "expected limit, offset"),
        ("/v1/alarms?opened=true", "opened", "expected open, equipment, kind, historical, limit, offset"),
        ("/v1/equipment/p1?limit=1", "limit", "this address takes none"),
        ("/v1/models?name=pumps", "name", "this address takes none"),
        ("/v1/equipment?LIMIT=1", "LIMIT", "expected limit, offset"),
        ("/v1/equipment?%00=1", "'\\x00'", "expected limit, offset"),
    ],
)
def test_a_query_parameter_that_is_not_known_is_refused_by_name(
    tmp_path: Path, address: str, name: str, expected: str
) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 20))
        found = is_problem(await client.get(address), 422, "invalid")
        assert found["field"] == name
        assert found["detail"].endswith(f"is not known here; {expected}")

    run(settings(tmp_path), scenario)


def test_parameters_that_are_known_are_taken_and_probes_may_be_given_any(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 20))
        scores = "/v1/equipment/p1/scores?from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z&limit=5"
        alarms = "/v1/alarms?open=true&equipment=p1&kind=silent&historical=false&limit=5&offset=0"
        for address in (scores, alarms, "/health/live?from=probe", "/metrics?from=probe", "/docs?from=link"):
            assert (await client.get(address)).status_code == 200, address

    run(settings(tmp_path), scenario)
