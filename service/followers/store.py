"""The own store of a follower: how far it has read, the holes it met, and what it keeps, changed in one transaction."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from models.disk import make_folder

FORMAT = 2
BUSY_MILLISECONDS = 10_000
TABLES = """
CREATE TABLE place (
  position INTEGER NOT NULL, now INTEGER NOT NULL, received_at INTEGER NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE TABLE hole (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
"""


REMEDY = "remove it (its -wal and -shm, too): it begins anew with what the journal has"


class StoreError(ValueError):
    """A store that cannot be used; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """The last record that was read, what the clock said then, and when that record came in, in microseconds; zeros
    where there is none."""

    position: int = 0
    now: int = 0
    received_at: int = 0


class Store:
    """The store in the file `path`, made if absent with `tables` beside those that every follower has."""

    def __init__(self, path: Path, tables: str = "") -> None:
        make_folder(path.parent)
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        try:
            self._open(tables)
        except BaseException:
            self.connection.close()
            raise

    def _open(self, tables: str) -> None:
        self.connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        self.connection.execute("PRAGMA journal_mode = WAL").fetchone()
        self.connection.execute("PRAGMA synchronous = FULL")
        (found,) = self.connection.execute("PRAGMA user_version").fetchone()
        if found > FORMAT:
            raise StoreError(
                f"{self.path} has format {found}; this program knows {FORMAT}: start the newer program again"
            )
        if found not in (0, FORMAT):
            raise StoreError(f"{self.path} has format {found}; this program knows {FORMAT}: {REMEDY}")
        if not found:
            first = "INSERT INTO place VALUES (0, 0, 0, x'" + seal(0, 0, 0).hex() + "');"
            self.connection.executescript(
                f"BEGIN;\n{TABLES}\n{first}\n{tables}\nPRAGMA user_version = {FORMAT};\nCOMMIT;"
            )

    @property
    def place(self) -> Place:
        """StoreError where it is damaged."""
        *found, own = self.connection.execute("SELECT position, now, received_at, seal FROM place").fetchone()
        if seal(*found) != own:
            raise self.damaged("its place")
        return Place(*found)

    def damaged(self, what: str) -> StoreError:
        """Why the store cannot be used any more."""
        return StoreError(f"{self.path}: {what} does not match its checksum; it is damaged: {REMEDY}")

    def move(self, place: Place) -> None:
        """Within a transaction: what was read so far is taken in with it."""
        own = astuple(place)
        self.connection.execute("UPDATE place SET position = ?, now = ?, received_at = ?, seal = ?", (*own, seal(*own)))

    def holes(self) -> list[tuple[int, int]]:
        """Records that were gone before they were read: first and last."""
        return self.connection.execute("SELECT first, last FROM hole ORDER BY first").fetchall()

    def add_hole(self, first: int, last: int) -> None:
        self.connection.execute("INSERT OR REPLACE INTO hole VALUES (?, ?)", (first, last))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is done in it, or nothing."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self.connection.close()


def seal(*values: int | str | bytes) -> bytes:
    """A checksum of a row."""
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        content = value if isinstance(value, bytes) else str(value).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


def place_in(path: Path) -> Place:
    """Where a follower is, read from outside; the beginning where it has no store yet or it cannot be read now."""
    if not path.is_file():
        return Place()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return Place(*connection.execute("SELECT position, now, received_at FROM place").fetchone())
    except sqlite3.Error:
        return Place()
