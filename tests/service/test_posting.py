"""Readings over HTTP: the three forms, what is refused and how it is told, and what happens where there is no room."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest

from service.lifecycle import Service
from tests.service import running
from tests.service.running import WARMUP, check_sum, columns, rows, run, settings, time_of
from tests.service.test_app import JSON, is_problem


def test_rows_are_scored_and_name_their_leading_sensors(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        answer = (await client.post("/v1/readings", json=rows("p1", 0, 20))).json()
        check_sum(answer)
        assert (answer["received"], answer["warming"], answer["scored"]) == (20, WARMUP, 20 - WARMUP)
        first, last = answer["results"][0], answer["results"][-1]
        assert first == {
            "equipment": "p1",
            "time": time_of(0),
            "status": "warming",
            "score": None,
            "p_value": None,
            "alarm": False,
        }
        assert last["status"] == "scored"
        assert last["score"] > 0
        assert 0 < last["p_value"] <= 1
        shares = [sensor["share"] for sensor in last["sensors"]]
        assert shares == sorted(shares, reverse=True)
        assert {sensor["sensor"] for sensor in last["sensors"]} <= set(running.SENSORS)

    run(settings(tmp_path), scenario)


def test_the_three_forms_give_the_same_scores(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        a = (await client.post("/v1/readings", json=rows("a", 0, 30))).json()
        b = (await client.post("/v1/readings", json=columns("b", 0, 30))).json()
        c = (await client.post("/v1/readings", json={"batches": [columns("c", 0, 15), columns("c", 15, 15)]})).json()
        packed = gzip.compress(json.dumps(columns("d", 0, 30)).encode())
        d = (await client.post("/v1/readings", content=packed, headers={**JSON, "content-encoding": "gzip"})).json()
        scores = [result["score"] for result in a["results"]]
        assert [score for batch in b["batches"] for score in batch["score"]] == scores
        assert [score for batch in c["batches"] for score in batch["score"]] == scores
        assert d["batches"][0]["score"] == scores
        assert [batch["equipment"] for batch in c["batches"]] == ["c", "c"]
        for answer in (a, b, c, d):
            check_sum(answer)

    run(settings(tmp_path), scenario)


def test_large_bodies_are_decoded_aside_with_the_same_answer(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        a = (await client.post("/v1/readings", json=columns("a", 0, 30))).json()
        b = (await client.post("/v1/readings", json=columns("a", 0, 30))).json()
        assert b["duplicate"] == 30
        assert a["batches"][0]["score"] == b["batches"][0]["score"]

    run(settings(tmp_path, thread_bytes_min=1), scenario)


def test_one_bad_cell_costs_one_row(tmp_path):
    body = rows("p1", 0, 5)
    body["readings"][2]["values"]["sensor-1"] = "n/a"

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        response = await client.post("/v1/readings", json=body)
        answer = response.json()
        check_sum(answer)
        assert (response.status_code, answer["warming"], answer["rejected"]) == (200, 4, 1)
        detail = "row 2: values of sensor 'sensor-1' is 'n/a'; expected a number or null"
        assert answer["results"][2]["detail"] == detail
        assert answer["results"][2]["reason"] == "bad_value"
        assert "errors" not in answer, "one place is enough"

    run(settings(tmp_path), scenario)


def test_a_bad_row_of_columns_is_explained(tmp_path):
    body = columns("p1", 0, WARMUP + 2)
    body["values"][-1] = [1.0]

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        answer = (await client.post("/v1/readings", json=body)).json()
        check_sum(answer)
        (batch,) = answer["batches"]
        assert batch["status"] == ["warming"] * WARMUP + ["scored", "rejected"]
        assert batch["reason"] == [""] * (WARMUP + 1) + ["bad_value"]
        assert answer["errors"][0]["detail"] == f"row {WARMUP + 1}: values has 1 values; expected 4, one a sensor"

    run(settings(tmp_path), scenario)


def test_an_unknown_sensor_is_named_in_the_warnings_and_counted(tmp_path):
    body = rows("p1", 0, 3)
    body["readings"][1]["values"]["colour"] = 5.0
    body["readings"].append({"equipment": "p1", "time": time_of(9), "values": {"colour": 1.0}})

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        answer = (await client.post("/v1/readings", json=body)).json()
        check_sum(answer)
        assert (answer["warming"], answer["rejected"]) == (3, 1)
        assert answer["results"][3]["reason"] == "no_sensor"
        assert "'colour'" in answer["warnings"][0]
        metrics = (await client.get("/metrics")).text
        assert "limen_unknown_sensor_values_total 2.0" in metrics

    run(settings(tmp_path), scenario)


def test_readings_ahead_of_the_wall_clock_are_rejected(tmp_path):
    future = {"equipment": "p1", "time": "2999-01-01T00:00:00Z", "values": {"sensor-0": 1.0}}

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        answer = (await client.post("/v1/readings", json={"readings": [future]})).json()
        assert (answer["rejected"], answer["results"][0]["reason"]) == (1, "future")

    run(settings(tmp_path, clock="wall"), scenario)


def test_equipment_without_a_model_is_rejected(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        answer = (await client.post("/v1/readings", json=rows("p1", 0, 2))).json()
        assert (answer["rejected"], answer["results"][0]["reason"]) == (2, "no_model")
        told = "no model serves 'p1'; put one in by POST /v1/models or limen serve --model"
        assert answer["results"][1]["detail"] == told
        answer = (await client.post("/v1/readings", json=columns("p1", 0, 2))).json()
        told_of = {"equipment": "p1", "status": "rejected", "reason": "no_model", "readings": 2, "detail": told}
        assert answer["advice"] == [told_of]
        assert (await client.get("/v1/models")).json() == {"models": []}
        assert (await client.get("/health/ready")).json()["models"] == 0

    run(settings(tmp_path, model=None), scenario)


# -- what is refused -------------------------------------------------------------------------------------------------

REFUSED: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"", JSON, 400, "not-json"),
    (b"{", JSON, 400, "not-json"),
    (b"[" * 200_000, JSON, 400, "not-json"),
    (b"\xff", JSON, 400, "not-json"),
    (b"{}", JSON, 422, "invalid"),
    (b"{}", {}, 415, "unsupported-media-type"),
    (b"{}", {"content-type": "text/plain"}, 415, "unsupported-media-type"),
    (b"a=1", {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"),
    (b"{}", {**JSON, "content-encoding": "br"}, 415, "unsupported-media-type"),
    (b"{}", {**JSON, "content-encoding": "gzip"}, 400, "not-gzip"),
    (gzip.compress(b'{"readings": []}')[:-9], {**JSON, "content-encoding": "gzip"}, 400, "not-gzip"),
    (gzip.compress(b" " * 30_000_000), {**JSON, "content-encoding": "gzip"}, 413, "body-too-large"),
    (gzip.compress(b" " * 9_000_000) * 2, {**JSON, "content-encoding": "gzip"}, 413, "body-too-large"),
    (b" " * 8_388_609, JSON, 413, "body-too-large"),
]


@pytest.mark.parametrize(("content", "headers", "status", "kind"), REFUSED)
def test_a_body_that_cannot_be_used_is_a_problem(tmp_path, content, headers, status, kind):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        is_problem(await client.post("/v1/readings", content=content, headers=headers), status, kind)
        assert service.in_flight.held == 0
        assert (await client.post("/v1/readings", json=rows("p1", 0, 1))).status_code == 200

    run(settings(tmp_path), scenario)


def test_a_body_that_streams_in_is_counted_as_it_comes(tmp_path):
    sent = 0

    async def stream() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b" " * 100_000

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        is_problem(await client.post("/v1/readings", content=stream(), headers=JSON), 413, "body-too-large")

    run(settings(tmp_path), scenario)
    assert sent <= 170, "up to twice the limit is taken in, so that the answer can be read"


def test_a_body_that_does_not_arrive_is_given_up(tmp_path):
    async def stall() -> Any:
        yield b"{"
        await asyncio.sleep(30)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        is_problem(await client.post("/v1/readings", content=stall(), headers=JSON), 408, "request-timeout")

    run(settings(tmp_path, body_seconds_max=0.05), scenario)


def test_more_in_flight_than_there_is_room_for_is_told_to_come_back(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        service.in_flight.take(service.in_flight.bytes_max)
        response = await client.post("/v1/readings", json=rows("p1", 0, 1))
        is_problem(response, 503, "unavailable")
        assert response.headers["retry-after"] == "1"
        service.in_flight.give(service.in_flight.bytes_max)

    run(settings(tmp_path), scenario)


def test_a_full_queue_is_told_with_the_time_to_come_back(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        posts = [client.post("/v1/readings", json=columns(f"p{i}", 0, 50)) for i in range(40)]
        responses = await asyncio.gather(*posts)
        full = [response for response in responses if response.status_code == 503]
        assert full
        assert any(response.status_code == 200 for response in responses)
        for response in full:
            is_problem(response, 503, "queue-full")
            assert int(response.headers["retry-after"]) >= 1

    run(settings(tmp_path, queue_readings_max=100, body_readings_max=100, batch_readings_max=50), scenario)
