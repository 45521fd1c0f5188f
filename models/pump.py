"""One pump skid: its transmitters, its physics and its faults.

A centrifugal pump behind a variable-speed drive, between a tank and its pipework. With n the speed relative to nominal,
Q the flow through the pump (m3/h) and s the severity of a fault, 0 to 1:

    pump       H = H0 n^2 - c Q^2                        head in m; affinity laws
    system     H = H_static + k (1 + 2 s_valve) ((1 - 0.15 s_leak) Q)^2        the leak is before the flow meter
    power      P = rho g Q H / eta(Q / n) + friction     eta falls off on both sides of the best-efficiency point
    current    I = sqrt(I_magnetising^2 + (P / (sqrt(3) U cos(phi) eta_motor))^2)
    heat       tau dT/dt = T_ambient + rise - T          motor: rise ~ I^2, tau 40 min; bearings: ~ n^1.5, tau 20 min
    vibration  ~ n^2 (1 + 3 (Q / (n Q_best) - 1)^2)      unbalance, and turbulence away from the best point

Bearing wear warms its bearing and triples its vibration; cavitation, behind a strainer that clogs, lowers
suction and head, makes both unsteady and shakes the pump; a transmitter may drift away or show its last value on.
Speed is ramped between three operating points, higher by day, and hunts a little. Demand, tank level, vibration and
every transmitter carry autocorrelated noise. Each machine differs from the next in every constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.signal import lfilter

from models.contract import MICROSECONDS, DataError, Floats, Ints

Kind = Literal["bearing_wear", "cavitation", "blocked_valve", "leak", "sensor_drift", "frozen_sensor"]
KINDS: tuple[Kind, ...] = get_args(Kind)
HOUR = 3600.0
GRAVITY, DENSITY = 9.81, 998.0
NOMINAL_RPM = 1475.0
BAR_PER_METRE = DENSITY * GRAVITY / 1e5
AMPERES_PER_KILOWATT = 1000 / (np.sqrt(3) * 400 * 0.86 * 0.92)
RAMP_SECONDS = 600.0  # from one operating point to another, slow enough against water hammer
OPERATING_POINTS = (0.80, 0.90, 1.00)  # of the nominal speed
SHARES_BY_DAY, SHARES_BY_NIGHT = (0.20, 0.40, 0.40), (0.40, 0.40, 0.20)


@dataclass(frozen=True, slots=True)
class Transmitter:
    """A transmitter: standard deviation of its noise, decimals that it shows, and how far a drifting one gets."""

    name: str
    unit: str
    noise: float
    decimals: int
    drift: float


SENSORS = (
    Transmitter("flow", "m3/h", 1.0, 2, 18.0),
    Transmitter("suction_pressure", "bar", 0.006, 3, 0.25),
    Transmitter("discharge_pressure", "bar", 0.02, 3, 0.6),
    Transmitter("speed", "rpm", 1.5, 1, 60.0),
    Transmitter("motor_current", "A", 0.3, 2, 6.0),
    Transmitter("motor_temperature", "degC", 0.15, 1, 10.0),
    Transmitter("bearing_temperature_de", "degC", 0.15, 1, 8.0),
    Transmitter("bearing_temperature_nde", "degC", 0.15, 1, 8.0),
    Transmitter("vibration_de", "mm/s", 0.03, 3, 1.2),
    Transmitter("vibration_nde", "mm/s", 0.03, 3, 1.2),
    Transmitter("ambient_temperature", "degC", 0.1, 1, 6.0),
)
NAMES = tuple(sensor.name for sensor in SENSORS)
AFFECTED: dict[Kind, tuple[str, ...]] = {
    "bearing_wear": ("vibration_de", "bearing_temperature_de"),
    "cavitation": ("suction_pressure", "flow", "vibration_de", "vibration_nde"),
    "blocked_valve": ("flow", "discharge_pressure", "motor_current"),
    "leak": ("flow", "discharge_pressure"),
}
ONSET_SECONDS = {"cavitation": 600.0, "blocked_valve": 300.0, "leak": 1800.0}  # others grow until they end


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of machine number `machine` over the ticks `start` to `end`, `end` not included; `sensor` is the one
    that drifts or freezes, empty for other kinds. DataError where these contradict each other."""

    kind: Kind
    machine: int
    start: int
    end: int
    severity: float = 1.0
    sensor: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"fault kind is {self.kind!r}; expected one of {', '.join(KINDS)}")
        if self.kind in AFFECTED and self.sensor:
            raise DataError(f"{self.kind} names sensor {self.sensor!r}; only sensor_drift and frozen_sensor have one")
        if self.kind not in AFFECTED and self.sensor not in NAMES:
            raise DataError(f"sensor of {self.kind} is {self.sensor!r}; expected one of {', '.join(NAMES)}")
        if not 0 < self.severity <= 1:
            raise DataError(f"severity of {self.kind} is {self.severity}; expected more than 0 and at most 1")

    @property
    def sensors(self) -> tuple[str, ...]:
        """The sensors that it shows in."""
        return AFFECTED.get(self.kind) or (self.sensor,)


@dataclass(frozen=True, slots=True)
class Streams:
    """Random numbers of one machine: what it is, what happens to it, and, apart, what cavitation does to it, so that a
    fault moves no other draw."""

    character: np.random.Generator
    course: np.random.Generator
    cavities: np.random.Generator


def run(streams: Streams, faults: Sequence[Fault], time: Ints, ambient: Floats, interval: int) -> Floats:
    """The `SENSORS` of one machine, (n, d), at `time` (n,) microseconds, `interval` seconds apart, with its faults and
    the temperature of the site (n,)."""
    character, rng, n = streams.character, streams.course, len(time)
    severity = {kind: _severity(faults, kind, n, interval) for kind in AFFECTED}
    bubbles = noise(streams.cavities, n, interval, 15.0) * severity["cavitation"]

    def constant(value: float, spread: float) -> float:
        return float(value * (1 + spread * character.normal()))

    def varying(seconds: float, spread: float) -> Floats:
        return spread * noise(rng, n, interval, seconds)

    speed = _ramp(_setpoint(rng, time, interval), RAMP_SECONDS, interval) + varying(120, 0.004)
    leak = 1 - 0.15 * severity["leak"]
    head_0 = constant(60, 0.02) * (1 - 0.09 * severity["cavitation"] + 0.02 * bubbles)
    slope, static = constant(0.00104, 0.03), constant(10, 0.05)
    system = constant(0.00243, 0.05) * (1 + varying(900, 0.03)) * (1 + 2 * severity["blocked_valve"])
    through = np.sqrt(np.maximum(head_0 * speed**2 - static, 0) / (slope + system * leak**2))
    head = head_0 * speed**2 - slope * through**2
    away = through / speed / constant(120, 0.02) - 1
    efficiency = constant(0.74, 0.02) * (1 - 0.8 * away**2)
    friction = constant(0.4, 0.1) * speed**2 + 0.5 * severity["bearing_wear"]
    power = DENSITY * GRAVITY * through / HOUR * head / 1000 / efficiency + friction
    current = np.hypot(constant(14, 0.03), AMPERES_PER_KILOWATT * power)

    lost = 0.15 + 0.35 * severity["cavitation"]
    suction = constant(1.2, 0.04) + varying(2 * HOUR, 0.05) - lost * (through / 120) ** 2 + 0.03 * bubbles
    motor = _lag(ambient + constant(55, 0.05) * (current / 40) ** 2, 2400, interval)
    conducted = 0.12 * (motor - ambient)
    worn = _lag(16 * severity["bearing_wear"] * speed**1.5, 1200, interval) * (severity["bearing_wear"] > 0)
    bearing_de = _lag(ambient + constant(28, 0.06) * speed**1.5, 1200, interval) + conducted + worn
    bearing_nde = _lag(ambient + constant(21, 0.06) * speed**1.5, 1200, interval) + 0.5 * conducted

    shaken = speed**2 * (1 + 3 * away**2) * np.exp(varying(60, 0.06))
    collapse = severity["cavitation"] * 1.5 + np.abs(bubbles)
    vibration_de = constant(1.6, 0.12) * shaken * np.exp(varying(30, 0.05)) * (1 + 2.2 * severity["bearing_wear"])
    vibration_nde = constant(1.2, 0.12) * shaken * np.exp(varying(30, 0.05)) * (1 + 0.5 * severity["bearing_wear"])
    columns = (
        leak * through, suction, suction + BAR_PER_METRE * head, NOMINAL_RPM * speed, current, motor,
        bearing_de, bearing_nde, vibration_de + collapse, vibration_nde + 0.8 * collapse, ambient,
    )  # fmt: skip
    return _transmitted(np.stack(columns, axis=1), faults, rng, interval)


def _transmitted(actual: Floats, faults: Sequence[Fault], rng: np.random.Generator, interval: int) -> Floats:
    """What the transmitters show: noise, half of it autocorrelated, their own faults, a limited number of decimals."""
    n = len(actual)
    shown = np.empty_like(actual)
    for column, sensor in enumerate(SENSORS):
        error = 0.8 * rng.normal(size=n) + 0.6 * noise(rng, n, interval, 20.0)
        own = [fault for fault in faults if fault.sensor == sensor.name]
        drifted = sensor.drift * _severity(own, "sensor_drift", n, interval)
        shown[:, column] = np.round(actual[:, column] + sensor.noise * error + drifted, sensor.decimals)
        for fault in own:
            if fault.kind == "frozen_sensor":
                shown[fault.start : fault.end, column] = shown[max(fault.start - 1, 0), column]
    return shown


def _severity(faults: Sequence[Fault], kind: Kind, n: int, interval: int) -> Floats:
    """Severity of faults of one kind at each tick: it rises in a line over the onset, then stays until the end."""
    severity = np.zeros(n)
    for fault in faults:
        if fault.kind == kind:
            ticks = fault.end - fault.start
            onset = min(ONSET_SECONDS.get(kind, np.inf) / interval, ticks)
            risen = np.minimum(np.arange(1, ticks + 1) / max(onset, 1), 1)
            part = severity[fault.start : fault.end]
            np.maximum(part, fault.severity * risen, out=part)
    return severity


def _setpoint(rng: np.random.Generator, time: Ints, interval: int) -> Floats:
    """Relative speed asked for: an operating point is held for an hour or two, at least 20 minutes."""
    setpoint, at = np.empty(len(time)), 0
    while at < len(time):
        held = max(int((1200 + rng.exponential(1.2 * HOUR)) / interval), 1)
        shares = SHARES_BY_DAY if 6 <= hour_of_day(time[at]) < 22 else SHARES_BY_NIGHT
        setpoint[at : at + held] = rng.choice(OPERATING_POINTS, p=shares)
        at += held
    return setpoint


def _ramp(target: Floats, seconds: float, interval: int) -> Floats:
    """Each step of `target` as a straight line that takes `seconds`."""
    ticks = max(round(seconds / interval), 1)
    before = np.full(ticks - 1, target[0])
    return np.convolve(np.concatenate([before, target]), np.full(ticks, 1 / ticks), "valid")


def hour_of_day(time: Ints) -> Floats:
    """Hours since midnight UTC."""
    return time / MICROSECONDS / HOUR % 24


def noise(rng: np.random.Generator, n: int, interval: int, seconds: float) -> Floats:
    """Autocorrelated noise of variance 1, stationary from its first tick; its correlation falls to 1/e in `seconds`."""
    keep = float(np.exp(-interval / seconds))
    white = rng.normal(size=n)
    white[1:] *= np.sqrt(1 - keep**2)
    return lfilter([1.0], [1.0, -keep], white)


def _lag(target: Floats, seconds: float, interval: int) -> Floats:
    """First-order lag behind `target`, in equilibrium with it at the first tick."""
    keep = float(np.exp(-interval / seconds))
    return lfilter([1 - keep], [1.0, -keep], target, zi=[keep * target[0]])[0]
