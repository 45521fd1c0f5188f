"""The LMN detector in service: the kernel that turns ticks of many machines into scores.

Everything here is float32 after standardising and gives the same bits whatever the batch: products row by row
(`lmn.product_by_row`), sums row by row, element-wise operations. Work without recurrence runs once for all rows;
the recurrences (the memory, the smoothed statistics) run in *waves*: wave k holds the k-th tick of every machine
that has one, so that a row of wave k continues the row at the same place of wave k-1.

`fit` lives in `models/train.py`; this class only holds what was learned and steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.contract import Bools, Floats, Floats32
from models.explain import conditional_residual
from models.lmn import LinearMemoryNetwork, product_by_row
from models.score import (
    MOVED_SPAN,
    MOVED_WEIGHT,
    SPANS,
    STATISTICS,
    VECTOR_GAIN,
    VECTOR_SPAN,
    dot_by_row,
    moved_amount,
    winsorise,
)

Z_MAX = 1e6  # beyond it arithmetic would overflow and stay in the memory for good
UNDERWAY = -1  # `warm_left` of a machine whose smoothed statistics have begun


@dataclass(slots=True)
class State:
    """What is kept of n machines between ticks; structure of arrays, C order."""

    memory: Floats32  # (n, p)
    prediction: Floats32  # (n, d) of the tick to come, standardised
    mewma: Floats32  # (n, d) smoothed residual vector
    ewma: Floats32  # (n, 3) smoothed squared prediction error over 8 and 30 ticks, moved constant sensors over 30
    residual: Floats32  # (n, d) of the last tick
    z: Floats32  # (n, d) last tick, standardised; NaN where missing
    score: Floats32  # (n,) of the last tick
    warm_left: NDArray[np.int32]  # (n,) ticks until the first score; -1 once smoothing has begun

    def __len__(self) -> int:
        return len(self.warm_left)

    def take(self, slots: NDArray[np.intp]) -> State:
        """A copy of the state of some machines."""
        return State(*(getattr(self, f.name)[slots] for f in fields(self)))

    def put(self, slots: NDArray[np.intp], part: State) -> None:
        """Write the state of some machines back."""
        for f in fields(self):
            getattr(self, f.name)[slots] = getattr(part, f.name)


@dataclass(slots=True)
class Ticks:
    """What came of n ticks, in wave order; d counts all sensors of the model, constant ones included."""

    score: Floats32  # (n,) 1.0 = threshold; NaN while warming or where no sensor was left
    p_value: Floats32  # (n,) share of held-out normal ticks with a score at least as high; NaN likewise
    fresh: Bools  # (n,) an exceedance that this tick itself supports
    leading: NDArray[np.int8]  # (n,) the statistic that made the score: index into STATISTICS, len(STATISTICS) = moved
    residual: Floats32  # (n, d)
    contribution: Floats32  # (n, d) sums to the squared prediction error
    z: Floats32  # (n, d) NaN where missing
    memory: Floats32  # (n, p)


@dataclass(frozen=True)
class Scoring:
    """What calibration learned: float32 arrays, sizes in sensors that moved in training (live)."""

    precision: Floats32  # (live, live) inverse covariance of held-out residuals
    cap: np.float32  # winsorising bound of q
    quantiles: Floats32  # (4,) held-out threshold of each statistic
    combine: np.float32  # held-out threshold of their maximum
    knots: Floats32  # (k,) held-out normal scores in ascending order
    p_values: Floats32  # (k + 1,) p-value left of each knot, and beyond the last


@dataclass(frozen=True)
class Detector:
    """A fitted Linear Memory Network with its scaling and calibration; immutable.

    `mean`, `scale` (d,) turn physical units into standard deviations of normal operation; `constant` (d,) marks
    sensors that never moved in training, judged by `resolution` (d,) instead; `centres` (m, d) are the means of the
    machines in `equipment` (machines not in it are centred on `mean`).
    """

    sensors: tuple[str, ...]
    units: tuple[str, ...]
    mean: Floats
    scale: Floats
    constant: Bools
    resolution: Floats
    network: LinearMemoryNetwork  # over live sensors, float32
    scoring: Scoring
    warmup: int  # ticks without a score after a start
    interval: int  # microseconds between ticks
    gap_reset: int  # microseconds without a reading after which the memory starts anew
    equipment: tuple[str, ...] = ()
    centres: Floats | None = None

    @cached_property
    def live(self) -> NDArray[np.intp]:
        """Columns of the sensors that moved in training."""
        return np.flatnonzero(~self.constant)

    @cached_property
    def fixed(self) -> NDArray[np.intp]:
        """Columns of the sensors that were constant in training."""
        return np.flatnonzero(self.constant)

    @cached_property
    def _centre_index(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.equipment, start=1)}

    def centre_index(self, equipment: str) -> int:
        """Row of `equipment` among the machines of training, for `advance(centre=)`; 0 for one not seen there."""
        return self._centre_index.get(equipment, 0)

    @cached_property
    def _centres(self) -> Floats:
        rows = [self.mean[None]] if self.centres is None else [self.mean[None], self.centres]
        return np.ascontiguousarray(np.vstack(rows))

    @cached_property
    def _inverse_scale(self) -> Floats:
        return 1.0 / self.scale

    @cached_property
    def _matrices(self) -> tuple[Floats32, Floats32, Floats32]:
        net = self.network
        return (
            np.ascontiguousarray(net.W_hm.T),
            np.ascontiguousarray(net.W_mm.T),
            np.ascontiguousarray(net.W_mo.T),
        )

    @cached_property
    def _gains(self) -> Floats32:
        live = len(self.live)
        gains = np.empty(live + len(SPANS) + 1, np.float32)
        gains[:live] = 1 / VECTOR_SPAN
        gains[live:-1] = [1 / span for span in SPANS]
        gains[-1] = 1 / MOVED_SPAN
        return gains

    @cached_property
    def threshold_vector(self) -> Floats32:
        """(4,) what each statistic is divided by to become a score."""
        return self.scoring.quantiles * self.scoring.combine

    def init_state(self, machines: int) -> State:
        """State of machines that have not been seen yet."""
        d, n = len(self.sensors), machines
        prediction = np.zeros((n, d), np.float32)
        prediction[:, self.live] = self.network.b_o
        return State(
            memory=np.zeros((n, self.network.memory_size), np.float32),
            prediction=prediction,
            mewma=np.zeros((n, d), np.float32),
            ewma=np.zeros((n, 3), np.float32),
            residual=np.zeros((n, d), np.float32),
            z=np.full((n, d), np.nan, np.float32),
            score=np.full(n, np.nan, np.float32),
            warm_left=np.full(n, self.warmup, np.int32),
        )

    def step(self, state: State, x: Floats, centre: NDArray[np.intp] | None = None) -> tuple[State, Ticks]:
        """One tick of n machines: `x` (n, d) in physical units, NaN = missing -> the next state and n outcomes."""
        return self.advance(state, x, [len(x)], centre=centre)

    def run(self, x: Floats, reset: Bools | None = None, equipment: str | None = None) -> Ticks:
        """One machine from an empty state over the n ticks of `x` (n, d); the loop over `step`, bit for bit."""
        centre = None if equipment is None else np.full(len(x), self.centre_index(equipment))
        return self.advance(self.init_state(1), x, [1] * len(x), reset=reset, centre=centre)[1]

    def standardise(self, x: Floats, centre: NDArray[np.intp] | None = None) -> Floats32:
        """Physical units (n, d) -> standard deviations, float32; constant sensors stay NaN-safe zeros in scale 1."""
        z = x - (self.mean if centre is None else self._centres[centre])
        z *= self._inverse_scale
        np.clip(z, -Z_MAX, Z_MAX, out=z)
        return z.astype(np.float32)

    def physical(self, z: Floats32, centre: int = 0) -> Floats:
        """Standard deviations (n, d) back to physical units."""
        return z.astype(np.float64) * self.scale + self._centres[centre]

    def advance(
        self,
        state: State,
        x: Floats,
        waves: Sequence[int],
        reset: Bools | None = None,
        centre: NDArray[np.intp] | None = None,
    ) -> tuple[State, Ticks]:
        """Ticks of several machines, several of each: `x` (n, d) in wave order.

        `waves` are sizes, none greater than the one before, the first at most `len(state)`; machine j's k-th tick is
        row sum(waves[:k]) + j and continues state row j. `reset` (n,) marks rows before which the machine starts
        anew; `centre` (n,) its row of `centre_index`.
        """
        z_all = self.standardise(x, centre)
        everything = len(self.live) == len(self.sensors)
        z = z_all if everything else np.ascontiguousarray(z_all[:, self.live])
        missing = np.isnan(z)
        gaps = missing.any(1)
        plan = _Plan(waves, reset)
        filled = np.where(missing, np.float32(0), z) if gaps.any() else z
        memory, prediction, residual = self._remember(state, filled, missing, gaps, plan)
        scored = _Scored(self, state, plan, residual, gaps & missing.all(1), x)
        return scored.pack(z_all, memory, prediction)

    def _remember(
        self, state: State, z: Floats32, missing: Bools, gaps: Bools, plan: _Plan
    ) -> tuple[Floats32, Floats32, Floats32]:
        """Memory after each row, prediction made there, and residual of each row (live sensors); `z` is filled in."""
        into, keep, out = self._matrices
        network = self.network
        recurrent = network.W_mh is not None
        inputs = np.empty((len(z), network.memory_size), np.float32)
        if not recurrent and len(z):
            inputs[:] = product_by_row(network.functional(z, None), into)
        memory = np.empty_like(inputs)
        before = state.memory
        any_gap = bool(gaps.any())
        estimate = np.zeros_like(z) if any_gap else None
        for lo, hi in plan.waves:
            previous = before[: hi - lo]
            if plan.reset is not None and plan.reset[lo:hi].any():
                previous = np.where(plan.reset[lo:hi, None], np.float32(0), previous)
            if estimate is not None and (holes := np.flatnonzero(gaps[lo:hi])).size:
                rows = lo + holes
                expected = product_by_row(previous[holes], out) + network.b_o
                estimate[rows] = conditional_residual(z[rows] - expected, missing[rows], self.scoring.precision)
                z[rows] = np.where(missing[rows], expected + estimate[rows], z[rows])
                inputs[rows] = product_by_row(network.functional(z[rows], previous[holes]), into)
            if recurrent:
                inputs[lo:hi] = product_by_row(network.functional(z[lo:hi], previous), into)
            current = memory[lo:hi]
            np.matmul(previous[:, None, :], keep, out=current[:, None, :])
            current += inputs[lo:hi]
            before = current
        prediction = product_by_row(memory, out) + network.b_o
        expected = plan.shifted(np.ascontiguousarray(state.prediction[:, self.live]), prediction, network.b_o)
        residual = z - expected
        if estimate is not None:
            residual[gaps] = np.where(missing[gaps], estimate[gaps], residual[gaps])
        return memory, prediction, residual


class _Plan:
    """Where the waves lie, and which row continues which."""

    __slots__ = ("first", "reset", "waves")

    def __init__(self, sizes: Sequence[int], reset: Bools | None) -> None:
        edges = [0]
        for size in sizes:
            edges.append(edges[-1] + size)
        self.waves = list(pairwise(edges))
        self.first = sizes[0] if len(sizes) else 0
        self.reset = reset if reset is not None and reset.any() else None

    def shifted(self, entering: Floats32, rows: Floats32, anew: Floats32 | float) -> Floats32:
        """What each row finds from the row before it: `entering` for the first wave, `anew` after a reset."""
        found = np.empty_like(rows)
        found[: self.first] = entering[: self.first]
        for (lo, _), (start, stop) in pairwise(self.waves):
            found[start:stop] = rows[lo : lo + stop - start]
        if self.reset is not None:
            found[self.reset] = anew
        return found

    def warm_before(self, warm_left: NDArray[np.int32], warmup: int) -> NDArray[np.int32]:
        """`warm_left` before each row."""
        before = np.empty(self.waves[-1][1] if self.waves else 0, np.int32)
        left = warm_left
        for lo, hi in self.waves:
            now = left[: hi - lo]
            if self.reset is not None:
                now = np.where(self.reset[lo:hi], np.int32(warmup), now)
            before[lo:hi] = now
            left = np.maximum(now - 1, UNDERWAY)
        return before

    def last_rows(self, machines: int) -> NDArray[np.intp]:
        """Row that each machine ends on (machines of the first wave)."""
        last = np.empty(machines, np.intp)
        for lo, hi in self.waves:
            last[: hi - lo] = np.arange(lo, hi)
        return last


class _Scored:
    """Statistics and scores of all rows of one `advance`, once their residuals are known."""

    def __init__(
        self, detector: Detector, state: State, plan: _Plan, residual: Floats32, blind: Bools, x: Floats
    ) -> None:
        self.detector, self.state, self.plan, self.residual = detector, state, plan, residual
        scoring = detector.scoring
        live = max(len(detector.live), 1)
        self.contribution = product_by_row(residual, scoring.precision)
        self.contribution *= residual
        self.contribution /= np.float32(live)
        q = np.maximum(self.contribution.sum(1), np.float32(0))
        bounded, capped = winsorise(residual, q, scoring.cap)
        moved = np.zeros(len(q))
        if len(detector.fixed):
            fixed = detector.fixed
            moved = moved_amount(x[:, fixed], detector.mean[fixed], detector.resolution[fixed])
            blind = blind & np.isnan(x[:, fixed]).all(1)
        self.before = plan.warm_before(state.warm_left, detector.warmup)
        self.judged = (self.before <= 0) & ~blind
        self.smoothed = self._smooth(bounded, capped, moved.astype(np.float32))
        self._score(q, moved > 0)

    def _smooth(self, bounded: Floats32, capped: Floats32, moved: Floats32) -> Floats32:
        """(n, live + 3): the smoothed vector, the two smoothed scalars, and moved constant sensors."""
        detector, state, plan = self.detector, self.state, self.plan
        live = len(detector.live)
        target = np.concatenate([bounded, capped[:, None], capped[:, None], moved[:, None]], 1)
        gains: Floats32 | None = None
        if not (self.judged.all() and (self.before == UNDERWAY).all()):
            gains = np.where(self.judged[:, None], detector._gains, np.float32(0))
            gains[self.judged & (self.before == 0), live:-1] = 1
        smoothed = np.concatenate([state.mewma[: plan.first, detector.live], state.ewma[: plan.first]], 1)
        result = np.empty_like(target)
        for lo, hi in plan.waves:
            previous = smoothed[: hi - lo]
            if plan.reset is not None and plan.reset[lo:hi].any():
                previous = np.where(plan.reset[lo:hi, None], np.float32(0), previous)
            smoothed = result[lo:hi]
            np.subtract(target[lo:hi], previous, out=smoothed)
            smoothed *= detector._gains if gains is None else gains[lo:hi]
            smoothed += previous
        return result

    def _score(self, q: Floats32, moved_now: Bools) -> None:
        detector, plan = self.detector, self.plan
        live = len(detector.live)
        vector = np.ascontiguousarray(self.smoothed[:, :live])
        mewma = dot_by_row(product_by_row(vector, detector.scoring.precision), vector)
        ratios = np.empty((len(q), len(STATISTICS) + 1), np.float32)
        ratios[:, 0] = q
        ratios[:, 1:3] = self.smoothed[:, live:-1]
        ratios[:, 3] = np.maximum(mewma, np.float32(0)) * np.float32(VECTOR_GAIN / max(live, 1))
        ratios[:, :4] /= detector.threshold_vector
        ratios[:, 4] = self.smoothed[:, -1] * np.float32(MOVED_WEIGHT)
        self.leading = ratios.argmax(1).astype(np.int8)
        self.score = np.where(self.judged, ratios.max(1), np.float32(np.nan))
        previous = plan.shifted(self.state.score, self.score, np.nan)
        with np.errstate(invalid="ignore"):
            rising = (ratios[:, 0] >= 1) | moved_now | ~(self.score < previous)
            self.fresh = (self.score >= 1) & rising

    def pack(self, z: Floats32, memory: Floats32, prediction: Floats32) -> tuple[State, Ticks]:
        """The next state of the machines, and the outcome of every row."""
        detector, plan = self.detector, self.plan
        scoring = detector.scoring
        p_value = scoring.p_values[np.searchsorted(scoring.knots, self.score)]
        p_value[~self.judged] = np.nan
        residual, contribution = self._wide(self.residual), self._wide(self.contribution)
        ticks = Ticks(
            self.score, p_value, self.fresh, self.leading, residual, contribution, z, memory
        )
        last = plan.last_rows(plan.first)
        live = len(detector.live)
        state = State(
            memory=memory[last],
            prediction=self._wide(prediction[last]),
            mewma=self._wide(self.smoothed[last, :live]),
            ewma=self.smoothed[last, live:],
            residual=residual[last],
            z=z[last],
            score=self.score[last],
            warm_left=np.maximum(self.before[last] - 1, UNDERWAY).astype(np.int32),
        )
        return state, ticks

    def _wide(self, live: Floats32) -> Floats32:
        """(n, live) -> (n, d), zero at constant sensors."""
        detector = self.detector
        if len(detector.live) == len(detector.sensors):
            return live
        wide = np.zeros((len(live), len(detector.sensors)), np.float32)
        wide[:, detector.live] = live
        return wide
