"""The sensors of one machine as a person wants to see them: what was expected, what came, and which make the score."""

from __future__ import annotations

from math import floor, log10

import msgspec

from models.detector import Detector
from models.diagnosis import Diagnosis

SHOWN_DIGITS = 5  # of physical values, counted from the sensor's normal standard deviation
SHARE_DIGITS = 6


class SensorView(msgspec.Struct, frozen=True):
    """One sensor at the last reading, in physical units. `contribution` is its part of `statistic`, `share` its part of
    the statistic that made the score. A missing value has neither `actual` nor `expected`."""

    sensor: str
    unit: str
    missing: bool
    actual: float | None
    expected: float | None
    contribution: float
    share: float


def sensor_views(detector: Detector, found: Diagnosis) -> list[SensorView]:
    """All sensors of a model, in its order."""
    return [
        SensorView(
            sensor=name,
            unit=detector.units[i],
            missing=bool(found.missing[i]),
            actual=None if found.missing[i] else without_noise(found.actual[i], detector.scale[i]),
            expected=None if found.missing[i] else without_noise(found.expected[i], detector.scale[i]),
            contribution=float(found.contribution[i]),
            share=round(float(found.share[i]), SHARE_DIGITS),
        )
        for i, name in enumerate(detector.sensors)
    ]


def without_noise(value: float, scale: float) -> float:
    """A physical value without the digits that float32 does not carry.

    >>> without_noise(1.2000000313, 0.5)
    1.2
    """
    return round(float(value), SHOWN_DIGITS - floor(log10(scale)))
