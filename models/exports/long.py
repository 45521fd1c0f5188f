"""Long tables (tag, time, value, quality) -> ticks: what tags of one machine say at one time is one tick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from models.contract import Bools, DataError, Floats, Ints
from models.exports.cells import Origin, numbers
from models.exports.findings import Finding, plural, verb
from models.exports.quality import is_good
from models.exports.roles import Roles
from models.exports.tables import Table
from models.exports.tags import Place
from models.exports.ticks import Conventions, FileTicks, coded, label_of, machines_of, read_times, say_unmapped
from models.exports.timestamps import NO_TIME

SPARSE = 0.5  # share of cells without a value from which tags are said to be recorded at different times


@dataclass(frozen=True, slots=True)
class Entries:
    """k values that have a place: `machine`, `sensor` and `time` (k,) of each, the `row` it came from."""

    machine: Ints
    sensor: Ints
    time: Ints
    value: Floats
    row: Ints

    def by_tick(self) -> tuple[Ints, Bools]:
        """Order (k,) by time, then machine, and which entries in that order begin a tick."""
        order = np.lexsort((self.machine, self.time))
        begins = np.diff(self.time[order], prepend=0) != 0
        begins |= np.diff(self.machine[order], prepend=0) != 0
        begins[:1] = True
        return order, begins


def long(table: Table, roles: Roles, conventions: Conventions) -> FileTicks:
    """A row a value. Ticks come in order of time, machines in the order in which the file names them."""
    assert roles.tag is not None
    assert roles.value is not None
    findings: list[Finding] = []
    table.load([*roles.texts, roles.value], [])
    text = table.text(roles.tag).cast(pl.String).str.strip_chars().fill_null("")
    tags, tag = coded(text)
    owners, owner = machines_of(table, roles)
    placed = _places(table, tags, conventions, findings)
    wanted = np.array([bool(places) for places in placed], np.bool_)[tag]
    time, _, local = read_times(table, roles, conventions, tag, findings)
    value = _values(table, roles, conventions, wanted, text, findings)
    machines = tuple(dict.fromkeys(name for places in placed for name in _names(places, owners)))
    sensors = tuple(dict.fromkeys(place.sensor for places in placed for place in places))
    timed = np.flatnonzero(wanted & (time != NO_TIME))
    machine, sensor, row = _cells_of_rows(placed, machines, sensors, owners, owner, tag, timed)
    entries = Entries(machine, sensor, time[row], value[row], row)
    units = _units(table, roles, tags, tag, placed)
    ticks = _joined(table, machines, sensors, entries, findings)
    ticks.units = tuple(units.get(name, "") for name in sensors)
    ticks.local, ticks.left_out = local, tuple(name for name in tags if name in conventions.ignore)
    if roles.label is not None:
        ticks.label = _labels(label_of(table, roles, conventions), entries)
    return ticks


def _places(
    table: Table, tags: tuple[str, ...], conventions: Conventions, findings: list[Finding]
) -> list[tuple[Place, ...]]:
    """What each tag is; nothing where it is left out."""
    if conventions.tags is None:
        return [() if tag in conventions.ignore else (Place("", tag),) for tag in tags]
    absent = [tag for tag in tags if tag not in conventions.tags and tag not in conventions.ignore]
    placed = [() if tag in conventions.ignore else conventions.tags.get(tag, ()) for tag in tags]
    say_unmapped(table, absent, sum(bool(places) for places in placed), conventions.tags, findings)
    return placed


def _names(places: tuple[Place, ...], owners: tuple[str, ...]) -> list[str]:
    return [name for place in places for name in ((place.equipment,) if place.equipment else owners)]


def _values(
    table: Table, roles: Roles, conventions: Conventions, wanted: Bools, tag: pl.Series, findings: list[Finding]
) -> Floats:
    """The value of each row (n,), NaN where it is missing or of bad quality."""
    assert roles.value is not None
    values = np.full(table.rows, np.nan)
    good = wanted
    if roles.quality is not None:
        cells = table.text(roles.quality)
        good = wanted & is_good(cells, table.columns[roles.quality], conventions.words, table.origin)
        bad = int((wanted & ~good).sum())
        if bad:
            text = f"{table.path.name}: {plural(bad, 'value')} of bad quality, read as missing"
            findings.append(Finding("bad_quality", text, count=bad))
    rows = np.flatnonzero(good)
    cells = table.text(roles.value)[rows]
    if cells.dtype.is_numeric():
        values[rows] = cells.cast(pl.Float64).fill_null(np.nan).to_numpy()
        return values
    origin = table.origin
    part = Origin(table.path, lambda row: origin.line(int(rows[row])), table.noun)
    values[rows] = numbers(
        cells.cast(pl.String), table.columns[roles.value], conventions.words, part, table.decimal,
        leave_out=lambda row: str(tag[int(rows[row])]),
    )  # fmt: skip
    return values


def _cells_of_rows(
    placed: list[tuple[Place, ...]], machines: tuple[str, ...], sensors: tuple[str, ...],
    owners: tuple[str, ...], owner: Ints, tag: Ints, rows: Ints,
) -> tuple[Ints, Ints, Ints]:  # fmt: skip
    """Machine, sensor and row, once for each of `rows` and place of its tag, in the order of rows."""
    own = np.array([machines.index(name) if name in machines else 0 for name in owners])
    found = []
    for turn in range(max(len(places) for places in placed)):
        has = np.array([turn < len(places) for places in placed], np.bool_)
        machine = np.array([_index(machines, places, turn) for places in placed])
        sensor = np.array([sensors.index(places[turn].sensor) if turn < len(places) else 0 for places in placed])
        part = rows[has[tag[rows]]]
        of = np.where(machine[tag[part]] < 0, own[owner[part]], machine[tag[part]])
        found.append((of, sensor[tag[part]], part))
    machine, sensor, row = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    order = np.argsort(row, kind="stable")
    return machine[order], sensor[order], row[order]


def _index(machines: tuple[str, ...], places: tuple[Place, ...], turn: int) -> int:
    """The machine of a place; -1 where the row says it."""
    return machines.index(places[turn].equipment) if turn < len(places) and places[turn].equipment else -1


def _joined(
    table: Table, machines: tuple[str, ...], sensors: tuple[str, ...], entries: Entries, findings: list[Finding]
) -> FileTicks:
    """Entries -> ticks (n, d); the first of several values for one cell stands."""
    if not len(entries.row):
        raise DataError(f"{table.path.name} has no row with a tag and a time; expected tag, time and value in each")
    order, first = entries.by_tick()
    time, machine = entries.time[order], entries.machine[order]
    tick = np.empty(len(order), np.int64)
    tick[order] = np.cumsum(first) - 1
    n, d = int(first.sum()), len(sensors)
    values = np.full(n * d, np.nan)
    cell = tick * d + entries.sensor
    given = np.flatnonzero(~np.isnan(entries.value))
    values[cell[given[::-1]]] = entries.value[given[::-1]]
    _say_repeats(table, entries, values, cell, findings)
    _say_sparse(table, values, findings)
    return FileTicks(
        table.path, machines, sensors, ("",) * d, machine[first], time[first], np.arange(n), n, values.reshape(n, d),
        findings=findings,
    )  # fmt: skip


def _say_repeats(table: Table, entries: Entries, values: Floats, cell: Ints, findings: list[Finding]) -> None:
    differs = int((~np.isnan(entries.value) & (entries.value != values[cell])).sum())
    again = len(cell) - len(np.unique(cell)) - differs
    if again > 0:
        text = f"{table.path.name}: {plural(again, 'row')} {_repeat(again)} tag, time and value, left out"
        findings.append(Finding("duplicate", text, count=again))
    if differs:
        rows = f"{plural(differs, 'row')} {_repeat(differs)}"
        text = f"{table.path.name}: {rows} tag and time with another value; the first stands"
        findings.append(Finding("conflict", text, count=differs))


def _repeat(count: int) -> str:
    return verb(count, "repeats", "repeat")


def _say_sparse(table: Table, values: Floats, findings: list[Finding]) -> None:
    share = float(np.isnan(values).mean())
    if share > SPARSE:
        text = (
            f"{table.path.name}: {share:.0%} of cells have no value: its tags are recorded at different times; "
            "export them sampled or interpolated at one interval"
        )
        findings.append(Finding("sparse", text))


def _units(
    table: Table, roles: Roles, tags: tuple[str, ...], tag: Ints, placed: list[tuple[Place, ...]]
) -> dict[str, str]:
    """Unit of each sensor, from the map or from a column of units."""
    written = [""] * len(tags)
    if roles.unit is not None:
        first = np.unique(tag, return_index=True)[1]
        written = [str(cell or "").strip() for cell in table.text(roles.unit)[first]]
    return {place.sensor: place.unit or unit for places, unit in zip(placed, written, strict=True) for place in places}


def _labels(label: Floats | None, entries: Entries) -> Floats | None:
    """The highest label among the rows of a tick, (n,)."""
    if label is None:
        return None
    order, first = entries.by_tick()
    return np.fmax.reduceat(label[entries.row[order]], np.flatnonzero(first))
