import dataclasses

import numpy as np
import pytest

from models import backfill
from models.backfill import arrange, columns_of, score_series
from models.contract import DataError
from models.detector import Detector
from models.episodes import EpisodeRule
from models.lmn import spectral_radius
from tests import naive
from tests.builders import process, random_detector, trained

SECOND = 1_000_000
START = 1_790_000_000 * SECOND


def times(count: int) -> np.ndarray:
    return START + SECOND * np.arange(count)


def test_a_recording_is_scored_as_one_run() -> None:
    detector, x = trained().detector, process(3, 200)
    found, run = score_series(detector, "machine", times(200), x), detector.run(x)
    np.testing.assert_array_equal(found.score, run.score)
    np.testing.assert_array_equal(found.p_value, run.p_value)
    np.testing.assert_array_equal(found.warming, run.warming)


def test_chunks_leave_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = random_detector(1)
    rng = np.random.default_rng(2)
    x = detector.mean + detector.scale * rng.normal(size=(50, 5))
    when = START + SECOND * np.cumsum(rng.choice([1, 11], size=50))
    whole = score_series(detector, "machine", when, x)
    told: list[int] = []
    monkeypatch.setattr(backfill, "CHUNK", 7)
    parts = score_series(detector, "machine", when, x, progress=told.append)
    for field in dataclasses.fields(whole):
        np.testing.assert_array_equal(getattr(parts, field.name), getattr(whole, field.name))
    assert told == [7] * 7 + [1]


def test_a_gap_starts_the_machine_anew_and_one_that_is_just_short_does_not() -> None:
    detector = random_detector(3)
    x = np.random.default_rng(4).normal(size=(30, 5))
    when = times(30)
    when[15:] += detector.gap_reset
    anew = score_series(detector, "machine", when, x)
    np.testing.assert_array_equal(anew.score[15:], score_series(detector, "machine", times(15), x[15:]).score)
    assert anew.status[15:19] == ["warming"] * 3 + ["scored"]
    when[15:] -= SECOND
    assert score_series(detector, "machine", when, x).status[15] == "scored"


def test_ticks_that_did_not_come_are_as_ticks_without_a_value() -> None:
    detector = trained().detector
    x, when = process(7, 120), times(120)
    keep = np.ones(120, bool)
    keep[[40, 41, 42, 70, 90, 91]] = False
    holed = x.copy()
    holed[~keep] = np.nan
    found = score_series(detector, "machine", when[keep], x[keep])
    wanted = score_series(detector, "machine", when, holed)
    after = np.flatnonzero(keep[1:] & ~keep[:-1]) + 1  # judged by what can be known so far ahead
    np.testing.assert_array_equal(found.score[: after[0] - 3], wanted.score[: after[0] - 3])
    assert [wanted.status[tick] for tick in np.flatnonzero(~keep)] == ["unscored"] * 6
    same = np.isin(np.flatnonzero(keep), after, invert=True)
    assert np.nanmax(np.abs(found.score - wanted.score[keep])[same]) < 0.5


def test_alarms_are_those_of_the_naive_rule() -> None:
    detector, x = trained().detector, process(6, 400)
    x[100:120, 0] += 30
    x[300:320, 1] += 30
    found = score_series(detector, "machine", times(400), x, EpisodeRule(2, 4, 10))
    fresh = detector.run(x).fresh
    spans = naive.alarms(list(zip(found.score.tolist(), fresh.tolist(), range(400), strict=True)), 2, 4, 10)
    assert len(spans) >= 2
    marked = np.zeros(400, bool)
    for start, last in spans:
        marked[start : 400 if last is None else last + 10] = True
    np.testing.assert_array_equal(found.alarm, marked)


def test_the_sensor_that_is_off_is_named_and_none_where_there_is_no_score() -> None:
    detector, x = trained().detector, process(7, 80)
    x[40, 2] += 50
    x[60] = np.nan
    found = score_series(detector, "machine", times(80), x)
    assert found.top[40] == 2
    assert (found.top[:4] == -1).all()
    assert (found.top[60], found.status[60]) == (-1, "unscored")


def test_a_machine_of_training_is_centred_on_itself() -> None:
    detector = random_detector(8)
    own = dataclasses.replace(detector, equipment=("a",), centres=detector.mean[None] + 50)
    x = detector.mean + detector.scale * np.random.default_rng(9).normal(size=(40, 5))
    np.testing.assert_array_equal(score_series(own, "b", times(40), x).score, detector.run(x).score)
    np.testing.assert_allclose(score_series(own, "a", times(40), x + 50).score, detector.run(x).score, rtol=1e-3)


def test_columns_are_found_by_name_and_absent_sensors_are_missing() -> None:
    detector = random_detector(10, sensors=3)
    columns = columns_of(detector, ("other", "sensor-2", "sensor-0"))
    np.testing.assert_array_equal(columns, [2, -1, 1])
    np.testing.assert_array_equal(arrange(np.array([[7.0, 8.0, 9.0]]), columns), [[9.0, np.nan, 8.0]])
    with pytest.raises(DataError, match="none of the model's sensors is in the data"):
        columns_of(detector, ("other",))


def test_no_ticks_give_no_outcomes() -> None:
    found = score_series(random_detector(11), "machine", times(0), np.empty((0, 5)))
    assert found.status == []


def test_values_at_the_end_of_the_numbers_are_scored_without_a_warning() -> None:
    detector = dataclasses.replace(random_detector(12), scale=np.full(5, 1e-3))
    x = np.tile(detector.mean, (20, 1))
    x[10] = [1.7e308, -1.7e308, 0, 0, 0]
    found = score_series(detector, "machine", times(20), x)
    assert found.score[10] > 1
    assert np.isfinite(found.score[3:]).all()


def feeding_on_itself(detector: Detector) -> float:
    """Growth of the memory a tick where every sensor is taken from the prediction."""
    net = detector.network
    return spectral_radius(net.W_mm + net.W_hm @ net.W_mo)


def test_a_machine_that_sends_only_empty_ticks_for_long_is_scored_afterwards() -> None:
    detector = next(d for seed in range(20) if feeding_on_itself(d := random_detector(seed)) > 1.05)
    x = detector.mean + detector.scale * np.random.default_rng(13).normal(size=(2600, 5))
    x[100:2500] = np.nan
    found = score_series(detector, "machine", times(2600), x)
    assert found.status[100:2500] == ["unscored"] * 2400
    assert found.status[2500:2503] == ["warming"] * 3, "after so long without a value, the memory starts anew"
    np.testing.assert_array_equal(found.score[2500:], score_series(detector, "machine", times(100), x[2500:]).score)
