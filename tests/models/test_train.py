import numpy as np
import pytest

from models.contract import ModelError
from models.filling import fill_missing
from models.fit import Shape
from models.preprocess import Segment
from models.train import Options, train
from tests.builders import SMALL, names, process, trained


def test_training_twice_gives_the_same_model_bit_for_bit() -> None:
    x = process(1, 300)
    first, second = (trained().detector.run(x) for _ in range(2))
    np.testing.assert_array_equal(first.score, second.score)


def test_a_fault_is_found_and_its_sensor_named() -> None:
    detector = trained(rows=1500).detector
    x = process(2, 400)
    x[300:, 2] += 4.0
    ticks = detector.run(x)
    assert np.nanmean(ticks.score[:300] >= 1) < 0.03
    assert (ticks.score[305:] >= 1).mean() > 0.9
    assert np.median(ticks.attribution[305:].argmax(1)) == 2


def test_missing_cells_in_training_leave_the_promise_and_the_detection_as_they_are() -> None:
    x = process(3, 2000)
    x[np.random.default_rng(4).random(x.shape) < 0.2] = np.nan
    training = train([Segment("m", x)], names(4), 1_000_000, Options(shape=SMALL))
    assert training.missing_cells == np.isnan(x).sum()
    fresh = process(5, 2000)
    assert np.nanmean(training.detector.run(fresh).score >= 1) < 0.015
    fresh[:, 1] += 5
    assert np.nanmean(training.detector.run(fresh).score >= 1) > 0.9


def test_missing_cells_are_estimated_better_than_by_the_mean() -> None:
    x = process(6, 1500)
    z = (x - x.mean(0)) / x.std(0)
    hidden = np.random.default_rng(7).random(z.shape) < 0.1
    filled, seen = fill_missing([np.where(hidden, np.nan, z)], SMALL)
    assert seen is not None
    np.testing.assert_array_equal(seen[0], ~hidden)
    error, by_mean = ((filled[0] - z)[hidden] ** 2).mean(), (z[hidden] ** 2).mean()
    assert error < 0.8 * by_mean


def test_gaps_and_several_recordings_of_several_machines_train_one_model() -> None:
    segments = [
        Segment("a", process(8, 300)),
        Segment("a", process(9, 250)),
        Segment("b", process(10, 400) + 500),
        Segment("b", process(11, 5) + 500),
    ]
    training = train(segments, names(4), 1_000_000, Options(shape=SMALL))
    assert training.detector.equipment == ("a", "b")
    assert training.manifest.fit.rows == 955
    other = training.detector.run(process(12, 500) + 500, equipment="b")
    assert np.nanmean(other.score >= 1) < 0.03


def test_a_sensor_that_is_constant_in_training_survives() -> None:
    x = process(13, 600)
    x[:, 1] = 7.0
    training = train([Segment("m", x)], names(4), 1_000_000, Options(shape=SMALL))
    fresh = process(14, 300)
    fresh[:, 1] = 7.0
    assert np.nanmean(training.detector.run(fresh).score >= 1) < 0.03
    fresh[200:, 1] = 7.1
    ticks = training.detector.run(fresh)
    assert (ticks.score[200:] >= 1).all()
    assert (ticks.attribution[200:].argmax(1) == 1).all()


@pytest.mark.parametrize(("level", "spread"), [(1e-9, 2e-10), (3e-11, 1e-12), (5e8, 20.0)])
def test_a_sensor_in_any_unit_is_learned_and_its_fault_found(level: float, spread: float) -> None:
    def in_unit(x: np.ndarray) -> np.ndarray:
        x[:, 1] = level + spread * (x[:, 1] - 200)
        return x

    training = train([Segment("m", in_unit(process(15, 2000)))], names(4), 1_000_000, Options(shape=SMALL))
    assert not training.detector.constant.any()
    fresh = in_unit(process(16, 600))
    assert np.nanmean(training.detector.run(fresh).score >= 1) < 0.03
    fresh[300:, 1] += 8 * spread
    ticks = training.detector.run(fresh)
    assert np.mean(ticks.score[300:] >= 1) > 0.9
    assert np.mean(ticks.attribution[300:].argmax(1) == 1) > 0.9


def test_the_manifest_says_what_the_model_was_made_of() -> None:
    manifest = trained().manifest
    assert (manifest.p, manifest.L, manifest.g) == (8, 4, 0.95)
    assert manifest.fit.rows == 600
    assert manifest.calibration[0].budget == 0.01
    assert manifest.calibration[0].supported
    assert [s.name for s in manifest.sensors] == list(names(4))


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ModelError, match="no rows left"):
        train([], names(4), 1_000_000, Options())


def test_progress_is_told_from_start_to_end() -> None:
    told: list[float] = []
    segment = Segment("m", process(15))
    train([segment], names(4), 1_000_000, Options(shape=Shape(6, 3)), progress=lambda _, share: told.append(share))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)
