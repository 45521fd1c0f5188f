"""A model tried out before it is accepted: a few ticks through the kernel and the drift monitor.

Weights can be finite one by one and still overflow as products; such a model would leave every reading without a score.
Every number that serving would answer or keep has to be one.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from models.contract import Floats, ModelError
from models.detector import Z_MAX, Detector
from models.drift import RECENT_MIN, DriftMonitor, DriftReference
from models.state import State, Ticks

LEVELS = (0.0, 3.0, -3.0, Z_MAX)  # standard deviations at which a machine of its own stands
TICKS = 8
SKIPPED_MAX = 100  # ticks that do not come
MAY_BE_NAN = ("z", "score", "p_value")  # of a tick without any sensor


def try_out(detector: Detector, drift: DriftReference) -> None:
    """ModelError where a model gives numbers that are none, on readings that may well come."""
    try:
        with np.errstate(all="ignore"):
            _try_detector(detector, drift)
    except (ArithmeticError, IndexError, np.linalg.LinAlgError) as error:
        raise ModelError(f"the model cannot be used: tried out, it fails with {error}") from None


def _try_detector(detector: Detector, drift: DriftReference) -> None:
    monitor = DriftMonitor(drift)
    state = detector.init_state(len(LEVELS) + 2)
    state.warm_left[:] = 0  # as if every machine had been seen long enough
    for tick in range(TICKS):
        state, ticks = detector.step(state, _readings(detector, tick))
        _check(state, ticks)
        monitor.update(*(np.repeat(rows, int(RECENT_MIN), axis=0) for rows in (ticks.z, ticks.p_value, ticks.memory)))
    for skipped in (1, detector.gap_reset // detector.interval):
        late = np.full(len(state), min(skipped, SKIPPED_MAX), np.int64)
        state, ticks = detector.advance(state, _readings(detector, 0), [len(state)], skipped=late)
        _check(state, ticks)
    said = {"score drift": monitor.score_drift(), "memory drift": monitor.memory_drift()}
    for name, value in said.items():
        if not np.isfinite(value):
            raise ModelError(f"{name} is {value} when the model is tried out; expected a finite number")
    monitor.input_drift()


def _readings(detector: Detector, tick: int) -> Floats:
    """(machines, d) in physical units: one at each of `LEVELS`, odd sensors against even ones and turning from tick to
    tick where it is not the first two; one that lacks a sensor, and one that lacks all."""
    d = len(detector.sensors)
    signs = np.where((np.arange(d) + tick) % 2, -1.0, 1.0)
    z = np.array([[level] * d for level in LEVELS] + [[0.0] * d] * 2)
    z[2:] *= signs
    x: Floats = detector.mean + detector.scale * z
    x[:, detector.fixed] = detector.mean[detector.fixed]
    x[-2, detector.live[tick % len(detector.live)]] = np.nan
    x[-1] = np.nan
    return x


def _check(state: State, ticks: Ticks) -> None:
    """Every number is one, but for those of the machine without sensors that may be none."""
    for found, what in ((ticks, "readings"), (state, "machines")):
        for field in fields(found):
            values = np.asarray(getattr(found, field.name))
            judged = values[:-2] if field.name in MAY_BE_NAN else values
            if values.dtype.kind == "f" and not np.isfinite(judged).all():
                raise ModelError(
                    f"{field.name} of {what} is not finite when the model is tried out: its weights are finite, their "
                    "products are not; train the model again"
                )
