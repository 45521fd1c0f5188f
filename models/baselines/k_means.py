"""Nearest cluster: windows of L readings grouped by k-means; the residual is the newest reading less that of the
centre that is nearest to the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.cluster.vq import kmeans2

from models.baselines.windows import Windows, only, single, ticks_of, whole_windows
from models.contract import Array, Bools, Floats, Floats32, ModelError
from models.fit import Shape
from models.lmn import product_by_row

CLUSTERS = 32
ROWS_MAX = 20_000  # windows, spread over the recording, that the centres are made of


@dataclass(frozen=True)
class NearestCluster(Windows):
    """`clusters` (k, L d): the centres."""

    clusters: Floats32
    KIND: ClassVar[str] = "k-means"

    def compared(self, memory: Array, expected: Array) -> Array:
        """The newest reading of the centre at the least distance from each window."""
        nearness = product_by_row(memory, self.clusters.T) - (self.clusters**2).sum(1) / 2
        return self.clusters[nearness.argmax(1), : self.sensors]

    def weights(self) -> dict[str, Floats32]:
        return {"clusters": self.clusters}

    @classmethod
    def of_weights(cls, weights: dict[str, Any], sensors: int, memory_size: int) -> Self:
        only(weights, ("clusters",))
        return cls(sensors, ticks_of(sensors, memory_size), weights["clusters"])

    def check(self) -> None:
        if self.clusters.ndim != 2 or len(self.clusters) < 1 or self.clusters.shape[1] != self.memory_size:
            shape = self.clusters.shape
            raise ModelError(f"tensor 'clusters' has shape {shape}; expected one or more by {self.memory_size}")


def fit(runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int) -> NearestCluster:
    """Centres of at most `ROWS_MAX` windows of `shape.window` readings, started by k-means++."""
    windows = whole_windows(runs, seen, shape.window)
    windows = windows[:: max(1, -(-len(windows) // ROWS_MAX))]
    count = max(1, min(CLUSTERS, len(windows) // 10))
    centres, nearest = kmeans2(windows, count, minit="++", rng=np.random.default_rng(seed))
    used = np.bincount(nearest, minlength=count) > 0
    return NearestCluster(runs[0].shape[1], shape.window, single(centres[used]))
