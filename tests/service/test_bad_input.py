"""Bad input, kind by kind: a clear error that names the thing, the other rows scored, no 500, statuses that sum."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from typing import Any

import httpx
import numpy as np
import pytest

from service.lifecycle import Service
from tests.service.running import WARMUP, check_sum, columns, rows, run, settings, time_of
from tests.service.test_app import JSON, is_problem

HUGE = "A" * 10_000


def bad_row(**changes: Any) -> dict[str, Any]:
    """A reading that is sound but for the changes; a change to `...` takes the field away."""
    reading = {"equipment": "p1", "time": time_of(50), "values": {"sensor-0": 1.0}} | changes
    return {name: value for name, value in reading.items() if value is not ...}


def values(**cells: Any) -> dict[str, Any]:
    return bad_row(values={"sensor-0": 1.0} | {name.replace("_", "-"): cell for name, cell in cells.items()})


class Literal:
    """Text that stands in the body as it is."""

    def __init__(self, text: str) -> None:
        self.text = text


def text_of(found: Any) -> bytes:
    """JSON, and what json.dumps would not write."""
    literals: list[str] = []

    def default(one: Literal) -> str:
        literals.append(one.text)
        return f"<literal {len(literals) - 1}>"

    text = json.dumps(found, default=default)
    for number, literal in enumerate(literals):
        text = text.replace(f'"<literal {number}>"', literal)
    return text.encode()


BAD_ROWS: dict[str, tuple[Any, str, str]] = {
    "text for a number": (values(sensor_1="12.5"), "bad_value", "'sensor-1' is '12.5'; expected a number or null"),
    "a word": (values(sensor_1="n/a"), "bad_value", "sensor 'sensor-1' is 'n/a'"),
    "a boolean": (values(sensor_1=True), "bad_value", "sensor 'sensor-1' is true"),
    "an array": (values(sensor_1=[1]), "bad_value", "sensor 'sensor-1' is an array of 1"),
    "NaN": (values(sensor_1=Literal("NaN")), "bad_value", "sensor 'sensor-1' is NaN"),
    "Infinity": (values(sensor_1=Literal("-Infinity")), "bad_value", "sensor 'sensor-1' is -Infinity"),
    "beyond a float": (values(sensor_1=Literal("1e309")), "bad_value", "sensor 'sensor-1' is too large"),
    "many digits": (values(sensor_1=Literal("9" * 400)), "bad_value", "sensor 'sensor-1' is too large"),
    "a sensor twice": (bad_row(values=Literal('{"a": 1, "a": 2}')), "bad_value", "names sensor 'a' twice"),
    "no time zone": (bad_row(time="2026-09-21T14:13:20"), "bad_value", "which has no zone"),
    "no time": (bad_row(time="yesterday"), "bad_value", "time is 'yesterday'; expected a time with a zone"),
    "a number as time": (bad_row(time=1790000000), "bad_value", "time is 1790000000"),
    "no equipment": (bad_row(equipment=...), "bad_value", "equipment is missing"),
    "an empty id": (bad_row(equipment=""), "bad_value", "equipment is empty"),
    "an id of 10 kB": (bad_row(equipment=HUGE), "bad_value", "equipment has 10000 characters; expected at most 256"),
    "an id with a control character": (bad_row(equipment="p\x07"), "bad_value", r"equipment is 'p\x07'"),
    "an id with half a character": (bad_row(equipment="p\ud800"), "bad_value", r"equipment is 'p\ud800'"),
    "an id that is a number": (bad_row(equipment=7), "bad_value", "equipment is 7; expected text"),
    "a sensor of 10 kB": (bad_row(values={HUGE: 1.0}), "bad_value", "names a sensor that has 10000 characters"),
    "a sensor with a line break": (bad_row(values={"a\nb": 1.0}), "bad_value", r"names a sensor that is 'a\nb'"),
    "10,001 sensors": (
        bad_row(values={f"s{i}": 1.0 for i in range(10_001)}), "limit", "names 10001 sensors; expected at most 10000"),
    "an unknown field": (bad_row(colour="red"), "bad_value", "colour is an unknown field"),
    "values that are none": (bad_row(values=[1.0]), "bad_value", "values is an array of 1; expected an object"),
    "no reading": (7, "bad_value", "reading is 7; expected an object"),
    "deep nesting": (bad_row(values={"a": json.loads("[" * 50 + "]" * 50)}), "bad_value", "'a' is an array of 1"),
    "no known sensor": (bad_row(values={"colour": 1.0}), "no_sensor", ""),
    "no sensor": (bad_row(values={}), "no_sensor", ""),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "reason", "sentence"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_named_and_the_others_are_scored(tmp_path, bad, reason, sentence):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        body = rows("p1", 0, WARMUP + 8)
        body["readings"].insert(9, bad)
        response = await client.post("/v1/readings", content=text_of(body), headers=JSON)
        assert response.status_code == 200, response.text
        answer = response.json()
        check_sum(answer)
        assert [answer[name] for name in ("received", "rejected", "warming", "scored")] == [WARMUP + 9, 1, WARMUP, 8]
        result = answer["results"][9]
        assert (result["status"], result["reason"], result["score"]) == ("rejected", reason, None)
        assert sentence in result.get("detail", "")
        assert len(json.dumps(result)) < 1_000, "what was sent is not sent back"
        if sentence:
            assert result["detail"].startswith("row 9: ")
        assert result["detail"], "every refusal is explained"
        assert "errors" not in answer, "and once"

    run(settings(tmp_path), scenario)


def test_a_bad_row_leaves_the_scores_of_the_others_as_they_are(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        clean = (await client.post("/v1/readings", json=rows("p2", 0, WARMUP + 8))).json()
        body = rows("p1", 0, WARMUP + 8)
        body["readings"][6:6] = [bad for bad, *_ in BAD_ROWS.values()]
        answer = (await client.post("/v1/readings", content=text_of(body), headers=JSON)).json()
        check_sum(answer)
        kept = answer["results"][:6] + answer["results"][6 + len(BAD_ROWS) :]
        assert [result["score"] for result in kept] == [result["score"] for result in clean["results"]]

    run(settings(tmp_path), scenario)


def batch(**changes: Any) -> dict[str, Any]:
    return columns("p9", 0, 3) | changes


BAD_BATCHES: dict[str, tuple[Any, str, int]] = {
    "ragged": (batch(values=[[1.0] * 4, [1.0] * 3, [1.0] * 4]), "row 4: values has 3 values; expected 4", 1),
    "a boolean": (batch(values=[[1.0] * 4, [1.0] * 4, [True] * 4]), "row 5: values of sensor 'sensor-0' is true", 1),
    "no zone": (batch(times=[time_of(0), time_of(1), "2026-09-21T14:13:22"]), "row 5: time is", 1),
    "fewer times than rows": (batch(times=[time_of(0)]), "values has 3 rows and times has 1; expected as many", 3),
    "a sensor twice": (batch(sensors=["a", "b", "a", "c"]), "sensors names 'a' twice", 3),
    "a sensor that is a number": (batch(sensors=["a", "b", 3, "c"]), "sensors[2] is 3; expected text", 3),
    "10,001 sensors": (batch(sensors=[f"s{i}" for i in range(10_001)]), "names 10001 sensors; expected at most", 3),
    "an unknown field": (batch(colour=1), "colour is an unknown field", 3),
    "no sensors": ({k: v for k, v in batch().items() if k != "sensors"}, "sensors is missing", 3),
    "an id of 10 kB": (batch(equipment=HUGE), "equipment has 10000 characters", 3),
    "values that are none": (batch(values=7), "values is 7; expected an array", 3),
    "no batch": (7, "batch is 7; expected an object", 1),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "sentence", "lost"), BAD_BATCHES.values(), ids=BAD_BATCHES.keys())
def test_a_bad_batch_is_named_and_its_neighbours_are_scored(tmp_path, bad, sentence, lost):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        body = {"batches": [columns("p1", 0, 3), bad, columns("p2", 0, WARMUP + 2)]}
        response = await client.post("/v1/readings", content=text_of(body), headers=JSON)
        assert response.status_code == 200, response.text
        answer = response.json()
        check_sum(answer)
        assert answer["rejected"] == lost
        assert answer["errors"][0]["detail"].startswith(("row ", "batch 1: "))
        assert sentence in answer["errors"][0]["detail"]
        assert answer["batches"][0]["status"] == ["warming"] * 3
        assert answer["batches"][2]["status"] == ["warming"] * WARMUP + ["scored"] * 2

    run(settings(tmp_path), scenario)


BAD_BODIES: dict[str, tuple[Any, str, str]] = {
    "no object": ([1], "invalid", "the body is an array of 1; expected"),
    "another shape": ({"rows": []}, "invalid", "the body has the fields 'rows'; expected"),
    "an unknown field": ({"readings": [], "colour": 1}, "invalid", "the body has the unknown field 'colour'"),
    "two shapes": ({"readings": [], "batches": []}, "invalid", "unknown field 'batches'"),
    "readings that are none": ({"readings": {}}, "invalid", "readings is an object of 0; expected an array"),
    "a sensor twice": (batch(sensors=["a", "b", "a", "c"]), "invalid", "sensors names 'a' twice; expected once"),
    "10,001 sensors": (batch(sensors=[f"s{i}" for i in range(10_001)]), "invalid", "sensors names 10001 sensors"),
    "an id with a zero": (batch(equipment="p\0"), "invalid", r"equipment is 'p\x00'"),
    "ragged lengths": (batch(times=[]), "invalid", "values has 3 rows and times has 0"),
    "100,001 readings": ({"readings": [0] * 100_001}, "body-too-large", "100001 readings; expected at most 100000"),
    "deep nesting": (Literal("[" * 100_000), "not-json", "nested too deeply"),
    "deep objects": (Literal('{"a":' * 100_000), "not-json", "nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "kind", "sentence"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_of_which_nothing_can_be_used_is_a_problem_that_names_it(tmp_path, bad, kind, sentence):
    status = {"invalid": 422, "body-too-large": 413, "not-json": 400}[kind]

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        content = bad.text.encode() if isinstance(bad, Literal) else text_of(bad)
        problem = is_problem(await client.post("/v1/readings", content=content, headers=JSON), status, kind)
        assert sentence in problem["detail"]
        assert service.shard.counters.readings.sum() == 0
        check_sum((await client.post("/v1/readings", json=rows("p1", 0, 5))).json())

    run(settings(tmp_path), scenario)


def test_a_reading_of_the_far_future_costs_itself_alone(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        body = rows("p1", -100_000_000, 0)
        known = {"equipment": "p1", "values": {"sensor-0": 1.0}}
        body["readings"] = [{**known, "time": text} for text in ("2024-01-01T00:00:00Z", "9999-12-31T23:59:59Z")]
        body["readings"].append({**known, "time": "2024-01-01T00:00:01Z"})
        answer = (await client.post("/v1/readings", json=body)).json()
        check_sum(answer)
        assert [result["status"] for result in answer["results"]] == ["warming", "rejected", "warming"]
        assert answer["results"][1]["reason"] == "future"

    run(settings(tmp_path, clock="wall"), scenario)


@pytest.mark.parametrize("value", [1e308, -1e308, 1.7976931348623157e308])
def test_a_value_at_the_end_of_the_numbers_is_scored_and_leaves_the_memory_finite(tmp_path, value):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        body = columns("p1", 0, WARMUP + 36)
        body["values"][WARMUP + 16][1] = value
        answer = (await client.post("/v1/readings", json=body)).json()
        (found,) = answer["batches"]
        assert answer["scored"] == 36
        assert found["score"][WARMUP + 16] > 1e3
        assert None not in found["score"][WARMUP:]
        (bank,) = service.shard.banks.values()
        for name in ("memory", "prediction", "mewma", "ewma", "score"):
            assert np.isfinite(bank.columns.saved()[name]).all(), name
        detail = (await client.get("/v1/equipment/p1")).json()
        assert None not in (detail["score"], detail["statistic"])
        later = (await client.post("/v1/readings", json=columns("p1", WARMUP + 36, 100))).json()
        assert later["scored"] == 100
        assert None not in later["batches"][0]["score"]

    run(settings(tmp_path), scenario)


def test_memory_stays_flat_under_bombs_and_bodies_full_of_names(tmp_path):
    packed = {**JSON, "content-encoding": "gzip"}
    bomb = gzip.compress(bytes(1 << 26))
    inner = gzip.compress(b'{"readings": [' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"]}")

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        async def assault(turn: int) -> None:
            is_problem(await client.post("/v1/readings", content=bomb, headers=packed), 413, "body-too-large")
            is_problem(await client.post("/v1/readings", content=inner, headers=packed), 413, "body-too-large")
            names = {f"turn-{turn}-{i}": 1.0 for i in range(9_000)}
            answer = await client.post("/v1/readings", json={"readings": [bad_row(values={**names, "sensor-0": 1.0})]})
            assert answer.status_code == 200
            assert len(answer.json()["warnings"]) <= 21
            check_sum(answer.json())

        for turn in range(12):  # enough to fill whatever remembers names
            await assault(turn)
        tracemalloc.start()
        try:
            for turn in range(12, 18):
                await assault(turn)
            kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert service.in_flight.held == 0
        assert kept < 16 << 20
        assert peak < 48 << 20

    run(settings(tmp_path), scenario)


def test_anything_posted_at_once_is_answered_and_adds_up(tmp_path):
    everything = [text_of({"readings": [bad, bad_row(equipment="p2")]}) for bad, *_ in BAD_ROWS.values()]
    everything += [text_of({"batches": [bad]}) for bad, *_ in BAD_BATCHES.values()]
    everything += [b"", b"{", b"null", b'"\\ud800"', b"\x00" * 100, b"[" * 99_999]

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        posts = [client.post("/v1/readings", content=content, headers=JSON) for content in everything]
        received = 0
        for response in await asyncio.gather(*posts):
            assert response.status_code in (200, 400, 413, 422)
            if response.status_code == 200:
                check_sum(response.json())
                received += response.json()["received"]
        assert service.shard.counters.readings.sum() == received
        assert (await client.get("/health/ready")).status_code == 200

    run(settings(tmp_path), scenario)
