"""Which rows count: --rows, --running, --settle and --exclude."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from models.contract import MICROSECONDS, Bools, DataError, Floats, Ints
from models.exports.roles import unknown
from models.exports.timestamps import parse
from models.exports.zones import localise

OPERATORS: dict[str, Callable[[Floats, float], Bools]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
CONDITION = re.compile(r"\s*(.+?)\s*(>=|<=|==|!=|>|<)\s*([+-]?[\d.]+(?:[eE][+-]?\d+)?)\s*")
DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|sec|min|m|h|d)\s*")
UNITS = {
    "us": 1, "ms": 1_000, "s": MICROSECONDS, "sec": MICROSECONDS, "m": 60 * MICROSECONDS, "min": 60 * MICROSECONDS,
    "h": 3600 * MICROSECONDS, "d": 86_400 * MICROSECONDS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """`column` `sign` `limit`, such as current > 1."""

    column: str
    sign: str
    limit: float


@dataclass(frozen=True, slots=True)
class Selection:
    """`rows` half open; `running` conditions that all hold; `settle` microseconds; `exclude` (k, 2) half-open times."""

    rows: slice
    running: tuple[Condition, ...]
    settle: int
    exclude: Ints

    def outside(self, position: Ints, rows: int) -> Bools:
        """Rows (n,) outside --rows, by their `position` in a file of so many rows."""
        start, stop, _ = self.rows.indices(rows)
        return (position < start) | (position >= stop)

    def excluded(self, time: Ints, column: Callable[[str], Floats]) -> Bools:
        """Ticks of one machine, `time` (n,) in order, that --running, --settle and --exclude leave out."""
        out = np.zeros(len(time), np.bool_)
        for start, stop in self.exclude:
            out |= (time >= start) & (time < stop)
        if self.running:
            running = np.all([OPERATORS[c.sign](_held(column(c.column)), c.limit) for c in self.running], axis=0)
            out |= ~running | _settling(time, running, self.settle)
        return out


def selection(
    rows: str | None, running: str | None, settle: str | None, exclude: tuple[str, ...], zone: str
) -> Selection:
    """What the options say. DataError for one that cannot be read."""
    if settle and not running:
        raise DataError("--settle leaves out the time after each start; say with --running when the machine runs")
    return Selection(
        row_range(rows or ":"),
        tuple(condition(part) for part in re.split(r"\s+and\s+", running)) if running else (),
        duration(settle) if settle else 0,
        np.array([period(text, zone) for text in exclude], np.int64).reshape(-1, 2),
    )


def row_range(text: str) -> slice:
    """Rows from "A:B", either end open, counted from 0; negative from the end.

    >>> row_range("400:"), row_range(":-10")
    (slice(400, None, None), slice(None, -10, None))
    """
    found = re.fullmatch(r"\s*(-?\d*)\s*:\s*(-?\d*)\s*", text)
    if not found or "-" in found.groups():
        raise DataError(f"--rows is {text!r}; expected A:B, such as 0:400 or 400:")
    start, stop = (int(end) if end else None for end in found.groups())
    return slice(start, stop)


def condition(text: str) -> Condition:
    """One comparison of --running.

    >>> condition("motor current > 1.5")
    Condition(column='motor current', sign='>', limit=1.5)
    """
    found = CONDITION.fullmatch(text)
    try:
        return Condition(found[1].strip("'\"`"), found[2], float(found[3]))  # type: ignore[index]
    except (TypeError, ValueError):
        raise DataError(
            f"--running is {text!r}; expected SENSOR OPERATOR NUMBER, such as 'current > 1', with one of "
            f"{' '.join(OPERATORS)}"
        ) from None


def duration(text: str) -> int:
    """Microseconds of a time span.

    >>> duration("10m"), duration("1.5 h")
    (600000000, 5400000000)
    """
    found = DURATION.fullmatch(text)
    if not found:
        raise DataError(f"--settle is {text!r}; expected a number with s, m, h or d, such as 10m")
    return round(float(found[1]) * UNITS[found[2]])


def period(text: str, zone: str) -> tuple[int, int]:
    """FROM and TO of --exclude in microseconds, local times in `zone`; an end left out is open.

    >>> period("2026-11-24T10:00/2026-11-24T11:00Z", "Asia/Tokyo")
    (1795482000000000, 1795518000000000)
    """
    ends = text.split("/")
    if len(ends) != 2 or not any(end.strip() for end in ends):
        raise DataError(f"--exclude is {text!r}; expected FROM/TO, such as 2026-11-24T10:00/2026-11-24T12:30")
    start = instant(ends[0], f"--exclude is {text!r}: ", zone) if ends[0].strip() else np.iinfo(np.int64).min
    stop = instant(ends[1], f"--exclude is {text!r}: ", zone) if ends[1].strip() else np.iinfo(np.int64).max
    if stop <= start:
        raise DataError(f"--exclude is {text!r}, which ends before it starts; expected FROM/TO")
    return int(start), int(stop)


def instant(text: str, where: str, zone: str) -> int:
    """Microseconds of a time, a local one in `zone`. DataError, which begins with `where`, where it is none."""
    times = parse(pl.Series([text]), where)
    if not times.read[0]:
        raise DataError(f"{where}{text!r} is no time; expected such as 2026-11-24T10:00")
    return int(localise(times.us, zone, np.zeros(1, np.int64)).us[0]) if times.naive[0] else int(times.us[0])


def _held(x: Floats) -> Floats:
    """Values (n,) with the last one known in place of a missing one: a lost reading stops no machine.

    >>> _held(np.array([np.nan, 1.0, np.nan]))
    array([nan,  1.,  1.])
    """
    return x[np.maximum.accumulate(np.where(np.isnan(x), 0, np.arange(len(x))))]


def _settling(time: Ints, running: Bools, settle: int) -> Bools:
    """Ticks (n,) less than `settle` after a start; what runs from the first row on has settled."""
    if not settle or not len(time):
        return np.zeros(len(time), np.bool_)
    started = running & ~np.concatenate([[True], running[:-1]])
    latest = np.maximum.accumulate(np.where(started, time, np.iinfo(np.int64).min // 2))
    return running & (time - latest < settle)


def column_of(name: str, columns: Mapping[str, Floats], path: str) -> Floats:
    """The values that --running asks for. DataError listing the names there are."""
    if name in columns:
        return columns[name]
    raise DataError(f"{path}: {unknown('--running', name, tuple(columns))}")
