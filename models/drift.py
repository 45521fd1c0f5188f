"""Is what comes in still what the model was trained on? Three answers, in memory that does not grow.

- input drift, per sensor: 1-Wasserstein distance between the training distribution and a decayed recent one, in
  training standard deviations: "this sensor's readings would have to move by 0.7 standard deviations on average". It
  grows with a shift, a spread and a changed shape alike, and 0.1 means the same at every sensor.
- score drift: Kolmogorov-Smirnov distance of recent p-values from uniform, 0 (as promised) to 1.
- memory drift: Mahalanobis distance of the decayed mean memory from the training mean, in standard deviations.

Distributions are counted in the cells between `EDGES` standardised values, so the distance is that of the counts:
W1 = sum over cells of the width of the cell times the mean of |F - F_recent| at its two edges. Cells are 0.25 wide to
5 standard deviations, then coarse to 32, where the distance ends: a sensor that is 1000 away reads 32. Recent means: a
reading's weight halves every `half_life` readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from models.contract import Array, Floats, Floats32

EDGES = np.concatenate([[-32, -16, -8], np.arange(-5, 5.01, 0.25), [8, 16, 32]]).astype(np.float32)
P_CELLS = 50
HALF_LIFE = 20_000.0  # readings
ROWS_MAX = 64  # of one update that are counted: every so manieth, so that cost per batch is bounded
RECENT_MIN = 100.0  # weight of counted readings under which nothing is said
EIGENVALUE_MIN = 1e-6  # of the memory's covariance, relative to the greatest, to count as a direction


@dataclass(frozen=True, slots=True)
class DriftReference:
    """What training looked like: `cells` (d, len(EDGES) + 1) shares of readings, `mean` (p,) of the memory, `whitening`
    (p, p) to standard deviations of the memory."""

    cells: Floats32
    mean: Floats32
    whitening: Floats32

    @classmethod
    def fit(cls, z: Array, memory: Array) -> Self:
        """From standardised readings (n, d), NaN = missing, and memories (n, p) of normal operation."""
        cells = np.stack([_counted(column[np.isfinite(column)]) for column in z.T])
        totals = cells.sum(1, keepdims=True)
        wide = memory.astype(np.float64)
        mean = wide.mean(0)
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(wide.T, bias=True)))
        strong = values > max(float(values.max()), 1e-12) * EIGENVALUE_MIN
        scale = np.where(strong, 1 / np.sqrt(np.where(strong, values, 1)), 0)
        whitening = (vectors * scale) / np.sqrt(max(int(strong.sum()), 1))
        shares = cells / np.maximum(totals, 1)
        return cls(shares.astype(np.float32), mean.astype(np.float32), whitening.astype(np.float32))

    def as_arrays(self) -> dict[str, Floats32]:
        """For the artifact."""
        return {"cells": self.cells, "mean": self.mean, "whitening": self.whitening}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> Self:
        """From the artifact; ValueError where the shapes do not fit."""
        missing = {"cells", "mean", "whitening"} - arrays.keys()
        if missing:
            raise ValueError(f"drift reference has no {', '.join(sorted(missing))}")
        cells, mean, whitening = arrays["cells"], arrays["mean"], arrays["whitening"]
        if cells.ndim != 2 or cells.shape[1] != len(EDGES) + 1 or whitening.shape != (len(mean), len(mean)):
            raise ValueError(f"drift reference has shapes {cells.shape}, {mean.shape} and {whitening.shape}")
        return cls(cells, mean, whitening)


def _counted(values: Array) -> Floats:
    return np.bincount(np.searchsorted(EDGES, values), minlength=len(EDGES) + 1).astype(np.float64)


class DriftMonitor:
    """What has come in lately, beside a reference; `half_life` in readings."""

    def __init__(self, reference: DriftReference, half_life: float = HALF_LIFE) -> None:
        self.reference, self.half_life = reference, half_life
        d, p = len(reference.cells), len(reference.mean)
        self._cells = np.zeros((d, len(EDGES) + 1))
        self._p_cells = np.zeros(P_CELLS)
        self._memory = np.zeros(p)
        self._weight = np.zeros(1)

    def copy(self) -> DriftMonitor:
        """Another one that has seen the same."""
        other = DriftMonitor(self.reference, self.half_life)
        other.load(self.state())
        return other

    def update(self, z: Floats32, p_value: Floats32, memory: Floats32) -> None:
        """Readings of one batch: `z` (n, d) standardised, NaN = missing, `p_value` (n,), NaN = no score, `memory`
        (n, p). At most `ROWS_MAX` rows, evenly spread, are counted, each for the rows that it stands for."""
        n = len(z)
        if n == 0:
            return
        stride = -(-n // ROWS_MAX)
        keep = 0.5 ** (n / self.half_life)
        z, p_value, memory = z[::stride], p_value[::stride], memory[::stride]
        each = n / len(z)
        for array in (self._cells, self._p_cells, self._memory, self._weight):
            array *= keep
        place = np.searchsorted(EDGES, z)
        place += np.arange(z.shape[1]) * self._cells.shape[1]
        flat = place[np.isfinite(z)]
        self._cells += each * np.bincount(flat, minlength=self._cells.size).reshape(self._cells.shape)
        p_value = p_value[np.isfinite(p_value)]
        cell = np.minimum((p_value * P_CELLS).astype(np.intp), P_CELLS - 1)
        self._p_cells += each * np.bincount(cell, minlength=P_CELLS)
        self._memory += each * memory.sum(0, dtype=np.float64)
        self._weight += n

    def input_drift(self) -> Floats:
        """(d,) distance per sensor in training standard deviations; NaN before there is enough, and for a sensor that
        training never saw."""
        seen = self._cells.sum(1)
        recent = np.cumsum(self._cells / np.maximum(seen, 1e-12)[:, None], axis=1)[:, :-1]
        trained = np.cumsum(self.reference.cells, axis=1, dtype=np.float64)[:, :-1]
        apart = np.abs(recent - trained)
        distance = ((apart[:, 1:] + apart[:, :-1]) / 2 * np.diff(EDGES)).sum(1)
        known = self.reference.cells.any(1)
        return np.where(known & (seen >= RECENT_MIN), distance, np.nan)

    def score_drift(self) -> float:
        """Greatest difference between the recent distribution of p-values and the uniform one; NaN before there is
        enough."""
        seen = float(self._p_cells.sum())
        if seen < RECENT_MIN:
            return float("nan")
        uniform = np.arange(1, P_CELLS + 1) / P_CELLS
        return float(np.abs(np.cumsum(self._p_cells) / seen - uniform).max())

    def memory_drift(self) -> float:
        """Distance of the mean memory from that of training, root mean square over its directions, in standard
        deviations of normal operation; NaN before there is enough."""
        weight = float(self._weight[0])
        if weight < RECENT_MIN:
            return float("nan")
        return float(np.linalg.norm((self._memory / weight - self.reference.mean) @ self.reference.whitening))

    def state(self) -> dict[str, Floats]:
        """For a snapshot: arrays of constant size."""
        return {
            "cells": self._cells.copy(),
            "p_cells": self._p_cells.copy(),
            "memory": self._memory.copy(),
            "weight": self._weight.copy(),
        }

    def load(self, state: dict[str, Floats]) -> None:
        """Go on from a snapshot; ValueError where it is of another model."""
        own = self.state()
        for name, array in own.items():
            if name not in state or (state[name].dtype, state[name].shape) != (array.dtype, array.shape):
                raise ValueError(f"drift state {name!r} does not fit this model")
        self._cells, self._p_cells = state["cells"].copy(), state["p_cells"].copy()
        self._memory, self._weight = state["memory"].copy(), state["weight"].copy()
