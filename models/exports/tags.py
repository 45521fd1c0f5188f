"""The file of --map: which tag is which sensor of which machine, in which unit."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from models.contract import DataError
from models.exports.cells import Origin
from models.exports.files import open_table
from models.exports.findings import some
from models.exports.roles import EQUIPMENT, TAG, UNIT, folded

COLUMNS = {
    "tag": TAG[:6],
    "equipment": EQUIPMENT,
    "sensor": ("sensor", "signal", "variable", "センサ", "センサー"),
    "unit": UNIT,
}


@dataclass(frozen=True, slots=True)
class Place:
    """What a tag is: a sensor of a machine, "" where the file name says the machine."""

    equipment: str
    sensor: str
    unit: str = ""


TagMap = dict[str, tuple[Place, ...]]  # a tag may be a sensor of several machines, such as an ambient temperature


def read_tags(path: Path) -> TagMap:
    """Tags and their places. DataError where a column is missing, a cell is empty, or one place has two tags."""
    table = open_table(path)
    names = {folded(name): i for i, name in reversed(list(enumerate(table.columns)))}
    found = {role: next((names[n] for n in known if n in names), None) for role, known in COLUMNS.items()}
    _refuse_misspelt(path, table.columns, found)
    for role in ("tag", "sensor"):
        if found[role] is None:
            raise DataError(
                f"--map {path.name} has no column {role!r}; expected tag, equipment, sensor, unit; found "
                f"{some(table.columns)}"
            )
    table.load([i for i in found.values() if i is not None], [])
    columns = {
        role: [str(cell or "").strip() for cell in table.text(i)] if i is not None else [""] * table.rows
        for role, i in found.items()
    }
    origin = table.origin
    return _places(Origin(path.with_name(f"--map {path.name}"), origin.line, origin.noun), columns)


def _refuse_misspelt(path: Path, columns: tuple[str, ...], found: dict[str, int | None]) -> None:
    """DataError for a column that is none of the map's and is called almost as one that is not there."""
    absent = [role for role, i in found.items() if i is None]
    for i, name in enumerate(columns):
        close = get_close_matches(folded(name), absent, n=1, cutoff=0.8) if i not in found.values() else []
        if close:
            raise DataError(f"--map {path.name} has a column {name!r}; did you mean {close[0]!r}?")


def _places(origin: Origin, columns: dict[str, list[str]]) -> TagMap:
    tags: TagMap = {}
    taken: dict[tuple[str, str], str] = {}
    rows = zip(columns["tag"], columns["equipment"], columns["sensor"], columns["unit"], strict=True)
    for row, (tag, equipment, sensor, unit) in enumerate(rows):
        for role, cell in (("tag", tag), ("sensor", sensor)):
            if not cell:
                raise origin.refuse(row, role, cell, "a name")
        other = taken.setdefault((equipment, sensor), tag)
        if other != tag or Place(equipment, sensor, unit) in tags.get(tag, ()):
            machine = f" of {equipment!r}" if equipment else ""
            raise origin.refuse(row, "tag", tag, f"a sensor of its own: {sensor!r}{machine} is tag {other!r} already")
        tags[tag] = (*tags.get(tag, ()), Place(equipment, sensor, unit))
    return tags
