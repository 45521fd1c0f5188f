"""Files that Limen exported, read as if they were one: a machine goes on from one of them to the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from models.contract import Floats, Ints
from models.exports.ticks import FileTicks


def joined(files: Sequence[FileTicks]) -> list[FileTicks]:
    """Neighbouring files that Limen exported as one, the others as they are."""
    found: list[FileTicks] = []
    for exported, group in groupby(files, key=lambda ticks: ticks.exported):
        some = list(group)
        found += [_one(some)] if exported and len(some) > 1 else some
    return found


def _one(files: list[FileTicks]) -> FileTicks:
    equipment = tuple(dict.fromkeys(name for ticks in files for name in ticks.equipment))
    sensors = tuple(dict.fromkeys(name for ticks in files for name in ticks.sensors))
    units = {n: u for ticks in reversed(files) for n, u in zip(ticks.sensors, ticks.units, strict=True)}
    starts = np.cumsum([0, *(ticks.rows for ticks in files)]).tolist()
    return dataclasses.replace(
        files[0],
        equipment=equipment,
        sensors=sensors,
        units=tuple(units[name] for name in sensors),
        machine=np.concatenate([_codes(ticks, equipment) for ticks in files]),
        time=np.concatenate([ticks.time for ticks in files]),
        position=np.concatenate([ticks.position + start for ticks, start in zip(files, starts, strict=False)]),
        rows=starts[-1],
        values=np.concatenate([_values(ticks, sensors) for ticks in files]),
        label=_labels(files),
        extra={name: np.concatenate([ticks.extra[name] for ticks in files]) for name in files[0].extra},
        raw_time={row + s: text for t, s in zip(files, starts, strict=False) for row, text in t.raw_time.items()},
        findings=[finding for ticks in files for finding in ticks.findings],
        local=any(ticks.local for ticks in files),
    )


def _codes(ticks: FileTicks, equipment: tuple[str, ...]) -> Ints:
    place = {name: number for number, name in enumerate(equipment)}
    return np.array([place[name] for name in ticks.equipment], np.int64)[ticks.machine]


def _values(ticks: FileTicks, sensors: tuple[str, ...]) -> Floats:
    if ticks.sensors == sensors:
        return ticks.values
    place = {name: k for k, name in enumerate(ticks.sensors)}
    empty = np.full(len(ticks.time), np.nan)
    return np.column_stack([ticks.values[:, place[name]] if name in place else empty for name in sensors])


def _labels(files: list[FileTicks]) -> Floats | None:
    labels = [ticks.label for ticks in files if ticks.label is not None]
    return np.concatenate(labels) if len(labels) == len(files) else None
