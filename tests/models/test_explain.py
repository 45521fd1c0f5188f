import numpy as np
import pytest

from models import explain
from tests import naive


def spread(seed: int, sensors: int) -> np.ndarray:
    square = np.random.default_rng(seed).normal(size=(sensors, sensors + 3))
    return square @ square.T


def test_missing_residuals_equal_the_textbook_estimate_of_each_row() -> None:
    rng = np.random.default_rng(0)
    covariance = spread(1, 6)
    residual, missing = rng.normal(size=(50, 6)), rng.random((50, 6)) < 0.4
    missing[0], missing[1] = True, False
    whole = explain.conditional_residual(np.where(missing, 0, residual), missing, np.linalg.inv(covariance))
    for row, hidden, found in zip(residual, missing, whole, strict=True):
        np.testing.assert_allclose(found, naive.conditional(row, hidden, covariance), atol=1e-8)


def test_estimated_residuals_add_nothing_of_their_own() -> None:
    covariance = spread(2, 5)
    precision = np.linalg.inv(covariance)
    residual = np.random.default_rng(3).normal(size=(1, 5))
    missing = np.array([[False, True, False, True, False]])
    whole = explain.conditional_residual(residual, missing, precision)[0]
    seen = ~missing[0]
    alone = residual[0, seen] @ np.linalg.solve(covariance[np.ix_(seen, seen)], residual[0, seen])
    assert whole @ precision @ whole == pytest.approx(alone)


def test_many_systems_are_solved_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    residual, missing, precision = rng.normal(size=(40, 5)), rng.random((40, 5)) < 0.5, np.linalg.inv(spread(5, 5))
    whole = explain.conditional_residual(residual, missing, precision)
    monkeypatch.setattr(explain, "SYSTEM_CELLS_MAX", 60)
    np.testing.assert_array_equal(explain.conditional_residual(residual, missing, precision), whole)


def test_contributions_sum_to_the_statistic() -> None:
    residual, precision = np.random.default_rng(6).normal(size=(20, 5)), np.linalg.inv(spread(7, 5))
    parts = explain.contributions(residual, precision)
    np.testing.assert_allclose(parts.sum(1), np.einsum("ij,jk,ik->i", residual, precision, residual) / 5)


def test_top_sensors_come_greatest_first_and_shares_sum_to_one() -> None:
    parts = np.array([[0.5, 3.0, -1.0, 1.5], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(explain.top_sensors(parts)[0], [1, 3, 0])
    np.testing.assert_allclose(explain.shares(parts).sum(1), [1.0, 0.0])
