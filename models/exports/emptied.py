"""What is said where the options leave no row at all: what there would be to choose from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.contract import Bools, DataError, Floats
from models.exports.findings import plural, some
from models.exports.selection import OPERATORS, Selection
from models.exports.ticks import FileTicks
from models.exports.timestamps import NO_TIME, rfc3339


def refuse_emptied(files: Sequence[FileTicks], chosen: Selection, rows: str | None, running: str | None) -> None:
    """DataError saying why no row of some files counts, where --rows, --running or --exclude is why; `rows` and
    `running` as they were given."""
    if rows and (chosen.rows.start or 0) >= max(ticks.rows for ticks in files):
        sizes = [f"{ticks.path.name} has {plural(ticks.rows, 'row')}" for ticks in files]
        raise DataError(f"--rows {rows} names no row: {some(sizes)}, counted from 0")
    if chosen.running and not any(_running(ticks, chosen).any() for ticks in files):
        columns = dict.fromkeys(condition.column for condition in chosen.running)
        ranges = [_range(name, [_column(ticks, name) for ticks in files]) for name in columns]
        raise DataError(f"--running {running!r} holds in no row: {', '.join(ranges)}")
    if len(chosen.exclude):
        time = np.concatenate([ticks.time[ticks.time != NO_TIME] for ticks in files])
        if len(time):
            reach = f"{rfc3339(int(time.min()))} to {rfc3339(int(time.max()))}"
            raise DataError(f"--exclude leaves no row that the other options do not; the files reach from {reach}")


def _column(ticks: FileTicks, name: str) -> Floats:
    if name in ticks.extra:
        return ticks.extra[name]
    return ticks.values[:, ticks.sensors.index(name)] if name in ticks.sensors else np.empty(0)


def _running(ticks: FileTicks, chosen: Selection) -> Bools:
    """Rows (n,) in which every condition holds."""
    return np.all([OPERATORS[c.sign](_column(ticks, c.column), c.limit) for c in chosen.running], axis=0)


def _range(name: str, columns: list[Floats]) -> str:
    values = np.concatenate(columns)
    values = values[~np.isnan(values)]
    if not len(values):
        return f"{name} has no value"
    low, high = values.min(), values.max()
    return f"{name} is {low:g}" if low == high else f"{name} is {low:g} to {high:g}"
