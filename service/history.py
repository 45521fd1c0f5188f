"""Readings with what came of them, a Parquet file a model, UTC day and part:

    FOLDER/2026-11-24/pumps-v1-000000000017.parquet        the number is that of the first record in it

Columns: time (UTC), equipment, one for each sensor, and the results: status, reason, score, p_value, alarm, flags
(several separated by spaces), sequence (of the record). Where a sensor has such a name, the other column has `limen.`
before its own; the metadata of the file say what every column is. Rows are by machine, then time.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.contract import MICROSECONDS, ModelError
from models.disk import make_folder, remove_leftovers, sync_folder, write_durably
from models.exports.history import FORMAT, HistoryColumns, sealed
from models.manifest import MANIFEST, read_manifest
from service.records import ARRAYS, ModelReadings
from service.ring import ALARM_BIT
from service.status import REASON_NAMES, STATUS_NAMES, flag_names

HISTORY = "history"  # folder in the data folder
DAY = 86_400 * MICROSECONDS
DAY_NAME = re.compile(r"\d{4}-\d\d-\d\d")
OWN = ("time", "equipment", "status", "reason", "score", "p_value", "alarm", "flags", "sequence")
TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class Source:
    """A version of a model, as far as its readings need it."""

    model: str
    version: int
    artifact_id: str
    sensors: tuple[str, ...]
    units: tuple[str, ...]

    def own(self, name: str) -> str:
        """The column of a result; of another name where a sensor has that one."""
        return f"limen.{name}" if name in self.sensors else name

    def columns(self) -> HistoryColumns:
        """What the columns of its files are."""
        return HistoryColumns(
            FORMAT, self.model, self.version, self.artifact_id, self.own("time"), self.own("equipment"),
            list(self.sensors), list(self.units),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """Readings of one model and day out of one record."""

    sequence: int
    day: int  # since 1970
    readings: ModelReadings


def sources(models: Path) -> dict[str, Source]:
    """All versions of a folder of models that can be read, by artifact id."""
    found = {}
    for path in sorted(models.glob(f"*/*/{MANIFEST}")):
        try:
            manifest = read_manifest(path.read_bytes())
        except (ModelError, OSError):
            continue
        names = tuple(sensor.name for sensor in manifest.sensors)
        units = tuple(sensor.unit for sensor in manifest.sensors)
        number = int(path.parent.name) if path.parent.name.isdecimal() else manifest.version
        found[manifest.artifact_id] = Source(manifest.name, number, manifest.artifact_id, names, units)
    return found


def by_day(sequence: int, readings: ModelReadings) -> Iterator[Part]:
    """The readings of one model in a record, day by day of their event time."""
    days = readings.time // DAY
    for day in np.unique(days).tolist():
        own = days == day
        yield Part(sequence, day, readings if own.all() else rows_of(readings, own))


def rows_of(readings: ModelReadings, own: NDArray[np.bool_]) -> ModelReadings:
    """Some of the readings."""
    return ModelReadings(readings.artifact_id, *(getattr(readings, name)[own] for name in ARRAYS))


def frame(source: Source, ids: Mapping[int, str], parts: Sequence[Part]) -> pl.DataFrame:
    """A table of readings of one model; `ids` are the names of machines by slot."""
    arrays = {name: np.concatenate([getattr(part.readings, name) for part in parts]) for name in ARRAYS}
    sequence = np.repeat([part.sequence for part in parts], [len(part.readings.time) for part in parts])
    flags = arrays["flags"]
    own = {
        "time": pl.Series(arrays["time"]).cast(TIME),
        "equipment": _named(arrays["slot"], {int(slot): ids[int(slot)] for slot in np.unique(arrays["slot"])}),
        "status": _named(arrays["status"], dict(enumerate(STATUS_NAMES))),
        "reason": _named(arrays["reason"], dict(enumerate(REASON_NAMES))),
        "score": pl.Series(arrays["score"], nan_to_null=True),
        "p_value": pl.Series(arrays["p_value"], nan_to_null=True),
        "alarm": pl.Series((flags & ALARM_BIT) != 0),
        "flags": _named(flags, {int(bits): " ".join(flag_names(int(bits))) for bits in np.unique(flags)}),
        "sequence": pl.Series(sequence.astype(np.int64)),
    }
    sensors = [
        pl.Series(name, np.ascontiguousarray(column), nan_to_null=True)
        for name, column in zip(source.sensors, arrays["values"].T, strict=True)
    ]
    head = [own[name].alias(source.own(name)) for name in OWN[:2]]
    results = [own[name].alias(source.own(name)) for name in OWN[2:]]
    return pl.DataFrame([*head, *sensors, *results]).sort(source.own("equipment"), source.own("time"))


def _named(codes: NDArray[np.generic], names: Mapping[int, str]) -> pl.Series:
    return pl.Series(codes.astype(np.int64)).replace_strict(names, return_dtype=pl.String)


def write(folder: Path, source: Source, day: int, ids: Mapping[int, str], parts: Sequence[Part]) -> Path:
    """Write the readings of one model and day, all of them or nothing. Written again, they replace themselves."""
    home = folder / day_name(day)
    make_folder(home)
    remove_leftovers(home, ".*.parquet.partial")
    first = min(part.sequence for part in parts)
    path = home / f"{source.model}-v{source.version}-{first:012d}.parquet"
    content = io.BytesIO()
    frame(source, ids, parts).write_parquet(content, metadata=source.columns().metadata())
    write_durably(path, sealed(content.getvalue()))
    return path


def day_name(day: int) -> str:
    """The folder of a day since 1970.

    >>> day_name(20_781)
    '2026-11-24'
    """
    return str(np.datetime64(day, "D"))


def days(folder: Path) -> list[Path]:
    """The folders of exported days, oldest first."""
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(path for path in found if path.is_dir() and DAY_NAME.fullmatch(path.name))


def day_of(path: Path) -> int:
    """The day since 1970 of a folder."""
    return (date.fromisoformat(path.name) - date(1970, 1, 1)).days


def remove_day(path: Path) -> int:
    """Remove an exported day; how many bytes it had. Nothing happens where it has gone already."""
    size = 0
    for file in sorted(path.glob("*")):
        try:
            held = file.stat().st_size
            file.unlink()
        except FileNotFoundError:
            continue
        size += held
    path.rmdir()
    sync_folder(path.parent)
    return size


def size_of(readings: ModelReadings) -> int:
    """Bytes that readings take."""
    return sum(getattr(readings, name).nbytes for name in ARRAYS)


def known(parts: Iterable[Part], ids: Mapping[int, str]) -> tuple[list[Part], int]:
    """The parts without readings of machines that have no name here, and how many readings those are."""
    kept, left = [], 0
    for part in parts:
        own = np.array([int(slot) in ids for slot in part.readings.slot], np.bool_)
        left += int((~own).sum())
        if own.all():
            kept.append(part)
        elif own.any():
            kept.append(Part(part.sequence, part.day, rows_of(part.readings, own)))
    return kept, left
