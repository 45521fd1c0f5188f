"""Principal component analysis of single readings, judged by T2 and SPE as one index.

    phi(z) = T2(z) / limit of T2 + SPE(z) / limit of SPE = z^T Phi z

With P the k leading eigenvectors of the covariance of the readings and L their eigenvalues, T2 = z^T P L^-1 P^T z and
SPE = |z - P P^T z|^2. The index is a quadratic form of the reading as q is one of the residual, so this network expects
the mean, and Phi takes the place of the inverse covariance.

Sources: Yue and Qin 2001 (the combined index); Jackson and Mudholkar 1979, Box 1954 (limits of T2 and SPE).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.stats import chi2

from models.baselines.windows import Windows, only
from models.contract import Array, Bools, Floats, Floats32, ModelError
from models.fit import Shape

VARIANCE = 0.9  # share of the variance that the components hold
LEVEL = 0.99  # of the limits
FLOOR = 1e-9  # of eigenvalues, relative to the greatest


@dataclass(frozen=True)
class PrincipalComponents(Windows):
    """Expects the mean; its memory is the last reading."""

    KIND: ClassVar[str] = "pca"

    def read_out(self, memory: Array) -> Array:
        """The mean: (n, d) zeros."""
        return np.zeros((len(memory), self.sensors), np.float32)

    def compared(self, memory: Array, expected: Array) -> Array:
        return expected

    def weights(self) -> dict[str, Floats32]:
        """None: all of it is in the precision."""
        return {}

    @classmethod
    def of_weights(cls, weights: dict[str, Any], sensors: int, memory_size: int) -> Self:
        only(weights, ())
        return cls(sensors, memory_size // sensors)

    def check(self) -> None:
        if self.ticks != 1:
            raise ModelError(f"a memory of {self.memory_size} values; expected {self.sensors}, one reading")


def fit(runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int) -> PrincipalComponents:
    """The components come of the covariance that calibration takes, `index_covariance`."""
    return PrincipalComponents(runs[0].shape[1], 1)


def components(values: Floats) -> int:
    """How many of the eigenvalues (d,), descending, hold `VARIANCE` of their sum; at least one, at most all but one.

    >>> components(np.array([6.0, 3.0, 0.8, 0.2]))
    2
    """
    reached = int(np.searchsorted(np.cumsum(values) / values.sum(), VARIANCE - 1e-9)) + 1
    return max(1, min(reached, len(values) - 1))


def index_covariance(products: Floats, rows: Floats) -> Floats:
    """Phi^-1 (d, d) from the second moments of readings, as `shrunk_covariance` takes them; scaled so that the index
    is 1 on average, as q is. With one sensor there is no rest, and it is the variance."""
    covariance = products / np.maximum(rows, 1)
    d = len(covariance)
    if d == 1:
        return covariance
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = np.maximum(values[::-1], values[-1] * FLOOR), vectors[:, ::-1]
    kept = components(values)
    rest = values[kept:]
    spe = (rest**2).sum() / rest.sum() * chi2.ppf(LEVEL, rest.sum() ** 2 / (rest**2).sum())
    index = np.concatenate([1 / (values[:kept] * chi2.ppf(LEVEL, kept)), np.full(d - kept, 1 / spe)])
    index *= d / (index * values).sum()
    return (vectors / index) @ vectors.T
