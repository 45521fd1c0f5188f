"""Torn and flipped bytes in backups, exported days and the store of the follower: named, or without any effect."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from models.contract import DataError
from models.data import read
from service.backup import BackupError, back_up, restore
from service.exported import Exported, Wanted
from service.followers import follow as module
from service.followers.follow import advance
from service.followers.history import HistoryExport
from service.history import HISTORY
from service.journal_reader import JournalFile
from service.packing import PackingError
from service.settings import JOURNAL
from service.snapshot import Snapshot
from service.verification import verify
from tests.damage import Damage, by_chance, killed
from tests.fault_run_copies import LAST, MACHINES, Follower, exported, follow, number, recorded_in, settings_of
from tests.fault_run_service import DATA, started
from tests.uninterrupted import compare_states

REFUSED = (BackupError, PackingError)
PLACES, PLACES_LONG = 30, 400  # in each file of the history
BACKUP_PLACES, BACKUP_PLACES_LONG = 12, 200  # in each file of a backup
EXPORTED = f"{HISTORY}/2026-09-22"


@cache
def followed() -> Path:
    """A data folder whose follower was killed: a day is exported, two wait, in the database and in its log."""
    place = Path(mkdtemp(prefix="limen-test-"))
    Follower().prepare(place)
    follower = HistoryExport(settings_of(place / DATA))
    with closing(follower.store):
        reader = JournalFile(place / DATA / JOURNAL)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "BATCH_RECORDS", 9)
            advance(follower, reader)
            follower.store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            advance(follower, reader)
        follower.settle()
        shutil.copytree(place / DATA, place / "killed")
    return place / "killed"


def files() -> list[str]:
    """What the follower has written."""
    found = [path.relative_to(followed()).as_posix() for path in sorted(followed().rglob("*")) if path.is_file()]
    return [name for name in found if name.startswith((HISTORY, "followers")) and not name.endswith("-shm")]


def history_in(folder: Path) -> dict[tuple[str, int], float | None]:
    """Scores by machine and time, as `/v1/equipment/{id}/scores` finds them."""
    days = Exported(folder)
    asked = [Wanted(machine, slot, 0, LAST, 1000) for slot, machine in enumerate(MACHINES)]
    return {
        (wanted.equipment, time): number(entry.score)
        for day in days.days()
        for wanted in asked
        for time, entry in days.of_day(day, wanted, LAST)
    }


def check_history(damage: Damage, folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    """What is said of some damage; "" where it has no effect. Nothing wrong is found, and what is missing is named."""
    shutil.copytree(followed(), folder)
    damage.apply(folder)
    caplog.clear()
    truth = {key: score for key, (score, _) in recorded_in(folder).items()}
    assert history_in(folder).items() <= truth.items(), "the history has what no record has"
    said = ""
    try:
        follow(folder)
    except ValueError as error:
        said = str(error)
        assert not history_in(folder).items() - truth.items()
        for path in (folder / "followers").glob("history.sqlite*"):
            path.unlink()
        follow(folder)
    caplog.clear()
    found = history_in(folder)
    told = "; ".join(record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR)
    assert found.items() <= truth.items(), "the history has what no record has"
    assert found == truth or told, "something is missing, and nothing is said"
    assert told or exported(folder / HISTORY) == exported_whole(), "a reading is exported twice or never"
    return said or told


@cache
def exported_whole() -> list[tuple[str, int, int]]:
    return exported(followed() / HISTORY)


def sweep(names: list[str], check: Callable[[Damage], object], folder: Path, places: int, seed: int, of: Path) -> None:
    """Damage anywhere in files, each time in a whole folder."""
    for name in names:
        for damage in by_chance(name, random.Random(f"{seed} {name}"), places, of):
            try:
                check(damage)
            except BaseException as error:
                error.add_note(str(damage))
                raise
            shutil.rmtree(folder)


def sweep_history(tmp_path: Path, caplog: pytest.LogCaptureFixture, places: int, seed: int) -> None:
    folder = tmp_path / "history"
    assert len(files()) == 3
    sweep(files(), lambda damage: check_history(damage, folder, caplog), folder, places, seed, followed())


@pytest.mark.prove
def test_damage_of_the_history_is_named_or_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sweep_history(tmp_path, caplog, PLACES, 1)


@pytest.mark.prove_long
def test_damage_of_the_history_at_many_places_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sweep_history(tmp_path, caplog, PLACES_LONG, 2)


def test_a_score_that_was_changed_in_an_exported_day_is_neither_shown_nor_trained_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (name,) = (name for name in files() if name.startswith(EXPORTED))
    damage = Damage(name, "bit", (followed() / name).stat().st_size // 4, 3)
    assert "does not match its checksum; it is damaged" in check_history(damage, tmp_path / "data", caplog)
    with pytest.raises(DataError, match="does not match its checksum"):
        read([tmp_path / "data" / name])
    assert [(one.part, one.damage) for one in verify(followed()).findings if one.part == "history"] == [
        ("history", False)
    ]
    (found,) = verify(tmp_path / "data").damage
    assert found.text.startswith("2026-09-22: pumps-v1-000000000001.parquet does not match its checksum")


# -- backups ---------------------------------------------------------------------------------------------------------


@cache
def backed_up() -> Path:
    """A backup as a folder, and as one file."""
    place = Path(mkdtemp(prefix="limen-test-"))
    back_up(killed(), place / "folder")
    back_up(killed(), place / "one.tar")
    return place


@cache
def state() -> Snapshot:
    """What a start of it comes to."""
    place = Path(mkdtemp(prefix="limen-test-")) / "data"
    restore(backed_up() / "folder", place)
    return started(place)[0]


def check_backup(damage: Damage, folder: Path) -> str:
    """What a restore says of some damage; "" where the state is what it was."""
    shutil.copytree(backed_up(), folder)
    damage.apply(folder)
    backup = folder / Path(damage.file).parts[0]
    try:
        restore(backup, folder / "data")
    except REFUSED as error:
        assert not (folder / "data" / JOURNAL).exists()
        return str(error)
    compare_states(started(folder / "data")[0], state())
    return ""


def sweep_backups(tmp_path: Path, places: int, seed: int) -> None:
    names = [path.relative_to(backed_up()).as_posix() for path in sorted(backed_up().rglob("*")) if path.is_file()]
    assert len(names) == 10
    folder = tmp_path / "backup"
    sweep(names, lambda damage: check_backup(damage, folder), folder, places, seed, backed_up())


@pytest.mark.prove
def test_damage_of_a_backup_is_named_by_a_restore_or_changes_nothing(tmp_path: Path) -> None:
    sweep_backups(tmp_path, BACKUP_PLACES, 1)


@pytest.mark.prove_long
def test_damage_of_a_backup_at_many_places_is_named_by_a_restore(tmp_path: Path) -> None:
    sweep_backups(tmp_path, BACKUP_PLACES_LONG, 2)
