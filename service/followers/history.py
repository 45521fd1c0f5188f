"""History export: what a service has taken in leaves as Parquet, day by UTC day, in `history/` of the data folder.

Readings wait in the store of the follower until their day is over, by event time, and `history_delay_seconds` have
passed. Late ones of a day that has left wait as long, and leave in a further part of it; so does a day whose readings
reach `PART_BYTES` before its end. A part is named by its first record: one that is written again after a crash replaces
itself, so that nothing is there twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from models.contract import MICROSECONDS
from service import history, records, snapshot
from service.followers.store import Store
from service.history import DAY, HISTORY, Part
from service.records import Record
from service.settings import MODELS, SNAPSHOTS, Settings

PART_BYTES = 32 * 1024 * 1024
TABLES = """
CREATE TABLE equipment (slot INTEGER PRIMARY KEY, id TEXT NOT NULL) STRICT;
CREATE TABLE part (
  day INTEGER, artifact TEXT, due INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (day, artifact)) STRICT;
CREATE TABLE waiting (
  day INTEGER, artifact TEXT, sequence INTEGER, received_at INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
CREATE INDEX waiting_part ON waiting (day, artifact, sequence);
"""

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
        for registered in record.registered:
            execute("INSERT OR REPLACE INTO equipment VALUES (?, ?)", registered)
        for readings in record.readings:
            for part in history.by_day(record.sequence, readings):
                payload = records.encode(
                    Record("readings", record.shard, record.sequence, record.received_at, record.now, [part.readings])
                )
                key = part.day, readings.artifact_id
                execute(
                    "INSERT INTO waiting VALUES (?, ?, ?, ?, ?)", (*key, record.sequence, record.received_at, payload)
                )
                due = max((part.day + 1) * DAY, record.now) + self.delay
                execute(
                    "INSERT INTO part VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (day, artifact) DO UPDATE SET bytes = bytes + excluded.bytes",
                    (*key, due, len(payload)),
                )

    def missed(self, first: int, last: int) -> None:
        """Machines that were registered in a hole: every kept snapshot is newer than the records that were removed."""
        known = snapshot.newest_ids(self.snapshots)
        self.store.connection.executemany("INSERT OR REPLACE INTO equipment VALUES (?, ?)", known.items())

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
        waiting = execute(
            "SELECT sequence, received_at, payload FROM waiting WHERE day = ? AND artifact = ? ORDER BY sequence", key
        )
        found = [
            Part(sequence, day, readings)
            for sequence, received_at, payload in waiting
            for readings in records.decode("readings", 0, sequence, received_at, payload).readings
        ]
        ids = dict(execute("SELECT slot, id FROM equipment").fetchall())
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


def store_path(data_dir: Path, name: str) -> Path:
    """The store of a follower."""
    return data_dir / "followers" / f"{name}.sqlite"
