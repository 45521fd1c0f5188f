"""A journal that a start cannot go on from: one sentence that names the record, exit status 1, no traceback."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from service import records
from service.journal import JournalError
from service.lifecycle import Service
from service.records import RecordError
from service.settings import JOURNAL
from tests.service.commandline import process
from tests.service.running import columns, run, settings


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service that was killed: records, and no snapshot."""
    folder = tmp_path_factory.mktemp("data")

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        for first in range(0, 40, 10):
            await client.post("/v1/readings", json=columns("p1", first, 10))

    run(settings(folder), scenario)
    shutil.rmtree(folder / "snapshots")
    return folder


@pytest.fixture
def folder(once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(once, tmp_path / "data")


def edit(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / JOURNAL)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def sealed(folder: Path, kind: str | None = None, version: int | None = None, payload: bytes | None = None) -> None:
    """Record 4 as another program would have written it, with a checksum that is right."""
    connection = sqlite3.connect(folder / JOURNAL)
    with connection:
        query = "SELECT kind, version, received_at, engine, payload FROM record WHERE sequence = 4"
        old_kind, old_version, received_at, engine, old_payload = connection.execute(query).fetchone()
        row = (kind or old_kind, version or old_version, payload or old_payload)
        checksum = records.checksum(row[0], row[1], 0, 4, received_at, engine, row[2])
        statement = "UPDATE record SET kind = ?, version = ?, payload = ?, checksum = ? WHERE sequence = 4"
        connection.execute(statement, (*row, checksum))
    connection.close()


COPIED = "SELECT 5, kind, version, received_at, engine, checksum, payload FROM record WHERE sequence = 4"

REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a gap": (
        lambda folder: edit(folder, "DELETE FROM record WHERE sequence = 4"),
        "record 4 is missing; the next one there is 5",
    ),
    "a record twice": (
        lambda folder: edit(folder, "DELETE FROM record WHERE sequence = 5", f"INSERT INTO record {COPIED}"),
        "record 5 does not match its checksum; it is damaged",
    ),
    "two records in each other's place": (
        lambda folder: edit(
            folder,
            "UPDATE record SET sequence = 99 WHERE sequence = 4",
            "UPDATE record SET sequence = 4 WHERE sequence = 5",
            "UPDATE record SET sequence = 5 WHERE sequence = 99",
        ),
        "record 4 does not match its checksum; it is damaged",
    ),
    "no beginning": (
        lambda folder: edit(folder, "DELETE FROM record WHERE sequence <= 2"),
        "records 1 to 2 are neither in a snapshot nor in the journal",
    ),
    "an unknown kind": (
        lambda folder: sealed(folder, kind="verdict"),
        f"record 4 is of kind 'verdict'; this program knows {', '.join(records.KINDS)}",
    ),
    "a newer record": (
        lambda folder: sealed(folder, version=records.VERSION + 1),
        f"record 4 has version {records.VERSION + 1}; this program reads {records.VERSION}",
    ),
    "another payload": (lambda folder: sealed(folder, payload=b"\x90"), "record 4 cannot be read: "),
    "a newer database": (
        lambda folder: edit(folder, "PRAGMA user_version = 99"),
        "has schema 99; this program knows 1: start the newer program again",
    ),
    "no database": (
        lambda folder: (folder / JOURNAL).write_bytes(b"no database at all" * 100) and None,
        "cannot be used as a journal: file is not a database; put it back from a backup",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_a_journal_that_cannot_be_replayed_is_refused_by_name(folder: Path, how: str) -> None:
    spoil, expected = REFUSED[how]
    spoil(folder)
    with pytest.raises((JournalError, RecordError), match=re.escape(expected)):
        Service(settings(folder)).load()


@pytest.mark.prove
@pytest.mark.parametrize("how", REFUSED)
def test_limen_serve_says_it_in_one_sentence_and_ends_with_1(folder: Path, how: str) -> None:
    spoil, expected = REFUSED[how]
    spoil(folder)
    done = process("serve", "--data-dir", folder, "--port", 0, "--clock", "event")
    assert done.returncode == 1
    *log, last = done.stderr.splitlines()
    assert last.startswith("limen: error: ")
    assert expected in last
    assert "Traceback" not in done.stderr
    assert not [line for line in log if "[error" in line], done.stderr
