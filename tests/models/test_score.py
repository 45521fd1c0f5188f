import numpy as np
import pytest
from scipy.stats import chi2

from models.score import full_set_equivalent, moved_sensors, squared_prediction_error, winsorise


@pytest.mark.parametrize(("seen", "sensors"), [(5, 10), (16, 32), (30, 32), (3, 50)])
def test_fewer_sensors_are_mapped_to_the_same_quantile_of_all(seen: int, sensors: int) -> None:
    level = np.array([0.5, 0.9, 0.99])
    q = chi2.ppf(level, seen) / sensors
    mapped = full_set_equivalent(q, np.full(3, seen), sensors)
    np.testing.assert_allclose(mapped, chi2.ppf(level, sensors) / sensors, rtol=0.02)


def test_a_full_set_of_sensors_stays_as_it_is() -> None:
    q = np.array([0.1, 1.0, 7.0])
    np.testing.assert_allclose(full_set_equivalent(q, np.full(3, 12), 12), q)


def test_winsorising_scales_what_is_over_the_cap_and_leaves_the_rest() -> None:
    rng = np.random.default_rng(0)
    residual, precision = rng.normal(size=(50, 3)) * 3, np.eye(3)
    q = squared_prediction_error(residual, precision)
    bounded, capped = winsorise(residual, q, 4.0)
    np.testing.assert_allclose(squared_prediction_error(bounded, precision), np.minimum(q, 4.0))
    np.testing.assert_allclose(capped, np.minimum(q, 4.0))
    np.testing.assert_array_equal(bounded[q <= 4], residual[q <= 4])


def test_a_residual_of_zero_survives_winsorising() -> None:
    bounded, capped = winsorise(np.zeros((1, 2)), np.zeros(1), 4.0)
    assert (bounded == 0).all()
    assert (capped == 0).all()


def test_a_missing_value_of_a_constant_sensor_has_not_moved() -> None:
    moved = moved_sensors(np.array([[np.nan, 2.0]]), np.array([1.0, 1.0]), np.array([0.1, 0.1]))
    np.testing.assert_array_equal(moved, [[False, True]])
