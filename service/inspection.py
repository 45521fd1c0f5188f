"""One equipment as a person wants to see it: what was expected, what came, and which sensors make the score. Reads the
shard, changes nothing."""

from __future__ import annotations

from dataclasses import fields
from math import floor, isnan, log10

import msgspec
import numpy as np

from models.contract import Bools, Floats, Floats32
from models.detector import Detector
from models.explain import contributions, shares
from models.score import MOVED, STATISTICS, VECTOR_GAIN, full_set_equivalent
from models.state import State
from service import ring
from service.alarms import Alarm
from service.align import NEVER
from service.bank import Bank
from service.shard import Shard
from service.status import REASON_NAMES, STATUS_NAMES, flag_names

SHOWN_DIGITS = 5  # of physical values, counted from the sensor's normal standard deviation


class SensorView(msgspec.Struct, frozen=True):
    """One sensor at the last reading, in physical units. `contribution` is its part of `EquipmentView.statistic`,
    `share` its part of the statistic that made the score. A missing value has neither `actual` nor `expected`."""

    sensor: str
    unit: str
    missing: bool
    actual: float | None
    expected: float | None
    contribution: float
    share: float


class EquipmentView(msgspec.Struct, frozen=True):
    """The last reading of one equipment; times in microseconds. `statistic`, the squared prediction error, is the sum
    of the contributions; `leading` names the statistic that made the score."""

    equipment: str
    model: str | None
    version: int | None
    last_time: int | None
    status: str | None
    reason: str
    flags: list[str]
    score: float | None
    p_value: float | None
    alarm: Alarm | None
    silent: bool
    leading: str | None
    statistic: float | None
    sensors: list[SensorView]


def view(shard: Shard, equipment: str) -> EquipmentView | None:
    """What is known of one equipment; None where it has never been seen."""
    slot = shard.equipment_table.slot(equipment)
    if slot is None:
        return None
    columns = shard.columns
    results = ring.recent(columns, slot)
    seen = len(results) > 0
    bank = shard.banks.get(int(columns["bank"][slot]))
    state = _state(bank, int(columns["row"][slot])) if bank is not None else None
    last = int(columns["last_time"][slot])
    centre = int(columns["centre"][slot])
    leading, statistic, sensors = _sensors(bank.detector, state, centre) if bank and state else (None, None, [])
    return EquipmentView(
        equipment=equipment,
        model=bank.model.name if bank else None,
        version=bank.model.version if bank else None,
        last_time=None if last == NEVER else last,
        status=STATUS_NAMES[results.status[-1]] if seen else None,
        reason=REASON_NAMES[results.reason[-1]] if seen else "",
        flags=flag_names(int(results.flags[-1])) if seen else [],
        score=_number(results.score[-1]) if seen else None,
        p_value=_number(results.p_value[-1]) if seen else None,
        alarm=shard.book.current(equipment, "process"),
        silent=bool(columns["silent"][slot]),
        leading=leading,
        statistic=statistic,
        sensors=sensors,
    )


def scores(shard: Shard, equipment: str) -> ring.Recent | None:
    """The recent results of one equipment, oldest first; None where it has never been seen."""
    slot = shard.equipment_table.slot(equipment)
    return None if slot is None else ring.recent(shard.columns, slot)


def _number(value: np.floating) -> float | None:
    return None if isnan(value) else float(value)


def _state(bank: Bank, row: int) -> State | None:
    state = State(*(bank.columns[f.name][row : row + 1] for f in fields(State)))
    untouched = state.warm_left[0] == bank.detector.warmup and np.isnan(state.z).all()
    return None if untouched else state


def _sensors(detector: Detector, state: State, centre: int) -> tuple[str | None, float, list[SensorView]]:
    contribution = _contributions(detector, state)
    leading = int(state.leading[0])
    share = shares(_attribution(detector, state, contribution, leading, centre)[None])[0]
    missing: Bools = np.isnan(state.z[0])
    actual = detector.physical(state.z[0], centre)
    expected = detector.physical(state.z[0] - state.residual[0], centre)
    expected[detector.fixed] = detector.physical(np.zeros_like(state.z[0]), centre)[detector.fixed]
    scored = not isnan(state.score[0])
    sensors = [
        SensorView(
            sensor=name,
            unit=detector.units[i],
            missing=bool(missing[i]),
            actual=None if missing[i] else _shown(actual[i], detector.scale[i]),
            expected=None if missing[i] else _shown(expected[i], detector.scale[i]),
            contribution=float(contribution[i]),
            share=round(float(share[i]), 6) if scored else 0.0,
        )
        for i, name in enumerate(detector.sensors)
    ]
    return (*STATISTICS, MOVED)[leading] if scored else None, float(contribution.sum()), sensors


def _contributions(detector: Detector, state: State) -> Floats:
    """(d,) parts of the squared prediction error of the last tick, as `Detector.advance` has them."""
    live = detector.live
    part = contributions(state.residual[:, live].astype(np.float64), detector.scoring.precision.astype(np.float64))
    observed, q = int((~np.isnan(state.z[0, live])).sum()), float(part.sum())
    if 0 < observed < len(live) and q > 0:
        part *= full_set_equivalent(np.array([q]), np.array([observed]), len(live))[0] / q
    wide = np.zeros(len(detector.sensors))
    wide[live] = part[0]
    return wide


def _attribution(detector: Detector, state: State, contribution: Floats, leading: int, centre: int) -> Floats:
    """(d,) what each sensor adds to the leading statistic."""
    if leading == 0:
        return contribution
    wide = np.zeros(len(detector.sensors))
    if leading == len(STATISTICS):
        wide[detector.fixed] = _moved(detector, state.z, centre)
    else:
        vector = state.mewma[:, detector.live].astype(np.float64)
        wide[detector.live] = contributions(vector, detector.scoring.precision.astype(np.float64))[0] * VECTOR_GAIN
    return wide


def _moved(detector: Detector, z: Floats32, centre: int) -> Bools:
    """(c,) constant sensors that stand elsewhere than in training."""
    home, tolerance = detector.fixed_values(np.array([centre]))
    with np.errstate(invalid="ignore"):
        moved: Bools = np.abs(detector.physical(z, centre)[:, detector.fixed] - home)[0] > tolerance[0]
    return moved


def _shown(value: float, scale: float) -> float:
    """A physical value without the digits that float32 does not carry.

    >>> _shown(1.2000000313, 0.5)
    1.2
    """
    return round(float(value), SHOWN_DIGITS - floor(log10(scale)))
