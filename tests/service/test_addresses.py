from __future__ import annotations

import httpx

from service.lifecycle import Service
from tests.service.running import columns, run, settings


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
