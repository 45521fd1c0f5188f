import numpy as np
import pytest

from models.contract import ModelError
from models.preprocess import Segment, fit_scaling
from tests.builders import names, process


def test_standardised_values_have_mean_zero_and_deviation_one() -> None:
    segment = Segment("a", process(0))
    scaling = fit_scaling([segment], names(4))
    z = scaling.standardise(segment)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(0), 1, atol=1e-9)


def test_each_machine_is_centred_on_itself() -> None:
    a, b = Segment("a", process(1)), Segment("b", process(2) + 1000)
    scaling = fit_scaling([a, b], names(4))
    assert scaling.equipment == ("a", "b")
    for segment in (a, b):
        np.testing.assert_allclose(scaling.standardise(segment).mean(0), 0, atol=1e-9)
    assert scaling.scale.max() < 10


def test_a_constant_sensor_is_marked_and_not_divided_by_zero() -> None:
    x = process(3)
    x[:, 2] = 42.0
    segment = Segment("a", x)
    scaling = fit_scaling([segment], names(4))
    np.testing.assert_array_equal(scaling.constant, [False, False, True, False])
    assert scaling.standardise(segment).shape == (600, 3)
    assert scaling.resolution[2] == pytest.approx(42e-6)


def test_a_sensor_at_1e5_with_a_spread_of_one_is_not_constant() -> None:
    x = process(4)
    x[:, 0] += 1e5
    assert not fit_scaling([Segment("a", x)], names(4)).constant.any()


UNITS = {"a vacuum of 1e-9": (1e-9, 2e-10), "a leakage of 3e-11 A": (3e-11, 1e-12), "a counter at 5e8": (5e8, 20.0)}


@pytest.mark.parametrize("unit", UNITS)
def test_no_unit_makes_a_moving_sensor_constant(unit: str) -> None:
    level, spread = UNITS[unit]
    x = process(8)
    plain = fit_scaling([Segment("a", x.copy())], names(4))
    x[:, 1] = level + spread * (x[:, 1] - 200)
    scaling = fit_scaling([Segment("a", x)], names(4))
    assert not scaling.constant.any()
    assert scaling.scale[1] == pytest.approx(spread * plain.scale[1])
    z = scaling.standardise(Segment("a", x))
    np.testing.assert_allclose([z[:, 1].mean(), z[:, 1].std()], [0, 1], atol=1e-5)


@pytest.mark.parametrize("level", [0.3, 3e-11, 5e8, -1e300])
def test_the_last_digits_of_a_constant_sensor_are_rounding(level: float) -> None:
    x = process(9)
    x[:, 1] = level
    x[::3, 1] = np.nextafter(level, np.inf)
    scaling = fit_scaling([Segment("a", x)], names(4))
    np.testing.assert_array_equal(scaling.constant, [False, True, False, False])
    assert scaling.resolution[1] == pytest.approx(1e-6 * abs(level))


def test_a_sensor_that_is_constant_at_zero_has_a_resolution() -> None:
    x = process(10)
    x[:, 1] = 0
    assert 0 < fit_scaling([Segment("a", x)], names(4)).resolution[1] <= 1e-9


def test_a_sensor_that_is_constant_on_each_machine_is_constant() -> None:
    a, b = process(11), process(12)
    a[:, 1], b[:, 1] = 3, 4
    assert fit_scaling([Segment("a", a), Segment("b", b)], names(4)).constant.tolist() == [False, True, False, False]
    b[:, 1], b[-1, 1] = 4, 4.5
    assert not fit_scaling([Segment("a", a), Segment("b", b)], names(4)).constant.any()


def test_squares_of_tiny_values_do_not_vanish() -> None:
    x = process(13)
    x[:, 1] = 1e-200 * (x[:, 1] - 200)
    assert fit_scaling([Segment("a", x)], names(4)).scale[1] > 0


def test_resolution_is_the_smallest_step_a_sensor_shows() -> None:
    x = np.round(process(5) / 0.25) * 0.25
    np.testing.assert_allclose(fit_scaling([Segment("a", x)], names(4)).resolution, 0.25)


def test_missing_cells_do_not_count() -> None:
    x = process(6)
    holed = x.copy()
    holed[::5, 1] = np.nan
    scaling = fit_scaling([Segment("a", holed)], names(4))
    assert scaling.mean[1] == pytest.approx(np.nanmean(holed[:, 1]))


def test_a_sensor_without_any_value_is_named() -> None:
    x = process(7)
    x[:, 3] = np.nan
    with pytest.raises(ModelError, match="sensor 'sensor-3' has no value"):
        fit_scaling([Segment("a", x)], names(4))


def test_sensors_that_all_stand_still_are_refused() -> None:
    with pytest.raises(ModelError, match="none of the 4 sensors moves"):
        fit_scaling([Segment("a", np.ones((50, 4)))], names(4))


def test_values_too_great_to_be_measurements_are_refused_with_their_sensor() -> None:
    x = np.random.default_rng(0).normal(size=(50, 2))
    x[7, 1] = -1e300
    with pytest.raises(ModelError, match=r"sensor 'b' has values up to 1e\+300; expected at most 1e\+100"):
        fit_scaling([Segment("m", x)], ("a", "b"))
