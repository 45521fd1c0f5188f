from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from models import artifact
from models.backfill import score_series
from models.feature_choice import COUNTS
from models.features import Features
from models.fit import Core, Shape
from models.forecast import covered, forecast
from models.laes import LinearAutoencoder
from models.lmn import LinearMemoryNetwork
from models.preprocess import Segment
from models.train import Options, Training, train
from tests.builders import bent_process, names

SHAPE = Shape(24, 4, 0.9)
SECOND = 1_000_000


@cache
def bent(features: tuple[int, ...] = COUNTS) -> Training:
    return train([Segment("m", bent_process(0))], names(3), SECOND, Options(shape=SHAPE, features=features))


def network(training: Training) -> LinearMemoryNetwork:
    return training.detector.linear


def test_features_do_not_depend_on_the_order_of_sensors() -> None:
    z, order = bent_process(1) - 50, [2, 0, 1]
    straight, shuffled = Features.fit([z], 12, 0), Features.fit([z[:, order]], 12, 0)
    np.testing.assert_allclose(straight.lift(z)[:, 3:], shuffled.lift(z[:, order])[:, 3:], atol=1e-9)
    assert not np.allclose(straight.weights, Features.fit([z], 12, 1).weights)


def test_the_functional_part_of_the_network_is_what_was_fitted_on() -> None:
    z = bent_process(1) - 50
    features = Features.fit([z], 6, 0)
    part = features.functional_part()
    lmn = LinearMemoryNetwork(np.zeros((2, 9)), np.zeros((2, 2)), np.zeros((3, 2)), np.zeros(3), **part)
    np.testing.assert_allclose(lmn.functional(z, None), features.lift(z), atol=1e-12)
    assert (lmn.units, lmn.inputs) == (9, 3)


def test_slopes_are_derivatives_where_the_process_rests() -> None:
    features, step = Features.fit([bent_process(1) - 50], 6, 0), 1e-5
    part = features.functional_part()
    lmn = LinearMemoryNetwork(np.zeros((2, 9)), np.zeros((2, 2)), np.zeros((3, 2)), np.zeros(3), **part)
    numeric = (lmn.functional(step * np.eye(3), None) - lmn.functional(-step * np.eye(3), None)) / (2 * step)
    np.testing.assert_allclose(lmn.slopes(), numeric.T, atol=1e-8)


def test_promises_hold_with_features_whatever_is_missing() -> None:
    detector, fresh = bent().detector, bent_process(4, 4000)
    assert np.nanmean(detector.run(fresh).score >= 1) < 0.02
    holed = np.where(np.random.default_rng(0).random(fresh.shape) < 0.05, np.nan, fresh)
    assert np.nanmean(detector.run(holed).score >= 1) < 0.03
    here = np.arange(len(fresh)) % 10 < 6  # the other ticks do not come
    score = score_series(detector, "m", np.flatnonzero(here) * SECOND, fresh[here]).score
    assert np.nanmean(score >= 1) < 0.03
    fresh[2000:, 1] += 4
    ticks, plain = detector.run(fresh), bent((0,)).detector.run(fresh)
    found, found_plain = (np.mean(t.score[2000:] >= 1) for t in (ticks, plain))
    assert found > 0.5 > 0.2 > found_plain
    assert np.median(ticks.attribution[2100:].argmax(1)) == 1


def test_missing_cells_in_training_are_estimated_before_they_are_bent() -> None:
    x = bent_process(0)
    x[np.random.default_rng(4).random(x.shape) < 0.1] = np.nan
    training = train([Segment("m", x)], names(3), SECOND, Options(shape=SHAPE, features=(16,)))
    assert training.missing_cells == np.isnan(x).sum()
    assert np.nanmean(training.detector.run(bent_process(5)).score >= 1) < 0.02


def test_an_empty_start_is_forgotten_by_the_end_of_the_warm_up() -> None:
    detector, fresh = bent().detector, bent_process(6, 400)
    late = detector.run(fresh[100:]).residual[detector.warmup :]
    np.testing.assert_allclose(late, detector.run(fresh).residual[100 + detector.warmup :], atol=0.05)


def test_intervals_of_forecasts_with_features_cover_what_they_promise() -> None:
    training, fresh = bent(), bent_process(7, 3000)
    detector, horizons = training.detector, training.horizons
    assert horizons is not None
    ticks = detector.run(fresh)
    use = np.arange(len(fresh)) > detector.warmup
    found = covered(detector, horizons, ticks.memory, ticks.z, np.arange(len(fresh)) * SECOND, use, (1, 10, 50), 0.9)
    shares = [one.inside.sum() / one.values.sum() for one in found]
    assert all(0.85 < share < 0.96 for share in shares), shares
    assert found[0].squares[1] < 0.5 * found[0].last_squares[1]
    state = detector.init_state(1)
    for row in fresh[:50]:
        state, _ = detector.step(state, row[None])
    ahead = forecast(detector, horizons, state, 0, 20, 0.9)
    assert (ahead.lower < ahead.expected).all()
    assert (ahead.expected < ahead.upper).all()


def test_a_model_with_features_is_the_same_once_it_was_saved(tmp_path: Path) -> None:
    training, fresh = bent(), bent_process(8, 200)
    artifact.save(training.manifest, training.detector, training.drift, tmp_path, training.horizons)
    loaded = artifact.load(tmp_path)
    np.testing.assert_array_equal(loaded.detector.run(fresh).score, training.detector.run(fresh).score)
    assert loaded.manifest.fit == training.manifest.fit


def test_machines_that_are_stepped_together_score_as_each_alone_bit_for_bit() -> None:
    detector, runs = bent().detector, [bent_process(10 + i, 40) for i in range(7)]
    together = np.concatenate([np.stack(rows) for rows in zip(*runs, strict=True)])
    score = detector.advance(detector.init_state(7), together, [7] * 40)[1].score.reshape(40, 7)
    np.testing.assert_array_equal(score.T, [detector.run(x).score for x in runs])


def test_past_readings_are_decoded_from_a_memory_with_features() -> None:
    z = bent_process(9, 300) - 50
    features = Features.fit([z], 4, 0)
    core = Core(LinearAutoencoder(28, 4, 1.0).fit([features.lift(z)]), np.empty((0, 0)), features)
    np.testing.assert_allclose(core.memory.decode(core.encode(z)[-1], 4)[:, :3], z[:-5:-1], atol=1e-8)
