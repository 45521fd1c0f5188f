"""Statistics and scores of the ticks of one `Detector.advance`, once their residuals are known (float32)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.contract import Bools, Floats, Floats32
from models.lmn import product_by_row
from models.score import (
    MOVED_WEIGHT,
    STATISTICS,
    VECTOR_GAIN,
    dot_by_row,
    full_set_equivalent,
    moved_sensors,
    winsorise,
)
from models.state import State, Ticks
from models.waves import Waves

if TYPE_CHECKING:
    from models.detector import Detector


class Judgement:
    """Statistics and scores of all rows of one `advance`, once their residuals are known."""

    def __init__(
        self,
        detector: Detector,
        state: State,
        plan: Waves,
        residual: Floats32,
        missing: Bools,
        holed: Bools,
        x: Floats,
        centre: NDArray[np.intp] | None,
    ) -> None:
        self.detector, self.state, self.plan, self.residual = detector, state, plan, residual
        scoring = detector.scoring
        live = len(detector.live)
        self.contribution = product_by_row(residual, scoring.precision)
        self.contribution *= residual
        self.contribution /= np.float32(live)
        q = np.maximum(self.contribution.sum(1), np.float32(0))
        rows = np.flatnonzero(holed)
        if rows.size:
            residual, q = self._scaled_to_full_set(residual, q, rows, missing)
        blind = holed & missing.all(1)
        bounded, capped = winsorise(residual, q, scoring.cap)
        self.moved = np.zeros((len(q), len(detector.fixed)), bool)
        if len(detector.fixed):
            fixed = detector.fixed
            self.moved = moved_sensors(x[:, fixed], *detector.fixed_values(centre))
            blind = blind & np.isnan(x[:, fixed]).all(1)
        self.blind = blind
        self.before = plan.warm_before(state.warm_left, detector.warmup, blind)
        self.judged = (self.before <= 0) & ~blind
        self.smoothed = self._smooth(bounded, capped, self.moved.sum(1, dtype=np.float32))
        self._score(q)

    def _scaled_to_full_set(
        self, residual: Floats32, q: Floats32, rows: NDArray[np.intp], missing: Bools
    ) -> tuple[Floats32, Floats32]:
        """Residuals and q of all rows, those of `rows` as high as with all sensors measured."""
        seen = (~missing[rows]).sum(1)
        full = full_set_equivalent(q[rows].astype(np.float64), seen, missing.shape[1])
        ratio = (full / np.maximum(q[rows], np.float32(1e-12)))[:, None]
        residual, q = residual.copy(), q.copy()
        residual[rows] *= np.sqrt(ratio).astype(np.float32)
        self.contribution[rows] *= ratio.astype(np.float32)
        q[rows] = np.maximum(self.contribution[rows].sum(1), np.float32(0))
        return residual, q

    def _smooth(self, bounded: Floats32, capped: Floats32, moved: Floats32) -> Floats32:
        """(n, live + 3): the smoothed vector, the two smoothed scalars, and moved constant sensors."""
        detector, state, plan = self.detector, self.state, self.plan
        target = np.concatenate([bounded, capped[:, None], capped[:, None], moved[:, None]], 1)
        gains: Floats32 | None = None
        if not self.judged.all():
            gains = np.where(self.judged[:, None], detector.gains, np.float32(0))
        smoothed = np.concatenate([state.mewma[: plan.first, detector.live], state.ewma[: plan.first]], 1)
        result = np.empty_like(target)
        for lo, hi in plan.edges:
            previous = smoothed[: hi - lo]
            if plan.reset is not None and plan.reset[lo:hi].any():
                previous = np.where(plan.reset[lo:hi, None], detector.smoothed_at_start, previous)
            smoothed = result[lo:hi]
            np.subtract(target[lo:hi], previous, out=smoothed)
            smoothed *= detector.gains if gains is None else gains[lo:hi]
            smoothed += previous
        return result

    def _score(self, q: Floats32) -> None:
        detector, plan = self.detector, self.plan
        live = len(detector.live)
        vector = np.ascontiguousarray(self.smoothed[:, :live])
        persistent = product_by_row(vector, detector.scoring.precision)
        mewma = dot_by_row(persistent, vector)
        persistent *= vector
        persistent *= np.float32(VECTOR_GAIN / live)
        ratios = np.empty((len(q), len(STATISTICS) + 1), np.float32)
        ratios[:, 0] = q
        ratios[:, 1:3] = self.smoothed[:, live:-1]
        ratios[:, 3] = np.maximum(mewma, np.float32(0)) * np.float32(VECTOR_GAIN / live)
        ratios[:, :4] /= detector.threshold_vector
        ratios[:, 4] = self.smoothed[:, -1] * np.float32(MOVED_WEIGHT)
        self.leading = ratios.argmax(1).astype(np.int8)
        self.attribution = np.where((self.leading == 0)[:, None], self.contribution, persistent)
        self.score = np.where(self.judged, ratios.max(1), np.float32(np.nan))
        previous = plan.shifted(self.state.score, self.score, np.nan)
        with np.errstate(invalid="ignore"):
            rising = (ratios[:, 0] >= 1) | self.moved.any(1) | ~(self.score < previous)
            self.fresh = (self.score >= 1) & rising

    def pack(self, z: Floats32, memory: Floats32, prediction: Floats32) -> tuple[State, Ticks]:
        """The next state of the machines, and the outcome of every row."""
        detector, plan = self.detector, self.plan
        scoring = detector.scoring
        p_value = scoring.p_values[np.searchsorted(scoring.knots, self.score)]
        p_value[~self.judged] = np.nan
        residual, contribution = self._wide(self.residual), self._wide(self.contribution)
        attribution = self._wide(self.attribution)
        if detector.fixed.size:
            news = self.leading == len(STATISTICS)
            attribution[news] = 0
            attribution[np.ix_(news, detector.fixed)] = self.moved[news]
        ticks = Ticks(
            score=self.score,
            p_value=p_value,
            fresh=self.fresh,
            leading=self.leading,
            residual=residual,
            contribution=contribution,
            attribution=attribution,
            z=z,
            memory=memory,
            warming=self.before > 0,
        )
        last = plan.last_rows(plan.first)
        live = len(detector.live)
        state = State(
            memory=memory[last],
            prediction=self._wide(prediction[last]),
            mewma=self._wide(self.smoothed[last, :live]),
            ewma=self.smoothed[last, live:],
            residual=residual[last],
            skipped=np.zeros(len(last), np.int32) if plan.skipped is None else plan.skipped[last].astype(np.int32),
            z=z[last],
            score=self.score[last],
            leading=self.leading[last],
            warm_left=np.maximum(self.before[last] - ~self.blind[last], 0).astype(np.int32),
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
