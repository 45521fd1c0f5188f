from __future__ import annotations

import re

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from service.lifecycle import Service
from service.metrics import AGE_SECONDS, SENTENCES, Ages, Exceedances, Metrics
from service.records import ModelReadings
from service.status import Status
from tests.builders import process
from tests.service.running import SENSORS, WARMUP, columns, rows, run, settings, time_of


def test_every_metric_has_a_sentence_and_every_sentence_a_metric(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 30))
        families = text_string_to_metric_families((await client.get("/metrics")).text)
        found = {family.name: family.documentation for family in families}
        sentences = {name.removesuffix("_total"): sentence for name, sentence in SENTENCES.items()}
        own = {name for name in found if name.startswith("limen_") and not name.endswith("_created")}
        assert {name: found[name] for name in own} == sentences
        assert all(sentence.endswith(".") for sentence in sentences.values())

    run(settings(tmp_path), scenario)


def test_routes_are_a_fixed_few_whatever_is_asked_for(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 10))
        for path in (
            "/v1/equipment/p1/scores",
            "/v1/equipment/p1",
            "/v1/alarms",
            "/v1/models",
            "/health/live",
            "/docs",
        ):
            assert (await client.get(path)).status_code == 200
        for path in ("/", "/x", "/v1/equipments", "/v1/readings/x"):
            await client.get(path)
        text = (await client.get("/metrics")).text
        text = (await client.get("/metrics")).text
        counted = re.findall(r'limen_request_duration_seconds_count{route="(.*?)",status="200"}', text)
        known = {"/v1/readings", "/v1/equipment", "/v1/alarms", "/v1/models", "/health", "/metrics", "/docs"}
        assert set(counted) == known
        assert set(re.findall(r'route="(.*?)"', text)) == {*known, "other"}

    run(settings(tmp_path), scenario)


def test_the_budget_ratio_says_what_else_counts():
    assert "real faults count too" in SENTENCES["limen_false_alarm_budget_ratio"]


def test_readings_are_counted_by_status(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 30))
        await client.post("/v1/readings", json=rows("p1", 28, 2))
        text = (await client.get("/metrics")).text
        for line in (
            f'{{status="warming"}} {WARMUP}.0',
            f'{{status="scored"}} {30 - WARMUP}.0',
            '{status="duplicate"} 2.0',
            '{status="late"} 0.0',
        ):
            assert f"limen_readings_total{line}" in text
        assert "limen_equipment 1.0" in text
        assert "limen_scoring_duration_seconds_count 2.0" in text
        assert 'limen_request_duration_seconds_count{route="/v1/readings",status="200"} 2.0' in text

    run(settings(tmp_path), scenario)


def test_drift_names_only_the_sensors_that_drift_most(tmp_path):
    table = process(5, 1500)
    table[:, 1] += 30.0
    table[:, 3] += 10.0
    body = {
        "equipment": "p",
        "sensors": list(SENSORS),
        "times": [time_of(i) for i in range(1500)],
        "values": table.tolist(),
    }

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=body)
        registry = service.prometheus
        drift = {
            sample.labels["sensor"]: sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == "limen_input_drift"
        }
        assert list(drift) == ["sensor-1", "sensor-3"]
        assert drift["sensor-1"] > drift["sensor-3"] > 1
        assert (registry.get_sample_value("limen_false_alarm_budget_ratio", {"model": "pumps"}) or 0) > 10
        assert (registry.get_sample_value("limen_score_drift", {"model": "pumps"}) or 0) > 0.2

    run(settings(tmp_path, drift_sensors_max=2), scenario)


def test_ages_are_counted_up_to_each_bound():
    ages = Ages()
    ages.count(np.array([0.0, 0.1, 0.2, 7.0, 1e9]))
    samples = {sample.labels.get("le"): sample.value for sample in ages.collect("limen_reading_age_seconds").samples}
    assert (samples["0.1"], samples["0.25"], samples["10.0"], samples["86400.0"], samples["+Inf"]) == (2, 3, 4, 4, 5)
    assert len(ages.counts) == len(AGE_SECONDS) + 1


def test_the_share_over_the_threshold_fades_with_time():
    recent = Exceedances()
    recent.count(np.full(1000, 2.0, np.float32))
    assert recent.share() == 1.0
    for _ in range(200):
        recent.count(np.zeros(1000, np.float32))
    assert recent.share() < 0.01
    recent.count(np.full(10, np.nan, np.float32))
    assert recent.share() < 0.01


def test_ages_are_those_of_scored_readings_and_never_negative():
    metrics = Metrics(CollectorRegistry())
    count = 3
    part = ModelReadings(
        "id",
        np.zeros(count, np.intp),
        np.array([0, 5_000_000, 20_000_000]),
        np.zeros((count, 1)),
        np.array([Status.WARMING, Status.SCORED, Status.SCORED], np.uint8),
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint16),
        np.zeros(count, np.float32),
        np.ones(count, np.float32),
    )
    metrics.observe_readings([part], 10_000_000)
    family = next(metric for metric in metrics.collect() if metric.name == "limen_reading_age_seconds")
    values = {sample.name: sample.value for sample in family.samples}
    assert values["limen_reading_age_seconds_count"] == 2
    assert values["limen_reading_age_seconds_sum"] == pytest.approx(5.0)
