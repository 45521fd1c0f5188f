"""A backup becomes a data folder again, or nothing is changed."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import httpx
import pytest

from service import backup as module
from service import journal, journal_reader
from service.backup import BackupError, back_up, read_contents, restore
from service.lifecycle import Service
from service.lock import check_restored, locked
from service.settings import JOURNAL, SettingsError
from service.verification import verify
from tests.service.commandline import limen, process, refused
from tests.service.running import columns, run, settings
from tests.service.test_backup import lived, state


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


def test_a_folder_that_is_in_use_is_refused(backup: Path, data: Path) -> None:
    before = state(data)
    with locked(data):
        refused(limen("restore", backup, "--data-dir", data, "--force"), "is in use by process")
    assert state(data).keys() - {"lock"} == before.keys() - {"lock"}


def test_a_refused_restore_leaves_a_folder_as_it_was(backup: Path, data: Path, tmp_path: Path) -> None:
    before = state(data)
    refused(limen("restore", backup, "--data-dir", data), "is not empty")
    assert state(data) == before
    (tmp_path / "empty").mkdir()
    refused(limen("restore", data / "models" / "index.json", "--data-dir", tmp_path / "empty"), "no tar file")
    assert list((tmp_path / "empty").iterdir()) == []


def test_restore_tells_the_settings_that_are_not_those_of_the_backup(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "limen.toml"
    config.write_text("join = ['press-*']\nsilent_intervals = 7\n")
    monkeypatch.setenv("LIMEN_CLOCK", "wall")
    done = limen("restore", backup, "--data-dir", tmp_path / "a", "--config", config)
    told = 'clock event -> wall, join [] -> ["press-*"], silent_intervals 5 -> 7'
    assert done.out.endswith(f"the service then ran with other settings (then -> here): {told}\n")
    monkeypatch.setenv("LIMEN_CLOCK", "event")
    done = limen("restore", backup, "--data-dir", tmp_path / "b")
    assert done.out.endswith("the service then ran with the settings that are set here\n")
    config.write_text("clock = 'sun'")
    monkeypatch.setenv("LIMEN_CONFIG", str(config))
    monkeypatch.delenv("LIMEN_CLOCK")
    refused(limen("restore", backup, "--data-dir", tmp_path / "c"), "is 'sun'; expected 'wall' or 'event'")
    assert not (tmp_path / "c").exists()


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
    assert not (tmp_path / "new").exists()
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
        restore(backup, tmp_path / "new" / "data")
    assert not (tmp_path / "new").exists()


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
