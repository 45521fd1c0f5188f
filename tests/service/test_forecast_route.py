"""The forecast of a machine over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models import artifact
from models.backfill import walk
from models.forecast import forecast
from models.preprocess import Segment
from models.train import Options, train
from service.lifecycle import Service
from tests.builders import SMALL, process, trained
from tests.service.running import SENSORS, START, WARMUP, columns, rows, run, settings, time_of
from tests.service.test_app import is_problem

FORECAST = "/v1/equipment/p1/forecast"


async def ask(client: httpx.AsyncClient, **parameters: Any) -> dict[str, Any]:
    response = await client.get(FORECAST, params=parameters)
    response.raise_for_status()
    found: dict[str, Any] = response.json()
    return found


def test_it_is_the_memory_after_the_last_reading_run_forward(tmp_path: Path) -> None:
    training, time = trained(name="pumps"), (START + np.arange(60)) * 1_000_000
    *_, (_, state, _) = walk(training.detector, "p1", time, process(5, 200)[:60])
    expected = forecast(training.detector, training.horizons, state, 0, 9, 0.8)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 60))
        found = await ask(client, horizon=9, coverage=0.8)
        assert [one["sensor"] for one in found["sensors"]] == list(SENSORS)
        assert found["times"] == [time_of(60 + tick) for tick in range(9)]
        for name in ("expected", "lower", "upper"):
            values = np.array([one[name] for one in found["sensors"]]).T
            np.testing.assert_allclose(values, getattr(expected, name), rtol=1e-6)

    run(settings(tmp_path), scenario)


def test_asking_changes_nothing(tmp_path: Path) -> None:
    answers = []

    async def asked(client: httpx.AsyncClient, service: Service) -> None:
        for first in range(0, 80, 20):
            answers.append((await client.post("/v1/readings", json=columns("p1", first, 20))).json())
            if first:
                await ask(client, horizon=50)

    async def not_asked(client: httpx.AsyncClient, service: Service) -> None:
        for first in range(0, 80, 20):
            answers.append((await client.post("/v1/readings", json=columns("p1", first, 20))).json())

    run(settings(tmp_path / "a"), asked)
    run(settings(tmp_path / "b"), not_asked)
    assert answers[:4] == answers[4:]


def test_one_tick_ahead_is_what_the_next_reading_is_judged_by(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 60))
        ahead = await ask(client, horizon=1)
        await client.post("/v1/readings", json=columns("p1", 60, 1))
        detail = (await client.get("/v1/equipment/p1")).json()
        expected = [one["expected"] for one in detail["sensors"]]
        np.testing.assert_allclose([one["expected"][0] for one in ahead["sensors"]], expected, rtol=1e-5)

    run(settings(tmp_path), scenario)


def test_sensors_and_limits_are_those_asked_for(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 60))
        limits = [f"{SENSORS[0]}=101", f"{SENSORS[1]}=1e6"]
        found = await ask(client, horizon=20, sensor=[SENSORS[2], SENSORS[0]], limit=limits)
        assert [one["sensor"] for one in found["sensors"]] == [SENSORS[2], SENSORS[0]]
        near, far = found["limits"]
        assert near["earliest"] in found["times"]
        assert (far["rising"], far["expected"], far["earliest"], far["latest"]) == (True, None, None, None)

    run(settings(tmp_path), scenario)


def test_a_sensor_without_a_value_is_forecast_all_the_same(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 60))
        last = rows("p1", 60, 1)
        last["readings"][0]["values"][SENSORS[1]] = None
        await client.post("/v1/readings", json=last)
        found = await ask(client, horizon=2)
        assert found["last_time"] == time_of(60)
        assert all(None not in (*one["expected"], one["now"]) for one in found["sensors"])

    run(settings(tmp_path), scenario)


def test_an_unknown_machine_and_one_that_warms_up_have_no_forecast(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        is_problem(await client.get(FORECAST), 404, "unknown-equipment")
        await client.post("/v1/readings", json=columns("p1", 0, WARMUP - 1))
        found = is_problem(await client.get(FORECAST), 409, "conflict")
        assert found["detail"] == "equipment 'p1' is warming up; expected 1 more readings before a forecast"

    run(settings(tmp_path), scenario)


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ("horizon=0", "horizon", "horizon is '0'"),
        ("horizon=51", "horizon", "less than or equal to 50"),
        ("horizon=many", "horizon", "horizon is 'many'"),
        ("coverage=1", "coverage", "less than or equal to 0.99"),
        ("coverage=nan", "coverage", "coverage is"),
        ("sensor=flow", "sensor", "sensor 'flow' is not known to model pumps; expected one of sensor-0"),
        ("limit=flow=1", "limit", "sensor 'flow' is not known to model pumps"),
        ("limit=sensor-0", "limit", "limit is 'sensor-0'; expected SENSOR=VALUE"),
        ("ticks=5", "ticks", "expected horizon, coverage, sensor, limit"),
    ],
)
def test_what_cannot_be_asked_for_is_named(tmp_path: Path, query: str, field: str, expected: str) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 60))
        found = is_problem(await client.get(f"{FORECAST}?{query}"), 422, "invalid")
        assert found["field"] == field
        assert expected in found["detail"]

    run(settings(tmp_path, forecast_ticks_max=50), scenario)


def test_an_id_may_end_like_the_address_of_a_forecast(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        for name in ("x", "x/forecast"):
            await client.post("/v1/readings", json=columns(name, 0, 60))
            address = f"/v1/equipment/{name.replace('/', '%2F')}"
            detail, ahead = (await client.get(address)).json(), (await client.get(f"{address}/forecast")).json()
            assert (detail["equipment"], ahead["equipment"], len(ahead["times"])) == (name, name, 100)

    run(settings(tmp_path), scenario)


def test_a_forecast_of_too_many_values_is_refused_and_one_of_few_sensors_is_not(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 60))
        found = is_problem(await client.get(f"{FORECAST}?horizon=50"), 422, "invalid")
        assert found["field"] == "horizon"
        assert "50 of 4 sensors, 200 values; expected at most 199" in found["detail"]
        assert len((await ask(client, horizon=50, sensor=[SENSORS[0]]))["times"]) == 50

    run(settings(tmp_path, forecast_ticks_max=50, forecast_values_max=199), scenario)


def test_a_model_that_was_trained_before_there_were_forecasts_has_no_intervals(tmp_path: Path) -> None:
    old = trained(name="pumps")
    artifact.save(old.manifest, old.detector, old.drift, tmp_path / "pumps")

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 60))
        found = await ask(client, horizon=3)
        assert found["interval_ticks_max"] == 0
        for one in found["sensors"]:
            assert None not in one["expected"]
            assert one["lower"] == one["upper"] == [None] * 3

    run(settings(tmp_path / "data", model=tmp_path / "pumps"), scenario)


def test_each_machine_is_forecast_from_its_own_state_around_its_own_level(tmp_path: Path) -> None:
    parts = [Segment("p1", process(0)), Segment("p2", process(1) + 50)]
    found = train(parts, SENSORS, 1_000_000, Options(shape=SMALL, name="pumps"))
    artifact.save(found.manifest, found.detector, found.drift, tmp_path / "pumps", found.horizons)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        second = columns("p2", 0, 60, seed=6)
        second["values"] = (np.array(second["values"]) + 50).tolist()
        await client.post("/v1/readings", json={"batches": [columns("p1", 0, 60), second]})
        for name in ("p1", "p2"):
            ahead = (await client.get(f"/v1/equipment/{name}/forecast?horizon=1")).json()["sensors"]
            await client.post("/v1/readings", json=rows(name, 60, 1))
            detail = (await client.get(f"/v1/equipment/{name}")).json()["sensors"]
            expected = [one["expected"] for one in detail]
            np.testing.assert_allclose([one["expected"][0] for one in ahead], expected, rtol=1e-5)

    run(settings(tmp_path / "data", model=tmp_path / "pumps"), scenario)


def test_readings_without_any_value_count_as_ticks_ahead(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 60))
        before = await ask(client, horizon=6)
        dark = columns("p1", 60, 2)
        dark["values"] = [[None] * len(SENSORS)] * 2
        await client.post("/v1/readings", json=dark)
        after = await ask(client, horizon=4)
        assert after["times"] == before["times"][2:]
        assert after["interval_ticks_max"] == before["interval_ticks_max"] - 2
        for near, far in zip(after["sensors"], before["sensors"], strict=True):
            np.testing.assert_allclose(near["upper"], far["upper"][2:], rtol=1e-5)

    run(settings(tmp_path), scenario)
