"""How far a journal reached: the number of the last record that was made safe, in a small file beside it.

SQLite drops the end of its log from the first damaged byte on, without a word, and a file that is gone was never there.
So that no acknowledged record can vanish like that, its number is written here after its commit. That is not synced: it
costs microseconds, is there after a kill, and after a power loss is at worst some seconds old.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from models.disk import write_durably
from service.journal_reader import JournalError, last_of, unusable

LAST = re.compile(rb"(\d{20}) ([0-9a-f]{16})\n")

log = logging.getLogger("limen")


class EndMark:
    """Keeps the number of the last safe record of the journal `path`: from now on `sequence`."""

    def __init__(self, path: Path, sequence: int) -> None:
        mark = mark_of(path)
        try:
            write_durably(mark, _text(sequence))
        except OSError as error:
            raise JournalError(f"{mark} cannot be written: {error.strerror}; make room on the disk") from None
        self._descriptor = os.open(mark, os.O_WRONLY | os.O_CLOEXEC)

    def move(self, sequence: int) -> None:
        """Records up to `sequence` are safe."""
        try:
            os.pwrite(self._descriptor, _text(sequence), 0)
        except OSError as error:  # what was written before still holds
            log.warning("the number of the last safe record could not be noted: %s", error)

    def close(self) -> None:
        """Release the file."""
        os.close(self._descriptor)


def mark_of(path: Path) -> Path:
    """The file beside a journal."""
    return path.with_name(f"{path.stem}.last")


def marked(path: Path) -> int:
    """The last record of the journal `path` that is known to have been safe; 0 where nothing is known."""
    mark = mark_of(path)
    try:
        content = mark.read_bytes()
    except FileNotFoundError:
        return 0
    found = LAST.fullmatch(content)
    if found is None or content != _text(int(found[1])):
        log.warning("%s is damaged: whether the end of the journal is there cannot be told", mark)
        return 0
    return int(found[1])


def check_end(path: Path) -> None:
    """JournalError where records of the journal `path` that were safe are not there. Changes nothing: it looks before
    SQLite moves what it sees of the log into the database."""
    safe = marked(path)
    if not safe:
        return
    last = _last(path)
    if last < safe:
        raise JournalError(
            f"{missing_end(path, last, safe)}. Put back a backup, or remove {mark_of(path).name} to go on without them"
        )


def missing_end(path: Path, last: int, safe: int) -> str:
    """What is missing of a journal that ends with record `last`.

    >>> missing_end(Path("shard-0.sqlite"), 3, 5)
    'shard-0.sqlite ends with record 3; records up to 5 were acknowledged: its end is damaged or gone'
    """
    return f"{path} ends with record {last}; records up to {safe} were acknowledged: its end is damaged or gone"


def _last(path: Path) -> int:
    """The newest record that SQLite sees."""
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()
            if not tables:  # their creation is in the log, too
                return 0
            return last_of(connection)
    except sqlite3.DatabaseError as error:
        raise unusable(path, error) from None


def _text(sequence: int) -> bytes:
    number = f"{sequence:020d}"
    return f"{number} {hashlib.blake2b(number.encode(), digest_size=8).hexdigest()}\n".encode()
