"""Closed-form training of a Linear Memory Network: statistics -> memory -> read-outs.

The memory is a LAES of the standardised readings; the read-out W_mo predicts the next reading from the memory by ridge
regression, one penalty per sensor, chosen by generalised cross-validation (Golub, Heath, Wahba 1979). Both need sums
over rows only, so cost grows linearly with rows and memory not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from models.contract import Bools, Floats
from models.features import Features
from models.laes import LagStatistics, LinearAutoencoder

PENALTIES = np.logspace(-3, 4, 15)
CHUNK = 65_536  # rows whose memories are held at once


@dataclass(frozen=True, slots=True)
class Shape:
    """What the engineer may choose: memory size p, window L, discount g."""

    memory_size: int = 52
    window: int = 10
    discount: float = 0.95


@dataclass(frozen=True, slots=True)
class Core:
    """A fitted memory with its read-out (float64): z_{t+1} is predicted by m_t W + b."""

    memory: LinearAutoencoder  # of readings, or of readings and features
    readout: Floats  # (p + 1, d), the intercept last
    features: Features | None = None

    def encode(self, z: Floats, entering: Floats | None = None) -> Floats:
        """Memories (n, p) of a run (n, d) without missing values, from the one before it (default empty)."""
        return self.memory.encode(z if self.features is None else self.features.lift(z), entering)

    def step(self, memory: Floats, z: Floats) -> Floats:
        """The next memories (n, p) from those before them and the readings (n, d)."""
        return self.memory.step(memory, z if self.features is None else self.features.lift(z))

    def residuals(self, z: Floats) -> Floats:
        """e_t = z_t - y_{t-1} of one run from an empty memory: (n, d) -> (n, d); missing values enter as zero here,
        their residual is NaN."""
        residual = np.empty_like(z)
        entering = np.zeros(len(self.memory.B_))
        filled = np.nan_to_num(z)
        for rows in chunks(len(z)):
            memories = self.encode(filled[rows], entering)
            before = np.vstack([entering, memories[:-1]])
            residual[rows] = z[rows] - (before @ self.readout[:-1] + self.readout[-1])
            entering = memories[-1]
        return residual

    def closed_loop(self) -> Floats:
        """(p + 1, p + 1): over a tick that takes its own prediction for granted, (m, 1) becomes (m, 1) times this;
        without features."""
        p = len(self.memory.B_)
        loop = np.zeros((p + 1, p + 1))
        loop[:, :-1] = self.readout @ self.memory.A_.T
        loop[:-1, :-1] += self.memory.B_.T
        loop[-1, -1] = 1
        return loop


def chunks(rows: int) -> Iterator[slice]:
    """Slices that cover `rows` in order."""
    for start in range(0, rows, CHUNK):
        yield slice(start, min(start + CHUNK, rows))


@dataclass(slots=True)
class ReadoutMoments:
    """Joint moments of (m_t, 1) and z_{t+1}, from which the read-out is fitted; they add and subtract.

    `products` (p+1, p+1), `targets` (p+1, d), `squares`, `rows` (d,). A tick whose target is missing at one sensor is
    left out of that sensor alone: `holes` (d, p+1, p+1) are the products to take away for it.
    """

    products: Floats
    targets: Floats
    squares: Floats
    rows: Floats
    holes: Floats

    def __add__(self, other: ReadoutMoments) -> ReadoutMoments:
        return ReadoutMoments(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: ReadoutMoments) -> ReadoutMoments:
        return ReadoutMoments(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    @classmethod
    def empty(cls, memory_size: int, sensors: int) -> Self:
        p = memory_size + 1
        return cls(
            np.zeros((p, p)), np.zeros((p, sensors)), np.zeros(sensors), np.zeros(sensors), np.zeros((sensors, p, p))
        )

    def add(self, memories: Floats, target: Floats, missing: Bools | None) -> None:
        """Ticks (n, p) with what came next (n, d); `missing` (n, d) bool marks targets that were not seen."""
        design = np.concatenate([memories, np.ones((len(memories), 1))], 1)
        self.products += design.T @ design
        if missing is not None and missing.any():
            target = np.where(missing, 0.0, target)
            for sensor in np.flatnonzero(missing.any(0)):
                left_out = design[missing[:, sensor].astype(bool)]
                self.holes[sensor] += left_out.T @ left_out
            self.rows -= missing.sum(0)
        self.targets += design.T @ target
        self.squares += (target**2).sum(0)
        self.rows += len(target)

    def solve(self) -> Floats:
        """Ridge read-out (p+1, d), the penalty of each sensor by generalised cross-validation."""
        readout = np.empty_like(self.targets)
        whole: Bools = np.logical_not(np.any(self.holes, axis=(1, 2)))
        if whole.any():
            readout[:, whole] = self._ridge(self.products, whole)
        for sensor in np.flatnonzero(~whole):
            column = np.arange(len(whole)) == sensor
            readout[:, column] = self._ridge(self.products - self.holes[sensor], column)
        return readout

    def error(self, readout: Floats) -> float:
        """Mean squared error of a read-out (p+1, d) on these ticks, where no target is missing."""
        unexplained = self.squares + (readout * (self.products @ readout - 2 * self.targets)).sum(0)
        return float(unexplained.sum() / self.rows.sum())

    def _ridge(self, products: Floats, columns: Bools) -> Floats:
        """Ridge of some sensors with the same products: minimises RSS / (1 - effective parameters / n)^2."""
        values, vectors = np.linalg.eigh(products)
        values = np.maximum(values, 0.0)
        rotated = vectors.T @ self.targets[:, columns]
        rows, squares = np.maximum(self.rows[columns], 1), self.squares[columns]
        best, weights = np.full(len(squares), np.inf), np.zeros_like(rotated)
        for penalty in PENALTIES:
            solved = rotated / (values + penalty)[:, None]
            rss = squares - 2 * (solved * rotated).sum(0) + (values[:, None] * solved**2).sum(0)
            freedom = np.maximum(1 - (values / (values + penalty)).sum() / rows, 1e-9)
            criterion = np.maximum(rss, 0) / rows / freedom**2
            better = criterion < best
            best[better], weights[:, better] = criterion[better], solved[:, better]
        return vectors @ weights


def fit_core(
    runs: list[Floats],
    statistics: LagStatistics,
    shape: Shape,
    seen: list[Bools] | None = None,
    features: Features | None = None,
) -> Core:
    """Memory and read-out of separate runs (n, d) whose lag statistics, with their `features`, are `statistics`. `seen`
    (n, d) bool marks the cells of each run that were measured: estimated ones feed the memory, and are no targets."""
    memory = LinearAutoencoder(shape.memory_size, shape.window, shape.discount).fit_statistics(statistics)
    core = Core(memory, np.empty((0, 0)), features)
    moments = ReadoutMoments.empty(len(memory.B_), runs[0].shape[1])
    for index, z in enumerate(runs):
        entering = np.zeros(len(memory.B_))
        for rows in chunks(len(z)):
            memories = core.encode(z[rows], entering)
            entering = memories[-1]
            first = max(shape.window - 1 - rows.start, 0)
            until = min(rows.stop, len(z) - 1) - rows.start
            if until <= first:
                continue
            targets = slice(rows.start + first + 1, rows.start + until + 1)
            missing = None if seen is None else ~seen[index][targets]
            moments.add(memories[first:until], z[targets], missing)
    return replace(core, readout=moments.solve())


def second_moments(residual: Floats) -> tuple[Floats, Floats]:
    """Sum of products (d, d) and how many rows each came from (d, d), over pairs of sensors that were both seen."""
    seen = np.isfinite(residual)
    if seen.all():
        return residual.T @ residual, np.full((residual.shape[1],) * 2, float(len(residual)))
    filled, weight = np.nan_to_num(residual), seen.astype(np.float64)
    return filled.T @ filled, weight.T @ weight


def summed(moments: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Second moments of several stretches -> those of all."""
    return np.sum([products for products, _ in moments], axis=0), np.sum([rows for _, rows in moments], axis=0)


def shrunk_covariance(products: Floats, rows: Floats) -> Floats:
    """Oracle approximating shrinkage of second moments towards a multiple of the identity (Chen et al. 2010):
    `products` (d, d) sums, `rows` (d, d) counts -> (d, d), positive definite."""
    moments = products / np.maximum(rows, 1)
    d, n = len(moments), float(rows.min())
    alpha, mu = float((moments**2).mean()), float(np.trace(moments)) / d
    spread = (n + 1) * (alpha - mu**2 / d)
    share = 1.0 if spread <= 0 else min(1.0, (alpha + mu**2) / spread)
    covariance = (1 - share) * moments + share * mu * np.eye(d)
    values, vectors = np.linalg.eigh(covariance)
    floor = max(values.max(), 1e-12) * 1e-9
    return (vectors * np.maximum(values, floor)) @ vectors.T if values.min() < floor else covariance
