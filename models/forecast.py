"""What is to be expected of one machine: its memory run forward without input.

Each tick takes its own prediction for granted: from m_t, z_{t+1} = y_t, m_{t+1} = step(m_t, z_{t+1}), and so on. The
interval around what is expected k ticks ahead is as wide as the held-out errors of that horizon (`horizons.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from models.contract import Bools, Floats, Floats32, Ints
from models.detector import Z_MAX, Detector
from models.horizons import HorizonErrors
from models.score import moved_sensors
from models.state import State

ORIGINS_MAX = 2_000  # ticks of a recording that are forecast from, to see how many values intervals cover


@dataclass(frozen=True, slots=True)
class Forecast:
    """The n ticks after the last one of a machine, in physical units: `expected`, `lower` and `upper` (n, d), the last
    two NaN where no interval is known; `now` (d,) is where each sensor stands."""

    now: Floats
    expected: Floats
    lower: Floats
    upper: Floats


@dataclass(frozen=True, slots=True)
class Reach:
    """Ticks until a sensor reaches a limit: `expected` by the forecast, `earliest` and `latest` by the edges of its
    interval; None: not within the horizon. `rising`: it stands below the limit now."""

    rising: bool
    expected: int | None
    earliest: int | None
    latest: int | None


def ahead(detector: Detector, memory: Floats32, prediction: Floats32, ticks: int) -> Iterator[Floats32]:
    """What is expected of n machines, (n, live) standardised, one tick after the other: from their `memory` (n, p) and
    the `prediction` (n, live) that it makes."""
    for tick in range(ticks):
        if tick:
            memory, prediction = detector.network.step(memory, prediction)
        prediction = np.clip(prediction, -Z_MAX, Z_MAX)
        yield prediction


def forecast(
    detector: Detector,
    horizons: HorizonErrors | None,
    state: State,
    centre: int,
    ticks: int,
    coverage: float,
    blind: int = 0,
) -> Forecast:
    """The next `ticks` of one machine from its `state`, which is left as it is; `centre` is its row of the detector's
    means, `blind` the ticks since it last had any value. A sensor that is missing now has the widest interval: for how
    long it has been missing is not known. One that never moved in training stays where it is."""
    live, fixed = detector.live, detector.fixed
    z = np.zeros((ticks, len(detector.sensors)), np.float32)
    z[:, live] = np.concatenate(list(ahead(detector, state.memory, state.prediction[:, live], ticks)))
    now, expected = detector.physical(state.z, centre)[0], detector.physical(z, centre)
    half = np.full(expected.shape, np.nan)
    if horizons is not None:
        half[:, live] = _half_widths(horizons, state.z[0, live], ticks, coverage, blind) * detector.scale[live]
    if fixed.size:
        now[fixed], moved = _standing(detector, now[fixed], state.z[0, fixed], centre)
        expected[:, fixed], half[:, fixed] = now[fixed], np.where(moved, np.nan, 0.0)
    return Forecast(np.where(np.isnan(now), expected[0], now), expected, expected - half, expected + half)


def _half_widths(horizons: HorizonErrors, z: Floats32, ticks: int, coverage: float, blind: int) -> Floats:
    """(ticks, live), standardised; `z` (live,) is the last tick."""
    far = np.arange(1, ticks + 1) + blind
    half, missing = horizons.half_widths(far, coverage), np.isnan(z)
    if missing.any() and not missing.all():
        widest = horizons.half_widths(np.maximum(far, max(horizons.ticks_max, 1)), coverage)
        half[:, missing] = np.fmax(half, widest)[:, missing]
    return half


def _standing(detector: Detector, now: Floats, z: Floats32, centre: int) -> tuple[Floats, Bools]:
    """Where the constant sensors (c,) stand and whether that is elsewhere than in training; NaN for one that is too far
    off to tell."""
    home, tolerance = (row[0] for row in detector.fixed_values(np.array([centre])))
    moved: Bools = moved_sensors(now, home, tolerance)
    close = np.isnan(now) | (np.abs(now - home) <= detector.resolution[detector.fixed])
    return np.where(close, home, np.where(np.abs(z) < Z_MAX, now, np.nan)), moved


def reach(found: Forecast, sensor: int, limit: float) -> Reach:
    """When a sensor (its column) reaches a limit, from the side on which it stands now; 0 ticks where it is there."""
    now = float(found.now[sensor])
    if now == limit:
        return Reach(False, 0, 0, 0)
    rising = now < limit
    near, far = (found.upper, found.lower) if rising else (found.lower, found.upper)
    columns = (found.expected[:, sensor], near[:, sensor], far[:, sensor])
    return Reach(rising, *(_first(column >= limit if rising else column <= limit) for column in columns))


def _first(there: Bools) -> int | None:
    return int(there.argmax()) + 1 if there.any() else None


@dataclass(frozen=True, slots=True)
class Covered:
    """Forecasts against what came, at one horizon, by sensor (live,): how many `values` came where an interval was
    known, how many were `inside` it, and the sums of squared errors, standardised, of the forecast and of taking the
    last value in its place. Those of several recordings add."""

    values: Floats
    inside: Floats
    squares: Floats
    last_squares: Floats

    def __add__(self, other: Covered) -> Covered:
        return Covered(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def covered(
    detector: Detector,
    horizons: HorizonErrors,
    memory: Floats32,
    z: Floats32,
    time: Ints,
    use: Bools,
    steps: Sequence[int],
    coverage: float,
) -> list[Covered]:
    """Forecasts from within a recording against what came, at horizons `steps`: `memory` (n, p) after each tick, the
    ticks `z` (n, live), their `time` (n,); from those of `use` (n,), spread over it. What came counts where it is as
    many ticks later as it should be."""
    origins = np.flatnonzero(use)
    origins = origins[:: max(1, -(-len(origins) // ORIGINS_MAX))]
    start, found = memory[origins], []
    for step, expected in enumerate(ahead(detector, start, detector.network.read_out(start), max(steps)), 1):
        if step in steps:
            there = origins + step < len(z)
            here, then = origins[there], origins[there] + step
            late = np.abs(time[then] - time[here] - step * detector.interval) > detector.interval // 2
            came = np.where(late[:, None], np.nan, z[then]).astype(np.float64)
            half = horizons.half_widths(np.array([step]), coverage)
            found.append(_covered(came - expected[there], came - z[here], half))
    return found


def _covered(error: Floats, last: Floats, half: Floats) -> Covered:
    told = ~np.isnan(error) & ~np.isnan(last) & ~np.isnan(half)
    squares, last_squares = (np.where(told, e, 0.0) ** 2 for e in (error, last))
    inside = told & (np.abs(error) <= half)
    return Covered(told.sum(0), inside.sum(0), squares.sum(0), last_squares.sum(0))
