"""Reading a journal from outside: while it is written, after a stop, after a crash, and without a trace."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from service import journal_reader as module
from service.journal import JournalError, SqliteJournal
from service.journal_reader import JournalFile, first_of
from service.records import RecordError
from tests.service.test_journal import edit, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "shard-0.sqlite"


def sequences(path: Path, first: int = 1) -> list[int]:
    return [record.sequence for record in JournalFile(path).read(first)]


def test_a_journal_is_read_while_it_is_written_and_after_it_was_closed(path: Path) -> None:
    journal = SqliteJournal(path)
    write(journal, 1, 2, 3)
    reader = JournalFile(path)
    assert [record.sequence for record in reader.read(2)] == [2, 3]
    write(journal, 4)
    assert (reader.first_sequence(), reader.last_sequence()) == (1, 4)
    journal.close()
    assert sequences(path) == [1, 2, 3, 4]


def test_a_journal_is_read_after_a_crash_that_left_its_log(path: Path) -> None:
    script = (
        "import asyncio, os, sys; from pathlib import Path; from service.journal import SqliteJournal;"
        "from tests.service.test_journal import write; write(SqliteJournal(Path(sys.argv[1])), 1, 2); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0
    assert sequences(path) == [1, 2]
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0  # left to the service


def test_an_open_read_does_not_keep_the_log_from_being_moved_into_the_database(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_RECORDS", 2)
    journal = SqliteJournal(path)
    write(journal, 1, 2, 3)
    under_way = JournalFile(path).read()
    assert next(under_way).sequence == 1
    write(journal, 4)
    with sqlite3.connect(path) as connection:
        busy, log, moved = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    connection.close()
    assert (busy, log) == (0, moved)
    assert [record.sequence for record in under_way] == [2, 3, 4]
    journal.close()


def test_a_reader_can_write_nothing(path: Path) -> None:
    SqliteJournal(path).close()
    with JournalFile(path)._opened() as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM record")


def test_the_first_record_since_a_time_is_found(path: Path) -> None:
    journal = SqliteJournal(path)
    reader = JournalFile(path)
    assert (reader.sequence_at(0), reader.first_sequence(), reader.last_sequence()) == (1, None, 0)
    write(journal, 1, 2, 3)  # received at 10, 20, 30
    assert [reader.sequence_at(time) for time in (0, 10, 11, 30, 31)] == [1, 1, 2, 3, 4]
    journal.close()


def test_a_damaged_record_is_named_by_a_reader(path: Path) -> None:
    journal = SqliteJournal(path)
    write(journal, 1, 2)
    journal.close()
    edit(path, "UPDATE record SET received_at = 21 WHERE sequence = 2")
    with pytest.raises(RecordError, match="record 2 does not match its checksum"):
        sequences(path)


def test_where_there_is_no_journal_or_one_of_another_schema_it_is_said(path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal at"):
        JournalFile(path)
    SqliteJournal(path).close()
    edit(path, "PRAGMA user_version = 9")
    with pytest.raises(JournalError, match="has schema 9; this program reads 1"):
        JournalFile(path)
    assert os.path.exists(path)


def test_reading_does_not_wait_for_a_commit_under_way(path: Path) -> None:
    journal = SqliteJournal(path)
    write(journal, 1)
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert sequences(path) == [1]
        connection.execute("ROLLBACK")
    connection.close()
    asyncio.run(journal.sync())
    journal.close()


def test_records_that_are_removed_while_all_are_examined_are_not_missing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_RECORDS", 2)
    journal = SqliteJournal(path)
    write(journal, *range(1, 8))
    under_way = JournalFile(path).examine()
    assert next(under_way).sequence == 1
    journal.prune(5)
    assert [(found.sequence, found.trouble) for found in under_way] == [(2, ""), (5, ""), (6, ""), (7, "")]
    edit(path, "DELETE FROM record WHERE sequence = 6")
    told = [found.trouble for found in JournalFile(path).examine()]
    assert told == ["", "record 6 is missing; the next one there is 7", ""]
    journal.close()


def test_records_that_go_on_being_removed_are_not_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_RECORDS", 2)
    journal = SqliteJournal(path)
    write(journal, *range(1, 8))
    under_way = JournalFile(path).examine()
    assert next(under_way).sequence == 1
    journal.prune(5)

    def first_a_moment_later(connection: sqlite3.Connection) -> int | None:
        journal.prune(6)
        return first_of(connection)

    monkeypatch.setattr(module, "first_of", first_a_moment_later)
    assert [(found.sequence, found.trouble) for found in under_way] == [(2, ""), (5, ""), (6, ""), (7, "")]
    journal.close()


def test_a_copy_is_that_of_one_moment_while_the_journal_is_written(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COPY_PAGES", 1)
    journal = SqliteJournal(path)
    write(journal, *range(1, 400))
    steps: list[float] = []

    def meanwhile(share: float) -> None:
        if len(steps) < 5:
            write(journal, journal.next_sequence)
        steps.append(share)

    JournalFile(path).copy(tmp_path / "copy.sqlite", meanwhile)
    assert len(steps) > 5
    assert sequences(tmp_path / "copy.sqlite") == list(range(1, 400))
    assert [file.name for file in tmp_path.glob("copy*")] == ["copy.sqlite"], "one file, without a log"
    assert journal.next_sequence == 405
    journal.close()
