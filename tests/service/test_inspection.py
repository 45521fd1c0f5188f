from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from models.artifact import LoadedModel
from models.score import MOVED, STATISTICS
from service import views
from service.shard import Shard
from tests.builders import process, trained
from tests.service import fleet
from tests.service.fleet import START, in_columns, in_rows, normal, post, seconds

RANDOM = fleet.model("pumps", seed=1, sensors=5, constants=1)
TRAINED = LoadedModel(trained().manifest, trained().detector, trained().drift)


def seen(shard: Shard, equipment: str = "p") -> views.EquipmentDetail:
    found = views.equipment_detail(shard, equipment)
    assert found is not None
    return found


def posted(model: LoadedModel, x: np.ndarray) -> Shard:
    shard = fleet.shard(model)
    post(shard, in_columns("p", model.detector.sensors, seconds(0, len(x)), x))
    return shard


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(8))
def test_contributions_sum_to_the_statistic_and_shares_are_those_of_the_answer(seed: int, missing: float) -> None:
    x = normal(RANDOM.detector, seed, 30, missing)
    x[-1, 0] = RANDOM.detector.mean[0]
    if seed % 2:
        x[-1, 1] += 30.0
    if seed % 4 == 2:
        x[20:, 4] += 1.0
    shard = posted(RANDOM, x[:-1])
    cells = dict(zip(RANDOM.detector.sensors, fleet.cells(x[-1]), strict=True))
    (outcome,) = post(shard, in_rows([("p", int(seconds(29, 1)[0]), cells)]))
    found = seen(shard)
    assert found.statistic == pytest.approx(sum(sensor.contribution for sensor in found.sensors))
    assert found.score == outcome.score[0]
    ticks = RANDOM.detector.run(x)
    assert found.leading == (*STATISTICS, MOVED)[ticks.leading[-1]]
    assert found.statistic == pytest.approx(float(ticks.contribution[-1].sum()), rel=1e-3, abs=1e-5)
    shares = {sensor.sensor: sensor.share for sensor in found.sensors}
    assert outcome.top_sensor is not None
    assert outcome.top_share is not None
    for number, share in zip(outcome.top_sensor[0], outcome.top_share[0], strict=True):
        if number >= 0:
            assert shares[outcome.names[number]] == pytest.approx(float(share), abs=2e-3)


def test_expected_and_actual_are_in_physical_units() -> None:
    x = process(5, 60)
    shard = posted(TRAINED, x)
    found = seen(shard)
    detector = TRAINED.detector
    before = detector.run(x[:-1]).memory[-1] @ detector.network.W_mo.T + detector.network.b_o
    expected = detector.physical(before.astype(np.float32))
    for i, sensor in enumerate(found.sensors):
        assert sensor.actual == pytest.approx(x[-1, i], abs=1e-3)
        assert sensor.expected == pytest.approx(expected[i], abs=1e-2)


def test_a_missing_value_has_neither_actual_nor_expected() -> None:
    x = process(5, 40)
    x[-1, 2] = np.nan
    sensor = seen(posted(TRAINED, x)).sensors[2]
    assert (sensor.missing, sensor.actual, sensor.expected) == (True, None, None)


def test_a_constant_sensor_is_expected_where_it_stood() -> None:
    x = normal(RANDOM.detector, 3, 20)
    x[-1, 4] += 2.0
    found = seen(posted(RANDOM, x))
    assert found.leading == MOVED
    assert found.sensors[4].share == 1.0
    assert found.sensors[4].expected == pytest.approx(RANDOM.detector.mean[4], abs=1e-3)
    assert found.sensors[4].actual == pytest.approx(RANDOM.detector.mean[4] + 2, abs=1e-3)


def test_without_a_score_nothing_leads() -> None:
    x = normal(RANDOM.detector, 3, 20)
    x[-1] = np.nan
    found = seen(posted(RANDOM, x))
    assert (found.status, found.reason, found.score, found.leading) == ("unscored", "no_sensor", None, None)
    assert all(sensor.share == 0.0 for sensor in found.sensors)
    warming = seen(posted(RANDOM, x[:2]))
    assert (warming.status, warming.score, warming.leading) == ("warming", None, None)
    assert warming.sensors[0].actual is not None


def test_who_was_never_seen_or_only_rejected_is_none() -> None:
    shard = fleet.shard(RANDOM)
    assert views.equipment_detail(shard, "p") is None
    assert views.recent_scores(shard, "p") is None
    (outcome,) = post(shard, in_rows([("p", START, {"colour": 1.0})]))
    assert fleet.reasons(outcome) == ["no_sensor"]
    assert views.equipment_detail(shard, "p") is None
    assert len(shard) == 0


def test_after_a_switch_the_last_result_stays_and_the_memory_of_the_new_model_is_empty() -> None:
    other = fleet.model("pumps", seed=8, sensors=3, version=2)
    serving: list[LoadedModel | None] = [RANDOM]
    shard = fleet.shard(resolve=lambda equipment: serving[0])
    post(shard, in_columns("p", RANDOM.detector.sensors, seconds(0, 9), normal(RANDOM.detector, 3, 9)))
    serving[0] = other
    shard.models_changed()
    post(shard, in_rows([("p", START, {"sensor-0": 1e9})]))
    found = seen(shard)
    assert (found.version, found.status, found.sensors, found.leading) == (2, "scored", [], None)
    serving[0] = None
    shard.models_changed()
    post(shard, in_rows([("p", START, {"sensor-0": 1e9})]))
    found = seen(shard)
    assert (found.model, found.version, found.status, found.sensors) == (None, None, "scored", [])


def test_values_are_shown_with_the_digits_that_they_have() -> None:
    detector = dataclasses.replace(RANDOM.detector, mean=np.full(5, 1e5), scale=np.full(5, 1e-3))
    x = np.full((10, 5), 1e5)
    x[-1, 0] = 100000.0012345678
    shown = seen(posted(dataclasses.replace(RANDOM, detector=detector), x)).sensors[0].actual
    assert shown == 100000.00123457, "five digits below a standard deviation of 0.001"


def test_looking_changes_nothing() -> None:
    shard = posted(TRAINED, process(5, 60))

    def state() -> dict[str, Any]:
        (bank,) = shard.banks.values()
        return {name: array.copy() for name, array in {**bank.columns.saved(), **shard.columns.saved()}.items()}

    before = state()
    seen(shard)
    views.recent_scores(shard, "p")
    for name, array in state().items():
        np.testing.assert_array_equal(array, before[name])
