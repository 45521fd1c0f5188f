"""The LMN detector in service: the kernel that turns ticks of many machines into scores.

Everything here is float32 after standardising and gives the same bits whatever the batch: products row by row
(`lmn.product_by_row`), sums row by row, element-wise operations. Work without recurrence runs once for all rows;
the recurrences (the memory, the smoothed statistics) run in *waves*: wave k holds the k-th tick of every machine
that has one, so that a row of wave k continues the row at the same place of wave k-1.

`fit` lives in `models/train.py`; this class only holds what was learned and steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.contract import Bools, Floats, Floats32, Ints
from models.explain import conditional_residual
from models.judgement import Judgement
from models.lmn import LinearMemoryNetwork, product_by_row
from models.network import Z_MAX, Network, at_start, follow
from models.score import MOVED_SPAN, NORMAL_LEVEL, SPANS, VECTOR_SPAN
from models.state import State, Ticks
from models.waves import Waves

COAST_TICKS_MAX = 64  # ticks that did not come, beyond which what is expected is no less certain
BLOCK = 64  # rows of a triangular matrix that are solved at once


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
    network: LinearMemoryNetwork | Network  # over live sensors, float32
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
    def _fixed_tolerance(self) -> Floats:
        """(machines + 1, c) half-steps of the constant sensors; infinite for a machine that was not in training where
        the machines of training differ among themselves."""
        centres, resolution = self._centres[:, self.fixed], self.resolution[self.fixed]
        tolerance = np.repeat(resolution[None], len(centres), 0)
        tolerance[0, np.ptp(centres[1:], axis=0) > resolution if len(centres) > 1 else slice(0)] = np.inf
        return tolerance

    def fixed_values(self, centre: NDArray[np.intp] | None) -> tuple[Floats, Floats]:
        """Where the constant sensors of each machine stood in training, and how far off is no movement."""
        if centre is None:
            return self.mean[self.fixed], self._fixed_tolerance[0]
        return self._centres[centre][:, self.fixed], self._fixed_tolerance[centre]

    @cached_property
    def _inverse_scale(self) -> Floats:
        return 1.0 / self.scale

    @cached_property
    def linear(self) -> LinearMemoryNetwork:
        """The network where it is the LMN. TypeError where it is another."""
        if not isinstance(self.network, LinearMemoryNetwork):
            raise TypeError(f"{type(self.network).__name__} is no Linear Memory Network")
        return self.network

    @cached_property
    def _matrices(self) -> tuple[Floats32, Floats32, Floats32]:
        net = self.linear
        return (
            np.ascontiguousarray(net.W_hm.T),
            np.ascontiguousarray(net.W_mm.T),
            np.ascontiguousarray(net.W_mo.T),
        )

    @cached_property
    def gains(self) -> Floats32:
        """(live + 3,) of the smoothed statistics: the vector, the two scalars, moved constant sensors."""
        live = len(self.live)
        gains = np.empty(live + len(SPANS) + 1, np.float32)
        gains[:live] = 1 / VECTOR_SPAN
        gains[live:-1] = [1 / span for span in SPANS]
        gains[-1] = 1 / MOVED_SPAN
        return gains

    @cached_property
    def smoothed_at_start(self) -> Floats32:
        """(live + 3,) smoothed statistics before the first tick: what they are on average in normal operation, so that
        the first tick alone, however unlikely, cannot hold them up."""
        return np.array([0.0] * len(self.live) + [NORMAL_LEVEL] * len(SPANS) + [0.0], np.float32)

    @cached_property
    def threshold_vector(self) -> Floats32:
        """(4,) what each statistic is divided by to become a score."""
        return self.scoring.quantiles * self.scoring.combine

    def init_state(self, machines: int) -> State:
        """State of machines that have not been seen yet."""
        d, n = len(self.sensors), machines
        prediction = np.zeros((n, d), np.float32)
        prediction[:, self.live] = at_start(self.network)
        return State(
            memory=np.zeros((n, self.network.memory_size), np.float32),
            prediction=prediction,
            mewma=np.zeros((n, d), np.float32),
            ewma=np.repeat(self.smoothed_at_start[None, len(self.live) :], n, axis=0),
            residual=np.zeros((n, d), np.float32),
            skipped=np.zeros(n, np.int32),
            z=np.full((n, d), np.nan, np.float32),
            score=np.full(n, np.nan, np.float32),
            leading=np.zeros(n, np.int8),
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
        """Physical units (n, d) -> standard deviations (constant sensors: resolutions), float32, NaN = missing."""
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
        skipped: Ints | None = None,
    ) -> tuple[State, Ticks]:
        """Ticks of several machines, several of each: `x` (n, d) in wave order.

        `waves` are sizes, none greater than the one before, the first at most `len(state)`; machine j's k-th tick is
        row sum(waves[:k]) + j and continues state row j. `reset` (n,) marks rows before which the machine starts
        anew; `centre` (n,) its row of `centre_index`; `skipped` (n,) the ticks that did not come before it.
        """
        with np.errstate(over="ignore"):  # of values as great as 1e308
            return self._advance(state, x, Waves(waves, reset, skipped), centre)

    def _advance(self, state: State, x: Floats, plan: Waves, centre: NDArray[np.intp] | None) -> tuple[State, Ticks]:
        z_all = self.standardise(x, centre)
        everything = len(self.live) == len(self.sensors)
        z = z_all if everything else np.ascontiguousarray(z_all[:, self.live])
        missing: Bools = np.isnan(z)
        holed: Bools = np.any(missing, axis=1)
        filled = np.where(missing, np.float32(0), z) if holed.any() else z
        if isinstance(self.network, LinearMemoryNetwork):
            memory, prediction, residual = self._remember(state, filled, missing, holed, plan)
        else:
            memory, prediction, residual = follow(self.network, state.memory, filled, missing, plan, self.complete)
        judgement = Judgement(self, state, plan, residual, missing, holed, x, centre)
        return judgement.pack(z_all, memory, prediction)

    def _remember(
        self, state: State, z: Floats32, missing: Bools, holed: Bools, plan: Waves
    ) -> tuple[Floats32, Floats32, Floats32]:
        """Memory after each row, prediction made there, and residual of each row (live sensors). Rows with `missing`
        values are `holed` (n,); estimates of those values are written into `z`."""
        into, keep, out = self._matrices
        network = self.linear
        recurrent = network.W_mh is not None
        inputs = np.empty((len(z), network.memory_size), np.float32)
        if not recurrent and len(z):
            inputs[:] = product_by_row(network.functional(z, None), into)
        memory = np.empty_like(inputs)
        before = state.memory
        estimate = np.zeros_like(z) if holed.any() else None
        ahead = np.empty_like(z) if plan.skipped is not None else None  # what is expected after ticks that did not come
        for lo, hi in plan.edges:
            previous = before[: hi - lo]
            if plan.reset is not None and plan.reset[lo:hi].any():
                previous = np.where(plan.reset[lo:hi, None], np.float32(0), previous)
            if ahead is not None and plan.skipped is not None and (late := np.flatnonzero(plan.skipped[lo:hi])).size:
                previous = previous.copy()
                previous[late] = self._coast(previous[late], plan.skipped[lo + late])
                ahead[lo + late] = product_by_row(previous[late], out) + network.b_o
            if estimate is not None and (holes := np.flatnonzero(holed[lo:hi])).size:
                rows = lo + holes
                expected = product_by_row(previous[holes], out) + network.b_o
                skipped = None if plan.skipped is None else plan.skipped[rows]
                estimate[rows] = self.complete(z[rows] - expected, missing[rows], skipped)
                # with no sensor left the model feeds on itself: bounded, or it may grow until nothing is finite
                z[rows] = np.where(missing[rows], np.clip(expected + estimate[rows], -Z_MAX, Z_MAX), z[rows])
                inputs[rows] = product_by_row(network.functional(z[rows], previous[holes]), into)
            if recurrent:
                inputs[lo:hi] = product_by_row(network.functional(z[lo:hi], previous), into)
            current = memory[lo:hi]  # m_t = W_mm m_{t-1} + W_hm h_t, as in `lmn.py`
            np.matmul(previous[:, None, :], keep, out=current[:, None, :])
            current += inputs[lo:hi]
            before = current
        prediction = product_by_row(memory, out) + network.b_o
        expected = plan.shifted(np.ascontiguousarray(state.prediction[:, self.live]), prediction, network.b_o)
        if ahead is not None and plan.skipped is not None:
            expected[plan.skipped > 0] = ahead[plan.skipped > 0]
        residual = z - expected
        if estimate is not None:
            residual[holed] = np.where(missing[holed], estimate[holed], residual[holed])
        if plan.skipped is not None:
            self._narrow(residual, plan.skipped)
        return memory, prediction, residual

    def _coast(self, memory: Floats32, ticks: Ints) -> Floats32:
        """Memories (n, p) after as many `ticks` (n,) without any value: each takes its own prediction for granted."""
        into, keep, out = self._matrices
        memory = memory.copy()
        for tick in range(int(ticks.max())):
            rows = np.flatnonzero(ticks > tick)
            before = memory[rows]
            expected = np.clip(product_by_row(before, out) + self.linear.b_o, -Z_MAX, Z_MAX)
            held = product_by_row(before, keep)
            memory[rows] = held + product_by_row(self.linear.functional(expected, before), into)
        return memory

    def complete(self, error: Floats32, missing: Bools, skipped: Ints | None) -> Floats32:
        """Prediction errors (n, live) with the missing ones estimated, by the covariance P_k after `skipped` ticks."""
        if skipped is None or not skipped.any():
            return conditional_residual(error, missing, self.scoring.precision)
        precision, whole = self.scoring.precision.astype(np.float64), np.empty_like(error)
        steps = np.minimum(skipped, len(self._narrowing))
        for ticks in np.unique(steps).tolist():
            own, ahead = np.flatnonzero(steps == ticks), precision
            if ticks:
                factor = self._narrowing[ticks - 1].astype(np.float64)
                ahead = factor @ precision @ factor.T  # P_k^-1
            whole[own] = conditional_residual(error[own], missing[own], ahead)
        return whole

    def _narrow(self, residual: Floats32, skipped: Ints) -> None:
        """Bring residuals after ticks that did not come to the scale of one tick ahead, in place."""
        rows = np.flatnonzero(skipped)
        for ticks in np.unique(np.minimum(skipped[rows], len(self._narrowing))).tolist():
            own = rows[np.minimum(skipped[rows], len(self._narrowing)) == ticks]
            residual[own] = product_by_row(residual[own], self._narrowing[ticks - 1])

    def prediction_error(self, residual: Floats32, skipped: int) -> Floats:
        """What a residual (d,) was before it was brought to the scale of one tick ahead: what came, less what was
        expected after `skipped` ticks that did not come."""
        error = residual.astype(np.float64)
        if skipped:
            factor = self._narrowing[min(skipped, len(self._narrowing)) - 1]
            error[self.live] = np.linalg.solve(factor.T.astype(np.float64), error[self.live])
        return error

    @cached_property
    def _narrowing(self) -> Floats32:
        """(k, live, live): residuals after 1 to k ticks that did not come, times this, are as if one tick ahead.

        With e the residual one tick ahead, S its covariance, W = W_mo, A = W_hm and F = W_mm + A W, the error k ticks
        further ahead has covariance P_k = S + sum over j < k of (W F^j A) S (W F^j A)^T = S + W Q_k W^T; the factor
        is (chol(S) chol(P_k)^-1)^T. tanh units count by their slope at the mean of normal operation. The identity for
        networks whose functional part reads the memory, or that are no LMN.
        """
        live, network = len(self.live), self.network
        ticks = max(self.gap_reset // self.interval, 1)
        if not isinstance(network, LinearMemoryNetwork) or network.W_mh is not None:
            return np.repeat(np.eye(live, dtype=np.float32)[None], 1, axis=0)
        W, A = network.W_mo.astype(np.float64), network.W_hm.astype(np.float64) @ network.slopes().astype(np.float64)
        closed = network.W_mm.astype(np.float64) + A @ W
        S = np.linalg.inv(self.scoring.precision.astype(np.float64))
        S = (S + S.T) / 2
        near, Q, effect, factors = np.linalg.cholesky(S), np.zeros((len(A), len(A))), A, []
        for _ in range(min(ticks, COAST_TICKS_MAX)):
            Q = Q + effect @ S @ effect.T
            factors.append(_solve_upper(np.linalg.cholesky(S + W @ Q @ W.T).T, near.T))
            effect = closed @ effect
        return np.ascontiguousarray(factors, np.float32)


def _solve_upper(U: Floats, B: Floats) -> Floats:
    """The X of U X = B, all of them upper triangular, block by block from the last rows: a third of the work of a
    product of two whole matrices.

    >>> _solve_upper(np.array([[2.0, 1.0], [0.0, 4.0]]), np.array([[2.0, 3.0], [0.0, 8.0]]))
    array([[1. , 0.5],
           [0. , 2. ]])
    """
    X, n = np.zeros_like(B), len(U)
    for start in reversed(range(0, n, BLOCK)):
        end = min(start + BLOCK, n)
        X[start:end, start:] = B[start:end, start:]
        X[start:end, end:] -= U[start:end, end:] @ X[end:, end:]
        X[start:end, start:] = np.linalg.solve(U[start:end, start:end], X[start:end, start:])
    return X
