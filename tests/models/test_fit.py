import numpy as np
import pytest

from models import fit
from models.fit import Core, ReadoutMoments, Shape, fit_core, second_moments, shrunk_covariance
from models.laes import Block, LagStatistics
from tests import naive


def series(seed: int, rows: int = 300, sensors: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z = np.zeros((rows, sensors))
    mixing = np.linalg.qr(rng.normal(size=(sensors, sensors)))[0] * 0.8
    for t in range(1, rows):
        z[t] = mixing @ z[t - 1] + rng.normal(size=sensors)
    return z - z.mean(0)


def fitted(runs: list[np.ndarray], shape: Shape, seen: list[np.ndarray] | None = None) -> Core:
    sums = LagStatistics.empty(runs[0].shape[1], shape.window)
    for z in runs:
        sums = sums + Block.of(z, shape.window).closed()
    return fit_core(runs, sums, shape, seen)


def test_readout_equals_ridge_by_least_squares_with_the_best_penalty_of_each_sensor() -> None:
    rng = np.random.default_rng(0)
    memories, target = rng.normal(size=(80, 5)), rng.normal(size=(80, 2))
    target[:, 0] += memories[:, 1] * 3
    moments = ReadoutMoments.empty(5, 2)
    moments.add(memories[:30], target[:30], None)
    moments.add(memories[30:], target[30:], None)
    design = np.hstack([memories, np.ones((80, 1))])
    solved = moments.solve()
    for sensor in range(2):
        scores = [naive.generalised_cross_validation(design, target[:, sensor], p) for p in fit.PENALTIES]
        best = fit.PENALTIES[int(np.argmin(scores))]
        np.testing.assert_allclose(solved[:, sensor], naive.ridge(design, target[:, sensor], best), atol=1e-8)


def test_a_missing_target_is_left_out_of_its_sensor_alone() -> None:
    rng = np.random.default_rng(1)
    memories, target = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    missing = np.zeros((60, 2), bool)
    missing[::3, 1] = True
    moments = ReadoutMoments.empty(3, 2)
    moments.add(memories, np.where(missing, 99.0, target), missing)
    whole, part = ReadoutMoments.empty(3, 2), ReadoutMoments.empty(3, 2)
    whole.add(memories, target, None)
    part.add(memories[~missing[:, 1]], target[~missing[:, 1]], None)
    np.testing.assert_allclose(moments.solve()[:, 0], whole.solve()[:, 0], atol=1e-9)
    np.testing.assert_allclose(moments.solve()[:, 1], part.solve()[:, 1], atol=1e-9)


def test_residuals_are_what_the_prediction_before_each_tick_misses() -> None:
    z = series(2)
    core = fitted([z], Shape(6, 3, 0.9))
    memories = naive.memories(core.memory.A_, core.memory.B_, z)
    before = np.vstack([np.zeros(6), memories[:-1]])
    expected = z - (before @ core.readout[:-1] + core.readout[-1])
    np.testing.assert_allclose(core.residuals(z), expected, atol=1e-9)


def test_residuals_and_fit_do_not_depend_on_how_rows_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    z, shape = series(3), Shape(6, 4, 1.0)
    whole = fitted([z], shape)
    monkeypatch.setattr(fit, "CHUNK", 37)
    chunked = fitted([z], shape)
    np.testing.assert_allclose(chunked.readout, whole.readout, atol=1e-9)
    np.testing.assert_allclose(chunked.residuals(z), whole.residuals(z), atol=1e-9)


def test_the_model_predicts_a_linear_process_nearly_as_well_as_its_noise_allows() -> None:
    core = fitted([series(4, 2000)], Shape(9, 4))
    error = (core.residuals(series(4, 2000))[10:] ** 2).mean()
    assert 0.95 < error < 1.1


def test_no_product_crosses_the_border_of_two_runs() -> None:
    shape = Shape(4, 3)
    apart = fitted([series(5), 50 + series(6)], shape)
    swapped = fitted([50 + series(6), series(5)], shape)
    np.testing.assert_allclose(np.abs(apart.memory.A_), np.abs(swapped.memory.A_), atol=1e-7)


def test_covariance_shrinks_towards_a_multiple_of_the_identity_and_inverts() -> None:
    rng = np.random.default_rng(7)
    few = rng.normal(size=(5, 12))
    covariance = shrunk_covariance(*second_moments(few))
    assert np.linalg.eigvalsh(covariance).min() > 0
    many = rng.normal(size=(50_000, 3)) @ np.diag([1.0, 2.0, 3.0])
    np.testing.assert_allclose(shrunk_covariance(*second_moments(many)), np.diag([1.0, 4.0, 9.0]), atol=0.15)


def test_moments_count_only_pairs_of_sensors_that_were_both_seen() -> None:
    residual = np.array([[1.0, 2.0], [np.nan, 3.0], [2.0, np.nan]])
    products, rows = second_moments(residual)
    np.testing.assert_array_equal(products, [[5.0, 2.0], [2.0, 13.0]])
    np.testing.assert_array_equal(rows, [[2.0, 1.0], [1.0, 2.0]])


def test_moments_of_a_read_out_add_and_subtract() -> None:
    rng = np.random.default_rng(11)
    parts = [ReadoutMoments.empty(4, 2) for _ in range(3)]
    rows = [(rng.normal(size=(40, 4)), rng.normal(size=(40, 2)), rng.random((40, 2)) < 0.1) for _ in range(2)]
    for moments, used in zip(parts, (rows[:1], rows[1:], rows), strict=True):
        for memories, target, missing in used:
            moments.add(memories, target, missing)
    np.testing.assert_allclose((parts[0] + parts[1]).solve(), parts[2].solve(), atol=1e-9)
    np.testing.assert_allclose((parts[2] - parts[1]).solve(), parts[0].solve(), atol=1e-9)
