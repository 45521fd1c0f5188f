"""Fixed tanh features: what a functional part beyond the identity is made of, without gradients.

    h_t = [z_t, tanh(W z_t + b)]

Half of the features look along the leading directions of normal operation, bent at offsets on either side of the mean;
the other half along random ones. Each W z has unit variance in normal operation. Directions are drawn in the basis of
the principal components, their signs given by skewness, so that the order of the sensors does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from models.contract import Floats

BENDS = (-1.2, 1.2, -0.4, 0.4)  # standard deviations from the mean, along leading directions
RANDOM_BEND_MAX = 1.5
VARIANCE_MIN = 1e-6  # of a direction, in that of the leading one
FEATURES_MAX = 256


@dataclass(frozen=True, slots=True)
class Features:
    """`weights` W (k, d) and `offsets` b (k,)."""

    weights: Floats
    offsets: Floats

    @classmethod
    def fit(cls, runs: list[Floats], count: int, seed: int) -> Self:
        """`count` features of runs (n, d) of standardised rows without missing cells.

        >>> z = np.random.default_rng(0).normal(size=(500, 3)) @ np.diag([1.0, 2.0, 3.0])
        >>> features = Features.fit([z], 8, seed=0)
        >>> (z @ features.weights.T).std(0).round(1).tolist(), features.lift(z).shape
        ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], (500, 11))
        """
        rows = sum(map(len, runs))
        moments: Floats = np.sum([z.T @ z for z in runs], axis=0) / rows
        values, vectors = np.linalg.eigh(moments)
        values, vectors = np.maximum(values[::-1], VARIANCE_MIN * values[-1]), vectors[:, ::-1]
        vectors = vectors * np.where(np.sum([((z @ vectors) ** 3).sum(0) for z in runs], axis=0) < 0, -1.0, 1.0)
        along = count // 2
        leading = max(1, min(len(values), along // 2))
        rng, places = np.random.default_rng([seed, count]), np.arange(along)
        straight = np.eye(len(values))[places % leading]
        directions = np.vstack([straight, rng.normal(size=(count - along, len(values)))])
        bends = np.array(BENDS)[places // leading % len(BENDS)]
        offsets = np.concatenate([bends, rng.uniform(-RANDOM_BEND_MAX, RANDOM_BEND_MAX, count - along)])
        directions /= np.sqrt((directions**2) @ values)[:, None]
        return cls(directions @ vectors.T, offsets)

    def lift(self, z: Floats) -> Floats:
        """The functional units (n, d + k) of rows (n, d)."""
        return np.hstack([z, np.tanh(z @ self.weights.T + self.offsets)])

    def functional_part(self) -> dict[str, Floats]:
        """W_xh, b_h and tanh of the network, whose first d units are the readings themselves."""
        k, d = self.weights.shape
        return {
            "W_xh": np.vstack([np.eye(d), self.weights]),
            "b_h": np.concatenate([np.zeros(d), self.offsets]),
            "tanh": np.arange(d + k) >= d,
        }
