from dataclasses import fields

import numpy as np
import pytest

from models.forecast import Forecast, Reach, covered, forecast, reach
from models.horizons import HorizonErrors
from models.state import State
from models.train import Training
from tests.builders import process, random_detector, trained


@pytest.fixture(scope="module")
def training() -> Training:
    return trained()


def seen(training: Training, x: np.ndarray) -> State:
    """The state after the ticks of `x`."""
    detector = training.detector
    return detector.advance(detector.init_state(1), x, [1] * len(x))[0]


def test_forecasting_leaves_the_state_as_it_is(training: Training) -> None:
    state = seen(training, process(1, 50))
    before = {f.name: getattr(state, f.name).copy() for f in fields(State)}
    forecast(training.detector, training.horizons, state, 0, 40, 0.9)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(state, name), array)


def test_one_tick_ahead_is_the_prediction_that_the_next_tick_is_judged_by(training: Training) -> None:
    x = process(2, 51)
    state = seen(training, x[:50])
    found = forecast(training.detector, training.horizons, state, 0, 3, 0.9)
    _, ticks = training.detector.step(state, x[50:])
    expected = training.detector.physical(ticks.z - ticks.residual)
    np.testing.assert_allclose(found.expected[:1], expected, rtol=1e-6)
    np.testing.assert_array_equal(found.expected[:1], training.detector.physical(state.prediction))


def test_further_ahead_it_is_what_ticks_that_do_not_come_are_taken_for(training: Training) -> None:
    x, detector = process(3, 61), training.detector
    state = seen(training, x[:50])
    found = forecast(detector, training.horizons, state, 0, 6, 0.9)
    _, ticks = detector.advance(state, x[55:56], [1], skipped=np.array([5]))
    error = detector.prediction_error(ticks.residual[0], 5)
    np.testing.assert_allclose(found.expected[5], detector.physical(ticks.z - error)[0], rtol=1e-5)


def test_a_machine_is_forecast_around_its_own_level(training: Training) -> None:
    state, detector = training.detector.init_state(1), random_detector()
    shifted = forecast(training.detector, None, state, 1, 5, 0.9).expected
    own, centres = training.detector.centres, training.detector.mean
    assert own is not None
    np.testing.assert_allclose(
        shifted - forecast(training.detector, None, state, 0, 5, 0.9).expected, np.tile(own[0] - centres, (5, 1))
    )
    assert len(detector.sensors) == 5


def test_a_sensor_that_is_missing_now_is_forecast_with_the_widest_interval(training: Training) -> None:
    x = process(4, 50)
    whole = forecast(training.detector, training.horizons, seen(training, x), 0, 4, 0.9)
    x[-1, 2] = np.nan
    found = forecast(training.detector, training.horizons, seen(training, x), 0, 4, 0.9)
    assert np.isfinite(found.expected).all()
    width, usual = found.upper - found.lower, whole.upper - whole.lower
    far = training.horizons.half_widths(np.array([training.horizons.ticks_max]), 0.9)[0]
    np.testing.assert_allclose(width[0, 2], 2 * far[2] * training.detector.scale[2])
    np.testing.assert_allclose(width[:, [0, 1, 3]], usual[:, [0, 1, 3]])


def test_intervals_after_ticks_without_any_value_are_those_of_so_much_further_ahead(training: Training) -> None:
    x = process(5, 50)
    dark = np.vstack([x, np.full((3, 4), np.nan)])
    near = forecast(training.detector, training.horizons, seen(training, x), 0, 8, 0.9)
    late = forecast(training.detector, training.horizons, seen(training, dark), 0, 5, 0.9, blind=3)
    np.testing.assert_allclose(late.expected, near.expected[3:], rtol=1e-5)
    np.testing.assert_allclose(late.upper - late.lower, (near.upper - near.lower)[3:])


def test_without_errors_of_forecasts_there_are_no_intervals(training: Training) -> None:
    found = forecast(training.detector, None, seen(training, process(6, 50)), 0, 4, 0.9)
    assert np.isfinite(found.expected).all()
    assert np.isnan(found.lower).all()
    assert np.isnan(found.upper).all()


def test_a_constant_sensor_stays_where_it_is() -> None:
    detector = random_detector(sensors=5, constants=2)
    errors = HorizonErrors(np.array([0.5, 0.9], np.float32), np.ones((3, 2, 3), np.float32))
    x = detector.mean + np.zeros((10, 5))
    x[:, 4] += 7.5
    state, _ = detector.advance(detector.init_state(1), x, [1] * 10)
    found = forecast(detector, errors, state, 0, 4, 0.9)
    np.testing.assert_array_equal(found.expected[:, 3], detector.mean[3])
    np.testing.assert_array_equal(found.lower[:, 3], found.upper[:, 3])
    np.testing.assert_allclose(found.expected[:, 4], detector.mean[4] + 7.5, rtol=1e-6)
    assert np.isnan(found.upper[:, 4]).all()  # nothing is known of how it moves


def test_more_coverage_and_longer_horizons_widen_an_interval(training: Training) -> None:
    state = seen(training, process(7, 50))
    narrow, wide = (forecast(training.detector, training.horizons, state, 0, 32, share) for share in (0.8, 0.95))
    assert (wide.upper > narrow.upper).all()
    width = (narrow.upper - narrow.lower).mean(1)
    assert width[0] < width[7] < width[31] * 1.05


def ramp(now: float, slope: float, half: float, ticks: int = 10) -> Forecast:
    expected = now + slope * np.arange(1.0, ticks + 1)[:, None]
    return Forecast(np.array([now]), expected, expected - half, expected + half)


@pytest.mark.parametrize(
    ("found", "limit", "expected"),
    [
        (ramp(0, 1, 2), 5.0, Reach(True, 5, 3, 7)),
        (ramp(0, -1, 2), -5.0, Reach(False, 5, 3, 7)),
        (ramp(0, 1, 2), 9.0, Reach(True, 9, 7, None)),
        (ramp(0, 1, 2), 11.0, Reach(True, None, 9, None)),
        (ramp(0, 1, 2), 20.0, Reach(True, None, None, None)),
        (ramp(0, 1, np.nan), 5.0, Reach(True, 5, None, None)),
        (ramp(3, 1, 2), 3.0, Reach(False, 0, 0, 0)),
    ],
)
def test_a_limit_is_reached_by_the_forecast_and_by_the_edges_of_its_interval(
    found: Forecast, limit: float, expected: Reach
) -> None:
    assert reach(found, 0, limit) == expected


def test_what_intervals_cover_of_a_recording_is_what_a_loop_counts(training: Training) -> None:
    x, detector = process(8, 200), training.detector
    time = np.arange(200) * detector.interval
    time[120:] += 5 * detector.interval  # five ticks did not come
    ticks = detector.run(x)
    found = covered(detector, training.horizons, ticks.memory, ticks.z, time, ~ticks.warming, [1, 3], 0.9)
    inside = []
    for origin in np.flatnonzero(~ticks.warming):
        if origin + 3 < 200 and time[origin + 3] - time[origin] == 3 * detector.interval:
            near = forecast(detector, training.horizons, seen(training, x[: origin + 1]), 0, 3, 0.9)
            inside.append((x[origin + 3] >= near.lower[2]) & (x[origin + 3] <= near.upper[2]))
    np.testing.assert_array_equal(found[1].values, len(inside))
    np.testing.assert_allclose(found[1].inside, np.sum(inside, axis=0), atol=1)  # one may be just on the edge
    assert (found[0].squares < found[0].last_squares).all()
