"""The journal: order, what survives, what is refused, schemas."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service import journal as module
from service.journal import JournalError, SqliteJournal, Unjournaled
from service.records import Record, RecordError
from tests.service.test_records import some_record


def record(sequence: int, received_at: int = 0) -> Record:
    return Record("readings", 0, sequence, received_at, received_at + 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "shard-0.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(path, engine="test")
    yield opened
    opened.close()


def write(journal: SqliteJournal, *sequences: int) -> None:
    for sequence in sequences:
        journal.append(record(sequence, 10 * sequence))
    asyncio.run(journal.sync())


def edit(path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)
    connection.close()


def test_without_a_journal_records_are_numbered() -> None:
    journal = Unjournaled(7)
    assert [journal.next_sequence, journal.append(record(7)), journal.next_sequence] == [7, 7, 8]
    asyncio.run(journal.sync())
    assert list(journal.read()) == []
    journal.close()


@pytest.mark.parametrize("sequence", [6, 8])
def test_a_record_out_of_its_order_is_refused(sequence: int, journal: SqliteJournal) -> None:
    journal.skip_to(7)
    for one in (journal, Unjournaled(7)):
        with pytest.raises(ValueError, match=f"has sequence {sequence}; expected 7"):
            one.append(record(sequence))
        assert one.next_sequence == 7


def test_what_was_synced_is_there_after_a_start_and_what_was_not_is_not(path: Path, journal: SqliteJournal) -> None:
    write(journal, 1, 2)
    write(journal, 3)
    journal.append(record(4))
    other = SqliteJournal(path)
    assert [one.sequence for one in other.read()] == [1, 2, 3]
    assert [one.sequence for one in other.read(3)] == [3]
    assert other.next_sequence == 4
    assert other.first_sequence() == 1
    other.close()


def test_a_record_comes_back_with_its_key(journal: SqliteJournal) -> None:
    kept = some_record()
    journal.append(kept)
    asyncio.run(journal.sync())
    (back,) = journal.read()
    assert (back.kind, back.sequence, back.received_at, back.now) == (
        kept.kind, kept.sequence, kept.received_at, kept.now,
    )  # fmt: skip
    assert len(back.readings) == len(kept.readings)


def test_closing_twice_is_closing(journal: SqliteJournal) -> None:
    write(journal, 1)
    journal.close()
    journal.close()


def test_every_commit_reaches_the_disk(journal: SqliteJournal) -> None:
    connection = journal._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE record SET payload = x'00' WHERE sequence = 2", "record 2 does not match its checksum"),
        ("UPDATE record SET received_at = 7 WHERE sequence = 2", "record 2 does not match its checksum"),
        ("UPDATE record SET kind = 'event' WHERE sequence = 2", "record 2 does not match its checksum"),
        ("UPDATE record SET engine = 'other' WHERE sequence = 2", "record 2 does not match its checksum"),
        ("DELETE FROM record WHERE sequence = 2", "record 2 is missing; the next one there is 3"),
        ("UPDATE record SET sequence = 9 WHERE sequence = 2", "record 2 is missing"),
    ],
)
def test_a_damaged_record_is_named(path: Path, journal: SqliteJournal, statement: str, message: str) -> None:
    write(journal, 1, 2, 3)
    edit(path, statement)
    with pytest.raises(RecordError, match=message):
        list(journal.read())


def test_pruned_records_are_gone_and_their_numbers_are_not_given_again(path: Path, journal: SqliteJournal) -> None:
    write(journal, *range(1, 600))
    used = journal.bytes_used()
    assert journal.prune(590) == 589
    assert journal.first_sequence() == 590
    assert journal.bytes_used() < used
    assert journal.prune(600) == 10
    journal.close()
    other = SqliteJournal(path)
    assert (other.next_sequence, other.first_sequence()) == (600, None)
    other.close()


def test_no_more_records_are_removed_than_the_bound_asks_for(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PRUNE_RECORDS", 10)
    write(journal, *range(1, 1_000))
    bound = journal.bytes_used() * 2 // 3
    removed = journal.prune(990, bound)
    assert bound * 0.8 < journal.bytes_used() <= bound
    assert journal.first_sequence() == removed + 1 < 700
    assert journal.prune(990, bound) == 0


def test_numbers_that_were_left_out_are_not_given_after_records_were_removed(
    path: Path, journal: SqliteJournal
) -> None:
    write(journal, 1, 2, 3)
    journal.skip_to(20)
    assert journal.prune(3) == 2
    other = SqliteJournal(path)
    assert other.next_sequence == 20
    other.close()


def test_the_log_is_moved_into_the_database_in_time(
    path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_BYTES", 50_000)
    log = path.with_name(path.name + "-wal")
    largest = 0
    for sequence in range(1, 200):
        write(journal, sequence)
        largest = max(largest, log.stat().st_size)
        journal._housekeeper.submit(lambda: None).result()
    assert 50_000 <= largest < 200_000
    assert [one.sequence for one in journal.read()] == list(range(1, 200))


def checkpointed(journal: SqliteJournal) -> None:
    """The checkpoint that is under way has ended."""
    journal._housekeeper.submit(lambda: None).result()


def test_a_log_that_has_grown_is_emptied_once_nobody_reads_an_old_state_and_writing_goes_on(
    path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in (("CHECKPOINT_BYTES", 10_000), ("LOG_BYTES", 50_000), ("EMPTYING_MILLISECONDS", 1)):
        monkeypatch.setattr(module, name, value)
    log = path.with_name(path.name + "-wal")
    write(journal, 1)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM record").fetchone() == (1,)
    for sequence in range(2, 50):
        write(journal, sequence)
        checkpointed(journal)
    assert log.stat().st_size > 50_000, "the reader still sees the state of record 1"
    assert "the log of the journal has grown to" in caplog.text
    reader.close()
    for sequence in range(50, 53):
        write(journal, sequence)
        checkpointed(journal)
    assert log.stat().st_size < 50_000
    assert [one.sequence for one in journal.read()] == list(range(1, 53))


def test_a_writer_outlasts_the_emptying_of_the_log() -> None:
    assert 10 * module.EMPTYING_MILLISECONDS < module.BUSY_MILLISECONDS


def test_a_start_begins_the_log_anew(path: Path, journal: SqliteJournal) -> None:
    write(journal, 1, 2)
    log = path.with_name(f"{path.name}-wal")
    before, size = log.read_bytes()[:32], log.stat().st_size
    other = SqliteJournal(path)
    assert log.read_bytes()[:32] != before, "a header of its own makes nothing of what came before count"
    assert log.stat().st_size == size
    assert [one.sequence for one in other.read()] == [1, 2]
    other.close()


def failing(code: int, text: str) -> Callable[[Path], sqlite3.Connection]:
    """A disk that answers with an error of SQLite."""

    def fail(path: Path) -> sqlite3.Connection:
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        raise error

    return fail


def test_a_checkpoint_that_finds_no_room_is_told_and_stops_nothing(
    path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_BYTES", 1)
    monkeypatch.setattr(module, "_connect", failing(sqlite3.SQLITE_FULL, "database or disk is full"))
    write(journal, 1)
    checkpointed(journal)
    assert "the log of the journal could not be moved into the database: database or disk is full" in caplog.text
    write(journal, 2)


def test_after_an_error_of_the_disk_while_the_log_is_moved_nothing_is_safe_any_more(
    path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_BYTES", 1)
    monkeypatch.setattr(module, "_connect", failing(sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error"))
    write(journal, 1)
    checkpointed(journal)
    assert "the log of the journal could not be moved into the database: disk I/O error" in caplog.text
    with pytest.raises(OSError, match=r"\[Errno 5\] Input/output error \(disk I/O error\): .*shard-0.sqlite"):
        write(journal, 2)
    monkeypatch.undo()
    assert [one.sequence for one in journal.read()] == [1]


def test_a_commit_that_fails_leaves_nothing_of_it(path: Path, journal: SqliteJournal) -> None:
    write(journal, 1)
    edit(path, "INSERT INTO record SELECT 3, kind, version, received_at, engine, checksum, payload FROM record")
    journal.append(record(2))
    journal.append(record(3))
    with pytest.raises(sqlite3.IntegrityError):
        asyncio.run(journal.sync())
    edit(path, "DELETE FROM record WHERE sequence = 3")
    assert [one.sequence for one in journal.read()] == [1]


def test_a_newer_database_is_refused(path: Path, journal: SqliteJournal) -> None:
    journal.close()
    edit(path, "PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="has schema 99; this program knows 1: start the newer program again"):
        SqliteJournal(path)


def test_the_journal_of_another_shard_is_refused(path: Path, journal: SqliteJournal) -> None:
    with pytest.raises(JournalError, match="is the journal of shard 0; expected 3"):
        SqliteJournal(path, shard=3)


@pytest.mark.parametrize("content", [b"no database at all, only text" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(JournalError, match="cannot be used as a journal"):
        SqliteJournal(path)


def test_an_older_database_is_copied_before_it_is_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = SqliteJournal(path, engine="test")
    write(journal, 1, 2)
    journal.close()
    migrations = path.parent / "migrations"
    migrations.mkdir()
    (migrations / "0002.sql").write_text("ALTER TABLE record ADD COLUMN note TEXT;")
    monkeypatch.setattr(module, "MIGRATIONS", migrations)
    monkeypatch.setattr(module, "SCHEMA", 2)
    newer = SqliteJournal(path, engine="test")
    assert [one.sequence for one in newer.read()] == [1, 2]
    newer.close()
    copy = sqlite3.connect(path.with_name(f"{path.name}.schema-1"))
    assert copy.execute("PRAGMA user_version").fetchone() == (1,)
    assert copy.execute("SELECT count(*) FROM record").fetchone() == (2,)
    copy.close()


def test_the_copy_of_an_older_database_is_whole_while_somebody_reads_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who reads keeps the log from being moved into the database."""
    journal = SqliteJournal(path, engine="test")
    write(journal, 1, 2)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM record").fetchone()
    write(journal, 3)
    migrations = path.parent / "migrations"
    migrations.mkdir()
    (migrations / "0002.sql").write_text("ALTER TABLE record ADD COLUMN note TEXT;")
    monkeypatch.setattr(module, "MIGRATIONS", migrations)
    monkeypatch.setattr(module, "SCHEMA", 2)
    newer = SqliteJournal(path, engine="test")
    copy = sqlite3.connect(path.with_name(f"{path.name}.schema-1"))
    assert copy.execute("SELECT count(*) FROM record").fetchone() == (3,)
    for one in (copy, connection, newer, journal):
        one.close()


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteJournal(path).close()
    migrations = path.parent / "migrations"
    migrations.mkdir()
    (migrations / "0002.sql").write_text("ALTER TABLE record ADD COLUMN note TEXT; ALTER TABLE nowhere ADD x;")
    monkeypatch.setattr(module, "MIGRATIONS", migrations)
    monkeypatch.setattr(module, "SCHEMA", 2)
    with pytest.raises(JournalError, match="cannot be used as a journal"):
        SqliteJournal(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert "note" not in connection.execute("SELECT sql FROM sqlite_master WHERE name = 'record'").fetchone()[0]
    connection.close()
