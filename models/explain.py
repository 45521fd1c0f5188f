"""What a residual says about each sensor.

Contributions: q = e^T S^-1 e / d = sum_i e_i (S^-1 e)_i / d, so the i-th term is what sensor i adds to the statistic
(complete decomposition contributions, Alcala and Qin 2009). Single terms may be negative; they sum to q exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.contract import Array

SYSTEM_CELLS_MAX = 4_000_000  # cells of all linear systems that are solved at once


def contributions(residual: Array, precision: Array) -> Array:
    """What each sensor adds to the squared prediction error: (n, d), (d, d) -> (n, d), rows sum to q.

    >>> contributions(np.array([[1.0, 2.0]]), np.array([[1.0, 0.5], [0.5, 1.0]]))
    array([[1. , 2.5]])
    """
    return residual * (residual @ precision) / residual.shape[1]


def shares(contribution: Array) -> Array:
    """Contributions (n, d) as shares of their positive part; zero where nothing contributes.

    >>> shares(np.array([[3.0, 1.0, -1.0]]))
    array([[0.75, 0.25, 0.  ]])
    """
    positive = np.maximum(contribution, 0)
    total = positive.sum(1, keepdims=True)
    return np.divide(positive, total, out=np.zeros_like(positive), where=total > 0)


def top_sensors(contribution: Array, count: int = 3) -> NDArray[np.intp]:
    """Columns of the greatest contributions, greatest first: (n, d) -> (n, min(count, d))."""
    return np.argsort(-contribution, axis=1, kind="stable")[:, :count]


def conditional_residual(residual: Array, missing: NDArray[np.bool_], precision: Array) -> Array:
    """Residuals with the missing ones estimated from the observed ones: (n, d), (n, d), (d, d) -> (n, d).

    With P = S^-1, the linear-Gaussian estimate is e_m = -P_mm^-1 P_mo e_o (equal to S_mo S_oo^-1 e_o). It makes
    e^T P e equal e_o^T S_oo^-1 e_o: the missing sensors add nothing of their own. Each row is solved on its own, those
    with as many missing sensors in one batch; rows of observed sensors alone come back unchanged.
    """
    wide = precision.astype(np.float64)
    whole = np.where(missing, 0.0, residual).astype(residual.dtype)
    holes = missing.sum(1)
    for count in np.unique(holes).tolist():
        if 0 < count < residual.shape[1]:  # with none left, nothing is known but the prediction
            every = np.flatnonzero(holes == count)
            rows = max(1, SYSTEM_CELLS_MAX // (count * count))
            for start in range(0, len(every), rows):
                _solve_missing(whole, missing, wide, every[start : start + rows], count)
    return whole


def _solve_missing(
    whole: Array, missing: NDArray[np.bool_], precision: Array, rows: NDArray[np.intp], count: int
) -> None:
    """Fill in the estimates of `rows`, each of which lacks `count` sensors."""
    place = np.nonzero(missing[rows])[1].reshape(len(rows), count)
    system = precision[place[:, :, None], place[:, None, :]]
    pull = np.matmul(whole[rows].astype(np.float64)[:, None, :], precision)[:, 0, :]
    right = -np.take_along_axis(pull, place, axis=1)
    whole[rows[:, None], place] = np.linalg.solve(system, right[:, :, None])[:, :, 0]
