"""Wide tables -> ticks, a row each; and what long tables (`long.py`) share with them: machines, times, labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from models.contract import DataError, Floats, Ints
from models.exports.cells import Words, numbers
from models.exports.findings import Finding, plural, some
from models.exports.roles import Roles
from models.exports.tables import Table
from models.exports.tags import Place, TagMap
from models.exports.timestamps import parse
from models.exports.zones import localise


@dataclass(slots=True)
class FileTicks:
    """n ticks of one file in the order of its rows.

    `machine` (n,) indexes `equipment`; `time` (n,) microseconds, NO_TIME where unread; `position` (n,) is the row of
    the file that --rows counts, of `rows`; `values` (n, d) of `sensors`; `extra` are columns that are no sensors but
    may tell whether the machine runs.
    """

    path: Path
    equipment: tuple[str, ...]
    sensors: tuple[str, ...]
    units: tuple[str, ...]
    machine: Ints
    time: Ints
    position: Ints
    rows: int
    values: Floats
    label: Floats | None = None
    extra: dict[str, Floats] = field(default_factory=dict)
    raw_time: dict[int, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    local: bool = False  # whether its times carry no zone
    left_out: tuple[str, ...] = ()  # tags that --ignore leaves out
    exported: bool = False  # by Limen: its machines go on in the next such file


@dataclass(frozen=True, slots=True)
class Conventions:
    """How the files of one command are written and what is asked of them: zone of local times, --time-format, words for
    missing values, the map of tags, further columns that are asked for by name, sensors to leave out."""

    zone: str
    words: Words
    time_format: str | None = None
    tags: TagMap | None = None
    asked: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


def wide(table: Table, roles: Roles, conventions: Conventions) -> FileTicks:
    """A column a sensor, or with a map a column a tag."""
    findings: list[Finding] = []
    chosen, placed = _places(table, roles, conventions, findings)
    extra = [i for i in roles.ignored if table.columns[i] in conventions.asked]
    table.load(roles.texts, chosen + extra)
    names, codes = machines_of(table, roles)
    time, raw, local = read_times(table, roles, conventions, codes, findings)
    label = label_of(table, roles, conventions)
    others = table.values(extra, conventions.words) if extra else np.empty((table.rows, 0))
    values = table.values(chosen, conventions.words)
    found = FileTicks(
        table.path, names, tuple(_name(table, i) for i in chosen), tuple(table.units[i] for i in chosen), codes, time,
        np.arange(table.rows), table.rows, values, label,
        {table.columns[i]: others[:, k] for k, i in enumerate(extra)}, raw, findings, local,
    )  # fmt: skip
    return spread(found, placed) if placed is not None else found


def _name(table: Table, column: int) -> str:
    return table.columns[column] or f"column {column + 1}"


def _places(
    table: Table, roles: Roles, conventions: Conventions, findings: list[Finding]
) -> tuple[list[int], list[tuple[Place, ...]] | None]:
    """Columns to read, and with a map what each is."""
    if conventions.tags is None:
        return list(roles.sensors), None
    chosen = [i for i in roles.sensors if table.columns[i] in conventions.tags]
    absent = [table.columns[i] for i in roles.sensors if table.columns[i] not in conventions.tags]
    say_unmapped(table, absent, len(chosen), conventions.tags, findings)
    return chosen, [conventions.tags[table.columns[i]] for i in chosen]


def say_unmapped(table: Table, absent: Sequence[str], known: int, tags: TagMap, findings: list[Finding]) -> None:
    """Say which tags the map does not know. DataError where it knows none."""
    if not known:
        raise DataError(
            f"{table.path.name}: none of its tags is in --map, which has {some(list(tags))}; they are {some(absent)}"
        )
    if absent:
        text = f"{table.path.name}: {plural(len(absent), 'tag')} not in --map, left out: {some(absent)}"
        findings.append(Finding.of("unmapped_tag", text, absent))


def machines_of(table: Table, roles: Roles) -> tuple[tuple[str, ...], Ints]:
    """Machines of a table in the order they come, and each row's; the file's name where no column says."""
    if roles.equipment is None:
        return (table.path.stem,), np.zeros(table.rows, np.int64)
    text = table.text(roles.equipment).cast(pl.String).str.strip_chars()
    blank = text.is_null() | (text == "")
    if blank.any():
        raise table.origin.refuse(
            int(blank.arg_max() or 0), table.columns[roles.equipment], "", "the name of a machine"
        )
    return coded(text)


def coded(text: pl.Series) -> tuple[tuple[str, ...], Ints]:
    """Distinct texts in the order they come, and which of them each row is."""
    names = text.unique(maintain_order=True).to_list()
    codes = text.replace_strict({name: i for i, name in enumerate(names)}, return_dtype=pl.Int64)
    return tuple(names), codes.to_numpy()


def read_times(
    table: Table, roles: Roles, conventions: Conventions, group: Ints, findings: list[Finding]
) -> tuple[Ints, dict[int, str], bool]:
    """Times of rows in UTC, the text of those that are none, and whether any was local."""
    column = table.columns[roles.time[0]]
    cells = table.text(roles.time[0])
    if len(roles.time) == 2:
        clock = table.text(roles.time[1]).cast(pl.String).str.strip_chars()
        cells = cells.cast(pl.String).str.strip_chars().str.replace(r"[T ]0+:00(:00)?$", "") + " " + clock
    times = parse(cells, f"{table.path.name}: column {column!r}", conventions.time_format)
    bad = np.flatnonzero(~times.read)
    raw = {int(row): str(cells[int(row)] if cells[int(row)] is not None else "") for row in bad}
    if len(bad):
        _say_unread(table, column, raw, findings)
    us = times.us.copy()
    local = np.flatnonzero(times.naive & times.read)
    if len(local):
        found = localise(us[local], conventions.zone, group[local])
        us[local] = found.us
        _say_clock_changes(table, found.unresolved, found.skipped, conventions.zone, findings)
    return us, raw, len(local) > 0


def _say_unread(table: Table, column: str, raw: dict[int, str], findings: list[Finding]) -> None:
    row, text = next(iter(raw.items()))
    if 2 * len(raw) > table.rows:
        raise table.origin.refuse(
            row,
            column,
            text,
            "a time",
            f"{plural(len(raw), 'row')} of {table.rows:,} have none; see --time and --time-format",
        )
    first = f"the first is {text!r} in {table.noun} {table.origin.line(row)}"
    findings.append(
        Finding(
            "bad_time",
            f"{table.path.name}: {plural(len(raw), 'row')} without a time that can be read; {first}",
            count=len(raw),
        )
    )


def _say_clock_changes(table: Table, unresolved: int, skipped: int, zone: str, findings: list[Finding]) -> None:
    if unresolved:
        rows = plural(unresolved, "row")
        text = f"{table.path.name}: {rows} in an hour that {zone} repeats, seen once; read as its first pass"
        findings.append(Finding("repeated_hour", text, count=unresolved))
    if skipped:
        text = f"{table.path.name}: {plural(skipped, 'row')} in an hour that {zone} skips; is --timezone right?"
        findings.append(Finding("skipped_hour", text, count=skipped))


def label_of(table: Table, roles: Roles, conventions: Conventions) -> Floats | None:
    """Labels of rows (n,), 1 = faulty; None where no column holds them."""
    if roles.label is None:
        return None
    cells = table.text(roles.label)
    if cells.dtype.is_numeric():
        return cells.cast(pl.Float64).fill_null(np.nan).to_numpy()
    try:
        return numbers(cells, table.columns[roles.label], conventions.words, table.origin, table.decimal)
    except DataError as error:
        place = str(error).partition("; expected")[0]
        raise DataError(f"{place}; expected a label: 0 and 1, or true and false") from None


def spread(ticks: FileTicks, places: list[tuple[Place, ...]]) -> FileTicks:
    """Columns that are tags of several machines -> a tick for each row and machine, row by row."""
    own = ticks.equipment
    flat = [(k, place) for k, several in enumerate(places) for place in several]
    if all(not place.equipment for _, place in flat):
        machines: tuple[str, ...] = ("",)
    else:
        machines = tuple(dict.fromkeys(place.equipment or own[0] for _, place in flat))
    sensors = tuple(dict.fromkeys(place.sensor for _, place in flat))
    units = {place.sensor: place.unit or ticks.units[k] for k, place in reversed(flat)}
    n, m = len(ticks.time), len(machines)
    values = np.full((n, m, len(sensors)), np.nan)
    for k, place in flat:
        machine = 0 if m == 1 else machines.index(place.equipment or own[0])
        values[:, machine, sensors.index(place.sensor)] = ticks.values[:, k]
    one = machines == ("",)
    return FileTicks(
        ticks.path, own if one else machines, sensors, tuple(units[s] for s in sensors),
        ticks.machine if one else np.tile(np.arange(m), n), np.repeat(ticks.time, m), np.repeat(ticks.position, m),
        ticks.rows, values.reshape(n * m, -1), None if ticks.label is None else np.repeat(ticks.label, m),
        {name: np.repeat(column, m) for name, column in ticks.extra.items()},
        {row * m + k: text for row, text in ticks.raw_time.items() for k in range(m)}, ticks.findings, ticks.local,
    )  # fmt: skip
