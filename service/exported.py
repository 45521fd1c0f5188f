"""What came of the readings of a machine in records that the journal may not have any more: from exported days, and
from what waits in the store of the history to be exported."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.contract import DataError
from models.exports.files import REFUSED_BY_POLARS
from models.exports.history import history_columns
from service import history
from service.followers.history import SEQUENCE, WAITING, HistoryExport, readings_of, store_path, whole
from service.history import HISTORY, Source
from service.ingest.times import time_texts
from service.records import ModelReadings
from service.ring import ALARM_BIT
from service.views import ScoreEntry, score_entries

RESULTS = ("status", "reason", "score", "p_value", "alarm", "flags", "sequence")
Timed = tuple[int, ScoreEntry]  # the time of an entry beside it, in microseconds

log = logging.getLogger("limen")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Readings of a machine with `after` < time < `end`, the first `limit` of them."""

    equipment: str
    slot: int
    after: int
    end: int
    limit: int


def chosen(wanted: Wanted, readings: ModelReadings) -> list[Timed]:
    """The wanted ones among the readings of one model in a record."""
    own = (readings.slot == wanted.slot) & (readings.time > wanted.after) & (readings.time < wanted.end)
    if not own.any():
        return []
    found = history.rows_of(readings, np.asarray(own, np.bool_))
    alarm = (found.flags & ALARM_BIT) != 0
    entries = score_entries(found.time, found.status, found.score, found.p_value, alarm, found.reason, found.flags)
    return list(zip(found.time.tolist(), entries, strict=True))


class Exported:
    """The exported days of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / HISTORY
        self.store = store_path(data_dir, HistoryExport.name)

    def days(self) -> dict[int, int]:
        """Days since 1970 in order, and the bytes that a look at each takes."""
        sizes: dict[int, int] = dict(self._waiting("SELECT day, sum(bytes) FROM part GROUP BY day"))
        for path in history.days(self.folder):
            files = sum(file.stat().st_size for file in path.glob("*.parquet"))
            sizes[history.day_of(path)] = sizes.get(history.day_of(path), 0) + files
        return dict(sorted(sizes.items()))

    def of_day(self, day: int, wanted: Wanted, before: int) -> list[Timed]:
        """The wanted readings of a day that are in records before a sequence, oldest first."""
        found = dict(self._of_store(day, wanted, before))  # first: what is exported meanwhile is found twice, not never
        for path in sorted((self.folder / history.day_name(day)).glob("*.parquet")):
            try:
                found |= _of_file(path, wanted, before)
            except FileNotFoundError:  # removed meanwhile
                continue
            except (DataError, *REFUSED_BY_POLARS, OSError) as error:
                log.error("%s of the history cannot be read and is left out: %s", path.name, error)
        return sorted(found.items(), key=lambda timed: timed[0])[: wanted.limit]

    def _of_store(self, day: int, wanted: Wanted, before: int) -> Iterator[Timed]:
        count = 0
        for row in self._waiting(f"{WAITING} WHERE day = ? AND sequence < ? ORDER BY sequence", day, before):
            if not whole(row):
                log.error("what waits for the history in record %s is damaged and is left out", row[SEQUENCE])
                continue
            for readings in readings_of(row):
                timed = chosen(wanted, readings)
                count += len(timed)
                yield from timed
            if count >= wanted.limit:
                return

    def _waiting(self, query: str, *given: int) -> Iterator[Any]:
        """Rows of the store, which another process writes; none where there is no store, or where it is damaged."""
        if not self.store.is_file():
            return
        with closing(sqlite3.connect(f"{self.store.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            try:
                yield from connection.execute(query, given)
            except sqlite3.DatabaseError as error:
                log.error("what waits for the history cannot be read and is left out: %s: %s", self.store, error)


def _of_file(path: Path, wanted: Wanted, before: int) -> dict[int, ScoreEntry]:
    """The wanted readings in one exported file."""
    columns = history_columns(path)
    if columns is None:
        return {}
    own = Source(columns.model, columns.version, columns.artifact_id, tuple(columns.sensors), ()).own
    time = pl.col(columns.time).cast(pl.Int64).alias("time")
    table = (
        pl.scan_parquet(path)
        .filter(pl.col(columns.equipment) == wanted.equipment)
        .select(time, **{name: pl.col(own(name)) for name in RESULTS})
        .filter(pl.col("time") > wanted.after, pl.col("time") < wanted.end, pl.col("sequence") < before)
        .sort("time")
        .head(wanted.limit)
        .collect()
    )
    if table.is_empty():
        return {}
    texts = time_texts(table["time"].to_numpy())
    rows = zip(table["time"].to_list(), texts, table.drop("time", "sequence").iter_rows(named=True), strict=True)
    return {time: ScoreEntry(time=text, **{**row, "flags": row["flags"].split()}) for time, text, row in rows}
