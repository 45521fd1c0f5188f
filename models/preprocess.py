"""Physical units to standard deviations of normal operation; stored in the artifact.

    z = (x - centre of the machine) / scale

Several machines are each centred on themselves; the scale is their pooled standard deviation around those centres. A
sensor is constant that shows one value on each machine, however small or large its unit makes that value; it is marked,
not divided by zero: that it moves at all is judged on its resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.contract import Bools, Floats, ModelError

RELATIVE_RESOLUTION = 1e-6  # of a constant sensor's value: less is rounding, not movement
VALUE_MAX = 1e100  # of a measurement in training
ABSOLUTE_RESOLUTION = 1e-12  # of a sensor that is constant at zero
ROUNDING = 8 * np.finfo(np.float64).eps  # of a value: readings no further apart are equal but for their last digits


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive ticks of one machine; `x` (n, d) in physical units, NaN = missing."""

    equipment: str
    x: Floats

    @property
    def rows(self) -> int:
        """Ticks with any value."""
        return int((~np.isnan(self.x)).any(1).sum())


@dataclass(frozen=True, slots=True)
class Scaling:
    """`mean`, `scale`, `resolution` (d,), `constant` (d,) bool, `centres` (machines, d), one row per `equipment`."""

    mean: Floats
    scale: Floats
    constant: Bools
    resolution: Floats
    equipment: tuple[str, ...]
    centres: Floats

    def standardise(self, segment: Segment) -> Floats:
        """z (n, live sensors) float64 of a segment of training, NaN = missing."""
        centre = self.centres[self.equipment.index(segment.equipment)]
        return ((segment.x - centre) / self.scale)[:, ~self.constant]


def fit_scaling(segments: list[Segment], sensors: tuple[str, ...]) -> Scaling:
    """Learn centres and scales from normal operation. Raises ModelError naming a sensor without any value, or where
    no sensor moves at all."""
    equipment = tuple(dict.fromkeys(s.equipment for s in segments))
    d = len(sensors)
    counts, sums = np.zeros((len(equipment), d)), np.zeros((len(equipment), d))
    low, high = np.full((len(equipment), d), np.inf), np.full((len(equipment), d), -np.inf)
    for s in segments:
        row = equipment.index(s.equipment)
        counts[row] += np.isfinite(s.x).sum(0)
        sums[row] += np.nansum(s.x, axis=0)
        low[row] = np.fmin(low[row], np.fmin.reduce(s.x, axis=0, initial=np.inf))
        high[row] = np.fmax(high[row], np.fmax.reduce(s.x, axis=0, initial=-np.inf))
    seen = counts.sum(0)
    if (seen == 0).any():
        name = sensors[int(np.argmin(seen))]
        raise ModelError(f"sensor {name!r} has no value in the rows used for training; leave it out with --ignore")
    constant = (is_level(low, high) | (counts == 0)).all(0)
    if constant.all():
        raise ModelError(
            f"none of the {d} sensors moves in the rows used for training; nothing can be learned from them"
        )
    _check_range(sensors, np.where(constant, 0, low), np.where(constant, 0, high))
    mean = sums.sum(0) / seen
    centres = np.where(counts > 0, sums / np.maximum(counts, 1), mean)
    magnitude = np.maximum(np.abs(mean), np.abs(centres).max(0))
    span = np.where(constant, np.maximum(magnitude, 1), np.where(counts > 0, high - low, 0).max(0))
    squares = np.zeros(d)
    steps = np.full(d, np.inf)
    for s in segments:
        centred = (s.x - centres[equipment.index(s.equipment)]) / span
        squares += np.nansum(centred**2, axis=0)
        steps = np.minimum(steps, _smallest_step(s.x))
    floor = np.where(magnitude > 0, RELATIVE_RESOLUTION * magnitude, ABSOLUTE_RESOLUTION)
    resolution = np.where(constant | ~np.isfinite(steps), floor, steps)
    scale = np.where(constant, resolution, span * np.sqrt(squares / seen))
    return Scaling(mean, scale, constant, resolution, equipment, centres)


def _check_range(sensors: tuple[str, ...], low: Floats, high: Floats) -> None:
    """ModelError naming a sensor whose values are so great that sums of their squares are not finite."""
    greatest = np.where(low <= high, np.maximum(np.abs(low), np.abs(high)), 0).max(0)
    if (greatest > VALUE_MAX).any():
        worst = int(greatest.argmax())
        raise ModelError(
            f"sensor {sensors[worst]!r} has values up to {greatest[worst]:.3g}; expected at most {VALUE_MAX:g}: name "
            "what is no measurement with --missing, or leave the sensor out with --ignore"
        )


def is_level(low: Floats, high: Floats) -> Bools:
    """Whether the lowest and the highest of some values are one value, but for the rounding of float64; no value at
    all (low over high) is not.

    >>> is_level(np.array([0.3, 1e-9, 0.0, np.inf]), np.array([0.1 + 0.2, 1.1e-9, 0.0, -np.inf]))
    array([ True, False,  True, False])
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return (low <= high) & (high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high)))


def _smallest_step(x: Floats, rows: int = 20_000) -> Floats:
    """Smallest change each sensor shows between two rows, (d,); infinite where it shows none."""
    change = np.abs(np.diff(x[:rows], axis=0))
    change[~(change > 0)] = np.inf
    return change.min(0, initial=np.inf)
