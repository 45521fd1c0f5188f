"""Damage that a snapshot covers stops no start, is told after it, and changes no score."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import httpx
import pytest

from service import scrub as module
from service.lifecycle import Service
from service.scrub import scrub
from service.settings import JOURNAL
from tests.service.running import columns, run, settings

READINGS = 20  # in a record
LAST = 6  # record before the newest snapshot: settings, activate, and four of readings
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a service that has stopped, with a snapshot of all records."""

    async def lived(client: httpx.AsyncClient, service: Service) -> None:
        for first in range(0, 4 * READINGS, READINGS):
            await client.post("/v1/readings", json=columns("p1", first, READINGS))

    folder = tmp_path_factory.mktemp("once") / "data"
    run(settings(folder), lived)
    return folder


@pytest.fixture
def data(once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(once, tmp_path / "data")


def edit(data: Path, statement: str) -> None:
    connection = sqlite3.connect(data / JOURNAL)
    with connection:
        connection.execute(statement)
    connection.close()


def after_the_start(data: Path) -> float:
    """What the metric says once all records were looked at; the service scores meanwhile."""
    found: list[float] = []

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.get("/health/ready")).status_code == 200
        answer = (await client.post("/v1/readings", json=columns("p1", 4 * READINGS, READINGS))).json()
        assert answer["scored"] == READINGS
        end = time.monotonic() + PATIENCE_SECONDS
        while not found:
            assert time.monotonic() < end
            text = (await client.get("/metrics")).text
            found.extend(map(float, re.findall(r"^limen_journal_damaged_records (\S+)", text, re.MULTILINE)))
            await asyncio.sleep(0.01)

    run(settings(data, model=None), scenario)
    return found[0]


def test_a_whole_journal_has_no_damaged_record(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert after_the_start(data) == 0
    assert "damaged" not in caplog.text


@pytest.mark.parametrize(
    ("statement", "sentence", "count"),
    [
        ("UPDATE record SET received_at = 3 WHERE sequence IN (3, 5)", "record 5 does not match its checksum", 2),
        ("DELETE FROM record WHERE sequence IN (3, 4)", "records 3 to 4 are missing; the next one there is 5", 2),
    ],
)
def test_damage_that_a_snapshot_covers_is_named_after_the_start(
    data: Path, caplog: pytest.LogCaptureFixture, statement: str, sentence: str, count: int
) -> None:
    edit(data, statement)
    assert after_the_start(data) == count
    assert (
        f"the journal is damaged where a snapshot covers it, and scores are what they were: {sentence}" in caplog.text
    )


def test_it_looks_at_what_a_snapshot_covers_and_at_nothing_else(data: Path) -> None:
    edit(data, "UPDATE record SET received_at = 3 WHERE sequence IN (3, 5)")
    assert [scrub(data / JOURNAL, before, threading.Event()) for before in (1, 3, 4, 5, 6, LAST + 1)] == [
        0, 0, 1, 1, 2, 2,
    ]  # fmt: skip


def test_a_file_that_cannot_be_read_is_told_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "journal").write_bytes(b"no journal" * 1000)
    assert scrub(tmp_path / "journal", 9, threading.Event()) == 1
    assert "cannot be used as a journal" in caplog.text


def test_it_ends_with_the_service_and_names_a_bounded_number(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    edit(data, "UPDATE record SET received_at = 3")
    monkeypatch.setattr(module, "NAMED_MAX", 2)
    assert scrub(data / JOURNAL, LAST + 1, threading.Event()) == LAST
    assert len(caplog.messages) == 3
    assert "limen journal verify" in caplog.messages[-1]
    stopping = threading.Event()
    stopping.set()
    monkeypatch.setattr(module, "WORK_SECONDS", 0.0)
    assert scrub(data / JOURNAL, LAST + 1, stopping) is None
