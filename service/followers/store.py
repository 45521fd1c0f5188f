"""The own store of a follower: how far it has read, the holes it met, and what it keeps, changed in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from models.disk import make_folder

FORMAT = 1
BUSY_MILLISECONDS = 10_000
TABLES = """
CREATE TABLE place (position INTEGER NOT NULL, now INTEGER NOT NULL, received_at INTEGER NOT NULL) STRICT;
INSERT INTO place VALUES (0, 0, 0);
CREATE TABLE hole (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
"""


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
        self.connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        self.connection.execute("PRAGMA journal_mode = WAL").fetchone()
        self.connection.execute("PRAGMA synchronous = FULL")
        (found,) = self.connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, FORMAT):
            self.connection.close()
            raise StoreError(f"{path} has format {found}; this program knows {FORMAT}: start the newer program again")
        if not found:
            self.connection.executescript(f"BEGIN;\n{TABLES}\n{tables}\nPRAGMA user_version = {FORMAT};\nCOMMIT;")

    @property
    def place(self) -> Place:
        return Place(*self.connection.execute("SELECT position, now, received_at FROM place").fetchone())

    def move(self, place: Place) -> None:
        """Within a transaction: what was read so far is taken in with it."""
        self.connection.execute("UPDATE place SET position = ?, now = ?, received_at = ?", astuple(place))

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


def place_in(path: Path) -> Place:
    """Where a follower is, read from outside; the beginning where it has no store yet or it cannot be read now."""
    if not path.is_file():
        return Place()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return Place(*connection.execute("SELECT position, now, received_at FROM place").fetchone())
    except sqlite3.Error:
        return Place()
