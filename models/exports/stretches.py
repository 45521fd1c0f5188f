"""Stretches of a recording that stand out: gaps, frozen sensors, suspected shutdowns; and sensors that never move."""

from __future__ import annotations

import numpy as np

from models.contract import Bools, Floats, Ints
from models.preprocess import is_level

FROZEN_TICKS = 30  # a run of equal values shorter than this is never called frozen
FROZEN_VALUES = 10  # a sensor with fewer different values is a switch or a setpoint
FROZEN_RATIO = 20  # nor one shorter than so many times the usual run of that sensor
GAP_RATIO = 3  # a step longer than so many median steps is a gap
WINDOW_TICKS = 30  # stretches of so many ticks are compared when shutdowns are looked for
WINDOWS_MIN = 20  # with fewer windows nothing can be said to be unusual
QUIET_RATIO = 0.1  # a sensor is quiet where it spreads less than so much of its usual spread
LOW_RATIO = 0.2  # a sensor is low where it is under so much of its usual level
SHUTDOWN_SHARE = 0.5  # of the sensors that move, quiet or low at once

Runs = list[tuple[int, int]]  # half-open (start, stop)


def is_constant(values: Floats) -> Bools:
    """Columns of `values` (n, d) that never change but for rounding, NaN left out; one without any value is not among
    them.

    >>> is_constant(np.array([[1.0, 2.0], [np.nan, 3.0], [1.0, 2.0]]))
    array([ True, False])
    """
    low = np.fmin.reduce(values, axis=0, initial=np.inf)
    high = np.fmax.reduce(values, axis=0, initial=-np.inf)
    return is_level(low, high)


def frozen_runs(x: Floats) -> Runs:
    """Stretches in which a sensor `x` (n,) that usually moves repeats one value.

    A run is frozen when it lasts at least 30 ticks and 20 times the mean of its other runs, and the sensor changes at
    least every second tick elsewhere and has ten values or more (a setpoint, a switch, a slow analyser are not frozen).
    NaN ends a run.

    >>> moving = np.arange(100.0)
    >>> frozen_runs(np.concatenate([moving, np.full(50, 7.0), moving]))
    [(100, 150)]
    """
    if len(x) < FROZEN_TICKS:
        return []
    starts = np.flatnonzero(np.concatenate([[True], x[1:] != x[:-1]]))
    lengths = np.diff(starts, append=len(x))
    long = lengths >= FROZEN_TICKS
    if not long.any() or long.all():
        return []
    usual = lengths[~long].mean()
    if usual > 2 or len(np.unique(x[~np.isnan(x)])) < FROZEN_VALUES:
        return []
    found = np.flatnonzero(long & (lengths >= FROZEN_RATIO * usual))
    return [(int(starts[i]), int(starts[i] + lengths[i])) for i in found]


def gap_steps(time: Ints, interval: int) -> Ints:
    """Positions i for which the step from time[i] to time[i + 1] is longer than three times the interval.

    >>> gap_steps(np.array([0, 10, 20, 90, 100]), 10)
    array([2])
    """
    return np.flatnonzero(np.diff(time) > GAP_RATIO * interval)


def shutdown_runs(values: Floats) -> Runs:
    """Stretches in which most sensors of `values` (n, d) go quiet or fall at once.

    By windows of 30 ticks: a sensor is quiet where its spread is under a tenth of the spread it shows in the busier
    quarter of windows, low where its mean is under a fifth of its upper level and that level stands clear of its
    spread. Where at least half of the sensors that move at all are quiet or low, the machine probably stood still.

    >>> running = 50 + np.sin(np.outer(np.arange(3000.0), [1.1, 1.7, 2.3]))
    >>> running[900:1200] = 0
    >>> shutdown_runs(running)
    [(900, 1200)]
    """
    windows = len(values) // WINDOW_TICKS
    moving = ~is_constant(values) & ~np.isnan(values).all(axis=0)
    if windows < WINDOWS_MIN or moving.sum() < 2:
        return []
    means, spreads = _window_moments(values[: windows * WINDOW_TICKS])
    moving &= ~np.isnan(means).all(axis=0)
    means, spreads = means[:, moving], spreads[:, moving]
    usual_spread = np.nanquantile(spreads, 0.75, axis=0)
    usual_level = np.nanquantile(np.abs(means), 0.75, axis=0)
    quiet = spreads < QUIET_RATIO * usual_spread
    low = (np.abs(means) < LOW_RATIO * usual_level) & (usual_level > 5 * usual_spread)
    down = (quiet | low).mean(axis=1) >= SHUTDOWN_SHARE
    edges = np.flatnonzero(np.diff(np.concatenate([[False], down, [False]]).astype(np.int8)))
    return [(int(a) * WINDOW_TICKS, int(b) * WINDOW_TICKS) for a, b in edges.reshape(-1, 2)]


def _window_moments(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each window and sensor, NaN left out; NaN where a window has no value."""
    cut = values.reshape(-1, WINDOW_TICKS, values.shape[1])
    present = ~np.isnan(cut)
    count = present.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, cut, 0).sum(axis=1) / count
        square = np.where(present, cut - mean[:, None], 0) ** 2
        return mean, np.sqrt(square.sum(axis=1) / count)
