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
from service import journal, journal_reader
from service.backup import BackupError, back_up, read_contents, restore
from service.journal_reader import JournalFile
from service.lifecycle import Service
from service.lock import check_restored, locked
from service.settings import JOURNAL, SettingsError
from service.verification import verify
from tests.service.commandline import ROOT, limen, process, refused
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


# -- the way back ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backup(once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return back_up(once, tmp_path_factory.mktemp("backups") / "backup")[0]


def test_a_folder_that_is_in_use_is_refused(backup: Path, data: Path) -> None:
    before = state(data)
    with locked(data):
        refused(limen("restore", backup, "--data-dir", data, "--force"), "is in use by process")
    assert state(data).keys() - {"lock"} == before.keys() - {"lock"}


def test_a_folder_that_is_not_empty_is_put_aside_by_force_only(backup: Path, data: Path) -> None:
    (data / "models" / "index.json").write_text("{}")
    before = {name: content for name, content in state(data).items() if name != "lock"}
    refused(limen("restore", backup, "--data-dir", data), "is not empty (journal, models, snapshots); --force puts")
    assert {name: content for name, content in state(data).items() if name != "lock"} == before
    done = limen("restore", backup, "--data-dir", data, "--force")
    assert done.status == 0, done
    (aside,) = data.glob("replaced-*")
    assert state(aside) == before
    assert f"is in {aside}" in done.err
    for name in read_contents(backup).files:
        assert (data / name).read_bytes() == (backup / name).read_bytes()
    assert {path.name for path in data.iterdir()} == {"journal", "lock", "models", "snapshots", aside.name}


def test_a_backup_may_be_one_file(data: Path, backup: Path, tmp_path: Path) -> None:
    done = limen("backup", data, "--out", tmp_path / "one.tar")
    assert done.status == 0, done
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "one.tar"]
    assert limen("restore", tmp_path / "one.tar", "--data-dir", tmp_path / "new").status == 0
    assert state(tmp_path / "new").keys() - {"lock"} == read_contents(backup).files.keys()
    assert verify(tmp_path / "new").damage == []
    refused(limen("restore", tmp_path / "one.tar", "--data-dir", tmp_path / "new"), "is not empty")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"journal", "lock", "models", "snapshots"}


def test_a_full_disk_leaves_no_half_file(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    monkeypatch.setattr(tarfile.TarFile, "add", full)
    refused(limen("backup", data, "--out", tmp_path / "one.tar"), "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("name", ["../outside", "/outside", "link", "cut off", "no tar"])
def test_a_file_that_is_no_backup_is_refused(data: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "one.tar"
    back_up(data, path)
    if name == "cut off":
        path.write_bytes(path.read_bytes()[:30_000])
    elif name == "no tar":
        path.write_bytes(b"no tar file" * 1000)
    else:
        with tarfile.open(path, "a") as archive:
            member = tarfile.TarInfo(name)
            member.type = tarfile.SYMTYPE if name == "link" else tarfile.REGTYPE
            archive.addfile(member)
    done = limen("restore", path, "--data-dir", tmp_path / "new")
    assert done.status == 1, done
    assert "limen: error: " in done.err
    assert not list((tmp_path / "new").iterdir())
    assert not (tmp_path / "outside").exists()


def test_a_backup_of_an_older_schema_is_restored_and_brought_up_to_date_by_the_start(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    newer = journal.SCHEMA + 1
    (migrations / f"{newer:04d}.sql").write_text("CREATE TABLE another (name TEXT);")
    monkeypatch.setattr(journal, "MIGRATIONS", migrations)
    for of in (journal, journal_reader):
        monkeypatch.setattr(of, "SCHEMA", newer)
    restore(backup, tmp_path / "data")

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.post("/v1/readings", json=columns("p1", 60, 10))).json()["received"] == 10

    run(settings(tmp_path / "data", model=None), scenario)
    report = verify(tmp_path / "data")
    assert (report.damage, report.readings) == ([], 190)
    refused(limen("backup", backup, "--out", tmp_path / "no"), f"limen serve brings it to {newer} at its start")


def damaged(backup: Path, tmp_path: Path) -> Path:
    return shutil.copytree(backup, tmp_path / "damaged")


@pytest.mark.parametrize("name", [JOURNAL, "models/index.json", "models/pumps/1/model.safetensors"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_backup_with_a_damaged_file_touches_nothing(backup: Path, tmp_path: Path, name: str, gone: bool) -> None:
    copy = damaged(backup, tmp_path)
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    if gone:
        (copy / name).unlink()
    refused(limen("restore", copy, "--data-dir", tmp_path / "new"), name, "missing or damaged")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"format": 1', '"format": 9', "has format 9; this program reads format 1"),
        ('"first": 1', '"first": "x"', "is no backup"),
        ('"models/index.json"', '"../index.json"', "which is outside the backup"),
        ("{", "[", "is no backup"),
    ],
)
def test_contents_that_cannot_be_used_are_refused(
    backup: Path, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    copy = damaged(backup, tmp_path)
    path = copy / "backup.json"
    path.write_text(path.read_text().replace(old, new, 1))
    refused(limen("restore", copy, "--data-dir", tmp_path / "new"), expected)


def test_a_file_that_changes_while_it_is_restored_is_noticed(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_copy", lambda source, target: module.Copied(0, ""))
    with pytest.raises(BackupError, match="changed while it was restored"):
        restore(backup, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]


def test_a_restore_that_was_cut_off_does_not_start_and_is_done_again(backup: Path, data: Path) -> None:
    rename, renamed = Path.rename, []

    def cut_off(self: Path, target: Path) -> Path:
        renamed.append(self)
        if len(renamed) == 4:
            raise KeyboardInterrupt
        return rename(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", cut_off)
        with pytest.raises(KeyboardInterrupt):
            restore(backup, data, force=True)
    with pytest.raises(SettingsError, match="a restore that was cut off"):
        check_restored(data)
    done = process("serve", "--data-dir", data, "--port", 0)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("run limen restore again, with --force")
    restore(backup, data, force=True)
    check_restored(data)
    assert verify(data).damage == []
