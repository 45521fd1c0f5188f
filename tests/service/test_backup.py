"""A backup of a running service, and the way back: scores go on from the moment of the backup."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import backup as module
from service.backup import back_up, restore
from service.journal_reader import JournalFile
from service.lifecycle import Service
from service.settings import JOURNAL
from service.verification import verify
from tests.service.commandline import ROOT, limen, refused
from tests.service.followers.test_history_export import Plant
from tests.service.running import columns, run, settings


def batches(first: int, count: int) -> dict[str, Any]:
    return {"batches": [columns(name, first, count, seed) for seed, name in enumerate(("p1", "p2", "p3"))]}


async def lived(client: httpx.AsyncClient, service: Service) -> None:
    for first in (0, 20, 40):
        await client.post("/v1/readings", json=batches(first, 20))
        if first < 40:
            await service.save()


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a service that has stopped."""
    folder = tmp_path_factory.mktemp("once") / "data"
    run(settings(folder), lived)
    return folder


@pytest.fixture
def data(once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(once, tmp_path / "data")


@pytest.fixture(scope="module")
def backup(once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return back_up(once, tmp_path_factory.mktemp("backups") / "backup")[0]


def test_after_a_restore_the_history_begins_anew_with_what_the_journal_has(tmp_path: Path) -> None:
    """What was exported, and how far a follower was, is of a future that is no more: it is put aside with the rest."""
    plant = Plant(tmp_path / "data")
    plant.post("a", -20, 10)
    back_up(tmp_path / "data", tmp_path / "backup")
    plant.post("a", -10, 10)
    plant.post("b", 7200, 1)
    plant.follow()
    assert plant.rows() == [("a", second) for second in range(-20, 0)]
    plant.follower.store.close()
    plant.journal.close()
    _, aside = restore(tmp_path / "backup", tmp_path / "data", force=True)
    assert aside is not None
    assert (aside / "followers" / "history.sqlite").is_file()
    assert list((aside / "history").glob("*/*.parquet"))
    again = Plant(tmp_path / "data")
    assert again.follower.store.place.position == 0
    again.post("b", 7200, 1)
    again.follow()
    assert again.rows() == [("a", second) for second in range(-20, -10)]
    again.follower.store.close()
    again.journal.close()


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_scores_go_on_from_the_moment_of_the_backup_as_in_a_run_without_it(tmp_path: Path) -> None:
    answers: dict[str, Any] = {}

    async def first(client: httpx.AsyncClient, service: Service) -> None:
        await lived(client, service)
        path, contents = await asyncio.to_thread(back_up, tmp_path / "data", tmp_path / "backup")
        assert path == tmp_path / "backup"
        assert (contents.first, contents.last, contents.readings) == (1, service.shard.sequence - 1, 180)
        assert (contents.settings["clock"], contents.models) == ("event", {"pumps": 1})
        answers["on"] = (await client.post("/v1/readings", json=batches(60, 40))).json()

    async def second(client: httpx.AsyncClient, service: Service) -> None:
        answers["restored"] = (await client.post("/v1/readings", json=batches(60, 40))).json()

    run(settings(tmp_path / "data"), first)
    done = limen("restore", tmp_path / "backup", "--data-dir", tmp_path / "other")
    assert done.status == 0, done
    assert "up to record 5" in done.out
    run(settings(tmp_path / "other", model=None), second)
    assert answers["restored"] == answers["on"]
    assert answers["on"]["scored"] == 120


def test_a_backup_taken_while_readings_come_in_is_that_of_one_moment(tmp_path: Path) -> None:
    """What came after that moment is scored anew, as it was."""
    answers: list[dict[str, Any]] = []
    copied: list[int] = []

    async def first(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p2", 0, 1))
        copying = None
        for number in range(150):
            answers.append((await client.post("/v1/readings", json=columns("p1", number, 1))).json()["batches"][0])
            if number == 50:
                copying = asyncio.create_task(asyncio.to_thread(back_up, tmp_path / "data", tmp_path / "backup"))
        assert copying is not None
        await copying

    async def second(client: httpx.AsyncClient, service: Service) -> None:
        readings = JournalFile(tmp_path / "other" / JOURNAL).read()
        copied.append(sum(len(part.time) for record in readings for part in record.readings) - 1)
        assert 51 <= copied[0] <= 150
        for number in range(copied[0], 150):
            again = (await client.post("/v1/readings", json=columns("p1", number, 1))).json()["batches"][0]
            assert again == answers[number]

    run(settings(tmp_path / "data"), first)
    restore(tmp_path / "backup", tmp_path / "other")
    run(settings(tmp_path / "other", model=None), second)
    assert copied


def test_in_a_folder_that_is_there_a_backup_is_named_by_its_time(data: Path, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    done = limen("backup", data, "--out", tmp_path / "backups")
    assert done.status == 0, done
    (path,) = (tmp_path / "backups").iterdir()
    assert path.name.startswith("limen-2")
    assert done.out.startswith(f"{path}: records 1 to 5, 180 readings, ")
    assert limen("journal", "verify", path).status == 0


def test_a_backup_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    refused(limen("backup", data, "--out", tmp_path / "taken"), "is there already")


def test_a_backup_is_not_put_into_another(data: Path, backup: Path) -> None:
    before = state(backup)
    refused(limen("backup", data, "--out", backup), "is a backup already")
    assert state(backup) == before


def test_a_backup_is_not_put_into_the_data_folder_that_it_is_of(data: Path, tmp_path: Path) -> None:
    before = state(data)
    (tmp_path / "link").symlink_to(data)
    for out in (data, data / "backup", data / "deep" / "one.tar", tmp_path / "link" / "backup"):
        refused(limen("backup", data, "--out", out), f"is in the data folder {data} itself")
    assert state(data) == before
    assert not (data / "deep").exists()


def test_a_folder_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    refused(limen("backup", tmp_path, "--out", tmp_path / "backup"), "is no data folder")
    refused(limen("restore", tmp_path, "--data-dir", tmp_path / "data"), "is no backup: backup.json cannot be read")


def test_what_is_damaged_makes_no_backup(data: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(data / JOURNAL)
    with connection:
        connection.execute("UPDATE record SET received_at = 3 WHERE sequence = 3")
    connection.close()
    refused(limen("backup", data, "--out", tmp_path / "backup"), "is not whole", "record 3 does not match its checksum")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("place", ["_copy", "_sync_all", "journal"])
def test_a_full_disk_leaves_no_half_backup(
    data: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    if place == "journal":
        monkeypatch.setattr(module.JournalFile, "copy", full)
    else:
        monkeypatch.setattr(module, place, full)
    refused(limen("backup", data, "--out", tmp_path / "backup"), "somewhere: No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_records_that_are_removed_while_it_is_copied_are_not_missed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service saves a snapshot and removes records between the copy of the snapshots and that of the journal."""
    copy = module._copy_snapshots
    late = tmp_path / "late"
    shutil.move(data / "snapshots", late)
    (data / "snapshots").mkdir()

    def overtaken(source: Path, target: Path) -> int:
        found = copy(source, target)
        if late.exists():
            shutil.rmtree(data / "snapshots")
            shutil.move(late, data / "snapshots")
            connection = sqlite3.connect(data / JOURNAL)
            with connection:
                connection.execute("DELETE FROM record WHERE sequence <= 3")
            connection.close()
        return found

    monkeypatch.setattr(module, "_copy_snapshots", overtaken)
    path, contents = back_up(data, tmp_path / "backup")
    assert (contents.first, contents.last) == (4, 5)
    assert verify(path).damage == []


KILLED = """
import os, signal
from pathlib import Path
from service import backup
{place} = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
backup.{call}
"""


def killed(place: str, call: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED.format(place=place, call=call)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.prove
@pytest.mark.parametrize("place", ["backup.JournalFile.copy", "backup.verify", "backup._sync_all"])
def test_killed_it_leaves_no_half_backup_and_the_next_one_is_made(data: Path, tmp_path: Path, place: str) -> None:
    out = tmp_path / "backup"
    killed(place, f"back_up(Path({str(data)!r}), Path({str(out)!r}))")
    assert not out.exists()
    back_up(data, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "data"]


def test_a_full_disk_leaves_no_half_file(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    monkeypatch.setattr(tarfile.TarFile, "add", full)
    refused(limen("backup", data, "--out", tmp_path / "one.tar"), "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
