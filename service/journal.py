"""Where a micro-batch is made durable: step -> append -> sync -> answer.

Nothing outside this file and `journal_reader.py` may know how a journal stores. `SqliteJournal` keeps records in one
SQLite database a shard: WAL, `synchronous=FULL`, written from one thread, several records a commit, checkpoints from
another thread so that no reading waits for them. `Unjournaled` only numbers records, for tests and benchmarks.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from models.disk import PARTIAL, make_folder, remove, sync, sync_folder
from service import records
from service.journal_end import EndMark, check_end
from service.journal_reader import (
    BUSY_MILLISECONDS,
    SCHEMA,
    JournalError,
    code_of,
    copy_moment,
    first_of,
    last_of,
    read_records,
    sequence_at,
    unusable,
)
from service.records import Record

__all__ = ["Journal", "JournalError", "SqliteJournal", "Unjournaled"]

MIGRATIONS = Path(__file__).parent / "migrations"
CHECKPOINT_BYTES = 64 * 1024 * 1024  # written, after which the log is moved into the database while writing goes on
LOG_BYTES = 512 * 1024 * 1024  # of log, beyond which it is emptied: writing waits for that
EMPTYING_MILLISECONDS = 250  # that emptying waits for readers, far less than writing waits for it
PRUNE_RECORDS, PRUNE_BYTES = 256, 4 * 1024 * 1024  # removed in one transaction
PRUNE_PAUSE_SECONDS = 0.005
PAGE_BYTES = 4096  # at least, that a record takes of the log

log = logging.getLogger("limen")


class Journal(Protocol):
    """Append-only store of the records of one shard."""

    @property
    def next_sequence(self) -> int:
        """Sequence that the next record will get."""
        ...

    def append(self, record: Record) -> int:
        """Hand a record over; returns its sequence. It is safe only after `sync`."""
        ...

    async def sync(self) -> None:
        """Return when all that was appended would survive a crash; raise when that cannot be had."""
        ...

    def read(self, first: int = 1) -> Iterator[Record]:
        """Records from sequence `first` on, in order."""
        ...

    def first_sequence(self) -> int | None:
        """The oldest record that is kept; None where there is none."""
        ...

    def sequence_at(self, received_at: int) -> int:
        """The first record that came in then or later; the next one where there is none."""
        ...

    def skip_to(self, sequence: int) -> None:
        """Number records from `sequence` on, where a snapshot is ahead of the journal."""
        ...

    def prune(self, before: int, bytes_max: int = 0) -> int:
        """Remove records older than sequence `before`, oldest first, until those that are left take no more than
        `bytes_max`; how many there were."""
        ...

    def bytes_used(self) -> int:
        """Bytes that the records take."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...


class Unjournaled:
    """Numbers records and keeps none of them: after a crash, the last snapshot is all there is."""

    def __init__(self, next_sequence: int = 1) -> None:
        self._next = next_sequence

    @property
    def next_sequence(self) -> int:
        return self._next

    def append(self, record: Record) -> int:
        self._next = _following(record, self._next)
        return record.sequence

    async def sync(self) -> None:
        return

    def read(self, first: int = 1) -> Iterator[Record]:
        return iter(())

    def first_sequence(self) -> int | None:
        return None

    def sequence_at(self, received_at: int) -> int:
        return self._next

    def skip_to(self, sequence: int) -> None:
        self._next = max(self._next, sequence)

    def prune(self, before: int, bytes_max: int = 0) -> int:
        return 0

    def bytes_used(self) -> int:
        return 0

    def close(self) -> None:
        return


def _following(record: Record, wanted: int) -> int:
    if record.sequence != wanted:
        raise ValueError(f"record has sequence {record.sequence}; expected {wanted}: records go in one order")
    return wanted + 1


class SqliteJournal:
    """Records of one shard in the file `path`, made if absent. `engine` says what computes here.

    JournalError where the file is no journal, of another shard or a newer program, or its end is missing."""

    def __init__(self, path: Path, shard: int = 0, engine: str = "") -> None:
        self.path, self.shard, self.engine = path, shard, engine
        self._pending: list[Record] = []
        self._writer = ThreadPoolExecutor(1, "journal")
        self._housekeeper = ThreadPoolExecutor(1, "checkpoint")
        self._checkpointing = threading.Event()
        self._broken: BaseException | None = None  # what the disk said while the log was moved
        self._closed = False
        self._log = path.with_name(path.name + "-wal")
        self._written = 0  # bytes since the log was moved into the database
        check_end(path)
        self._connection, last = _open(path, shard)
        self._next = last + 1
        self._end = EndMark(path, last)

    @property
    def next_sequence(self) -> int:
        return self._next

    def skip_to(self, sequence: int) -> None:
        if sequence > self._next:
            self._connection.execute("UPDATE journal SET value = ? WHERE name = 'next_sequence'", (str(sequence),))
            self._next = sequence
            self._end.move(sequence - 1)

    def append(self, record: Record) -> int:
        self._next = _following(record, self._next)
        self._pending.append(record)
        return record.sequence

    async def sync(self) -> None:
        if self._broken is not None:
            raise self._broken
        pending, self._pending = self._pending, []
        if pending:
            self._written += await asyncio.get_running_loop().run_in_executor(self._writer, self._commit, pending)
            self._checkpoint_when_due()

    def _commit(self, pending: list[Record]) -> int:
        """Write records in one transaction; bytes of them."""
        rows = [self._row(record) for record in pending]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise _of_disk(error, self.path) from None
        self._end.move(pending[-1].sequence)
        return sum(PAGE_BYTES + len(row[-1]) for row in rows)

    def _row(self, record: Record) -> tuple[int, str, int, int, str, bytes, bytes]:
        payload = records.encode(record)
        checksum = records.checksum(
            record.kind, records.VERSION, self.shard, record.sequence, record.received_at, self.engine, payload
        )
        return (
            record.sequence, record.kind, records.VERSION, record.received_at, self.engine, checksum, payload,
        )  # fmt: skip

    def read(self, first: int = 1) -> Iterator[Record]:
        """Records from sequence `first` on. RecordError names the record that is damaged, missing or unknown.
        JournalError where the file around them is damaged."""
        with self._reading() as connection:
            yield from read_records(connection, self.shard, first)

    def first_sequence(self) -> int | None:
        with self._reading() as connection:
            return first_of(connection)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with closing(_connect(self.path)) as connection:
            try:
                yield connection
            except sqlite3.DatabaseError as error:
                raise unusable(self.path, error) from None

    def sequence_at(self, received_at: int) -> int:
        with self._reading() as connection:
            return sequence_at(connection, received_at) or last_of(connection) + 1

    def prune(self, before: int, bytes_max: int = 0) -> int:
        removed = 0
        while self.bytes_used() > bytes_max:
            part = self._writer.submit(self._prune_some, before).result()
            if not part:
                break
            removed += part
            time.sleep(PRUNE_PAUSE_SECONDS)  # what waits to be written goes first
        return removed

    def _prune_some(self, before: int) -> int:
        """Remove the oldest records, at most `PRUNE_BYTES` of them in one transaction; how many."""
        until, size = 0, 0
        oldest = "SELECT sequence, length(payload) FROM record WHERE sequence < ? ORDER BY sequence LIMIT ?"
        for sequence, length in self._connection.execute(oldest, (before, PRUNE_RECORDS)).fetchall():
            if until and size + length > PRUNE_BYTES:
                break
            until, size = sequence, size + length
        if not until:
            return 0
        self._connection.execute(
            "UPDATE journal SET value = max(CAST(value AS INTEGER), (SELECT max(sequence) + 1 FROM record)) "
            "WHERE name = 'next_sequence'"
        )
        return self._connection.execute("DELETE FROM record WHERE sequence <= ?", (until,)).rowcount

    def bytes_used(self) -> int:
        """Bytes of all records, those that are only in the log included. What was freed is not counted, it is used
        again; nor is what the log still holds of older states."""
        with self._reading() as connection:
            pages, free, size = (
                int(connection.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
        return (pages - free) * size

    def _checkpoint_when_due(self) -> None:
        if self._checkpointing.is_set() or self._written < CHECKPOINT_BYTES:
            return
        self._written = 0
        self._checkpointing.set()
        self._housekeeper.submit(self._checkpoint)

    def _checkpoint(self) -> None:
        """Move the log into the database while writing goes on; where it has grown large, empty it. Somebody who reads
        for long, such as a backup, keeps it as it is: it is tried again when as much has been written. So it is where
        there is no room; after an error of the disk, nothing is safe any more."""
        try:
            with closing(_connect(self.path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if self._log.stat().st_size > LOG_BYTES:
                    connection.execute(f"PRAGMA busy_timeout = {EMPTYING_MILLISECONDS}")
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if (size := self._log.stat().st_size) > LOG_BYTES:
                log.warning("the log of the journal has grown to %d bytes: something reads the journal for long", size)
        except (OSError, sqlite3.Error) as error:
            log.error("the log of the journal could not be moved into the database: %s", error)
            if code_of(error) == sqlite3.SQLITE_IOERR:
                self._broken = _of_disk(error, self.path)
        finally:
            self._checkpointing.clear()

    def close(self) -> None:
        self._writer.shutdown()
        self._housekeeper.shutdown()
        if not self._closed:
            self._closed = True
            self._end.close()
            with closing(self._connection) as connection:
                try:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                except sqlite3.Error as error:  # the records are safe in the log
                    log.warning("the log of the journal stays as it is: %s", error)


def _of_disk(error: BaseException, path: Path) -> BaseException:
    """What the disk said, where it was the disk."""
    number = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO}.get(code_of(error))
    return error if number is None else OSError(number, f"{os.strerror(number)} ({error})", str(path))


# -- the file --------------------------------------------------------------------------------------------------------


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    _configure(connection)
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def _open(path: Path, shard: int) -> tuple[sqlite3.Connection, int]:
    """The database, brought up to date, and the last record in it."""
    make_folder(path.parent)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _configure(connection)
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        _migrate(connection, path)
        connection.execute("INSERT OR IGNORE INTO journal VALUES ('shard', ?), ('next_sequence', '1')", (str(shard),))
        (own,) = connection.execute("SELECT value FROM journal WHERE name = 'shard'").fetchone()
        if own != str(shard):
            raise JournalError(f"{path} is the journal of shard {own}; expected {shard}")
        _renew_log(connection)
        return connection, last_of(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise unusable(path, error) from None
    except JournalError:
        connection.close()
        raise


def _renew_log(connection: sqlite3.Connection) -> None:
    """Move what a log holds into the database, and begin it anew. After a sync that failed, the kernel may show what
    the disk has not: all that is read from here on is written once more."""
    _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if frames > 0:
        connection.execute(f"PRAGMA user_version = {SCHEMA}")  # the first commit of the new log


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a database to the schema of this program, one file of migrations/ after the other; an older database is
    copied first."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA:
        raise JournalError(f"{path} has schema {found}; this program knows {SCHEMA}: start the newer program again")
    if 0 < found < SCHEMA:
        _keep_copy(connection, path.with_name(f"{path.name}.schema-{found}"))
    for version in range(found + 1, SCHEMA + 1):
        script = (MIGRATIONS / f"{version:04d}.sql").read_text("utf-8")
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {version};\nCOMMIT;")


def _keep_copy(connection: sqlite3.Connection, copy: Path) -> None:
    """A copy of the database, whole and safe before anything is changed."""
    partial = copy.with_name(f".{copy.name}{PARTIAL}")
    remove(partial)
    copy_moment(connection, partial)
    sync(partial)
    partial.replace(copy)
    sync_folder(copy.parent)
