"""How a journal is read: by its own process at start, and by others while it is written.

Reading takes no lock that the writer waits for; a few records are read at once, so that no reader holds up the log.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from service import records
from service.records import Record, RecordError

SCHEMA = 1  # of the database: one file in migrations/ for each version
BUSY_MILLISECONDS = 10_000
COPY_PAGES = 1024  # copied at once
READ_RECORDS, READ_BYTES = 256, 4 * 1024 * 1024  # read at once

Row = tuple[Any, ...]
ROW = (int, str, int, int, str, bytes, bytes)  # types of a row that is whole


class JournalError(ValueError):
    """A journal that cannot be used; the text says which file and what to do."""


class OlderJournal(JournalError):
    """A journal of an older program, which a start brings up to date."""


def unusable(path: Path, error: Exception) -> JournalError:
    """Why the journal `path` cannot be used, and what to do."""
    if code_of(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return JournalError(f"{path} cannot be read or written: {error}; look whether the disk is full or fails")
    return JournalError(f"{path} cannot be used as a journal: {error}; put it back from a backup")


def code_of(error: BaseException) -> int:
    """The code of SQLite, without what it did at that moment; 0 where it is not of SQLite."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class Reader(Protocol):
    """What others than the writer may ask of a journal: followers, exports, the history of a machine."""

    def read(self, first: int = 1) -> Iterator[Record]:
        """Records from sequence `first` on, in order."""
        ...

    def first_sequence(self) -> int | None:
        """The oldest record that is kept; None where there is none."""
        ...

    def last_sequence(self) -> int:
        """The newest record that is safe; 0 before there is one."""
        ...

    def sequence_at(self, received_at: int) -> int:
        """The first record that came in then or later; the one after the last where there is none."""
        ...


class JournalFile:
    """The journal in the file `path`, for reading only: while another process writes it, and when none does. Nothing is
    written, and no lock is taken that a writer waits for. JournalError where there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as connection:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if 0 < found < SCHEMA:
                raise OlderJournal(f"{path} has schema {found}; limen serve brings it to {SCHEMA} at its start")
            if found != SCHEMA:
                raise JournalError(f"{path} has schema {found}; this program reads {SCHEMA}")
            self.shard = number_of(connection, "shard")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise JournalError(f"there is no journal at {self.path}")
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        with closing(connection):
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
            try:
                yield connection
            except sqlite3.DatabaseError as error:
                raise unusable(self.path, error) from None

    def read(self, first: int = 1) -> Iterator[Record]:
        """Records from sequence `first` on. RecordError names the record that is damaged, missing or unknown."""
        with self._opened() as connection:
            yield from read_records(connection, self.shard, first)

    def examine(self, first: int = 1) -> Iterator[Examined]:
        """Rows from sequence `first` on, those that cannot be used among them. Records that the service removes
        meanwhile are not missing. JournalError where the file itself is damaged."""
        with self._opened() as connection:
            for found in examine_records(connection, self.shard, first):
                if found.after_gap and (first_of(connection) or found.sequence) >= found.sequence:
                    continue
                yield found

    def copy(self, target: Path, told: Callable[[float], object] = lambda share: None) -> None:
        """Write the journal as it is at one moment into a new file, while it is written or not; `told` is called with
        the share that is done. OSError where there is no room for it."""
        with self._opened() as connection:
            copy_moment(connection, target, told)

    def first_sequence(self) -> int | None:
        with self._opened() as connection:
            return first_of(connection)

    def last_sequence(self) -> int:
        with self._opened() as connection:
            return last_of(connection)

    def sequence_at(self, received_at: int) -> int:
        with self._opened() as connection:
            return sequence_at(connection, received_at) or last_of(connection) + 1


def sequence_at(connection: sqlite3.Connection, received_at: int) -> int | None:
    """The first record that came in then or later; None where there is none."""
    query = "SELECT sequence FROM record WHERE received_at >= ? ORDER BY received_at, sequence LIMIT 1"
    found = connection.execute(query, (received_at,)).fetchone()
    return int(found[0]) if found else None


def copy_moment(
    connection: sqlite3.Connection, target: Path, told: Callable[[float], object] = lambda share: None
) -> None:
    """Write what a connection sees now into a new file, whatever is written meanwhile, and sync it. OSError where there
    is no room for it."""
    connection.execute("BEGIN")
    try:
        first_of(connection)  # from here on, this connection sees one moment
        with closing(sqlite3.connect(target, isolation_level=None)) as into:
            connection.backup(into, pages=COPY_PAGES, progress=lambda _, left, all_: told(1 - left / max(all_, 1)))
            into.execute("PRAGMA journal_mode = DELETE").fetchone()  # one file, without a log beside it
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from None
    finally:
        connection.execute("ROLLBACK")


def first_of(connection: sqlite3.Connection) -> int | None:
    """The oldest record; None where there is none."""
    (first,) = connection.execute("SELECT min(sequence) FROM record").fetchone()
    return None if first is None else int(first)


def last_of(connection: sqlite3.Connection) -> int:
    """The newest record, those that were removed among them; 0 where there was none."""
    (last,) = connection.execute("SELECT max(sequence) FROM record").fetchone()
    return max(last or 0, number_of(connection, "next_sequence") - 1)


def number_of(connection: sqlite3.Connection, name: str) -> int:
    """A number that the journal keeps beside its records."""
    found = connection.execute("SELECT value FROM journal WHERE name = ?", (name,)).fetchone()
    try:
        return int(found[0])
    except (TypeError, ValueError):
        raise sqlite3.DatabaseError(f"its {name} is no number") from None


@dataclass(frozen=True, slots=True)
class Examined:
    """A row of the journal: the record that it holds, or what is wrong with it."""

    sequence: int
    kind: str
    received_at: int
    engine: str
    payload_bytes: int
    record: Record | None
    trouble: str = ""
    after_gap: bool = False  # the trouble is that records before it are missing


def read_records(connection: sqlite3.Connection, shard: int, first: int) -> Iterator[Record]:
    """Records from `first` on, checked. RecordError names the one that is damaged, missing or unknown."""
    for found in examine_records(connection, shard, first):
        if found.record is None:
            raise RecordError(found.trouble)
        yield found.record


def examine_records(connection: sqlite3.Connection, shard: int, first: int) -> Iterator[Examined]:
    """Rows from `first` on. One that is missing is told by the row after it, which then comes once more."""
    expected: int | None = None
    while page := _page(connection, first if expected is None else expected):
        for row in page:
            if expected is not None and row[0] != expected:
                which = f"record {expected} is" if row[0] == expected + 1 else f"records {expected} to {row[0] - 1} are"
                yield _troubled(row, f"{which} missing; the next one there is {row[0]}", after_gap=True)
            yield _examined(row, shard)
            expected = row[0] + 1


def _examined(row: Row, shard: int) -> Examined:
    sequence, kind, version, received_at, engine, checksum, payload = row
    if (
        tuple(map(type, row)) != ROW
        or records.checksum(kind, version, shard, sequence, received_at, engine, payload) != checksum
    ):
        return _troubled(row, f"record {sequence} does not match its checksum; it is damaged")
    if version != records.VERSION:
        return _troubled(row, f"record {sequence} has version {version}; this program reads {records.VERSION}")
    try:
        record = records.decode(kind, shard, sequence, received_at, payload)
    except RecordError as error:
        return _troubled(row, str(error))
    return Examined(sequence, kind, received_at, engine, len(payload), record)


def _troubled(row: Row, trouble: str, after_gap: bool = False) -> Examined:
    sequence, kind, _, received_at, engine, _, payload = row
    return Examined(sequence, kind, received_at, engine, len(payload or b""), None, trouble, after_gap)


def _page(connection: sqlite3.Connection, first: int) -> list[Row]:
    """Rows of some records from `first` on, read in one go; none where there is no more. Those before a place that
    cannot be read are found, too."""
    query = "SELECT sequence, kind, version, received_at, engine, checksum, payload FROM record"
    connection.text_factory = lambda text: text.decode(errors="replace")  # what is damaged does not match its checksum
    page, size = [], 0
    with closing(
        connection.execute(f"{query} WHERE sequence >= ? ORDER BY sequence LIMIT ?", (first, READ_RECORDS))
    ) as rows:
        try:
            for row in rows:
                page.append(row)
                size += len(row[-1] or b"")
                if size >= READ_BYTES:
                    break
        except sqlite3.DatabaseError:
            if not page:
                raise
    return page
