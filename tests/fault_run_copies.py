"""Backups, restores, a follower and exports on a disk that fails somewhere in between."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from service.backup import back_up, restore
from service.commands import journal_export
from service.commands.span import span
from service.exported import Exported, Wanted
from service.followers.follow import advance, check_place
from service.followers.history import HistoryExport
from service.followers.store import StoreError
from service.history import HISTORY
from service.journal_reader import JournalFile
from service.lock import LOCK, RESTORING, check_restored
from service.settings import JOURNAL, Settings, SettingsError
from service.snapshot import Snapshot
from tests import damage
from tests.fault_run import DISK
from tests.fault_run_service import DATA, started
from tests.service.followers.test_history_export import Plant
from tests.uninterrupted import compare_states

COPY = f"{DISK}/copy"
EARLIER, TAKEN = "earlier", "taken"
OLD_DAY = "2020-01-01"
MACHINES = ("a", "b")  # by slot
LAST = 2**62  # of times and records


def state_of(folder: Path) -> Snapshot:
    """What a start of a copy of a data folder comes to."""
    copy = shutil.copytree(folder, folder.parent.parent / "looked-at")
    try:
        return started(copy)[0]
    finally:
        shutil.rmtree(copy)


class Backup:
    """`limen backup` of a service that was killed, to a folder or one file."""

    def __init__(self, suffix: str) -> None:
        self.copy = f"{COPY}{suffix}"

    def prepare(self, place: Path) -> None:
        shutil.copytree(damage.killed(), place / DATA)

    def play(self, place: Path) -> None:
        back_up(place / DATA, place / self.copy)

    def check(self, place: Path, sound: Path, told: str) -> None:
        wanted = state_of(sound / DATA)
        compare_states(state_of(place / DATA), wanted)
        copy = place / self.copy
        if not told or copy.exists():
            self._restored(place, "restored", wanted)
        if told:
            copy = place / self.copy.replace("copy", "copy-again")
            back_up(place / DATA, copy)
            assert not list(copy.parent.glob(f".{copy.name}*")), "a backup leaves something beside it"
            restore(copy, place / "restored-again")
            compare_states(state_of(place / "restored-again"), wanted)

    def _restored(self, place: Path, name: str, wanted: Snapshot) -> None:
        restore(place / self.copy, place / name)
        compare_states(state_of(place / name), wanted)


class Restore:
    """`limen restore --force` over the data folder of another service."""

    def prepare(self, place: Path) -> None:
        plant = Plant(place / DATA)
        plant.post("a", 0, 9)
        plant.journal.close()
        plant.follower.store.close()
        shutil.copytree(damage.killed(), place / "other" / "data")
        back_up(place / "other" / "data", place / TAKEN)
        shutil.copytree(place / DATA, place / EARLIER / "data")

    def play(self, place: Path) -> None:
        restore(place / TAKEN, place / DATA, force=True)

    def check(self, place: Path, sound: Path, told: str) -> None:
        wanted = state_of(sound / "other" / "data")
        cut_off = list((place / DATA).glob(f"{RESTORING}*"))
        if cut_off:
            assert told, f"a restore that was told to be done leaves {cut_off}"
            with pytest.raises(SettingsError, match=RESTORING):
                check_restored(place / DATA)
        else:
            before = told and not list((place / DATA).glob("replaced-*"))
            compare_states(state_of(place / DATA), state_of(place / EARLIER / "data") if before else wanted)
        assert contents(place / EARLIER / "data") <= contents(place / DATA), "something that was replaced is lost"
        if told:
            restore(place / TAKEN, place / DATA, force=True)
            check_restored(place / DATA)
            compare_states(state_of(place / DATA), wanted)
            left = [path.name for path in (place / DATA).glob(".*")]
            assert not left, f"a restore leaves {left}"
            assert contents(place / EARLIER / "data") <= contents(place / DATA), "something that was replaced is lost"


def contents(folder: Path) -> set[str]:
    """What the files in a folder hold, wherever they are in it."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != LOCK and "-shm" not in path.name]
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


Entries = dict[tuple[str, int], float | None]  # scores by machine and time


class Follower:
    """The follower that exports history: three days, of which one has to leave, and one that is too old."""

    def prepare(self, place: Path) -> None:
        plant = Plant(place / DATA)
        for first in (0, 86_400, 2 * 86_400):
            for machine in MACHINES:
                plant.post(machine, first, 20)
                plant.post(machine, first + 20, 20)
        plant.journal.close()
        plant.follower.store.close()
        shutil.rmtree(place / DATA / "followers")
        (place / DATA / HISTORY / OLD_DAY).mkdir(parents=True)
        for part in range(3):
            (place / DATA / HISTORY / OLD_DAY / f"pumps-v1-{part:012d}.parquet").write_bytes(b"old")

    def play(self, place: Path) -> None:
        follow(place / DATA)

    def check(self, place: Path, sound: Path, told: str) -> None:
        recorded, rows = recorded_in(place / DATA), exported(sound / DATA / HISTORY)
        with closing(HistoryExport(settings_of(place / DATA)).store) as store:
            position = store.place.position
        shutil.rmtree(place / DATA / HISTORY / OLD_DAY, ignore_errors=True)
        check_history(place / DATA, {key: score for key, (score, record) in recorded.items() if record <= position})
        follow(place / DATA)
        check_history(place / DATA, {key: score for key, (score, _) in recorded.items()})
        assert exported(place / DATA / HISTORY) == rows, "a reading is not in the exported days, or more than once"
        left = [path.name for path in (place / DATA / HISTORY).rglob(".*")]
        assert not left, f"an export leaves {left}"


def settings_of(folder: Path) -> Settings:
    return Settings(data_dir=folder, clock="event", history=True, history_delay_seconds=3600.0)


def follow(folder: Path) -> None:
    """What the process of the follower does, until there is nothing more; an error of SQLite is told there, too."""
    try:
        follower = HistoryExport(settings_of(folder))
        with closing(follower.store):
            reader = JournalFile(folder / JOURNAL)
            check_place(follower, reader)
            while advance(follower, reader):
                follower.settle()
            follower.settle()
    except sqlite3.Error as error:
        raise StoreError(str(error)) from None


def recorded_in(folder: Path) -> dict[tuple[str, int], tuple[float | None, int]]:
    """Score and record of every reading in a journal, by machine and time."""
    found = {}
    for record in JournalFile(folder / JOURNAL).read():
        for part in record.readings:
            for slot, time, score in zip(part.slot.tolist(), part.time.tolist(), part.score.tolist(), strict=True):
                found[MACHINES[slot], time] = (number(score), record.sequence)
    return found


def number(score: float | None) -> float | None:
    """A score as an answer has it."""
    return None if score is None or score != score else score


def check_history(folder: Path, wanted: Entries) -> None:
    """What the history has, in exported days and in what waits to be exported."""
    found: Entries = {}
    days = Exported(folder)
    for day in days.days():
        for slot, machine in enumerate(MACHINES):
            asked = Wanted(machine, slot, 0, LAST, len(wanted) + 1)
            found |= {(machine, time): number(entry.score) for time, entry in days.of_day(day, asked, LAST)}
    assert found == wanted, f"{len(found)} readings in the history; {len(wanted)} were read"


def exported(folder: Path) -> list[tuple[str, int, int]]:
    """Machine, time and record of every reading in exported files."""
    return sorted(
        (row["equipment"], int(row["time"].timestamp()), row["sequence"])
        for path in folder.glob("*/*.parquet")
        for row in pl.read_parquet(path).iter_rows(named=True)
    )


class Export:
    """`limen journal export`."""

    def prepare(self, place: Path) -> None:
        Follower().prepare(place)

    def play(self, place: Path) -> None:
        journal_export.run(place / DATA, place / COPY, span("", ""), [])

    def check(self, place: Path, sound: Path, told: str) -> None:
        wanted = exported(sound / COPY)
        assert len(wanted) == 6 * 20 * 2
        found = exported(place / COPY)
        assert set(found) <= set(wanted)
        assert told or found == wanted, "an export that was told to be done is not whole"
        self.play(place)
        assert exported(place / COPY) == wanted
        left = [path.name for path in (place / COPY).rglob(".*")]
        assert not left, f"an export leaves {left}"
