"""Sources over HTTP: the header that names one, what is shown of its clock, and a server that is killed with the answer
on its way."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx

from service.lifecycle import Service
from tests.service.running import WARMUP, columns, run, settings, time_of
from tests.service.test_app import is_problem
from tests.service.test_serve import model_folder, process, wait_until_ready

ARRIVAL = {"clock": "wall", "time_source": {"gateway-*": "arrival"}}
NAMED = {"Limen-Source": "gateway-3"}


def test_a_header_names_the_source_and_the_answer_has_the_times_as_they_were_sent(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        begun = time.time()
        body = columns("p", 0, 30)
        rows = [
            {"equipment": "p", "time": at, "values": dict(zip(body["sensors"], row, strict=True))}
            for at, row in zip(body["times"], body["values"], strict=True)
        ]
        answer = (await client.post("/v1/readings", json={"readings": rows}, headers=NAMED)).json()
        assert answer["scored"] == 30 - WARMUP
        assert answer["results"][-1]["time"] == time_of(29)
        assert "flags" not in answer["results"][-1]
        (entry,) = (await client.get("/v1/equipment")).json()["equipment"]
        assert entry["last_time"] > time_of(29), "taken by arrival"
        assert int(service.shard.columns["last_time"][0]) >= int(begun * 1e6) - 1_000_000
        again = (await client.post("/v1/readings", json={"readings": rows}, headers=NAMED)).json()
        assert again["duplicate"] == 30
        assert [one["score"] for one in again["results"]] == [one["score"] for one in answer["results"]]
        scrape = (await client.get("/metrics")).text
        (line,) = [line for line in scrape.splitlines() if line.startswith("limen_source_clock_offset_seconds{")]
        assert line.startswith('limen_source_clock_offset_seconds{source="gateway-3"} ')
        assert float(line.split()[-1]) < 0

    run(settings(tmp_path, **ARRIVAL), scenario)


def test_a_body_without_the_header_is_of_the_address_that_it_comes_from(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p", 0, 5))
        assert list(service.shard.sources.clocks) == ["127.0.0.1"]
        answer = await client.post("/v1/readings", json=columns("p", 5, 5), headers={"Limen-Source": "a gateway"})
        is_problem(answer, 400, "bad-request")
        assert answer.json()["field"] == "Limen-Source"
        assert list(service.shard.sources.clocks) == ["127.0.0.1"]

    run(settings(tmp_path, clock="wall"), scenario)


def posted_without_waiting(url: str, body: dict[str, Any]) -> socket.socket:
    """A connection over which a body was sent, whose answer nobody reads."""
    content = json.dumps(body).encode()
    head = ["POST /v1/readings HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    head += [*(f"{name}: {value}" for name, value in NAMED.items()), f"Content-Length: {len(content)}", "", ""]
    connection = socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 0))
    connection.sendall("\r\n".join(head).encode() + content)
    return connection


def test_a_body_whose_answer_was_lost_in_a_crash_is_known_again_with_its_times(tmp_path: Path) -> None:
    variables = {"LIMEN_MODEL": str(model_folder()), "LIMEN_CLOCK": "wall", "LIMEN_TIME_SOURCE": "gateway-*=arrival"}
    body, last = columns("p", 0, 20), ""
    with process(tmp_path, **variables) as (started, url), httpx.Client(base_url=url, trust_env=False) as client:
        wait_until_ready(client)
        with posted_without_waiting(url, body):
            while not (found := client.get("/v1/equipment").json()["equipment"]):
                time.sleep(0.01)
            last = found[0]["last_time"]
            started.send_signal(signal.SIGKILL)
            started.wait(10)
    with process(tmp_path, **variables) as (started, url), httpx.Client(base_url=url, trust_env=False) as client:
        wait_until_ready(client)
        again = client.post("/v1/readings", json=body, headers=NAMED).json()
        assert again["duplicate"] == 20
        assert [score is None for score in again["batches"][0]["score"]] == [True] * WARMUP + [False] * (20 - WARMUP)
        assert client.get("/v1/equipment").json()["equipment"][0]["last_time"] == last
        following = client.post("/v1/readings", json=columns("p", 20, 1), headers=NAMED).json()
        assert following["scored"] + following["warming"] == 1, "a new body is taken by its own arrival"
        started.kill()
