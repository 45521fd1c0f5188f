"""Points of a closed tick again: the tick's result, a conflict, or late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from models.gaps import NEVER
from service import recovery, scoring
from service.assembly import Window
from service.limits import ShardLimits
from service.point_marks import PointMarks, marks
from service.ring import RING_RESULTS
from service.shard import Shard
from tests.service import fleet
from tests.service.fleet import SECOND, START, body, in_rows, reasons, statuses

MODEL = fleet.model(sensors=3)
FIRST, OTHER, THIRD = MODEL.detector.sensors
LIMITS = ShardLimits(future=None, join=("*",), window=Window(0), join_age=600 * SECOND)
HALF = SECOND // 2
POINT: dict[str, float | None] = {FIRST: 3.0, OTHER: None}


def send(shard: Shard, *points: tuple[int, Mapping[str, float | None]]) -> Any:
    """The outcome of some points of the machine, as microseconds after the start and values."""
    sent = [("press", START + time, dict(values)) for time, values in points]
    return scoring.step(shard, [body(in_rows(sent))], START).outcomes[0]


def lived(seconds: int) -> Shard:
    """A machine that sent a point of all sensors a second, and then one more of two of them and one of the third."""
    shard = fleet.shard(MODEL, limits=LIMITS)
    for second in range(seconds):
        send(shard, (second * SECOND + HALF, dict.fromkeys(MODEL.detector.sensors, float(second))))
    send(shard, (seconds * SECOND + HALF, POINT), (seconds * SECOND + HALF + 1, {THIRD: 1.0}))
    return shard


def later(shard: Shard, seconds: int, of: int) -> None:
    """Points of the third sensor alone."""
    for second in range(of + 1, of + 1 + seconds):
        send(shard, (second * SECOND + HALF, {THIRD: float(second)}))


def told(shard: Shard, time: int, values: Mapping[str, float | None]) -> tuple[str, str]:
    outcome = send(shard, (time, values))
    return statuses(outcome)[0], reasons(outcome)[0]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_point_of_a_closed_tick_is_told_from_another(restarted: bool) -> None:
    shard = lived(20)
    later(shard, 3, 20)
    if restarted:
        snapshot, shard = recovery.capture(shard), fleet.shard(MODEL, limits=LIMITS)
        recovery.restore(shard, snapshot, {MODEL.artifact_id: MODEL}.get)
    time = 20 * SECOND + HALF
    for same in (POINT, {FIRST: 3.0}, {OTHER: None}):
        assert told(shard, time, same)[0] == "duplicate"
    assert told(shard, 15 * SECOND + HALF, {FIRST: 15.0})[0] == "duplicate"
    for other in ({FIRST: 4.0}, {OTHER: 0.0}, {**POINT, FIRST: None}):
        assert told(shard, time, other) == ("rejected", "conflict")
    assert told(shard, 15 * SECOND + HALF, {FIRST: 14.0}) == ("rejected", "conflict")
    for new, when in (({**POINT, THIRD: 1.0}, time), (POINT, time + 5), ({FIRST: 3.0}, 22 * SECOND + HALF)):
        assert told(shard, when, new) == ("late", "already_processed")


def test_a_repeated_point_has_the_result_of_its_tick() -> None:
    shard = lived(20)
    later(shard, 3, 20)
    outcome = send(shard, (15 * SECOND + HALF, {FIRST: 15.0}))
    places = np.flatnonzero(shard.columns["ring_time"][0] == START + 16 * SECOND)
    for name in ("score", "p_value", "reason"):
        assert getattr(outcome, name)[0] == shard.columns[f"ring_{name}"][0][places[0]]
    assert outcome.score[0] > 0


def test_a_point_is_repeated_in_the_body_that_closed_its_tick() -> None:
    shard = lived(20)
    outcome = send(shard, (21 * SECOND + HALF, {THIRD: 2.0}), (20 * SECOND + HALF, POINT), (20 * SECOND + HALF, POINT))
    assert statuses(outcome) == ["held", "duplicate", "duplicate"]
    place = np.flatnonzero(shard.columns["ring_time"][0] == START + 21 * SECOND)[0]
    assert outcome.score[1:].tolist() == [shard.columns["ring_score"][0][place]] * 2


def test_the_last_point_of_a_sensor_is_known_when_its_result_is_not_and_others_are_late() -> None:
    shard = lived(20)
    later(shard, RING_RESULTS + 2, 20)
    assert told(shard, 20 * SECOND + HALF, POINT) == ("duplicate", "already_processed")
    assert told(shard, 15 * SECOND + HALF, {FIRST: 15.0}) == ("late", "already_processed")


def test_marks_tell_times_and_values_apart_that_are_near() -> None:
    stamp = START + np.arange(0, 250_000, 1_000)
    assert len(set(marks(np.zeros(250), stamp).tolist())) == 250
    values = np.array([0.0, -0.0, 1.0, np.nan, 0.1, 0.1 + 2**-54])
    found = (marks(values, np.full(6, START)) & 0xFF).tolist()
    assert found[0] == found[1]
    assert len(set(found)) == 5
    assert marks(values, np.full(6, NEVER)).tolist() == [0] * 6


def test_marks_go_with_the_names_of_sensors() -> None:
    kept = PointMarks(2)
    kept.enter(START, np.array([1.0, 2.0]), np.array([START, START]))
    kept.follow(np.array([0]), np.array([1]), 3)
    same, other = kept.compare(START, START, np.array([2.0, 1.0, 1.0]))
    assert (same.tolist(), other.tolist()) == ([True, False, False], [False] * 3)
