"""What becomes of a reading: section by section of the semantics, at the shard."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.limits import ShardLimits
from service.outcome import BodyOutcome
from service.ring import RING_RESULTS
from service.status import Flag, Status
from tests.service import fleet
from tests.service.fleet import SECOND, START, in_columns, in_rows, normal, post, reasons, seconds, statuses

MODEL = fleet.model()
SENSORS = MODEL.detector.sensors
X = normal(MODEL.detector, 3, 80)


def sent(first: int, count: int, equipment: str = "p") -> dict[str, Any]:
    return in_columns(equipment, SENSORS, seconds(first, count), X[first : first + count])


def told(outcome: BodyOutcome) -> list[tuple[Any, ...]]:
    """Everything of a duplicate that has to be as it was."""
    parts = (outcome.score, outcome.p_value, outcome.alarm, outcome.flags, outcome.reason)
    return [tuple(repr(value) for value in row) for row in zip(*(part.tolist() for part in parts), strict=True)]


def test_the_first_readings_warm_up_and_then_scores_come() -> None:
    (outcome,) = post(fleet.shard(), sent(0, 6))
    assert statuses(outcome) == ["warming"] * 3 + ["scored"] * 3
    assert np.isnan(outcome.score[:3]).all()
    assert (outcome.score[3:] > 0).all()
    assert ((outcome.p_value[3:] > 0) & (outcome.p_value[3:] <= 1)).all()


def test_a_duplicate_repeats_the_stored_result() -> None:
    shard = fleet.shard()
    body = sent(0, 40)
    body["values"][20][1] = None
    body["values"][30] = [1e4] * 4
    (first,) = post(shard, body)
    (again,) = post(shard, body)
    assert statuses(again) == ["duplicate"] * 40
    assert reasons(again)[: 40 - RING_RESULTS] == ["already_processed"] * (40 - RING_RESULTS)
    assert told(again)[-RING_RESULTS:] == told(first)[-RING_RESULTS:]
    assert first.flags[20] == again.flags[20] == Flag.IMPUTED


def test_a_duplicate_within_the_same_batch_repeats_the_new_result() -> None:
    shard = fleet.shard()
    first, again = post(shard, sent(0, 10), sent(4, 6))
    assert statuses(again) == ["duplicate"] * 6
    assert told(again) == told(first)[4:]
    one, two = post(shard, in_rows([("p", int(seconds(10, 1)[0]), {"sensor-0": 1.0})] * 2), sent(0, 1))
    assert statuses(one) == ["scored", "duplicate"]
    assert statuses(two) == ["duplicate"]


def test_other_values_at_the_same_time_are_a_conflict_and_change_nothing() -> None:
    shard, other = fleet.shard(), fleet.shard()
    (first,) = post(shard, sent(0, 10))
    wrong = sent(5, 5)
    wrong["values"][2][1] += 1.0
    (outcome,) = post(shard, wrong)
    assert statuses(outcome) == ["duplicate", "duplicate", "rejected", "duplicate", "duplicate"]
    assert reasons(outcome)[2] == "conflict"
    (again,) = post(shard, sent(7, 1))
    assert told(again) == told(first)[7:8]
    post(other, sent(0, 10))
    np.testing.assert_array_equal(post(shard, sent(10, 5))[0].score, post(other, sent(10, 5))[0].score)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (0.0, 0.5, ("rejected", "conflict")),
        (None, 0.0, ("late", "already_processed")),
        (0.0, None, ("duplicate", "")),
    ],
)
def test_only_another_value_of_the_same_sensor_is_a_conflict(
    before: float | None, after: float | None, found: tuple[str, str]
) -> None:
    shard = fleet.shard()
    kept = {"sensor-1": 1.0}
    post(shard, in_rows([("p", START, {"sensor-0": before, **kept})]))
    (outcome,) = post(shard, in_rows([("p", START, {"sensor-0": after, **kept})]))
    assert (*statuses(outcome), *reasons(outcome)) == found


def test_a_missing_sensor_and_one_that_is_null_are_the_same_reading() -> None:
    shard = fleet.shard()
    post(shard, in_rows([("p", START, {"sensor-0": 1.0})]))
    (outcome,) = post(shard, in_rows([("p", START, {"sensor-2": None, "sensor-0": 1.0, "colour": 3.0})]))
    assert statuses(outcome) == ["duplicate"]


def test_what_is_older_than_the_ring_or_fell_between_is_late() -> None:
    shard = fleet.shard()
    post(shard, sent(0, 3), sent(5, 5))
    (outcome,) = post(shard, in_columns("p", SENSORS, [START - SECOND, START + 4 * SECOND], X[:2]))
    assert statuses(outcome) == ["late", "late"]
    assert reasons(outcome) == ["", ""]
    assert np.isnan(outcome.score).all()


def test_a_reading_ahead_of_the_clock_is_rejected_and_the_next_one_is_scored() -> None:
    shard = fleet.shard(limits=ShardLimits(future=600 * SECOND))
    post(shard, sent(0, 10), now=START)
    edge = START + 600 * SECOND
    body = in_columns("p", SENSORS, [edge + 1, START + 10 * SECOND, START + 11 * SECOND], X[10:13])
    (outcome,) = post(shard, body, now=START)
    assert statuses(outcome) == ["rejected", "scored", "scored"]
    assert reasons(outcome) == ["future", "", ""]
    (outcome,) = post(shard, in_columns("q", SENSORS, [edge], X[:1]), now=START)
    assert statuses(outcome) == ["warming"]


def test_with_the_clock_of_the_data_nothing_is_future() -> None:
    (outcome,) = post(fleet.shard(), in_columns("p", SENSORS, [START + 10**15], X[:1]), now=0)
    assert statuses(outcome) == ["warming"]


def test_after_a_gap_the_memory_starts_anew_and_the_first_reading_says_so() -> None:
    shard = fleet.shard()
    post(shard, sent(0, 10))
    times = START + SECOND * np.array([19, 30, 31, 32, 33])  # 10 s after the last is no gap, 11 s is one
    (outcome,) = post(shard, in_columns("p", SENSORS, times, X[20:25]))
    assert statuses(outcome) == ["scored"] + ["warming"] * 3 + ["scored"]
    assert reasons(outcome) == ["", "gap", "", "", ""]
    (fresh,) = post(fleet.shard(), in_columns("p", SENSORS, times[1:], X[21:25]))
    np.testing.assert_array_equal(outcome.score[1:], fresh.score)


def test_equipment_without_a_model_is_rejected_without_complaints_about_its_sensors() -> None:
    shard = fleet.shard(resolve=lambda equipment: MODEL if equipment == "p" else None)
    known, unknown = post(shard, sent(0, 2), sent(0, 2, "stray"))
    assert (statuses(known), statuses(unknown)) == (["warming"] * 2, ["rejected"] * 2)
    assert reasons(unknown) == ["no_model"] * 2
    assert unknown.warnings == []
    assert shard.equipment_table.slot("stray") is None


def test_a_reading_without_a_known_sensor_is_rejected_and_does_not_count_as_heard() -> None:
    shard = fleet.shard()
    body = in_rows([("p", START, {"sensor-0": 1.0}), ("p", START + SECOND, {"colour": 1.0}), ("p", START + 2, {})])
    (outcome,) = post(shard, body)
    assert reasons(outcome) == ["", "no_sensor", "no_sensor"]
    assert shard.columns["last_time"][0] == START


def test_a_reading_of_nulls_is_admitted_without_a_score() -> None:
    shard = fleet.shard()
    body = sent(0, 8)
    body["values"][5] = [None] * 4
    (outcome,) = post(shard, body)
    assert statuses(outcome) == ["warming"] * 3 + ["scored"] * 2 + ["unscored"] + ["scored"] * 2
    assert reasons(outcome)[5] == "no_sensor"
    assert outcome.flags[5] == 0
    assert np.isnan(outcome.score[5])
    assert reasons(outcome)[6] == ""


def test_imputed_readings_carry_a_flag() -> None:
    body = sent(0, 6)
    body["values"][1][0] = body["values"][4][2] = None
    (outcome,) = post(fleet.shard(), body)
    assert outcome.flags.tolist() == [0, Flag.IMPUTED, 0, 0, Flag.IMPUTED, 0]


def test_machines_beyond_the_limit_are_rejected_and_the_others_go_on() -> None:
    shard = fleet.shard(limits=dataclasses.replace(fleet.ANY_TIME, equipment_max=2))
    outcomes = post(shard, *[sent(0, 1, name) for name in ("a", "b", "c", "a")])
    assert [statuses(outcome)[0] for outcome in outcomes] == ["warming", "warming", "rejected", "duplicate"]
    assert reasons(outcomes[2]) == ["limit"]
    assert len(shard) == 2


def test_unknown_sensors_are_named_once_a_body_and_counted() -> None:
    shard = fleet.shard(limits=dataclasses.replace(fleet.ANY_TIME, warnings_max=2))
    names = [*SENSORS, "x1", "x2", "x3", "x4"]
    with_unknown = in_columns("p", names, seconds(0, 3), np.hstack([X[:3], np.ones((3, 4))]))
    noisy, quiet = post(shard, {"batches": [with_unknown, {**with_unknown, "equipment": "q"}]}, sent(0, 3, "r"))
    sentence = "sensor 'x1' is not one of the model's; its values were left out"
    assert noisy.warnings[0] == sentence
    assert len(noisy.warnings) == 3
    assert noisy.warnings[2] == "and 2 more sensors that the model does not know"
    assert quiet.warnings == []
    assert shard.counters.unknown_values == 2 * 3 * 4
    assert statuses(noisy)[:3] == ["warming"] * 3


def test_a_sensor_that_only_another_model_knows_is_named_too() -> None:
    other = fleet.model("fans", seed=4, sensors=2, prefix="fan")
    shard = fleet.shard(resolve=lambda equipment: other if equipment == "f" else MODEL)
    post(shard, in_rows([("f", START, {"fan-0": 1.0})]), sent(0, 1))
    wrong, right = post(
        shard,
        in_rows([("p", START + SECOND, {"sensor-0": 1.0, "fan-0": 1.0})]),
        in_rows([("f", START + SECOND, {"fan-0": 1.0, "fan-1": 1.0})]),
    )
    assert wrong.warnings == ["sensor 'fan-0' is not one of the model's; its values were left out"]
    assert right.warnings == []


def test_readings_in_rows_name_their_leading_sensors_and_columns_do_not() -> None:
    shard = fleet.shard()
    for i in range(8):
        values = dict(zip(SENSORS, X[i].tolist(), strict=True))
        values["sensor-2"] += 1000.0 if i == 7 else 0.0
        row, column = post(shard, in_rows([("p", int(seconds(i, 1)[0]), values)]), sent(i, 1, "q"))
        assert column.top_sensor is None
    assert row.top_sensor is not None
    assert row.top_share is not None
    assert row.names[row.top_sensor[0, 0]] == "sensor-2"
    shares = row.top_share[0]
    assert 0 < shares.sum() <= 1.0001
    assert (np.diff(shares) <= 0).all()


@pytest.mark.parametrize("value", [1e308, -1e308, 1.7976931348623157e308, 5e-324])
def test_a_value_at_the_end_of_the_numbers_leaves_everything_finite(value: float) -> None:
    shard = fleet.shard()
    body = sent(0, 20)
    body["values"][10][0] = value
    body["values"][11] = [value, -value, value, -value]
    (outcome,) = post(shard, body)
    assert (outcome.score[10:12] > 1).all() or abs(value) < 1
    (bank,) = shard.banks.values()
    for name, array in bank.columns.saved().items():
        assert np.isfinite(array).all(), name
    (later,) = post(shard, sent(20, 40))
    assert np.isfinite(later.score).all()


good = st.tuples(st.sampled_from(["m0", "m1", "m2"]), st.integers(0, 40)).map(
    lambda found: (found[0], int(seconds(found[1], 1)[0]), dict(zip(SENSORS, X[found[1]].tolist(), strict=True)))
)
odd = st.tuples(
    st.sampled_from(["m0", "m1", "stray", "m2"]),
    st.integers(START - 10**12, START + 10**12),
    st.dictionaries(
        st.sampled_from([*SENSORS, "colour", "weight"]),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        max_size=5,
    ),
)


@settings(deadline=None, max_examples=80, derandomize=True)
@given(batches=st.lists(st.lists(st.lists(good | odd, max_size=15), max_size=4), max_size=6))
def test_the_seven_statuses_always_sum_and_nothing_becomes_infinite(batches: list[list[list[Any]]]) -> None:
    shard = fleet.shard(
        limits=ShardLimits(equipment_max=2), resolve=lambda equipment: None if equipment == "stray" else MODEL
    )
    received = 0
    for batch in batches:
        for readings, outcome in zip(batch, post(shard, *map(in_rows, batch)), strict=True):
            assert sum(outcome.counts()) == outcome.received == len(readings)
            received += len(readings)
            judged = outcome.status == Status.SCORED
            repeated = outcome.status == Status.DUPLICATE
            assert np.isfinite(outcome.score[judged]).all()
            assert np.isnan(outcome.score[~judged & ~repeated]).all()
    assert shard.counters.readings.sum() == received
    for bank in shard.banks.values():
        assert np.isfinite(bank.columns.saved()["memory"]).all()


def test_a_machine_gets_a_place_at_its_first_admitted_reading() -> None:
    wall = fleet.shard(limits=ShardLimits(future=60 * fleet.SECOND, equipment_max=1))
    late, soon = fleet.START + 3600 * fleet.SECOND, fleet.START + fleet.SECOND
    ghosts = [("future", late, {"sensor-0": 1.0}), ("stranger", soon, {"colour": 1.0})]
    (outcome,) = post(wall, in_rows([*ghosts, ("real", soon, {"sensor-0": 1.0}), ("beyond", soon, {"sensor-0": 1.0})]))
    assert fleet.reasons(outcome) == ["future", "no_sensor", "", "limit"]
    assert wall.equipment_ids() == (["real"], 1)
    (outcome,) = post(wall, in_rows([("future", late, {"sensor-0": 1.0}), ("real", late, {"sensor-0": 1.0})]))
    assert fleet.reasons(outcome) == ["future", "future"]


def test_a_machine_that_sent_only_nulls_for_long_starts_anew() -> None:
    shard, detector = fleet.shard(), fleet.model().detector
    x = fleet.normal(detector, 3, 60)
    x[20:40] = np.nan
    (outcome,) = post(shard, in_columns("p", detector.sensors, fleet.seconds(0, 60), x))
    words = fleet.statuses(outcome)
    assert words[20:40] == ["unscored"] * 20
    assert words[40:44] == ["warming"] * 3 + ["scored"]
    assert fleet.reasons(outcome)[40] == "gap"
