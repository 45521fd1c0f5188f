"""A simulated fleet of pump skids (`models/pump.py`) with labelled faults, for the demo and the tests.

The machines belong to the `seed`, what happens to them to `seed` and `start`: the same seed with a later start is the
same fleet on other days, so one may train on the first and judge on the second. A machine's draws depend neither on the
number of machines nor on the faults: the difference to a run without a fault is that fault. Ambient temperature, a
daily cycle and draught, is that of the pump house: all machines share it.

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
    "frozen_sensor": (4, 8),
}  # shortest and longest, of faults that are drawn
FAILING = ("flow", "discharge_pressure", "speed", "motor_current")  # transmitters that drift or freeze when drawn
SHARE_MAX = 0.6  # of the time a drawn fault has to itself


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
    fault_after: float = 0.6,
    seed: int = 0,
) -> Fleet:
    """The fleet over `ticks` readings each. `faults` as given, `()` for none; None draws one of each kind, spread over
    the machines, after the share `fault_after` of the ticks: what comes before is normal and may be trained on.

    >>> fleet = simulate(machines=2, ticks=500, faults=[Fault("leak", machine=1, start=100, end=300)])
    >>> fleet.values.shape, fleet.label.sum(axis=1).tolist(), fleet.faults[0].sensors
    ((2, 500, 11), [0, 200], ('flow', 'discharge_pressure'))
    """
    for name, number in (("machines", machines), ("ticks", ticks), ("interval_seconds", interval_seconds)):
        if number < 1:
            raise DataError(f"{name} is {number}; expected 1 or more")
    if seed < 0:
        raise DataError(f"seed is {seed}; expected 0 or more")
    if not 0 <= fault_after <= 1:
        raise DataError(f"fault_after is {fault_after}; expected a share of the ticks from 0 to 1")
    first = _microseconds(start)
    time = first + np.arange(ticks, dtype=np.int64) * (interval_seconds * MICROSECONDS)
    course = (seed, first % 2**63)
    drawn = _schedule(_generator(FAULTS, *course), machines, ticks, interval_seconds, fault_after)
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


def _schedule(rng: np.random.Generator, machines: int, ticks: int, interval: int, after: float) -> tuple[Fault, ...]:
    """One fault of each kind, each on a machine of its own where there are as many; those of one machine follow each
    other with a pause between."""
    found = []
    order = rng.permutation(machines)
    turns = -(-len(KINDS) // machines)
    begin = int(np.ceil(after * ticks))
    slot = (ticks - begin) / turns
    for number, kind in enumerate(KINDS):
        lasts = min(HOUR * rng.uniform(*HOURS[kind]) / interval, SHARE_MAX * slot)
        at = begin + slot * (number // machines) + rng.uniform(0.1, 0.9) * (slot - lasts)
        sensor = "" if kind in AFFECTED else str(rng.choice(FAILING))
        start, end = int(at), int(at + lasts)
        if end > start:
            found.append(Fault(kind, int(order[number % machines]), start, end, sensor=sensor))
    return tuple(found)


def _ambient(rng: np.random.Generator, time: Ints, interval: int) -> Floats:
    """Temperature of the pump house: warmest at 15:00 UTC, with the draught of doors and fans."""
    draught = 2 * noise(rng, len(time), interval, 1200)
    return 18 + 1.5 * np.sin(2 * np.pi * (hour_of_day(time) - 9) / 24) + draught


def _microseconds(start: str) -> int:
    try:
        found = datetime.fromisoformat(start)
    except ValueError:
        raise DataError(f"start is {start!r}; expected a time such as 2026-01-01T00:00:00Z") from None
    if found.tzinfo is None or found.microsecond:
        raise DataError(f"start is {start!r}; expected whole seconds and a zone, such as 2026-01-01T00:00:00Z")
    return int(found.timestamp()) * MICROSECONDS
