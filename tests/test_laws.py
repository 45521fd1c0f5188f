"""What `models/contract.py` says of every detector, run on every one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from models.baselines.methods import METHODS
from models.contract import AnyDetector
from models.fit import Shape
from models.train import LinearMemoryDetector, Options
from tests.builders import marks, names, need, process

SENSORS = names(4)


def rival(method: str, sensors: tuple[str, ...]) -> AnyDetector:
    need(method)
    return LinearMemoryDetector(sensors, Options(Shape(8, 4, 0.95), method=method))


DETECTORS: dict[str, Callable[[tuple[str, ...]], AnyDetector]] = {
    "lmn": lambda sensors: LinearMemoryDetector(sensors, Options(Shape(8, 4, 0.95))),
    "lmn with a full memory": lambda sensors: LinearMemoryDetector(sensors, Options(Shape(16, 4, 1.0))),
    "lmn with features": lambda sensors: LinearMemoryDetector(sensors, Options(Shape(16, 4, 0.95), features=(8,))),
    "lmn of one tick": lambda sensors: LinearMemoryDetector(sensors, Options(Shape(4, 1, 1.0))),
    **{method: partial(rival, method) for method in METHODS},
}
detectors = pytest.mark.parametrize(
    "make", [pytest.param(make, id=name, marks=marks(name)) for name, make in DETECTORS.items()]
)


def warm(detector: AnyDetector) -> int:
    """Ticks without a score after a start."""
    found: int = detector.detector_.warmup  # type: ignore[attr-defined]
    assert found <= 100
    return found


@detectors
def test_fitting_twice_equals_fitting_once(make: Callable[..., AnyDetector]) -> None:
    segments = [process(0), process(1, 200)]
    once, detector = make(SENSORS).fit(segments), make(SENSORS)
    twice = detector.fit(segments).fit(segments)
    np.testing.assert_array_equal(once.run(process(2, 100)).score, twice.run(process(2, 100)).score)


@detectors
def test_a_run_equals_the_loop_over_step(make: Callable[..., AnyDetector]) -> None:
    detector, x = make(SENSORS).fit([process(0)]), process(3, 120)
    state, looped = detector.init_state(1), []
    for row in x:
        state, ticks = detector.step(state, row[None])
        looped.append(ticks.score[0])
    np.testing.assert_array_equal(detector.run(x).score, looped)


@detectors
def test_step_leaves_the_state_that_it_was_given_alone(make: Callable[..., AnyDetector]) -> None:
    detector, x = make(SENSORS).fit([process(0)]), process(4, 60)
    state = detector.init_state(1)
    for row in x:
        state, _ = detector.step(state, row[None])
    first = detector.step(state, x[:1])[1].score
    np.testing.assert_array_equal(detector.step(state, x[:1])[1].score, first)


@detectors
def test_the_order_of_the_sensors_does_not_matter(make: Callable[..., AnyDetector]) -> None:
    order = [2, 0, 3, 1]
    straight = make(SENSORS).fit([process(0)]).run(process(5, 200)).score
    shuffled = make(tuple(SENSORS[i] for i in order)).fit([process(0)[:, order]]).run(process(5, 200)[:, order]).score
    np.testing.assert_allclose(shuffled, straight, rtol=2e-3)


@detectors
def test_constants_and_missing_values_survive(make: Callable[..., AnyDetector]) -> None:
    def holed(seed: int) -> np.ndarray:
        x = process(seed, 500)
        x[:, 3] = 5.0
        x[np.random.default_rng(seed).random(x.shape) < 0.1] = np.nan
        return x

    detector = make(SENSORS).fit([holed(0)])
    score = detector.run(holed(6)).score
    assert np.isfinite(score[warm(detector) :]).mean() > 0.99


@detectors
def test_high_means_anomalous_and_better_than_chance(make: Callable[..., AnyDetector]) -> None:
    detector = make(SENSORS).fit([process(0, 5000)])
    normal, faulty = process(7, 3000), process(8, 500)
    faulty[:, 1] += 3.0
    healthy, broken = (detector.run(x).score[30 + warm(detector) :] for x in (normal, faulty))
    assert np.median(broken) > np.quantile(healthy, 0.99)
    assert (healthy >= 1).mean() < 0.02
