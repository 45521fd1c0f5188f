"""The file of --map: which tag is which sensor of which machine, in which unit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.contract import DataError
from models.exports.cells import Origin
from models.exports.files import open_table
from models.exports.findings import some
from models.exports.roles import TAG, UNIT, folded

COLUMNS = {
    "tag": TAG[:6],
    "equipment": ("equipment", "machine", "asset", "device", "設備", "機器"),
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
    for role in ("tag", "sensor"):
        if found[role] is None:
            raise DataError(
                f"{path.name} has no column {role!r}; --map expects tag, equipment, sensor, unit; found "
                f"{some(table.columns)}"
            )
    table.load([i for i in found.values() if i is not None], [])
    columns = {
        role: [str(cell or "").strip() for cell in table.text(i)] if i is not None else [""] * table.rows
        for role, i in found.items()
    }
    return _places(table.origin, columns)


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
            raise origin.refuse(row, "tag", tag, f"one tag for sensor {sensor!r}{machine}, which {other!r} is already")
        tags[tag] = (*tags.get(tag, ()), Place(equipment, sensor, unit))
    return tags
