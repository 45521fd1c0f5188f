"""The follower that exports history: a day leaves when it is over, late readings in a further part, nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.artifact import LoadedModel
from models.contract import MICROSECONDS
from service import history, recovery
from service.followers.follow import advance, check_place
from service.followers.history import HistoryExport
from service.followers.store import Place
from service.journal import SqliteJournal
from service.journal_reader import JournalFile
from service.records import Record
from service.registry import Registry
from service.scoring import step
from service.settings import JOURNAL, MODELS, Settings
from service.shard import Shard
from tests.builders import process
from tests.service.fleet import ANY_TIME, body, in_columns
from tests.service.running import SENSORS, model_folder

DAY = history.DAY
MIDNIGHT = 1_790_035_200 * MICROSECONDS  # 2026-09-22T00:00:00Z
HOUR = 3600 * MICROSECONDS


class Plant:
    """A shard that writes a journal, and a follower of it."""

    def __init__(self, folder: Path) -> None:
        registry = Registry(folder / MODELS)
        if not registry.default:
            registry.show(registry.installation(model_folder()))
        self.model: LoadedModel = registry.resolve("a")  # type: ignore[assignment]
        self.settings = Settings(data_dir=folder, clock="event", history=True, history_delay_seconds=3600.0)
        self.shard = Shard(registry.resolve, ANY_TIME)
        self.journal = SqliteJournal(folder / JOURNAL)
        recovery.catch_up(self.shard, self.journal, registry.model_of)
        self.follower = HistoryExport(self.settings)
        self.reader = JournalFile(folder / JOURNAL)

    def post(self, equipment: str, first: int, count: int, now: int | None = None) -> Record:
        """Readings a second apart, `first` seconds from midnight on."""
        times = MIDNIGHT + (first + np.arange(count)) * MICROSECONDS
        found = in_columns(equipment, SENSORS, times, process(7, count))
        record = step(self.shard, [body(found)], int(times[-1]) if now is None else now).record
        self.journal.append(record)
        asyncio.run(self.journal.sync())
        return record

    def follow(self) -> None:
        while advance(self.follower, self.reader):
            pass
        self.follower.settle()

    def files(self) -> list[str]:
        folder = self.follower.folder
        return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))

    def rows(self) -> list[tuple[str, int]]:
        """Machines and times of all files, in seconds from midnight."""
        found = [pl.read_parquet(self.follower.folder / name) for name in self.files()]
        return sorted(
            (row["equipment"], (int(row["time"].timestamp() * MICROSECONDS) - MIDNIGHT) // MICROSECONDS)
            for table in found
            for row in table.iter_rows(named=True)
        )

    def start_again(self) -> None:
        """As after `kill -9`: only what is in the store is known."""
        self.follower.store.close()
        self.follower = HistoryExport(self.settings)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path)
    yield made
    made.follower.store.close()
    made.journal.close()


def test_a_day_leaves_when_it_is_over_and_the_delay_has_passed(plant: Plant) -> None:
    plant.post("a", -20, 20)
    plant.follow()
    assert plant.files() == []
    plant.post("b", 3590, 10)
    plant.follow()
    assert plant.files() == []  # a second is missing
    plant.post("b", 3600, 1)
    plant.follow()
    assert plant.files() == ["2026-09-21/pumps-v1-000000000001.parquet"]
    assert plant.rows() == [("a", second) for second in range(-20, 0)]


def test_late_readings_of_a_day_that_has_left_leave_in_a_further_part(plant: Plant) -> None:
    plant.post("a", -20, 10)
    plant.post("b", 3700, 1)
    plant.follow()
    plant.post("c", -10, 5, now=MIDNIGHT + 2 * HOUR)
    plant.follow()
    assert len(plant.files()) == 1
    plant.post("b", 3 * 3600, 1)
    plant.follow()
    assert plant.files() == [f"2026-09-21/pumps-v1-{sequence:012d}.parquet" for sequence in (1, 3)]
    assert plant.rows() == [("a", second) for second in range(-20, -10)] + [("c", second) for second in range(-10, -5)]


def test_a_start_after_a_crash_goes_on_with_the_next_record(plant: Plant) -> None:
    plant.post("a", -20, 10)
    advance(plant.follower, plant.reader)
    assert plant.follower.store.place.position == 1
    plant.start_again()
    plant.post("a", -10, 10)
    plant.post("b", 3700, 1)
    plant.follow()
    assert plant.rows() == [("a", second) for second in range(-20, 0)]


def test_a_crash_in_the_middle_of_a_transaction_leaves_neither_results_nor_position(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.post("a", -20, 10)
    with monkeypatch.context() as patched:
        patched.setattr(plant.follower.store, "move", lambda place: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            advance(plant.follower, plant.reader)
    plant.start_again()
    assert plant.follower.store.place.position == 0
    plant.post("b", 3700, 1)
    plant.follow()
    assert plant.rows() == [("a", second) for second in range(-20, -10)]


def test_a_crash_between_a_file_and_forgetting_its_readings_leaves_them_once(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.post("a", -20, 10)
    plant.post("b", 3700, 1)
    with monkeypatch.context() as patched:
        patched.setattr(HistoryExport, "settle", lambda self: None)
        plant.follow()
    monkeypatch.setattr(plant.follower.store, "transaction", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plant.follower.settle()
    assert len(plant.files()) == 1
    plant.start_again()
    plant.follow()
    assert plant.rows() == [("a", second) for second in range(-20, -10)]
    assert len(plant.files()) == 1


def test_records_that_were_removed_unread_are_a_hole_in_log_and_store(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    for first in (-30, -20, -10):
        plant.post("a", first, 10)
    plant.journal.prune(3)
    plant.post("b", 3700, 1)
    with caplog.at_level("ERROR", "limen"):
        plant.follow()
    assert plant.follower.store.holes() == [(1, 2)]
    assert "records 1 to 2 were removed before it had read them" in caplog.text
    assert "their machines have no name" in caplog.text  # no snapshot is there that knows it
    assert plant.follower.store.place.position == 4


def test_a_journal_that_was_put_back_is_read_from_its_end_on(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    plant.post("a", -20, 10)
    plant.follow()
    with plant.follower.store.transaction():
        plant.follower.store.move(Place(9, 0))
    with caplog.at_level("ERROR", "limen"):
        plant.follow()
    assert "it was put back to an earlier state" in caplog.text
    assert plant.follower.store.place.position == 1


def test_days_that_are_too_old_are_removed(plant: Plant) -> None:
    plant.post("a", -20, 10)
    plant.post("b", 3700, 1)
    plant.follow()
    plant.post("b", 90 * 86_400 - 1, 1)
    plant.follow()
    assert [name.split("/")[0] for name in plant.files()] == ["2026-09-21", "2026-09-22"]
    plant.post("b", 90 * 86_400, 1)
    plant.follow()
    assert [name.split("/")[0] for name in plant.files()] == ["2026-09-22"]


def test_a_large_day_leaves_in_parts_before_its_end(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.followers.history.PART_BYTES", 1)
    plant.post("a", -20, 10)
    plant.follow()
    plant.post("a", -10, 5)
    plant.follow()
    assert len(plant.files()) == 2
    assert plant.rows() == [("a", second) for second in range(-20, -5)]


def test_a_journal_that_was_put_back_and_has_grown_since_is_noticed_at_the_start(
    plant: Plant, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant.post("a", -20, 10)
    earlier = tmp_path / "earlier.sqlite"
    plant.reader.copy(earlier)
    record = plant.post("a", -10, 10)
    plant.follow()
    check_place(plant.follower, plant.reader)
    assert not caplog.records
    other = SqliteJournal(earlier)
    other.append(replace(record, received_at=record.received_at + 1))
    asyncio.run(other.sync())
    check_place(plant.follower, JournalFile(earlier))
    assert "has read another record 2 than the journal has" in caplog.text
    other.close()


def test_a_place_whose_record_was_removed_is_no_trouble(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    plant.post("a", -20, 10)
    plant.follow()
    plant.post("a", -10, 10)
    plant.journal.prune(2)
    check_place(plant.follower, plant.reader)
    plant.follow()
    assert plant.follower.store.place.position == 2
    assert not caplog.records
