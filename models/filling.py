"""Missing cells of training: what model and other sensors expect there, as serving would put in the memory."""

from __future__ import annotations

import numpy as np

from models.contract import Bools, Floats
from models.explain import conditional_residual
from models.fit import Shape, fit_core, second_moments, shrunk_covariance, summed
from models.laes import lag_statistics

FILL_ROUNDS = 2


def fill_missing(runs: list[Floats], shape: Shape) -> tuple[list[Floats], list[Bools] | None]:
    """Missing cells replaced by what model and other sensors expect there; with the cells that were measured (None:
    all of them).

    The model is fitted with zeros first (the mean), then with its own estimates, `FILL_ROUNDS` times: the estimate of
    a missing cell is its prediction plus the part of the other sensors' residuals that it shares.
    """
    seen = [np.isfinite(z) for z in runs]
    if all(s.all() for s in seen):
        return runs, None
    filled = [np.nan_to_num(z, nan=0.0) for z in runs]
    for _ in range(FILL_ROUNDS):
        core = fit_core(filled, lag_statistics(filled, shape.window), shape, seen)
        residuals = [core.residuals(z) for z in filled]
        moments = [second_moments(np.where(s, e, np.nan)) for e, s in zip(residuals, seen, strict=True)]
        precision = np.linalg.inv(shrunk_covariance(*summed(moments)))
        for z, e, s in zip(filled, residuals, seen, strict=True):
            rows = np.flatnonzero(~s.all(1))
            estimate = conditional_residual(np.where(s[rows], e[rows], 0.0), ~s[rows], precision)
            z[rows] = np.where(s[rows], z[rows], z[rows] - e[rows] + estimate)
    return filled, seen
