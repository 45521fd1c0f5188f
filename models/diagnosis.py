"""The last tick of one machine taken apart: what was expected of each sensor, what came, what each adds to the score.

Computed anew, in float64, from the state that serving keeps; `judgement.py` has the same for every tick of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.contract import Bools, Floats
from models.detector import Detector
from models.explain import contributions, shares
from models.score import MOVED, STATISTICS, VECTOR_GAIN, full_set_equivalent, moved_sensors
from models.state import State


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """By sensor of the model, each (d,): `actual` and `expected` in physical units, of no use where `missing`;
    `contribution` to `statistic`, the squared prediction error, its sum; `share` of the statistic that made the score,
    which `leading` names (None, and no shares, where there is no score)."""

    leading: str | None
    statistic: float
    missing: Bools
    actual: Floats
    expected: Floats
    contribution: Floats
    share: Floats


def diagnose(detector: Detector, state: State, centre: int) -> Diagnosis | None:
    """From the state of one machine, whose means are row `centre` of the detector; None where it has had no tick."""
    z, residual = state.z[0], state.residual[0]
    missing: Bools = np.isnan(z)
    if state.warm_left[0] == detector.warmup and missing.all():
        return None
    actual = detector.physical(z, centre)
    error = detector.prediction_error(residual, int(state.skipped[0]))
    expected = detector.physical((z - error).astype(np.float32), centre)
    expected[detector.fixed] = detector.physical(np.zeros_like(z), centre)[detector.fixed]
    contribution = _contribution(detector, state)
    leading, share = None, np.zeros(len(z))
    if not np.isnan(state.score[0]):
        leading = (*STATISTICS, MOVED)[state.leading[0]]
        share = shares(_attribution(detector, state, contribution, actual, centre)[None])[0]
    return Diagnosis(leading, float(contribution.sum()), missing, actual, expected, contribution, share)


def _contribution(detector: Detector, state: State) -> Floats:
    """(d,) parts of the squared prediction error, scaled as if every sensor had been measured."""
    live = detector.live
    part = contributions(state.residual[:, live].astype(np.float64), detector.scoring.precision.astype(np.float64))
    observed, q = int((~np.isnan(state.z[0, live])).sum()), float(part.sum())
    if 0 < observed < len(live) and q > 0:
        part *= full_set_equivalent(np.array([q]), np.array([observed]), len(live))[0] / q
    wide = np.zeros(len(detector.sensors))
    wide[live] = part[0]
    return wide


def _attribution(detector: Detector, state: State, contribution: Floats, actual: Floats, centre: int) -> Floats:
    """(d,) what each sensor adds to the leading statistic."""
    leading = int(state.leading[0])
    if leading == 0:
        return contribution
    wide = np.zeros(len(detector.sensors))
    if leading == len(STATISTICS):
        home, tolerance = detector.fixed_values(np.array([centre]))
        wide[detector.fixed] = moved_sensors(actual[None, detector.fixed], home, tolerance)[0]
    else:
        vector = state.mewma[:, detector.live].astype(np.float64)
        wide[detector.live] = contributions(vector, detector.scoring.precision.astype(np.float64))[0] * VECTOR_GAIN
    return wide
