from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.errors import PROBLEM_JSON
from service.lifecycle import Service
from tests.service import running
from tests.service.running import WARMUP, columns, rows, run, settings, time_of

JSON = {"content-type": "application/json"}


def is_problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem document of a response that is one."""
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM_JSON), response.text
    found: dict[str, Any] = response.json()
    more = {"field", "row"} | ({"progress"} if kind == "not-ready" else set())
    assert {"type", "title", "status", "detail"} <= set(found) <= {"type", "title", "status", "detail", *more}
    assert (found["type"], found["status"]) == (f"/docs#{kind}", status)
    return found


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "no-route"),
        ("GET", "/v1/readings", 405, "method-not-allowed"),
        ("DELETE", "/v1/alarms", 405, "method-not-allowed"),
        ("GET", "/v1/equipment/nobody", 404, "unknown-equipment"),
        ("GET", "/v1/equipment/nobody/scores", 404, "unknown-equipment"),
        ("GET", "/v1/equipment/%00%0a", 404, "unknown-equipment"),
        ("GET", "/v1/alarms/0-0-0", 404, "unknown-alarm"),
        ("GET", "/v1/equipment?limit=0", 422, "invalid"),
        ("GET", "/v1/equipment?limit=1001", 422, "invalid"),
        ("GET", "/v1/equipment?offset=-1", 422, "invalid"),
        ("GET", "/v1/equipment?limit=many", 422, "invalid"),
        ("GET", "/v1/alarms?kind=loud", 422, "invalid"),
        ("GET", "/v1/alarms?open=perhaps", 422, "invalid"),
        ("GET", "/docs/../etc", 404, "no-route"),
    ],
)
def test_what_the_framework_refuses_is_a_problem_too(tmp_path, method, path, status, kind):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        is_problem(await client.request(method, path), status, kind)

    run(settings(tmp_path, model=None), scenario)


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("POST", "/v1/readings/", "/v1/readings"),
        ("GET", "/v1/equipment/", "/v1/equipment"),
        ("GET", "/docs//", "/docs"),
    ],
)
def test_a_slash_too_many_is_told_the_address_that_was_meant(tmp_path, method, path, meant):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        found = is_problem(await client.request(method, path, json={}), 404, "no-route")
        assert f"did you mean '{meant}', without the slash?" in found["detail"]

    run(settings(tmp_path, model=None), scenario)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/readings", "POST"), ("DELETE", "/v1/models", "GET, POST"), ("POST", "/v1/models/x/active", "PUT")],
)
def test_a_method_that_an_address_does_not_take_is_told_those_that_it_takes(tmp_path, method, path, allowed):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        response = await client.request(method, path)
        assert f"expected {allowed}" in is_problem(response, 405, "method-not-allowed")["detail"]
        assert response.headers["allow"] == allowed

    run(settings(tmp_path, model=None), scenario)


def test_the_root_leads_to_the_documentation(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        response = await client.get("/", follow_redirects=True)
        assert (response.status_code, response.url.path) == (200, "/docs")

    run(settings(tmp_path, model=None), scenario)


def test_a_defect_is_told_as_one_and_counted(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        book, service.shard.book = service.shard.book, None  # type: ignore[assignment]
        is_problem(await client.get("/v1/alarms"), 500, "internal-error")
        service.shard.book = book
        metrics = (await client.get("/metrics")).text
        assert 'limen_request_duration_seconds_count{route="/v1/alarms",status="500"} 1.0' in metrics

    run(settings(tmp_path, model=None), scenario)


# -- reading back ------------------------------------------------------------------------------------------------------


def test_equipment_is_listed_in_pages_and_shown_one_by_one(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        for name in ("pump 1", "line/2", "ポンプ3"):
            await client.post("/v1/readings", json=columns(name, 0, WARMUP + 6))
        page = (await client.get("/v1/equipment?limit=2&offset=1")).json()
        assert (page["total"], page["offset"]) == (3, 1)
        assert [one["equipment"] for one in page["equipment"]] == ["line/2", "ポンプ3"]
        for name in ("pump 1", "line%2F2", "line/2", "ポンプ3"):
            found = (await client.get(f"/v1/equipment/{name}")).json()
            assert (found["model"], found["version"], found["status"]) == ("pumps", 1, "scored")
            assert found["last_time"] == time_of(WARMUP + 5)
            assert [sensor["sensor"] for sensor in found["sensors"]] == list(running.SENSORS)
            contributions = sum(sensor["contribution"] for sensor in found["sensors"])
            assert contributions == pytest.approx(found["statistic"])
            assert {"actual", "expected"} <= set(found["sensors"][0])
            recent = (await client.get(f"/v1/equipment/{name}/scores")).json()
            assert [entry["status"] for entry in recent["scores"]] == ["warming"] * WARMUP + ["scored"] * 6
            assert recent["scores"][-1]["score"] == found["score"]

    run(settings(tmp_path), scenario)


def test_an_alarm_is_listed_with_its_sensors_and_ends(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        body = columns("p1", 0, 120)
        for row in body["values"][40:60]:
            row[2] += 50.0
        answer = (await client.post("/v1/readings", json=body)).json()
        assert any(answer["batches"][0]["alarm"])
        page = (await client.get("/v1/alarms?kind=process&equipment=p1")).json()
        assert page["total"] >= 1
        alarm = page["alarms"][-1]
        assert alarm["sensors"][0]["sensor"] == "sensor-2"
        assert time_of(40) <= alarm["start"] <= time_of(60)
        assert alarm["peak"] >= alarm["opening"]["score"] > 1
        assert alarm["opening"]["sensors"][0]["sensor"] == "sensor-2"
        assert (await client.get(f"/v1/alarms/{alarm['id']}")).json() == alarm
        open_ones = (await client.get("/v1/alarms?open=true")).json()["total"]
        closed = (await client.get("/v1/alarms?open=false")).json()["total"]
        assert open_ones + closed == page["total"]

    run(settings(tmp_path), scenario)


def test_a_machine_that_falls_silent_is_alarmed(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("quiet", 0, 10))
        await client.post("/v1/readings", json=columns("loud", 0, 40))
        await service.consumer.sweep()
        (alarm,) = (await client.get("/v1/alarms?kind=silent")).json()["alarms"]
        assert (alarm["equipment"], alarm["open"]) == ("quiet", True)

    run(settings(tmp_path), scenario)


def test_the_state_goes_on_after_a_stop_and_a_start(tmp_path):
    scores: list[float] = []

    async def first(client: httpx.AsyncClient, service: Service) -> None:
        whole = (await client.post("/v1/readings", json=columns("whole", 0, 60))).json()
        scores.extend(whole["batches"][0]["score"][30:])
        await client.post("/v1/readings", json=columns("halves", 0, 30))

    async def second(client: httpx.AsyncClient, service: Service) -> None:
        answer = (await client.post("/v1/readings", json=columns("halves", 30, 30))).json()
        assert answer["batches"][0]["score"] == scores
        again = (await client.post("/v1/readings", json=columns("halves", 55, 5))).json()
        assert (again["duplicate"], again["batches"][0]["score"]) == (5, scores[-5:])

    run(settings(tmp_path), first)
    run(settings(tmp_path, model=None), second)


# -- hosts, metrics, reference -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        *(("localhost", True), ("LOCALHOST:8000", True), ("127.0.0.1:80", True), ("[::1]:8000", True), ("[::1]", True)),
        *(("evil.example", False), ("localhost.evil.example", False), ("", False)),
        *(("a.plant.example", True), ("plant.example", False), ("xplant.example", False)),
    ],
)
def test_only_hosts_on_the_list_are_answered(tmp_path, host, allowed):
    hosts = ["localhost", "127.0.0.1", "[::1]", "*.plant.example"]

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        response = await client.get("/v1/models", headers={"host": host})
        if allowed:
            assert response.status_code == 200
        else:
            is_problem(response, 400, "host-refused")
        assert (await client.get("/health/live", headers={"host": host})).status_code == 200

    run(settings(tmp_path, model=None, hosts_allowed=hosts), scenario)


def test_metrics_do_not_grow_with_machines(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        async def series() -> int:
            text = (await client.get("/metrics")).text
            return sum(not line.startswith("#") for line in text.splitlines())

        await client.post("/v1/readings", json=columns("p0", 0, 10))
        await client.get("/metrics")
        before = await series()
        for i in range(1, 30):
            await client.post("/v1/readings", json=columns(f"p{i}", 0, 10))
        assert await series() == before
        assert "p29" not in (await client.get("/metrics")).text

    run(settings(tmp_path), scenario)


def test_the_reference_page_loads_nothing_and_tells_every_route_and_error(tmp_path):
    from service.errors import tree

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        response = await client.get("/docs")
        text = response.text
        assert "default-src 'none'" in response.headers["content-security-policy"]
        for loading in ("<script", "<link", "<img", "src=", "http://", "https://", "@import", "url("):
            assert loading not in text
        document = (await client.get("/openapi.json")).json()
        assert "/v1/readings" in document["paths"]
        for path in document["paths"]:
            assert path in text
        for kind in tree():
            assert f"id='{kind.kind}'" in text

    run(settings(tmp_path, model=None), scenario)


def test_every_reference_of_the_openapi_document_leads_somewhere(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        response = await client.get("/openapi.json")
        schemas = response.json()["components"]["schemas"]
        found = {part.split('"')[0] for part in response.text.split("#/components/schemas/")[1:]}
        assert found <= set(schemas)

    run(settings(tmp_path, model=None), scenario)


def test_a_stopping_service_is_not_ready(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.get("/health/ready")).status_code == 200
        await service.stop()
        is_problem(await client.get("/health/ready"), 503, "stopping")
        is_problem(await client.post("/v1/readings", json=rows("p1", 0, 1)), 503, "stopping")
        assert (await client.get("/health/live")).status_code == 200

    run(settings(tmp_path), scenario)
