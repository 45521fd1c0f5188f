"""Ticks -> series: one machine each, in order of time, every time once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.contract import Bools, DataError, Floats, Ints
from models.exports.findings import EXAMPLES_MAX, Finding, plural, some, verb
from models.exports.selection import Selection, column_of
from models.exports.ticks import FileTicks
from models.exports.timestamps import NO_TIME, rfc3339

STATUSES = ("used", "outside", "excluded", "duplicate", "conflict", "bad_time")
USED, OUTSIDE, EXCLUDED, DUPLICATE, CONFLICT, BAD_TIME = range(len(STATUSES))
CONFLICTS_MAX = 0.5  # share of rows that contradict others, over which a file is refused


@dataclass(frozen=True, slots=True)
class Series:
    """One machine in one file.

    `time` (n,) int64 microseconds of UTC, strictly increasing; `values` (n, d) float64, NaN = missing; `label` (n,) or
    None; `row` (n,) index of the row of the recording; `use` (n,) whether it counts.

    Rows outside --rows stay, unused: those before are the warm-up of a score.
    """

    equipment: str
    time: Ints
    values: Floats
    label: Floats | None
    row: Ints
    use: Bools


@dataclass(slots=True)
class Built:
    """The series of one file, the status of each of its rows, and what was found on the way."""

    series: list[Series]
    status: Ints
    findings: list[Finding]


def build(ticks: FileTicks, chosen: Selection, first_row: int = 0) -> Built:
    """Sort each machine's ticks, drop repeated times, mark what is used. `first_row` is that of the file's first row.

    DataError where most rows contradict others at the same time: then they are of several machines, or their times
    are cut.
    """
    status = np.full(len(ticks.time), USED, np.int8)
    status[ticks.time == NO_TIME] = BAD_TIME
    built = Built([], status, [])
    for code, equipment in enumerate(ticks.equipment):
        rows = np.flatnonzero((ticks.machine == code) & (status != BAD_TIME))
        if len(rows):
            built.series.append(_machine(ticks, chosen, equipment, rows, built, first_row))
    conflicts = int((status == CONFLICT).sum())
    if conflicts > CONFLICTS_MAX * len(status):
        raise DataError(
            f"{ticks.path.name}: {plural(conflicts, 'row')} of {len(status):,} repeat the time of another with other "
            "values; name the column of the machine with --equipment, or export times that are not cut to whole minutes"
        )
    return built


def _machine(ticks: FileTicks, chosen: Selection, equipment: str, rows: Ints, built: Built, first_row: int) -> Series:
    rows = rows[_order(ticks, equipment, rows, built.findings)]
    rows = _each_time_once(ticks, equipment, rows, built)
    time = ticks.time[rows]
    values = ticks.values if len(rows) == len(ticks.values) and (np.diff(rows) == 1).all() else ticks.values[rows]
    outside = chosen.outside(ticks.position[rows], ticks.rows)
    known = dict(zip(ticks.sensors, values.T, strict=True)) | {name: x[rows] for name, x in ticks.extra.items()}
    excluded = chosen.excluded(time, lambda name: column_of(name, known, ticks.path.name))
    built.status[rows[excluded]] = EXCLUDED
    built.status[rows[outside]] = OUTSIDE
    label = None if ticks.label is None else ticks.label[rows]
    series = Series(equipment, time, values, label, rows + first_row, ~(outside | excluded))
    return _without(series, outside & excluded)


def _without(series: Series, out: Bools) -> Series:
    """Without the ticks that neither count nor may warm up a score."""
    if not out.any():
        return series
    keep = ~out
    label = None if series.label is None else series.label[keep]
    return Series(series.equipment, series.time[keep], series.values[keep], label, series.row[keep], series.use[keep])


def _order(ticks: FileTicks, equipment: str, rows: Ints, findings: list[Finding]) -> Ints:
    """How to sort rows by time, equal times in the order of the file; says what was not in order."""
    time = ticks.time[rows]
    steps = np.diff(time)
    if (steps >= 0).all():
        return np.arange(len(rows))
    place = f"{ticks.path.name}: {equipment!r}" if len(ticks.equipment) > 1 else ticks.path.name
    if (steps <= 0).all():
        findings.append(
            Finding("newest_first", f"{place} runs from the newest row to the oldest; put in order", equipment)
        )
    else:
        late = np.flatnonzero(time < np.maximum.accumulate(time))
        first = rfc3339(int(time[late[0]]))
        text = f"{place}: {plural(len(late), 'row')} out of order, put in order; the first at {first}"
        findings.append(Finding("disorder", text, equipment, count=len(late)))
    return np.argsort(time, kind="stable")


def _each_time_once(ticks: FileTicks, equipment: str, rows: Ints, built: Built) -> Ints:
    """Rows (in order of time) without those that repeat a time. Equal values repeat, missing ones are filled in, other
    values for the same sensor contradict: the first row stands."""
    time = ticks.time[rows]
    first = np.concatenate([[True], np.diff(time) != 0])
    if first.all():
        return rows
    starts = np.flatnonzero(first)
    repeats = np.flatnonzero(~first)
    leaders = rows[starts[np.cumsum(first)[repeats] - 1]]
    rank = repeats - starts[np.cumsum(first)[repeats] - 1]
    for turn in range(1, int(rank.max()) + 1):
        now = rank == turn
        leader, other = leaders[now], rows[repeats[now]]
        a, b = ticks.values[leader], ticks.values[other]
        differs = ((a != b) & ~np.isnan(a) & ~np.isnan(b)).any(axis=1)
        built.status[other] = np.where(differs, CONFLICT, DUPLICATE)
        ticks.values[leader[~differs]] = np.where(np.isnan(a), b, a)[~differs]
    _say_repeats(ticks, equipment, rows[repeats], built)
    return rows[starts]


def _say_repeats(ticks: FileTicks, equipment: str, repeats: Ints, built: Built) -> None:
    words = {
        DUPLICATE: ("duplicate", "a time with the same values, left out"),
        CONFLICT: ("conflict", "a time with other values, left out: the first row of a time stands"),
    }
    for status, (kind, text) in words.items():
        own = repeats[built.status[repeats] == status]
        if len(own):
            times = tuple(rfc3339(int(t)) for t in np.unique(ticks.time[own])[:EXAMPLES_MAX])
            rows = f"{plural(len(own), 'row')} {verb(len(own), 'repeats', 'repeat')}"
            sentence = f"{ticks.path.name}: {equipment!r}: {rows} {text} ({some(times, len(own))})"
            built.findings.append(Finding(kind, sentence, equipment, count=len(own), examples=times))
