"""Files of a plant -> series of machines: what `train`, `score`, `evaluate` and `replay` read.

    file -> table (files, dialect, workbooks) -> roles -> ticks (wide, long, --map) -> series

The steps are in `models/exports/`; this module shows their order.

A row of a recording is a row of a file; where the file is long (tag, time, value) it is a tick, joined by machine and
time; where a map makes several machines of a row, it is one row for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.contract import Bools, DataError, Floats
from models.exports.cells import Words
from models.exports.emptied import refuse_emptied
from models.exports.files import open_table
from models.exports.findings import Finding, some
from models.exports.intervals import usual_interval
from models.exports.joining import joined
from models.exports.long import long
from models.exports.roles import ColumnOptions, find_roles, unknown
from models.exports.selection import Selection, selection
from models.exports.series import STATUSES, Series, build
from models.exports.survey import survey
from models.exports.tags import read_tags
from models.exports.ticks import Conventions, FileTicks, wide
from models.exports.timestamps import TimeTexts
from models.exports.zones import check_zone
from models.gaps import first_after_gap


@dataclass(frozen=True, slots=True)
class DataOptions:
    """How files are read and which of their rows are used; the data options of every command."""

    time: str | None = None
    equipment: str | None = None
    label: str | None = None
    ignore: tuple[str, ...] = ()
    rows: str | None = None  # "A:B", half open, counted from 0 in each file; files that Limen exported are one
    map: Path | None = None
    time_format: str | None = None
    timezone: str | None = None
    missing: tuple[str, ...] = ()
    running: str | None = None
    settle: str | None = None
    exclude: tuple[str, ...] = ()
    separator: str | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything that was read. `interval` is the median step in microseconds, 0 where there is none.

    `row_time`, `row_equipment` and `row_status` have one text for each of `rows`; a status is "used", "outside"
    (--rows), "excluded" (--running, --settle, --exclude), "duplicate", "conflict" or "bad_time".
    """

    sensors: tuple[str, ...]
    units: tuple[str, ...]
    interval: int
    rows: int
    row_time: Sequence[str]
    row_equipment: Sequence[str]
    row_status: Sequence[str]
    series: list[Series]
    findings: list[Finding] = field(default_factory=list)


def read(paths: Sequence[Path], options: DataOptions = DataOptions()) -> Recording:
    """Read files. A machine is a file where no column says otherwise; a machine in two files is two series of it.

    DataError names file, row, column and value of what cannot be used, and what to do.
    """
    if not paths:
        raise DataError("no files are named; expected at least one CSV, Parquet or .xlsx file")
    zone = check_zone(options.timezone or "UTC")
    chosen = selection(options.rows, options.running, options.settle, options.exclude, zone)
    conventions = Conventions(
        zone, Words.of(options.missing), options.time_format, read_tags(options.map) if options.map else None,
        tuple(c.column for c in chosen.running), options.ignore,
    )  # fmt: skip
    columns: dict[str, None] = {}
    try:
        files = [_ticks(Path(path), options, conventions, columns) for path in paths]
    except DataError as error:
        raise _misspelt(paths, options) or error from None
    _refuse_unknown(options.ignore, tuple(columns))
    return _recording(joined(files), chosen, conventions, options)


def segments(series: Series, gap: int) -> list[slice]:
    """Stretches of a series that are used, cut where no value came for longer than `gap` microseconds and where rows
    are left out.

    >>> time = np.array([0, 1, 2, 3, 9, 10])
    >>> use = np.array([True, True, False, True, True, True])
    >>> segments(Series("pump", time, np.zeros((6, 1)), None, np.arange(6), use), gap=3)
    [slice(0, 2, None), slice(3, 4, None), slice(4, 6, None)]
    """
    if not len(series.time):
        return []
    cut = first_after_gap(series.time, ~np.all(np.isnan(series.values), axis=1), gap)
    cut[0] = True
    cut[1:] |= series.use[1:] != series.use[:-1]
    starts = np.flatnonzero(cut)
    stops = np.append(starts[1:], len(cut))
    return [slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True) if series.use[a]]


def _ticks(path: Path, options: DataOptions, conventions: Conventions, columns: dict[str, None]) -> FileTicks:
    table = open_table(path, options.separator, options.encoding)
    roles = find_roles(table, _columns(options))
    found = wide(table, roles, conventions) if roles.tag is None else long(table, roles, conventions)
    found.exported = table.roles is not None
    columns.update(dict.fromkeys((*table.columns, *found.left_out, *found.sensors)))
    found.findings = table.findings + found.findings
    return found


def _refuse_unknown(ignore: Sequence[str], columns: tuple[str, ...]) -> None:
    for name in ignore:
        if name not in columns:
            raise DataError(unknown("--ignore", name, columns))


def _misspelt(paths: Sequence[Path], options: DataOptions) -> DataError | None:
    """The error of a name of --ignore that is no column: where a file cannot be read, it is the likelier reason."""
    try:
        tables = [open_table(Path(path), options.separator, options.encoding) for path in paths]
        if options.map or any(find_roles(table, _columns(options)).tag is not None for table in tables):
            return None
        _refuse_unknown(options.ignore, tuple(dict.fromkeys(name for table in tables for name in table.columns)))
    except DataError as error:
        return error if str(error).startswith("--ignore") else None
    return None


def _columns(options: DataOptions) -> ColumnOptions:
    return ColumnOptions(options.time, options.equipment, options.label, options.ignore, options.time_format)


def _recording(files: list[FileTicks], chosen: Selection, conventions: Conventions, options: DataOptions) -> Recording:
    """Put files together: the same sensors for all, one numbering of rows."""
    findings = [finding for ticks in files for finding in ticks.findings]
    findings += _zone_finding(files, options)
    sensors = _sensors(files, options.ignore, findings)
    units = {
        name: unit for ticks in reversed(files) for name, unit in zip(ticks.sensors, ticks.units, strict=True) if unit
    }
    series: list[Series] = []
    status, equipment, raw, rows = [], [], {}, 0
    for ticks in files:
        built = build(ticks, chosen, rows)
        findings += built.findings
        series += [_with_sensors(one, ticks.sensors, sensors) for one in built.series]
        status.append(built.status)
        equipment.append(np.array(ticks.equipment, object)[ticks.machine])
        raw.update({row + rows: text for row, text in ticks.raw_time.items()})
        rows += len(ticks.time)
    findings += _missing_words(conventions.words)
    if not any(one.use.any() for one in series):
        refuse_emptied(files, chosen, options.rows, options.running)
    interval = usual_interval(series)
    findings += survey(series, sensors, interval)
    return Recording(
        sensors, tuple(units.get(name, "") for name in sensors), interval, rows,
        TimeTexts(np.concatenate([ticks.time for ticks in files]), raw), np.concatenate(equipment).tolist(),
        np.array(STATUSES, object)[np.concatenate(status)].tolist(), series, findings,
    )  # fmt: skip


def _sensors(files: list[FileTicks], ignore: Sequence[str], findings: list[Finding]) -> tuple[str, ...]:
    """Sensors of all files in the order they come, without those to `ignore` and those without a value anywhere."""
    valued: dict[str, bool] = {}
    for ticks in files:
        for name, any_value in zip(ticks.sensors, _valued(ticks.values), strict=True):
            if name not in ignore:
                valued[name] = valued.get(name, False) or bool(any_value)
    empty = [name for name, any_value in valued.items() if not any_value]
    if len(empty) == len(valued):
        raise DataError(f"{files[0].path.name}: no sensor has a value; the columns are {some(empty)}")
    if empty:
        findings.append(Finding.of("empty_column", f"without any value, left out: {some(empty)}", empty))
    sensors = tuple(name for name, any_value in valued.items() if any_value)
    for ticks in files:
        _refuse_a_stranger(ticks, files, sensors)
        own = set(ticks.sensors)
        absent = [name for name in sensors if name not in own]
        if absent:
            text = f"{ticks.path.name} has no {some(absent)}; missing there"
            findings.append(Finding.of("absent_sensor", text, absent))
    return sensors


def _refuse_a_stranger(ticks: FileTicks, files: list[FileTicks], sensors: tuple[str, ...]) -> None:
    """A file that shares no sensor with any other."""
    others = [other for other in files if other is not ticks]
    own = set(ticks.sensors) & set(sensors)
    if others and not any(own & set(other.sensors) for other in others):
        raise DataError(
            f"{ticks.path.name} and {others[0].path.name} have no sensor in common: {some(ticks.sensors)} against "
            f"{some(others[0].sensors)}; give each kind of machine its own command"
        )


def _valued(values: Floats) -> Bools:
    """Columns of (n, d) with any value."""
    return ~np.isnan(np.fmax.reduce(values, axis=0, initial=np.nan))


def _with_sensors(series: Series, own: tuple[str, ...], sensors: tuple[str, ...]) -> Series:
    """A series with its columns in the order of `sensors`, NaN where it has none."""
    if own == sensors:
        return series
    values = np.full((len(series.time), len(sensors)), np.nan)
    place = {name: k for k, name in enumerate(own)}
    for k, name in enumerate(sensors):
        if name in place:
            values[:, k] = series.values[:, place[name]]
    return Series(series.equipment, series.time, values, series.label, series.row, series.use)


def _zone_finding(files: list[FileTicks], options: DataOptions) -> list[Finding]:
    local = [ticks.path.name for ticks in files if ticks.local]
    if not local or options.timezone:
        return []
    return [
        Finding(
            "zone", f"times without a zone are read as UTC ({some(local)}); --timezone says another", count=len(local)
        )
    ]


def _missing_words(words: Words) -> list[Finding]:
    if not words.seen:
        return []
    seen = [f"{word!r} ({count:,})" for word, count in sorted(words.seen.items(), key=lambda item: -item[1])]
    return [Finding("missing_word", f"words read as missing values: {some(seen)}", count=sum(words.seen.values()))]
