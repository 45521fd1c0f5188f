"""A simulated fleet of pump skids (`models/pump.py`) with labelled faults, for the demo and the tests.

The machines belong to the `seed`, what happens to them to `seed` and `start`: the same seed with a later start is the
same fleet on other days, so one may train on the first and judge on the second. A machine's draws depend neither on the
number of machines nor on the faults: the difference to a run without a fault is that fault. Ambient temperature, a
daily cycle and weather, is that of the site: all machines share it.

A label is 1 while a fault is there. Wear, leak and drift begin small, so their first ticks are labelled and hardly to
be seen; temperatures that followed a load are labelled 0 while they come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from models.contract import MICROSECONDS, DataError, Floats, Ints
from models.pump import AFFECTED, HOUR, KINDS, NAMES, SENSORS, Fault, Kind, Streams, hour_of_day, noise, run

MACHINES, CAVITIES, COURSE, SITE, FAULTS = range(5)  # what random numbers are for
HOURS: dict[Kind, tuple[float, float]] = {
    "bearing_wear": (6, 12),
    "cavitation": (1, 3),
    "blocked_valve": (1, 3),
    "leak": (2, 5),
    "sensor_drift": (6, 12),
    "frozen_sensor": (1, 3),
}  # shortest and longest, of faults that are drawn


@dataclass(frozen=True, slots=True)
class Fleet:
    """m machines over n ticks: `time` (n,) microseconds, `values` (m, n, d) in `units`, `label` (m, n) 1 = faulty."""

    sensors: tuple[str, ...]
    units: tuple[str, ...]
    equipment: tuple[str, ...]
    time: Ints
    values: Floats
    label: Ints
    faults: tuple[Fault, ...]


def simulate(
    machines: int = 6,
    ticks: int = 20_000,
    interval_seconds: int = 10,
    start: str = "2026-01-01T00:00:00Z",
    faults: Sequence[Fault] | None = None,
    fault_rate: float = 1.0,
    seed: int = 0,
) -> Fleet:
    """The fleet over `ticks` readings each. `faults` as given, `()` for none; None draws about `fault_rate` faults per
    machine and day, the first after half to one and a half of the mean time between them.

    >>> fleet = simulate(machines=2, ticks=500, faults=[Fault("leak", machine=1, start=100, end=300)])
    >>> fleet.values.shape, fleet.label.sum(axis=1).tolist(), fleet.faults[0].sensors
    ((2, 500, 11), [0, 200], ('flow', 'discharge_pressure'))
    """
    for name, number in (("machines", machines), ("ticks", ticks), ("interval_seconds", interval_seconds)):
        if number < 1:
            raise DataError(f"{name} is {number}; expected 1 or more")
    if fault_rate < 0 or seed < 0:
        raise DataError(f"fault_rate is {fault_rate} and seed is {seed}; expected 0 or more")
    first = _microseconds(start)
    time = first + np.arange(ticks, dtype=np.int64) * (interval_seconds * MICROSECONDS)
    course = (seed, first % 2**63)
    drawn = _schedule(_generator(FAULTS, *course), machines, ticks, interval_seconds, fault_rate)
    chosen = drawn if faults is None else tuple(faults)
    for fault in chosen:
        if not (0 <= fault.machine < machines and 0 <= fault.start < fault.end <= ticks):
            raise DataError(f"{fault} lies outside {machines} machines and {ticks} ticks; expected start < end inside")
    ambient = _ambient(_generator(SITE, *course), time, interval_seconds)
    values = np.empty((machines, ticks, len(SENSORS)))
    label = np.zeros((machines, ticks), np.int8)
    for machine in range(machines):
        own = [fault for fault in chosen if fault.machine == machine]
        streams = Streams(
            _generator(MACHINES, seed, machine),
            _generator(COURSE, *course, machine),
            _generator(CAVITIES, *course, machine),
        )
        values[machine] = run(streams, own, time, ambient, interval_seconds)
        for fault in own:
            label[machine, fault.start : fault.end] = 1
    units = tuple(sensor.unit for sensor in SENSORS)
    return Fleet(NAMES, units, tuple(f"pump-{i + 1}" for i in range(machines)), time, values, label, chosen)


def write_csv(fleet: Fleet, path: str | Path) -> None:
    """One line for each machine and tick, in order of time: time, equipment, the sensors, label."""
    machines, ticks, d = fleet.values.shape
    by_time = fleet.values.transpose(1, 0, 2).reshape(ticks * machines, d)
    columns = {
        "time": pl.Series(np.repeat(fleet.time, machines)).cast(pl.Datetime("us")),
        "equipment": pl.Series(fleet.equipment)[np.tile(np.arange(machines), ticks)],
        **{name: by_time[:, column] for column, name in enumerate(fleet.sensors)},
        "label": fleet.label.T.reshape(-1),
    }
    pl.DataFrame(columns).write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")


def _generator(purpose: int, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([purpose, *numbers])


def _schedule(rng: np.random.Generator, machines: int, ticks: int, interval: int, rate: float) -> tuple[Fault, ...]:
    """Faults apart from each other; kinds take turns, each machine beginning with another one."""
    if rate == 0:
        return ()
    found = []
    order = rng.permutation(len(KINDS))
    for machine in range(machines):
        turn, at = machine, 0.0
        while True:
            kind = KINDS[order[turn % len(KINDS)]]
            at += HOUR + 24 * HOUR / rate * rng.uniform(0.5, 1.5)
            lasts = HOUR * rng.uniform(*HOURS[kind])
            sensor = NAMES[rng.integers(len(NAMES))]
            start, end = int(at / interval), int((at + lasts) / interval)
            if end > ticks:
                break
            if end > start:
                found.append(Fault(kind, machine, start, end, sensor="" if kind in AFFECTED else sensor))
            turn, at = turn + 1, at + lasts
    return tuple(found)


def _ambient(rng: np.random.Generator, time: Ints, interval: int) -> Floats:
    """Temperature of the site: warmest at 15:00 UTC, with weather of half a day."""
    weather = 0.8 * noise(rng, len(time), interval, 12 * HOUR)
    return 18 + 5 * np.sin(2 * np.pi * (hour_of_day(time) - 9) / 24) + weather


def _microseconds(start: str) -> int:
    try:
        found = datetime.fromisoformat(start)
    except ValueError:
        raise DataError(f"start is {start!r}; expected a time such as 2026-01-01T00:00:00Z") from None
    if found.tzinfo is None or found.microsecond:
        raise DataError(f"start is {start!r}; expected whole seconds and a zone, such as 2026-01-01T00:00:00Z")
    return int(found.timestamp()) * MICROSECONDS
