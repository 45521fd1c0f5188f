"""Holes in readings: masked up to a limit, a new start beyond it, and the promise kept in between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.backfill import score_series
from models.contract import Bools, Floats, Ints
from models.detector import BLOCK, Detector
from models.gaps import on_grid, skipped_ticks
from tests.builders import process, random_detector, trained

SECOND = 1_000_000


def holes(rng: np.random.Generator, rows: int, longest: int) -> Bools:
    """Which of some rows came: one in thirty begins a hole."""
    keep, row = np.ones(rows, np.bool_), 40
    while row < rows:
        if rng.random() < 1 / 30:
            length = int(rng.integers(1, longest + 1))
            keep[row : row + length] = False
            row += length
        row += 1
    return keep


@settings(deadline=None, max_examples=30, derandomize=True)
@given(steps=st.lists(st.integers(1, 5), min_size=1, max_size=30), jitter=st.integers(0, 400_000))
def test_every_reading_lands_on_its_tick(steps: list[int], jitter: int) -> None:
    ticks = np.cumsum([0, *steps])
    x = np.random.default_rng(len(steps)).normal(size=(len(ticks), 2))
    late = np.zeros(len(ticks), np.int64)
    late[::2] = jitter
    grid = on_grid(ticks * SECOND + late, x, SECOND)
    assert len(grid) == ticks[-1] + 1
    np.testing.assert_array_equal(grid[ticks], x)
    assert np.isnan(np.delete(grid, ticks, axis=0)).all()


def test_a_hole_beyond_the_limit_is_none_of_skipped_ticks() -> None:
    assert skipped_ticks(np.array([11 * SECOND]), np.array([0]), SECOND, 10 * SECOND).tolist() == [0]
    assert skipped_ticks(np.array([10 * SECOND]), np.array([0]), SECOND, 10 * SECOND).tolist() == [9]


@pytest.mark.parametrize("missed", [1, 2, 5])
def test_the_memory_goes_through_missed_ticks_as_through_ticks_without_a_value(missed: int) -> None:
    """Bit for bit."""
    for detector in (trained().detector, random_detector(3)):
        x = detector.mean + detector.scale * np.random.default_rng(missed).normal(size=(12, len(detector.sensors)))
        empty = np.full((missed, x.shape[1]), np.nan)
        whole = detector.advance(detector.init_state(1), np.vstack([x[:8], empty, x[8:]]), [1] * (12 + missed))[1]
        skipped = np.where(np.arange(12) == 8, missed, 0)
        found = detector.advance(detector.init_state(1), x, [1] * 12, skipped=skipped)[1]
        keep = np.r_[np.arange(8), np.arange(8 + missed, 12 + missed)]
        np.testing.assert_array_equal(found.memory, whole.memory[keep])


def squared(residual: Floats, precision: Floats) -> Floats:
    return np.einsum("ij,jk,ik->i", residual, precision, residual) / residual.shape[1]


@pytest.mark.parametrize("missed", [1, 3, 8])
def test_the_first_reading_after_a_hole_is_judged_by_what_can_be_known_so_far_ahead(missed: int) -> None:
    detector = trained(rows=6000).detector
    x = process(21, 9000)
    kept: Ints = np.flatnonzero(np.arange(len(x)) % 30 >= missed)
    skipped = np.diff(kept, prepend=kept[0] - 1) - 1
    ticks = detector.advance(detector.init_state(1), x[kept], [1] * len(kept), skipped=skipped)[1]
    q = squared(ticks.residual, detector.scoring.precision.astype(np.float64))
    after, others = q[skipped > 0][5:], q[skipped == 0][60:]
    assert 0.8 < after.mean() / others.mean() < 1.3


@pytest.mark.parametrize("missed", [1, 4, 9])
def test_a_reading_after_a_hole_that_lacks_sensors_is_judged_by_those_that_came(missed: int) -> None:
    """q is e_o^T P_oo^-1 e_o, with P the covariance of a prediction so far ahead."""
    detector = random_detector(4, sensors=5)
    x = detector.mean + detector.scale * np.random.default_rng(missed).normal(size=(9, 5))
    x[8, [1, 3]] = np.nan
    whole = np.vstack([x[:8], np.full((missed, 5), np.nan)])
    expected = detector.advance(detector.init_state(1), whole, [1] * len(whole))[0].prediction[0]
    skipped = np.where(np.arange(9) == 8, missed, 0)
    found = detector.advance(detector.init_state(1), x, [1] * 9, skipped=skipped)[1]
    error = (detector.standardise(x[8:])[0] - expected).astype(np.float64)
    precision, seen = detector.scoring.precision.astype(np.float64), ~np.isnan(x[8])
    P = ahead(detector, np.linalg.inv(precision), missed)
    q = error[seen] @ np.linalg.solve(P[np.ix_(seen, seen)], error[seen]) / 5
    assert squared(found.residual[8:], precision)[0] == pytest.approx(q, rel=1e-4)


def ahead(detector: Detector, S: Floats, ticks: int) -> Floats:
    """Covariance of the error of a prediction over ticks that did not come, noise after noise."""
    network = detector.network
    W, A, keep = (matrix.astype(np.float64) for matrix in (network.W_mo, network.W_hm, network.W_mm))
    P = S.copy()
    for back in range(ticks):
        effect = A
        for _ in range(back):
            effect = keep @ effect + A @ (W @ effect)
        P += (W @ effect) @ S @ (W @ effect).T
    return P


def test_the_promise_is_kept_where_one_row_in_seven_does_not_come() -> None:
    detector = trained(rows=6000).detector
    x, kept = process(22, 9000), holes(np.random.default_rng(5), 9000, 3)
    when = np.flatnonzero(kept) * SECOND
    score = score_series(detector, "machine", when, x[kept]).score
    assert np.nanmean(score[np.isfinite(score)] >= 1) <= 0.01


def test_the_factors_of_many_sensors_are_those_of_the_definition() -> None:
    """(chol(S) chol(P_k)^-1)^T, for more sensors than are solved at once."""
    detector = random_detector(1, sensors=2 * BLOCK + 9)
    S = np.linalg.inv(detector.scoring.precision.astype(np.float64))
    near = np.linalg.cholesky(S)
    for ticks, factor in enumerate(detector._narrowing, start=1):
        far = np.linalg.cholesky(ahead(detector, S, ticks))
        np.testing.assert_allclose(factor, (near @ np.linalg.inv(far)).T, atol=1e-5)
    assert len(detector._narrowing) == 10
