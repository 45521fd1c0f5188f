import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.contract import DataError
from models.evaluate import RECOVERY_TICKS, Evaluation, Part, average_precision, evaluate, pool
from tests import naive

SECOND = 1_000_000
NAN = math.nan


def found(score: list[float], label: list[int], seconds: int | None = None) -> Evaluation:
    time = None if seconds is None else np.arange(len(score)) * seconds * SECOND
    return evaluate(np.array(score, np.float32), np.array(label, np.int8), time)


def test_a_score_of_one_is_a_detection() -> None:
    assert found([1.0, 0.999], [1, 1]).true_positives == 1


def test_ratios_are_those_of_the_counts() -> None:
    evaluation = found([2, 2, 2, 0, 0, 0, 0, 2], [1, 1, 0, 0, 0, 0, 1, 0])
    assert (evaluation.true_positives, evaluation.false_positives) == (2, 2)
    assert (evaluation.false_negatives, evaluation.true_negatives) == (1, 3)
    assert evaluation.precision == pytest.approx(1 / 2)
    assert evaluation.recall == pytest.approx(2 / 3)
    assert evaluation.f1 == pytest.approx(4 / 7)
    assert evaluation.false_alarm_rate == pytest.approx(2 / 5)
    assert evaluation.missed_alarm_rate == pytest.approx(1 / 3)


def test_ticks_without_a_score_are_left_out_and_counted() -> None:
    evaluation = found([NAN, NAN, 2, 0], [1, 0, 1, 0])
    assert (evaluation.ticks, evaluation.ticks_left_out) == (2, 2)
    assert evaluation.recall == 1.0
    assert evaluation.false_alarm_rate == 0.0


def test_a_warming_mask_leaves_ticks_out_that_have_a_score() -> None:
    score, label = np.array([5.0, 0.0, 2.0]), np.array([0, 0, 1])
    masked = evaluate(score, label, warming=np.array([True, False, False]))
    assert (masked.false_positives, masked.ticks_left_out) == (0, 1)


def test_the_delay_of_an_episode_counts_from_its_first_row() -> None:
    evaluation = found([0, 0, 0.5, NAN, 1.5, 2, 0, 0.1, 0.2], [0, 1, 1, 1, 1, 1, 0, 1, 1], seconds=10)
    first, second = evaluation.episodes
    assert (first.start, first.end, first.judged) == (1, 6, 4)
    assert (first.delay_ticks, first.delay_seconds, first.detected) == (3, 30.0, True)
    assert (second.delay_ticks, second.delay_seconds, second.detected) == (None, None, False)
    assert (second.start_time, second.end_time) == (70 * SECOND, 80 * SECOND)


def test_seconds_of_delay_are_those_of_the_times_and_not_of_the_rows() -> None:
    time = np.array([0, 10, 500, 510]) * SECOND
    assert evaluate(np.array([0, 0, 2.0, 2]), np.array([0, 1, 1, 1]), time).episodes[0].delay_seconds == 490.0


def test_without_times_a_delay_is_in_ticks_alone() -> None:
    episode = found([0, 2], [1, 1]).episodes[0]
    assert (episode.delay_ticks, episode.delay_seconds, episode.start_time) == (1, None, None)


def test_a_false_alarm_before_an_episode_is_no_early_detection() -> None:
    assert found([2, 0, 0], [0, 1, 1]).episodes[0].detected is False


def test_an_episode_that_was_never_judged_is_neither_detected_nor_a_missed_alarm() -> None:
    evaluation = found([NAN, NAN, 0], [1, 1, 0])
    assert evaluation.episodes[0].judged == 0
    assert evaluation.episodes[0].detected is False
    assert evaluation.false_negatives == 0


def test_ratios_without_a_denominator_are_none() -> None:
    healthy = found([0, 2], [0, 0])
    assert (healthy.f1, healthy.recall, healthy.missed_alarm_rate, healthy.average_precision) == (None,) * 4
    assert healthy.false_alarm_rate == 0.5
    silent = found([0, 0], [1, 0])
    assert (silent.precision, silent.f1, silent.recall) == (None, 0.0, 0.0)
    assert found([2], [1]).false_alarm_rate is None
    assert pool([]).f1 is None


def test_pooling_counts_every_tick_alike_and_ranks_all_together() -> None:
    one, other = (np.array([2.0, 0.0]), np.array([1, 0]), None), (np.array([3.0, 0.5]), np.array([0, 1]), None)
    pooled = pool([one, other])
    assert (pooled.true_positives, pooled.false_positives, pooled.false_negatives) == (1, 1, 1)
    ranked = naive.average_precision([2.0, 0.0, 3.0, 0.5], [True, False, False, True])
    assert pooled.average_precision == pytest.approx(ranked)


def test_no_episode_runs_from_one_file_into_the_next() -> None:
    part = (np.array([0.0, 2.0]), np.array([1, 1]), None)
    assert [(e.part, e.start, e.end) for e in pool([part, part]).episodes] == [(0, 0, 2), (1, 0, 2)]


def test_always_alarming_has_the_precision_of_the_labels() -> None:
    label = [0, 1, 1, 0]
    assert found([9.0] * 4, label).average_precision == 0.5


labelled = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 7.0, math.inf]), st.booleans()), min_size=1)


@given(labelled)
def test_average_precision_is_that_of_every_threshold_tried(drawn: list[tuple[float, bool]]) -> None:
    score, anomalous = zip(*drawn, strict=True)
    assume(any(anomalous))
    exact = average_precision(np.array(score), np.array(anomalous))
    assert exact == pytest.approx(naive.average_precision(list(score), list(anomalous)))


@given(labelled, st.randoms(use_true_random=False))
def test_the_order_of_ticks_with_equal_scores_does_not_matter(drawn, random) -> None:
    assume(any(anomalous for _, anomalous in drawn))
    shuffled = random.sample(drawn, len(drawn))
    first, second = (average_precision(*map(np.array, zip(*d, strict=True))) for d in (drawn, shuffled))
    assert first == pytest.approx(second)


@given(labelled)
def test_counts_sum_to_the_ticks_and_the_rates_to_one(drawn: list[tuple[float, bool]]) -> None:
    score, anomalous = zip(*drawn, strict=True)
    evaluation = evaluate(np.array(score), np.array(anomalous))
    assert evaluation.ticks == len(drawn)
    if evaluation.recall is not None:
        assert evaluation.recall + evaluation.missed_alarm_rate == pytest.approx(1)


def test_the_dictionary_is_strict_json_with_times_a_person_can_read() -> None:
    text = json.dumps(found([NAN, 0, 2], [0, 1, 1], seconds=1).as_dict(), allow_nan=False)
    episode = json.loads(text)["episodes"][0]
    assert (episode["start_time"], episode["detected"], episode["delay_seconds"]) == ("1970-01-01T00:00:01Z", True, 1.0)
    assert json.loads(json.dumps(pool([]).as_dict(), allow_nan=False))["ticks"] == 0


def test_times_keep_their_fraction() -> None:
    evaluation = evaluate(np.array([2.0]), np.array([1]), np.array([1_500_000]))
    assert evaluation.as_dict()["episodes"][0]["start_time"] == "1970-01-01T00:00:01.500000Z"


def test_lengths_that_differ_and_missing_labels_are_refused() -> None:
    with pytest.raises(DataError, match="label has shape"):
        evaluate(np.zeros(3), np.zeros(2))
    with pytest.raises(DataError, match="time has shape"):
        evaluate(np.zeros(3), np.zeros(3), np.zeros(2, np.int64))
    with pytest.raises(DataError, match="alarm has shape"):
        pool([Part(np.zeros(3), np.zeros(3), None, np.zeros(2, np.bool_))])
    with pytest.raises(DataError, match="warming has shape"):
        evaluate(np.zeros(3), np.zeros(3), warming=np.zeros(2, np.bool_))
    with pytest.raises(DataError, match="label of row 1 is nan"):
        evaluate(np.zeros(3), np.array([0, NAN, 1]))


def test_an_episode_has_its_highest_score_and_where_it_was() -> None:
    first, second = found([0, 1.5, NAN, 4, 0, NAN], [0, 1, 1, 1, 0, 1]).episodes
    assert (first.peak, first.peak_row) == (4.0, 3)
    assert (second.peak, second.peak_row) == (None, None)


def alarmed(score: list[float], label: list[int], alarm: list[int], seconds: int | None = None) -> Evaluation:
    time = None if seconds is None else np.arange(len(score)) * seconds * SECOND
    return pool([Part(np.array(score), np.array(label), time, np.array(alarm, np.bool_))])


def test_an_alarm_is_false_where_it_holds_no_labelled_tick() -> None:
    counts = alarmed([0, 2, 0, 0, 2, 2, 0, 2], [0, 0, 0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 1, 1, 0, 1]).alarm_counts
    assert counts is not None
    assert (counts.alarms, counts.false_alarms, counts.false_alarms_in_recovery) == (3, 2, 1)
    assert counts.normal_time_in_alarm == pytest.approx(3 / 7)


def test_the_quiet_time_before_an_alarm_closes_is_no_part_of_it() -> None:
    """A fault that begins while an old alarm only waits to be closed does not make that alarm a true one."""
    counts = alarmed([2, 0, 0, 0, 0], [0, 0, 1, 1, 0], [1, 1, 1, 0, 0]).alarm_counts
    assert counts is not None
    assert (counts.alarms, counts.false_alarms) == (1, 1)


def test_false_alarms_are_counted_a_machine_and_day_of_normal_time() -> None:
    counts = alarmed([2] + [0] * 47, [0] * 24 + [1] * 24, [1] + [0] * 47, seconds=3600).alarm_counts
    assert counts is not None
    assert counts.false_alarms_per_machine_day == 1.0
    without = alarmed([2, 0], [0, 0], [1, 0]).alarm_counts
    assert without is not None
    assert without.false_alarms_per_machine_day is None


def test_where_a_part_has_no_alarms_none_are_counted() -> None:
    one, other = Part(np.zeros(2), np.zeros(2), None, np.zeros(2, np.bool_)), Part(np.zeros(2), np.zeros(2))
    assert pool([one, other]).alarm_counts is None
    assert "false_alarms" not in pool([one, other]).as_dict()
    assert pool([one]).as_dict()["false_alarms"] == 0


def test_ticks_after_an_episode_are_counted_as_normal_and_told_apart() -> None:
    after = [2.0] * 10 + [0.0] * (RECOVERY_TICKS + 40)
    evaluation = found([0, 0, 2, 2, *after, 2], [0, 0, 1, 1, *(0 for _ in after), 0])
    assert (evaluation.recovery_ticks, evaluation.false_positives_in_recovery) == (RECOVERY_TICKS, 10)
    assert evaluation.false_alarm_rate == pytest.approx(11 / (len(after) + 3))
    assert evaluation.false_alarm_rate_in_recovery == pytest.approx(10 / RECOVERY_TICKS)
    assert evaluation.false_alarm_rate_outside_recovery == pytest.approx(1 / (len(after) + 3 - RECOVERY_TICKS))


def test_recovery_ends_where_the_next_episode_begins_or_the_next_part() -> None:
    evaluation = pool([(np.zeros(9), np.array([0, 1, 0, 0, 1, 0, 0, 0, 0]), None), (np.zeros(9), np.zeros(9), None)])
    assert evaluation.recovery_ticks == 6


def test_without_episodes_there_is_no_recovery() -> None:
    healthy = found([0, 2], [0, 0])
    assert (healthy.recovery_ticks, healthy.false_alarm_rate_in_recovery) == (0, None)
    assert healthy.false_alarm_rate_outside_recovery == healthy.false_alarm_rate == 0.5
