"""Held-out normal scores -> thresholds for a false-alarm budget.

Blocked cross-fitting: the rows of each machine are cut into K contiguous blocks; memory, read-out and residual
covariance are fitted on the other K-1 (as separate segments: nothing runs across the hole), and the scores of the
block are held out. In-sample residuals promise 1 % and keep 35 to 100 %; shuffled rows are no better.

Blocks differ among themselves, so a pooled quantile is too low. The threshold is what the *next* block's quantile
stays under: the predictive log-t bound

    exp( mean + t_{K-1, 0.9} sd sqrt(1 + 1/K) )      over the logs of the K block quantiles.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter
from scipy.stats import t as student_t

from models.baselines.methods import Covariance, FittedRival, Method
from models.contract import Bools, Floats, ModelError
from models.explain import conditional_residual
from models.features import Features
from models.fit import Core, Shape, fit_core, second_moments, shrunk_covariance, summed
from models.laes import Block, LagStatistics
from models.score import (
    NORMAL_LEVEL,
    SPANS,
    VECTOR_GAIN,
    VECTOR_SPAN,
    WINSOR,
    full_set_equivalent,
    squared_prediction_error,
    winsorise,
)

CONFIDENCE = 0.9
LEAD_WINDOWS = 10  # windows before a block that warm the memory up for it
KNOTS_MAX = 4096  # held-out scores kept in the artifact: all, or a grid with every one of the highest
TAIL_KNOTS = 1024
SPREAD_MAX = 4.0  # greatest block quantile of a statistic over the smallest, beyond which the blocks disagree
LEVEL_SHARE_MAX = 0.4  # share of a sensor's variance between blocks, beyond which the recording has not settled


class Piece(NamedTuple):
    """Rows `start` to `stop` of one run: part of a block."""

    run: int
    start: int
    stop: int


class HeldOut(NamedTuple):
    """Residuals (n, d) of a piece from a model that has not seen it, from row `first` of its run on."""

    first: int
    residual: Floats


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds for one false-alarm budget, and how far the recording supports it."""

    budget: float  # promised share of ticks
    quantiles: Floats  # (4,) threshold of each statistic
    combine: float  # threshold of their maximum
    cap: float  # winsorising bound of the squared prediction error
    covariance: Floats  # (d, d) of held-out residuals
    scores: Floats  # (n,) held-out normal scores, ascending
    block_kept: Floats  # (K,) share of each block at or over the threshold
    block_thresholds: Floats  # (K,) score quantile of each block; 1.0 = the threshold
    spread: float  # greatest block quantile over the smallest, of the statistic where the blocks differ most
    level_shares: Floats  # (d,) share of each sensor's variance that lies between the blocks

    @property
    def kept(self) -> float:
        """Share of held-out rows at or over the threshold."""
        return float((self.scores >= 1).mean())

    @property
    def rows(self) -> int:
        return len(self.scores)

    @property
    def provisional(self) -> bool:
        """Whether the budget is rarer than a block of this recording can show."""
        return self.rows / len(self.block_kept) * self.budget < 1

    @property
    def supported(self) -> bool:
        """Whether the blocks agree well enough to promise the budget: their thresholds are alike, and no sensor's
        level wanders from block to block as it does while a process is warming up."""
        return self.spread <= SPREAD_MAX and float(self.level_shares.max(initial=0)) <= LEVEL_SHARE_MAX


def cut_blocks(lengths: list[int], equipment: list[str], blocks: int) -> list[list[Piece]]:
    """Rows of each machine in `blocks` contiguous parts: runs of `lengths` -> the pieces of each block.

    >>> cut_blocks([6, 4], ["a", "a"], 2)
    [[Piece(run=0, start=0, stop=5)], [Piece(run=0, start=5, stop=6), Piece(run=1, start=0, stop=4)]]
    """
    parts: list[list[Piece]] = [[] for _ in range(blocks)]
    for name in dict.fromkeys(equipment):
        runs = [i for i, owner in enumerate(equipment) if owner == name]
        edges = np.linspace(0, sum(lengths[i] for i in runs), blocks + 1).astype(int)
        offset = 0
        for i in runs:
            for block in range(blocks):
                start, stop = max(edges[block], offset), min(edges[block + 1], offset + lengths[i])
                if start < stop:
                    parts[block].append(Piece(i, int(start - offset), int(stop - offset)))
            offset += lengths[i]
    return parts


def block_statistics(
    pieces: list[Piece], runs: list[Floats], window: int, features: Features | None = None
) -> dict[Piece, Block]:
    """Lag statistics of each piece, of readings or of readings and features; side by side in threads."""

    def of(piece: Piece) -> Block:
        z = runs[piece.run][piece.start : piece.stop]
        return Block.of(z if features is None else features.lift(z), window)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return dict(zip(pieces, pool.map(of, pieces), strict=True))


@dataclass(frozen=True)
class CrossFit:
    """Runs of standardised, filled-in training rows, the cells of them that were measured (None: all), and blocks."""

    runs: list[Floats]
    seen: list[Bools] | None
    pieces: list[list[Piece]]
    statistics: dict[Piece, Block]
    shape: Shape
    cores: dict[int | None, Core] = field(default_factory=dict)  # that have been fitted, by the block left out
    method: Method | None = None  # of a rival; None: the LMN
    seed: int = 0
    features: Features | None = None  # of an LMN; the lag statistics are of readings and features

    @property
    def feature_count(self) -> int:
        return 0 if self.features is None else len(self.features.offsets)

    @classmethod
    def prepare(
        cls,
        runs: list[Floats],
        seen: list[Bools] | None,
        equipment: list[str],
        blocks: int,
        shape: Shape,
        method: Method | None = None,
        seed: int = 0,
        lags: int = 0,
    ) -> CrossFit:
        """Cut the runs into blocks and sum the lag statistics of each, of a window of `lags` where that is wider than
        that of the shape, to choose by. ModelError where there are too few rows."""
        total, least = sum(map(len, runs)), blocks * (shape.window + 10)
        if total < least:
            raise ModelError(
                f"{total} usable rows are too few to train and calibrate; a window of {shape.window} ticks needs at "
                f"least {least} rows of normal operation"
            )
        pieces = cut_blocks([len(z) for z in runs], equipment, blocks)
        wide = max(lags, shape.window)
        statistics = block_statistics([p for part in pieces for p in part], runs, wide)
        return cls(runs, seen, pieces, statistics, shape, method=method, seed=seed)

    def of_shape(self, shape: Shape) -> CrossFit:
        """The same blocks for a model of another shape, whose window is at most that of the statistics."""
        statistics = {piece: block.narrowed(shape.window) for piece, block in self.statistics.items()}
        return replace(self, shape=shape, statistics=statistics, cores={})

    def lifted(self, features: Features, shape: Shape) -> CrossFit:
        """The same blocks for a model with features, of another shape."""
        statistics = block_statistics(list(self.statistics), self.runs, shape.window, features)
        return replace(self, shape=shape, features=features, statistics=statistics, cores={})

    def complement(self, left_out: int | None) -> list[tuple[Piece, Block]]:
        """The contiguous runs that remain without a block, each with its joined statistics."""
        kept = sorted(p for block, part in enumerate(self.pieces) if block != left_out for p in part)
        joined: list[tuple[Piece, Block]] = []
        for piece in kept:
            if joined and joined[-1][0].run == piece.run and joined[-1][0].stop == piece.start:
                before, block = joined.pop()
                joined.append((Piece(piece.run, before.start, piece.stop), block.joined(self.statistics[piece])))
            else:
                joined.append((piece, self.statistics[piece]))
        return [(p, b) for p, b in joined if p.stop - p.start > 2 * self.shape.window]

    def core(self, left_out: int | None = None) -> Core:
        """A model of all rows, or of all but one block; fitted once."""
        if left_out not in self.cores:
            self.cores[left_out] = self._fitted(left_out)
        return self.cores[left_out]

    def _fitted(self, left_out: int | None) -> Core:
        remaining = self._remaining(left_out)
        sums = LagStatistics.empty(self.runs[0].shape[1] + self.feature_count, self.shape.window)
        for _, block in remaining:
            sums = sums + block.closed()
        runs, seen = self._rows(remaining)
        return fit_core(runs, sums, self.shape, seen, self.features)

    def rival(self, method: Method, left_out: int | None = None) -> FittedRival:
        """A rival of all rows, or of all but one block."""
        return FittedRival(method.fit(*self._rows(self._remaining(left_out)), self.shape, self.seed))

    def _remaining(self, left_out: int | None) -> list[tuple[Piece, Block]]:
        remaining = self.complement(left_out)
        if not remaining:
            raise ModelError(
                f"no stretch of rows is longer than two windows ({2 * self.shape.window} ticks); choose a smaller "
                "window or train on a recording with fewer gaps"
            )
        return remaining

    def _rows(self, remaining: list[tuple[Piece, Block]]) -> tuple[list[Floats], list[Bools] | None]:
        runs = [self.runs[p.run][p.start : p.stop] for p, _ in remaining]
        seen = None if self.seen is None else [self.seen[p.run][p.start : p.stop] for p, _ in remaining]
        return runs, seen

    def residuals(self, core: Core | FittedRival, piece: Piece) -> HeldOut:
        """Residuals of a piece, the memory warmed up on the rows before it; NaN where nothing was measured."""
        lead = min(LEAD_WINDOWS * self.shape.window, piece.start)
        residual = core.residuals(self.runs[piece.run][piece.start - lead : piece.stop])[lead:]
        if self.seen is not None:
            residual = np.where(self.seen[piece.run][piece.start : piece.stop], residual, np.nan)
        return HeldOut(piece.start, residual)

    def level_shares(self) -> Floats:
        """(d,) share of each sensor's variance that lies between the means of the blocks."""
        rows = np.array([sum(self.statistics[p].rows for p in part) for part in self.pieces], float)
        sums = np.array([np.sum([self.statistics[p].total for p in part], axis=0) for part in self.pieces if part])
        weights = rows[rows > 0, None]
        means, whole = sums / weights, sums.sum(0) / weights.sum()
        between = (weights * (means - whole) ** 2).sum(0)
        squares = sum(np.diag(b.lags[0]) for b in self.statistics.values()) - weights.sum() * whole**2
        return (between / np.maximum(squares, 1e-12))[: self.runs[0].shape[1]]

    def held_out(self) -> list[list[HeldOut]]:
        """Residuals of every block from the model of the others, piece by piece; blocks side by side in threads."""
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            return list(pool.map(self._held_out, range(len(self.pieces))))

    def _held_out(self, block: int) -> list[HeldOut]:
        core = self.core(block) if self.method is None else self.rival(self.method, block)
        return [self.residuals(core, piece) for piece in self.pieces[block]]


def settled(blocks: list[list[HeldOut]], warmup: int) -> list[list[Floats]]:
    """Residuals of each block without what serving does not judge either: the first `warmup` rows of a run, and rows
    without any value, over which smoothed statistics are held."""
    return [[r for held in part if len(r := _judged(held, warmup))] for part in blocks]


def _judged(held: HeldOut, warmup: int) -> Floats:
    residual = held.residual[max(warmup - held.first, 0) :]
    return residual[~np.isnan(residual).all(1)]


def statistics(residual: Floats, precision: Floats, cap: float) -> Floats:
    """The four statistics of one run of consecutive ticks, NaN = not measured: (n, d) -> (n, 4), columns as in
    `score.STATISTICS`. The smoothed ones start at what they are on average."""
    residual, q = completed(residual, precision)
    bounded, capped = winsorise(residual, q, np.float64(cap))
    columns = [q]
    for span in SPANS:
        keep = 1 - 1 / span
        columns.append(lfilter([1 / span], [1, -keep], capped, zi=[keep * NORMAL_LEVEL])[0])
    keep = 1 - 1 / VECTOR_SPAN
    vector = lfilter([1 / VECTOR_SPAN], [1, -keep], bounded, axis=0)
    columns.append(squared_prediction_error(vector, precision) * VECTOR_GAIN)
    return np.stack(columns, 1)


def completed(residual: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Residuals (n, d), NaN = not measured, with what was not measured estimated from the rest, scaled to the height
    that a full set of sensors would have; and their squared prediction error (n,)."""
    missing = np.isnan(residual)
    rows = missing.any(1)
    if not rows.any():
        return residual, squared_prediction_error(residual, precision)
    whole = residual.copy()
    whole[rows] = conditional_residual(np.nan_to_num(residual[rows]), missing[rows], precision)
    q = squared_prediction_error(whole, precision)
    full = full_set_equivalent(q[rows], (~missing[rows]).sum(1), residual.shape[1])
    whole[rows] *= np.sqrt(full / np.maximum(q[rows], 1e-12))[:, None]
    q[rows] = full
    return whole, q


def between_blocks(values: Floats) -> Floats:
    """What the next block's quantile stays under with 90 % confidence: (K,) or (K, n) -> () or (n,).

    >>> round(float(between_blocks(np.array([1.0, 1.0, 1.0, 1.0, 1.0]))), 6)
    1.0
    >>> round(float(between_blocks(np.array([0.8, 0.9, 1.0, 1.1, 1.2]))), 4)
    1.2956
    """
    logs = np.log(np.maximum(values, 1e-12))
    count = len(logs)
    bound = student_t.ppf(CONFIDENCE, count - 1) * logs.std(0, ddof=1) * np.sqrt(1 + 1 / count)
    return np.exp(logs.mean(0) + bound)


def calibrate(
    held_out: list[list[Floats]], budget: float, level_shares: Floats, covariance: Covariance = shrunk_covariance
) -> Calibration:
    """Thresholds from the held-out residuals of each block (one array (n, d) a piece) for a share `budget` of ticks;
    `level_shares` from `CrossFit.level_shares`, `covariance` as in `Method`."""
    if not 0 < budget < 1:
        raise ModelError(f"false-alarm rate is {budget}; expected a share of ticks between 0 and 1, such as 0.01")
    blocks = [part for part in held_out if part]
    if len(blocks) < 3:
        raise ModelError(f"only {len(blocks)} blocks hold rows past the warm-up; calibration needs at least 3")
    sums = [summed([second_moments(r) for r in part]) for part in blocks]
    whole = summed(sums)
    precisions = [np.linalg.inv(covariance(whole[0] - s[0], whole[1] - s[1])) for s in sums]
    level = 1 - budget
    errors = [np.concatenate([completed(r, p)[1] for r in part]) for part, p in zip(blocks, precisions, strict=True)]
    cap = WINSOR * float(between_blocks(np.array([np.quantile(q, level) for q in errors])))
    values = [np.concatenate([statistics(r, p, cap) for r in part]) for part, p in zip(blocks, precisions, strict=True)]
    each = np.maximum(np.array([np.quantile(v, level, axis=0) for v in values]), 1e-12)
    quantiles = between_blocks(each)
    greatest = [(v / quantiles).max(1) for v in values]
    block_quantiles = np.array([np.quantile(g, level) for g in greatest])
    combine = float(between_blocks(block_quantiles))
    scores = [g / combine for g in greatest]
    return Calibration(
        budget=budget,
        quantiles=quantiles,
        combine=combine,
        cap=cap,
        covariance=covariance(*whole),
        scores=np.sort(np.concatenate(scores)),
        block_kept=np.array([(s >= 1).mean() for s in scores]),
        block_thresholds=block_quantiles / combine,
        spread=float((each.max(0) / each.min(0)).max()),
        level_shares=level_shares,
    )


def p_value_table(scores: Floats) -> tuple[Floats, Floats]:
    """Held-out scores (n,) ascending -> knots (k,) and the p-value below or at each knot and beyond the last (k + 1,).

    p = (1 + number of held-out scores at or above it) / (n + 1); exact at every knot, and everywhere when n is at most
    `KNOTS_MAX`; beyond that a grid with every one of the `TAIL_KNOTS` highest.
    """
    n = len(scores)
    kept = np.arange(n)
    if n > KNOTS_MAX:
        grid = np.linspace(0, n - TAIL_KNOTS, KNOTS_MAX - TAIL_KNOTS, endpoint=False).astype(int)
        kept = np.concatenate([grid, np.arange(n - TAIL_KNOTS, n)])
    at_or_above = np.append(n - kept, 0)
    return scores[kept], (1 + at_or_above) / (n + 1)
