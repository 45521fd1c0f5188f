"""Joining of points to ticks: each sensor's last value, as long as it may stand."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np

from models.artifact import LoadedModel
from service import scoring
from service.limits import ShardLimits
from service.shard import Shard
from tests.service import fleet
from tests.service.fleet import SECOND, START, body, in_rows

HOLDS = (1, 5, 0)  # seconds; 0: for good
JOINED = ShardLimits(join=("press*",))


def learned() -> LoadedModel:
    """A model whose training has seen its sensors go for so long without a new value."""
    model = fleet.model(sensors=3)
    sensors = tuple(
        msgspec.structs.replace(sensor, hold=hold * SECOND)
        for sensor, hold in zip(model.manifest.sensors, HOLDS, strict=True)
    )
    return dataclasses.replace(model, manifest=msgspec.structs.replace(model.manifest, sensors=sensors))


def sent(shard: Shard, second: float, **values: float | None) -> list[list[float]]:
    """A point of the machine: the values of the ticks that it closed."""
    given = {name.replace("_", "-"): value for name, value in values.items()}
    record = scoring.step(shard, [body(in_rows([("press", START + int(second * SECOND), given)]))], START).record
    return [row.tolist() for part in record.readings for row in part.ordered().values]


def test_a_value_stands_as_long_as_training_has_learned_and_is_missing_then() -> None:
    shard = fleet.shard(learned(), limits=JOINED)
    assert sent(shard, 0.5, sensor_0=1.0, sensor_1=2.0, sensor_2=3.0) == []
    assert sent(shard, 1.5, sensor_0=1.5) == [[1.0, 2.0, 3.0]]
    assert sent(shard, 9.5, sensor_0=4.0) == [[1.5, 2.0, 3.0]]
    nan = float("nan")
    quiet = [[nan, 2.0, 3.0]] * 3  # ticks 3 to 5: the second sensor's value of 0.5 s stands for 5 s
    np.testing.assert_array_equal(sent(shard, 10.5, sensor_0=5.0), [*quiet, [4.0, nan, 3.0]])


def test_an_exception_reported_sensor_that_says_nothing_is_neither_missing_nor_held_beyond_its_age() -> None:
    shard = fleet.shard(learned(), limits=JOINED)
    sent(shard, 0.5, sensor_0=1.0, sensor_1=2.0, sensor_2=3.0)
    rows = [row for second in range(1, 9) for row in sent(shard, second + 0.5, sensor_0=float(second))]
    assert [row[1] == 2.0 for row in rows] == [True] * 5 + [False] * 3


def test_a_value_of_none_ends_what_stands() -> None:
    shard = fleet.shard(learned(), limits=JOINED)
    sent(shard, 0.5, sensor_0=1.0, sensor_1=2.0, sensor_2=3.0)
    sent(shard, 1.2, sensor_1=None)
    np.testing.assert_array_equal(sent(shard, 2.2, sensor_0=2.0), [[float("nan"), float("nan"), 3.0]])


def test_after_a_long_time_without_points_values_stand_as_long_as_after_a_short_one() -> None:
    after = {}
    for seconds in (100, 100_000):
        shard = fleet.shard(learned(), limits=dataclasses.replace(JOINED, future=None))
        sent(shard, 0.5, sensor_0=1.0, sensor_1=2.0, sensor_2=3.0)
        sent(shard, seconds, sensor_0=1.0)
        after[seconds] = sent(shard, seconds + 0.5, sensor_0=1.0)
    assert len(after[100]) == 5, "ticks 2 to 5, and the one of the new point"
    np.testing.assert_array_equal(after[100_000], after[100])
