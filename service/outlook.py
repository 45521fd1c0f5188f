"""What is expected of one machine, as `limen forecast` and the service tell it: times as text, unknown numbers null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

import msgspec
import numpy as np

from models.artifact import LoadedModel
from models.contract import MICROSECONDS, DataError, Floats
from models.exports.findings import some
from models.forecast import Forecast, Reach, forecast, reach
from models.horizons import LEVELS
from models.state import State
from service.errors import shown
from service.ingest.times import TIME_MAX, time_text
from service.inspection import without_noise

COVERAGE_MIN, COVERAGE_MAX = LEVELS[0], LEVELS[-1]


class SensorForecast(msgspec.Struct, frozen=True):
    """One sensor, in physical units: where it stands `now`, and at each time what is expected of it and the ends of the
    interval; these are null where no interval is known."""

    sensor: str
    unit: str
    now: float | None
    expected: list[float | None]
    lower: list[float | None]
    upper: list[float | None]


class LimitForecast(msgspec.Struct, frozen=True):
    """When a sensor reaches a limit: `expected` by the forecast, `earliest` and `latest` by the edges of its interval;
    null where that is not within the horizon."""

    sensor: str
    limit: float
    rising: bool
    expected: str | None
    earliest: str | None
    latest: str | None


class MachineForecast(msgspec.Struct, frozen=True):
    """The ticks after the last reading of one machine. Intervals are to cover `coverage` of the values, each by itself;
    they are known up to `interval_ticks_max` ticks ahead."""

    equipment: str
    model: str
    version: int
    last_time: str
    interval_seconds: float
    coverage: float
    interval_ticks_max: int
    times: list[str]
    sensors: list[SensorForecast]
    limits: list[LimitForecast]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: so many `ticks`, intervals to cover a share, of some `sensors` (none named: all), and the time
    until limits are reached."""

    ticks: int
    coverage: float
    sensors: Sequence[str] = ()
    limits: Sequence[tuple[str, float]] = field(default=())


@dataclass(frozen=True, slots=True)
class Standing:
    """A machine at its last reading: state, row of the detector's means, time (microseconds), and the ticks since it
    last had any value."""

    equipment: str
    state: State
    centre: int
    time: int
    blind: int


def blind_ticks(last: int, valued: int, interval: int) -> int:
    """Ticks up to the `last` one since the one that had any value, by their times.

    >>> blind_ticks(40, 10, 10), blind_ticks(40, 40, 10)
    (3, 0)
    """
    return (last - valued + interval // 2) // interval


def parse_limit(text: str) -> tuple[str, float]:
    """DataError where it is no limit.

    >>> parse_limit("flow=120.5")
    ('flow', 120.5)
    """
    name, _, value = text.rpartition("=")
    try:
        limit = float(value)
    except ValueError:
        limit = float("nan")
    if not name or not isfinite(limit):
        raise DataError(f"limit is {shown(text)}; expected SENSOR=VALUE, such as flow=120.5")
    return name, limit


def check_names(model: LoadedModel, names: Sequence[str]) -> None:
    """DataError where a name is none of the model's sensors."""
    for name in names:
        if name not in model.detector.sensors:
            known = some(model.detector.sensors)
            raise DataError(f"sensor {shown(name)} is not known to model {model.name}; expected one of {known}")


def outlook(model: LoadedModel, machine: Standing, wanted: Wanted) -> MachineForecast:
    """The forecast of one machine. The names in `wanted` are sensors of the model."""
    detector = model.detector
    found = forecast(
        detector, model.horizons, machine.state, machine.centre, wanted.ticks, wanted.coverage, machine.blind
    )
    place = {name: column for column, name in enumerate(detector.sensors)}
    return MachineForecast(
        equipment=machine.equipment,
        model=model.name,
        version=model.version,
        last_time=time_text(machine.time),
        interval_seconds=detector.interval / MICROSECONDS,
        coverage=wanted.coverage,
        interval_ticks_max=max(model.horizons.ticks_max - machine.blind, 0) if model.horizons else 0,
        times=[_time(machine, detector.interval, tick) for tick in range(1, wanted.ticks + 1)],
        sensors=[_sensor(model, found, place[name]) for name in dict.fromkeys(wanted.sensors or detector.sensors)],
        limits=[
            _limit(machine, detector.interval, name, limit, reach(found, place[name], limit))
            for name, limit in wanted.limits
        ],
    )


def _time(machine: Standing, interval: int, tick: int) -> str:
    return time_text(min(machine.time + tick * interval, TIME_MAX))


def _sensor(model: LoadedModel, found: Forecast, column: int) -> SensorForecast:
    detector = model.detector
    scale = float(detector.scale[column])
    columns = (_numbers(values[:, column], scale) for values in (found.expected, found.lower, found.upper))
    now = _numbers(found.now[column : column + 1], scale)[0]
    return SensorForecast(detector.sensors[column], detector.units[column], now, *columns)


def _numbers(values: Floats, scale: float) -> list[float | None]:
    return [without_noise(value, scale) if np.isfinite(value) else None for value in values.tolist()]


def _limit(machine: Standing, interval: int, sensor: str, limit: float, found: Reach) -> LimitForecast:
    times = (
        None if ticks is None else _time(machine, interval, ticks)
        for ticks in (found.expected, found.earliest, found.latest)
    )
    return LimitForecast(sensor, limit, found.rising, *times)
