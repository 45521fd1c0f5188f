"""The end of a journal: what SQLite drops without a word is told all the same."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from service.journal import JournalError, SqliteJournal
from service.journal_end import EndMark, mark_of, marked
from service.records import Record
from service.settings import JOURNAL, SNAPSHOTS
from service.verification import verify

FRAME_BYTES, PAGE_BYTES, HEADER_BYTES = 24, 4096, 32  # of the log


def killed(folder: Path, records: int = 9) -> Path:
    """The journal of a service that was killed after so many records: all of it is in the log."""
    living = folder / "living" / "shard-0.sqlite"
    left = folder / "left"
    with closing(SqliteJournal(living)) as journal:
        for sequence in range(1, records + 1):
            journal.append(Record("event", 0, sequence, sequence, sequence))
            asyncio.run(journal.sync())
        shutil.copytree(living.parent, left)
    return left / living.name


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def frames(log: Path) -> int:
    return (log.stat().st_size - HEADER_BYTES) // (FRAME_BYTES + PAGE_BYTES)


def test_after_a_kill_everything_is_there(tmp_path: Path) -> None:
    path = killed(tmp_path)
    assert marked(path) == 9
    with closing(SqliteJournal(path)) as journal:
        assert [record.sequence for record in journal.read()] == list(range(1, 10))


@pytest.mark.parametrize(
    "damage",
    [
        lambda log: flip(log, 17),  # salt of all frames
        lambda log: flip(log, HEADER_BYTES + frames(log) // 2 * (FRAME_BYTES + PAGE_BYTES) + 19),  # a checksum
        lambda log: flip(log, log.stat().st_size - 1),  # the last page
        lambda log: os.truncate(log, log.stat().st_size - 1),
        lambda log: os.truncate(log, 0),
        lambda log: log.unlink(),
        lambda log: [path.unlink() for path in log.parent.glob("shard-0.sqlite*")],
    ],
    ids=["header", "middle", "last byte", "cut by a byte", "emptied", "removed", "all removed"],
)
def test_a_log_whose_end_does_not_count_any_more_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    path = killed(tmp_path)
    log = path.with_name(f"{path.name}-wal")
    damage(log)
    before = log.read_bytes() if log.exists() else b""
    for _ in range(2):
        with pytest.raises(JournalError, match=r"ends with record \d; records up to 9 were acknowledged: its end is"):
            SqliteJournal(path)
    assert (log.read_bytes() if log.exists() else b"") == before
    mark_of(path).unlink()
    SqliteJournal(path).close()


def test_a_verification_tells_it_too(tmp_path: Path) -> None:
    path = tmp_path / "data" / JOURNAL
    shutil.copytree(killed(tmp_path).parent, path.parent)
    assert not verify(tmp_path / "data").damage
    os.truncate(path.with_name(f"{path.name}-wal"), 60_000)
    (found,) = verify(tmp_path / "data").damage
    assert "records up to 9 were acknowledged" in found.text
    (tmp_path / "data" / SNAPSHOTS).mkdir()
    for file in path.parent.glob("shard-0.sqlite*"):
        file.unlink()
    (found,) = verify(tmp_path / "data").damage
    assert "there is no journal" in found.text


def test_what_was_not_acknowledged_may_be_missing(tmp_path: Path) -> None:
    path = killed(tmp_path)
    log = path.with_name(f"{path.name}-wal")
    log.write_bytes(log.read_bytes() + log.read_bytes()[HEADER_BYTES:5000])
    with closing(SqliteJournal(path)) as journal:
        assert journal.next_sequence == 10


def test_numbers_that_were_left_out_need_no_records(tmp_path: Path) -> None:
    path = tmp_path / "shard-0.sqlite"
    with closing(SqliteJournal(path)) as journal:
        journal.skip_to(7)
    assert marked(path) == 6
    with closing(SqliteJournal(path)) as journal:
        assert journal.next_sequence == 7


@pytest.mark.parametrize("place", range(0, 38, 5))
def test_a_damaged_mark_is_told_and_stops_nothing(tmp_path: Path, place: int, caplog: pytest.LogCaptureFixture) -> None:
    path = killed(tmp_path)
    flip(mark_of(path), place)
    assert marked(path) == 0
    assert "shard-0.last is damaged" in caplog.text
    with closing(SqliteJournal(path)) as journal:
        assert journal.next_sequence == 10
    assert marked(path) == 9


def test_where_the_mark_cannot_be_written_what_was_written_before_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mark = EndMark(tmp_path / "shard-0.sqlite", 3)

    def fail(*given: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", fail)
    mark.move(4)
    mark.close()
    assert marked(tmp_path / "shard-0.sqlite") == 3
    assert "could not be noted" in caplog.text
