"""From residuals to one score.

With e (d,) the residual of one tick, S its covariance on held-out normal data and d the number of sensors:

    q       = e^T S^-1 e / d                                squared prediction error
    w       = e sqrt(min(q, cap) / q),  c = min(q, cap)     winsorised: one spike must not hold the smoothed ones open
    c8, c30 = EWMA of c over 8 and 30 ticks
    v       = EWMA of w over 8 ticks;  mewma = 15 v^T S^-1 v / d     small persistent biases (MEWMA, lambda = 1/8)

Each is divided by its own held-out quantile; the greatest of the four, divided by *its* held-out quantile, is the
score: 1.0 is the threshold of the promised budget. Beside them stands `moved`: sensors that never moved in training.

References: Lowry et al. 1992 (MEWMA); Qin 2003 (squared prediction error). Winsorising and the combination: design
measurements on the Tennessee Eastman and SKAB recordings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.contract import Array, ModelError

STATISTICS = ("squared_prediction_error", "smoothed_8", "smoothed_30", "mewma")
MOVED = "constant_sensor_moved"

SPANS = (8, 30)  # ticks that the smoothed squared prediction errors look back
VECTOR_SPAN = 8  # ticks that the smoothed residual vector looks back
VECTOR_GAIN = 2 * VECTOR_SPAN - 1  # (2 - lambda) / lambda: variance that the EWMA of a vector takes away
NORMAL_LEVEL = 1.0  # mean of q in normal operation, by its definition: where the smoothed q start
MOVED_SPAN = 30  # ticks over which a moved constant sensor is remembered
MOVED_WEIGHT = 100.0  # score of one constant sensor moved for good: it outweighs every other statistic
LIFTS_MAX = 24  # doublings of what is added to the diagonal of a precision against rounding
WINSOR = 2.0  # cap of what enters the smoothed statistics, in thresholds of q


def dot_by_row(left: Array, right: Array) -> Array:
    """Sum over sensors of the products, each row on its own: (n, d), (n, d) -> (n,)."""
    return np.matmul(left[:, None, :], right[:, :, None])[:, 0, 0]


def squared_prediction_error(residual: Array, precision: Array) -> Array:
    """q of many ticks at once (fitting; rows may share products): (n, d), (d, d) -> (n,).

    >>> squared_prediction_error(np.array([[1.0, 2.0]]), np.eye(2))
    array([2.5])
    """
    return np.maximum(((residual @ precision) * residual).sum(1) / residual.shape[1], 0.0)


def full_set_equivalent(q: Array, seen: Array, sensors: int) -> Array:
    """q of ticks where only `seen` (n,) of d sensors were measured, on the scale of all d: (n,) -> (n,).

    q d is about chi-square with as many degrees of freedom as sensors were measured; it is mapped to the same quantile
    with d (Wilson and Hilferty 1931: the cube root of chi-square / freedom is normal with variance 2 / (9 freedom)).
    Dividing by the number measured alone would turn 1 % false alarms into 4 % at half the sensors.

    >>> full_set_equivalent(np.array([0.5, 1.0]), np.array([5.0, 10.0]), 10).round(3)
    array([1.028, 1.   ])
    """
    spread = 2 / (9 * np.maximum(seen, 1))
    normal = (np.cbrt(q * (sensors / np.maximum(seen, 1))) - (1 - spread)) / np.sqrt(spread)
    full = 2 / (9 * sensors)
    return np.maximum(1 - full + normal * np.sqrt(full), 0) ** 3


def winsorise(residual: Array, q: Array, cap: float | np.floating[Any]) -> tuple[Array, Array]:
    """Residuals (n, d) and their q (n,) scaled back to `cap` where they are over it."""
    capped = np.minimum(q, cap)
    shrink = np.sqrt(capped / np.maximum(q, np.asarray(1e-12, q.dtype)))
    return residual * shrink[:, None], capped


def moved_sensors(x: Array, constant: Array, resolution: Array) -> Array:
    """Which sensors that were constant in training stand elsewhere now: `x` (n, c) in physical units, their value
    (c,) and half-step (c,) in training -> (n, c) bool. A missing value has not moved.

    >>> moved_sensors(np.array([[1.0, 5.2], [1.0, np.nan]]), np.array([1.0, 5.0]), np.array([0.1, 0.1]))
    array([[False,  True],
           [False, False]])
    """
    with np.errstate(invalid="ignore"):
        return np.abs(x - constant) > resolution


def positive_definite(precision: Array) -> bool:
    """Whether q of every residual but zero is more than zero: (d, d) symmetric -> its Cholesky factor exists.

    >>> positive_definite(np.eye(2)), positive_definite(-np.eye(2)), positive_definite(np.ones((2, 2)))
    (True, False, False)
    """
    try:
        np.linalg.cholesky(precision.astype(np.float64))
    except np.linalg.LinAlgError:
        return False
    return True


def single_precision(covariance: Array) -> Array:
    """Inverse of a covariance (d, d) in float32, still positive definite: where rounding took that away, the diagonal
    is raised by as much as rounding can be.

    >>> positive_definite(single_precision(np.array([[1.0, 1 - 1e-9], [1 - 1e-9, 1.0]])))
    True
    """
    precision = np.linalg.inv(covariance)
    precision = (precision + precision.T) / 2
    lift = float(np.finfo(np.float32).eps) * float(np.abs(precision).max())
    rounded = precision.astype(np.float32)
    for _ in range(LIFTS_MAX):
        if positive_definite(rounded):
            return rounded
        rounded = (precision + lift * np.eye(len(precision))).astype(np.float32)
        lift *= 2
    raise ModelError("the residuals have no covariance that can be inverted; leave out sensors that repeat others")
