"""History export: what a service has taken in leaves as Parquet, day by UTC day, in `history/` of the data folder.

Readings wait in the store of the follower until their day is over, by event time, and `history_delay_seconds` have
passed. Late ones of a day that has left wait as long, and leave in a further part of it; so does a day whose readings
reach `PART_BYTES` before its end. A part is named by its first record: one that is written again after a crash replaces
itself, so that nothing is there twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from models.contract import MICROSECONDS
from service import history, records, snapshot
from service.followers.store import Store, seal
from service.history import DAY, HISTORY, Part
from service.records import ModelReadings, Record
from service.settings import MODELS, SNAPSHOTS, Settings

PART_BYTES = 32 * 1024 * 1024
TABLES = """
CREATE TABLE equipment (slot INTEGER PRIMARY KEY, id TEXT NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE TABLE part (
  day INTEGER, artifact TEXT, due INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (day, artifact)) STRICT;
CREATE TABLE waiting (
  day INTEGER, artifact TEXT, sequence INTEGER, received_at INTEGER NOT NULL, payload BLOB NOT NULL,
  seal BLOB NOT NULL) STRICT;
CREATE INDEX waiting_part ON waiting (day, artifact, sequence);
"""

WAITING = "SELECT day, artifact, sequence, received_at, payload, seal FROM waiting"
SEQUENCE, PAYLOAD = 2, 4  # places in its rows
Row = tuple[Any, ...]

log = logging.getLogger("limen")


class HistoryExport:
    """The follower `history`. `wall` tells the time where the clock of the service is the wall's."""

    name = "history"

    def __init__(self, settings: Settings, wall: Callable[[], float] = time.time) -> None:
        self.folder = settings.data_dir / HISTORY
        self.models, self.snapshots = settings.data_dir / MODELS, settings.data_dir / SNAPSHOTS
        self.delay = int(settings.history_delay_seconds * MICROSECONDS)
        self.days_max = settings.history_days_max
        self.wall = wall if settings.clock == "wall" else None
        self.store = Store(store_path(settings.data_dir, self.name), TABLES)
        self.sources = history.sources(self.models)

    def take(self, record: Record) -> None:
        """Let the readings of a record wait for the end of their days."""
        execute = self.store.connection.execute
        self._name(record.registered)
        for readings in record.readings:
            for part in history.by_day(record.sequence, readings):
                payload = records.encode(
                    Record("readings", record.shard, record.sequence, record.received_at, record.now, [part.readings])
                )
                key = part.day, readings.artifact_id
                row = *key, record.sequence, record.received_at, payload
                execute("INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?)", (*row, seal(*row)))
                due = max((part.day + 1) * DAY, record.now) + self.delay
                execute(
                    "INSERT INTO part VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (day, artifact) DO UPDATE SET bytes = bytes + excluded.bytes",
                    (*key, due, len(payload)),
                )

    def missed(self, first: int, last: int) -> None:
        """Machines that were registered in a hole: every kept snapshot is newer than the records that were removed."""
        self._name(snapshot.newest_ids(self.snapshots).items())

    def _name(self, known: Iterable[tuple[int, str]]) -> None:
        rows = [(slot, name, seal(slot, name)) for slot, name in known]
        self.store.connection.executemany("INSERT OR REPLACE INTO equipment VALUES (?, ?, ?)", rows)

    def _names(self) -> dict[int, str]:
        """StoreError where one is damaged."""
        rows = self.store.connection.execute("SELECT slot, id, seal FROM equipment").fetchall()
        if not all(seal(slot, name) == own for slot, name, own in rows):
            raise self.store.damaged("the name of a machine")
        return {slot: name for slot, name, _ in rows}

    def settle(self) -> None:
        """Export the parts that are due or large, and remove days that are too old."""
        now = max(self.store.place.now, int(self.wall() * MICROSECONDS) if self.wall else 0)
        due = "SELECT day, artifact FROM part WHERE due <= ? OR bytes >= ? ORDER BY day, artifact"
        for day, artifact_id in self.store.connection.execute(due, (now, PART_BYTES)).fetchall():
            self._export(day, artifact_id)
        for path in history.days(self.folder):
            if history.day_of(path) < now // DAY - self.days_max:
                history.remove_day(path)
                log.info("removed the history of %s, which is older than history_days_max", path.name)

    def _export(self, day: int, artifact_id: str) -> None:
        """Write one part, then forget what is in it."""
        execute, key = self.store.connection.execute, (day, artifact_id)
        rows = execute(f"{WAITING} WHERE day = ? AND artifact = ? ORDER BY sequence", key).fetchall()
        (size,) = execute("SELECT bytes FROM part WHERE day = ? AND artifact = ?", key).fetchone()
        if not all(map(whole, rows)) or sum(len(row[PAYLOAD]) for row in rows) != size:
            raise self.store.damaged(f"what waits of {history.day_name(day)}")
        found = [Part(row[SEQUENCE], day, readings) for row in rows for readings in readings_of(row)]
        ids = self._names()
        if artifact_id not in self.sources:
            self.sources = history.sources(self.models)
        source = self.sources.get(artifact_id)
        parts, unnamed = history.known(found, ids)
        if source is None or unnamed:
            lost = unnamed if source else sum(len(part.readings.time) for part in found)
            what = "machines have no name" if source else f"model {artifact_id[:12]} is gone"
            log.error("%d readings of %s are left out of the history: their %s", lost, history.day_name(day), what)
        if source is not None and parts:
            path = history.write(self.folder, source, day, ids, parts)
            log.info(
                "exported %d readings to %s", sum(len(p.readings.time) for p in parts), path.relative_to(self.folder)
            )
        with self.store.transaction():
            execute("DELETE FROM waiting WHERE day = ? AND artifact = ?", key)
            execute("DELETE FROM part WHERE day = ? AND artifact = ?", key)


def whole(row: Row) -> bool:
    """Whether a row of `WAITING` matches its checksum."""
    return seal(*row[:-1]) == row[-1]


def readings_of(row: Row) -> Sequence[ModelReadings]:
    """What waits in a row of `WAITING`."""
    _, _, sequence, received_at, payload, _ = row
    return records.decode("readings", 0, sequence, received_at, payload).readings


def store_path(data_dir: Path, name: str) -> Path:
    """The store of a follower."""
    return data_dir / "followers" / f"{name}.sqlite"
