"""Local times -> UTC, through the two hours a year at which clocks are changed.

An hour that a clock change repeats is told apart by the order of rows: it is its second pass from the row on at which
the local time runs back. An hour that a change skips is read as if the clock had not been changed yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import available_timezones

import numpy as np
import polars as pl

from models.contract import MICROSECONDS, DataError, Ints
from models.exports.timestamps import NO_TIME

HOUR = 3_600 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Localised:
    """`us` (n,) microseconds of UTC; how many rows lie in a repeated hour of which only one pass could be made out, and
    how many in a skipped one."""

    us: Ints
    unresolved: int = 0
    skipped: int = 0


def check_zone(name: str) -> str:
    """The name of a zone as it is. DataError for one that is unknown.

    >>> check_zone("Asia/Tokyo")
    'Asia/Tokyo'
    """
    if name not in available_timezones():
        raise DataError(f"--timezone is {name!r}; expected a name such as UTC, Asia/Tokyo or Europe/Berlin")
    return name


def localise(local: Ints, zone: str, group: Ints) -> Localised:
    """Local microseconds (n,) in the order of rows -> UTC; order counts within each `group` (n,) of rows.

    >>> night = np.array([0, 30, 0, 30]) * 60_000_000 + 1_792_893_600_000_000  # 25 October 2026, 02:00 and 02:30, twice
    >>> ((localise(night, "Europe/Berlin", np.zeros(4, int)).us - night) // 3_600_000_000).tolist()
    [-2, -2, -1, -1]
    """
    first, second = _utc(local, zone, "earliest"), _utc(local, zone, "latest")
    skipped = first == NO_TIME
    if skipped.any():
        before = _utc(local[skipped] - HOUR, zone, "earliest")
        first[skipped] = second[skipped] = np.where(before == NO_TIME, local[skipped], before + HOUR)
    repeated = np.flatnonzero(first != second)
    if not len(repeated):
        return Localised(first, skipped=int(skipped.sum()))
    unresolved = 0
    order = repeated[np.argsort(group[repeated], kind="stable")]
    borders = np.flatnonzero((np.diff(group[order]) != 0) | (np.abs(np.diff(first[order])) > 24 * HOUR)) + 1
    for rows in np.split(order, borders):
        late = _second_pass(local[rows], _runs_backwards(local, group, rows))
        first[rows[late]] = second[rows[late]]
        unresolved += 0 if late.any() else len(rows)
    return Localised(first, unresolved, int(skipped.sum()))


def _utc(local: Ints, zone: str, which: str) -> Ints:
    times = pl.Series(local).cast(pl.Datetime("us"))
    utc = times.dt.replace_time_zone(zone, ambiguous=which, non_existent="null")  # type: ignore[arg-type]
    return utc.dt.epoch("us").fill_null(NO_TIME).to_numpy().copy()


def _runs_backwards(local: Ints, group: Ints, rows: Ints) -> bool:
    """Whether the rows of a group come newest first."""
    own = local[group == group[rows[0]]]
    return bool(own[0] > own[-1])


def _second_pass(local: Ints, backwards: bool) -> Ints:
    """Rows (k,) of one repeated hour that belong to its second pass, as bool."""
    time = local[::-1] if backwards else local
    step = np.diff(time)
    back = np.flatnonzero(step < 0)
    if not len(back) and not step.any() and len(time) == 2:
        back = np.array([0])  # one row an hour: the same local time twice
    late = np.zeros(len(time), np.bool_)
    if len(back):
        late[back[0] + 1 :] = True
    return late[::-1] if backwards else late
