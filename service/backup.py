"""A copy of a data folder, taken while the service runs or not, and the way back.

    BACKUP/backup.json                  what is in it: records, models, settings, size and SHA-256 of each file
    BACKUP/journal, snapshots, models   as in a data folder: `limen journal verify BACKUP` looks at it, too

Snapshots are copied before the journal, which then holds all records after them; models after both, so that none is
missing that these name. The copy is verified, synced, and only then gets its name.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from models.artifact import TENSORS
from models.contract import brief
from models.disk import PARTIAL, make_folder, naming, remove, sync, sync_folder
from models.manifest import MANIFEST
from service import snapshot
from service.errors import shown
from service.journal_reader import JournalFile
from service.lock import LOCK, RESTORING, locked
from service.packing import SUFFIX, pack, unpacked
from service.registry import INDEX
from service.settings import JOURNAL, MODELS, SNAPSHOTS
from service.verification import Report, Told, check_is_data_folder, verify, version_folders

FORMAT = 1
CONTENTS = "backup.json"
INCOMING = f".restore{PARTIAL}"  # in the data folder, while files are copied
ASIDE = "replaced-"  # folder in the data folder with what a forced restore replaced
PIECE_BYTES = 1024 * 1024
ATTEMPTS = 5  # at copying, while the service removes what is copied


class BackupError(ValueError):
    """A backup that cannot be made or used; the text says which and why."""


class Copied(msgspec.Struct, frozen=True):
    """One file of a backup."""

    bytes: int
    sha256: str


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What `backup.json` holds: records `first` to `last`, and what the journal last said of settings and models."""

    format: int
    program: str
    created: str
    first: int
    last: int
    readings: int
    settings: dict[str, Any]
    models: dict[str, int]
    files: dict[str, Copied]


def back_up(data_dir: Path, out: Path, told: Told = lambda stage, share: None) -> tuple[Path, Contents]:
    """Copy a data folder into the new folder `out`, one file where that ends in .tar, or a new folder named by the time
    where `out` is there. Returns its path. BackupError where the copy is not whole; nothing is left then."""
    check_is_data_folder(data_dir)
    now = datetime.datetime.now(datetime.UTC)
    path = out / f"limen-{now:%Y%m%dT%H%M%S}Z" if out.is_dir() else out
    if (out / CONTENTS).exists():
        raise BackupError(f"{out} is a backup already; choose another name, or make a folder for many")
    if path.exists():
        raise BackupError(f"{path} is there already; choose another name")
    if path.resolve().is_relative_to(data_dir.resolve()):
        raise BackupError(
            f"{path} is in the data folder {data_dir} itself; choose a place outside, on another disk if any"
        )
    make_folder(path.parent)
    staged = path.with_name(f".{path.name}{PARTIAL}")
    remove(staged)
    try:
        _copy_all(data_dir, staged, told)
        report = verify(staged, told)
        if report.damage:
            raise BackupError(f"{data_dir} is not whole, and no backup was made of it: {_damage(report)}")
        contents = _contents(staged, report, now)
        with naming(staged / CONTENTS):
            (staged / CONTENTS).write_bytes(msgspec.json.format(msgspec.json.encode(contents), indent=1))
        _sync_all(staged)
        if path.suffix == SUFFIX:
            pack(staged, path)
            remove(staged)
        else:
            staged.rename(path)
            sync_folder(path.parent)
    except BaseException:
        remove(staged)
        raise
    return path, contents


def _copy_all(data_dir: Path, staged: Path, told: Told) -> None:
    (staged / JOURNAL).parent.mkdir(parents=True)
    (staged / MODELS).mkdir()
    for _ in range(ATTEMPTS):
        newest = _copy_snapshots(data_dir / SNAPSHOTS, staged / SNAPSHOTS)
        if not (data_dir / JOURNAL).exists():
            break
        (staged / JOURNAL).unlink(missing_ok=True)
        JournalFile(data_dir / JOURNAL).copy(staged / JOURNAL, lambda share: told("records", share))
        if (JournalFile(staged / JOURNAL).first_sequence() or 1) <= newest:
            break  # else the service has removed records and has newer snapshots
    if (data_dir / MODELS / INDEX).exists():
        _copy(data_dir / MODELS / INDEX, staged / MODELS / INDEX)
    versions = list(version_folders(data_dir / MODELS))  # after the index, which names none that is not there
    for place, (name, number) in enumerate(versions):
        told("models", place / len(versions))
        target = staged / MODELS / name / str(number)
        target.mkdir(parents=True)
        for file in (TENSORS, MANIFEST):
            _copy(data_dir / MODELS / name / str(number) / file, target / file)


def _copy_snapshots(source: Path, target: Path) -> int:
    """Copy the snapshots that there are now; the sequence of the newest one, 1 where there is none."""
    remove(target)
    target.mkdir()
    copied = [1]
    for path in snapshot.paths(source):
        with contextlib.suppress(FileNotFoundError):  # a running service removes the oldest
            _copy(path, target / path.name)
            copied.append(snapshot.sequence_of(path))
    return max(copied)


def _contents(staged: Path, report: Report, now: datetime.datetime) -> Contents:
    return Contents(
        format=FORMAT,
        program=version("limen"),
        created=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        first=report.first,
        last=report.last,
        readings=report.readings,
        settings=report.configuration.settings,
        models={name: model.version for name, model in report.configuration.models.items()},
        files={file.relative_to(staged).as_posix(): _copied(file) for file in _files(staged)},
    )


def _damage(report: Report) -> str:
    return "; ".join(finding.text for finding in report.damage[:3])


# -- the way back ----------------------------------------------------------------------------------------------------


def restore(
    backup: Path, data_dir: Path, force: bool = False, told: Told = lambda stage, share: None
) -> tuple[Contents, Path | None]:
    """Put a backup into a data folder; what is there already is put aside with `force`, and its new place returned.
    BackupError or SettingsError, with nothing changed, where the backup is not whole or the folder is in use or not
    empty."""
    with _left_as_it_was(data_dir):
        if backup.is_file():
            with unpacked(backup, data_dir) as folder:
                return _restore(folder, data_dir, force, told)
        return _restore(backup, data_dir, force, told)


def _restore(backup: Path, data_dir: Path, force: bool, told: Told) -> tuple[Contents, Path | None]:
    contents = read_contents(backup)
    for name, wanted in contents.files.items():
        if not (backup / name).is_file() or _copied(backup / name) != wanted:
            raise BackupError(f"{name} of the backup is not the file that was backed up; it is missing or damaged")
    report = verify(backup, told)
    if report.damage:
        raise BackupError(f"{backup} is not whole: {_damage(report)}")
    with locked(data_dir, folders=()):
        remove(data_dir / INCOMING)
        in_the_way = [path for path in sorted(data_dir.iterdir()) if _is_state(path, backup)]
        if in_the_way and not force:
            names = ", ".join(path.name for path in in_the_way)
            raise BackupError(f"data folder {data_dir} is not empty ({names}); --force puts that aside")
        try:
            _copy_back(backup, data_dir / INCOMING, contents)
        except BaseException:
            remove(data_dir / INCOMING)
            raise
        return contents, _put_in_place(data_dir, in_the_way)


@contextlib.contextmanager
def _left_as_it_was(data_dir: Path) -> Iterator[None]:
    """Where the block fails, the folder and its lock are gone again if they were not there before."""
    lock = data_dir / LOCK
    had_lock = lock.exists()
    absent = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # a folder that holds anything stays
            if not had_lock:
                lock.unlink(missing_ok=True)
            for folder in absent:
                folder.rmdir()
        raise


def read_contents(backup: Path) -> Contents:
    """What a backup says of itself. BackupError where it is none, or of a newer program."""
    path = backup / CONTENTS
    try:
        found = msgspec.json.decode(path.read_bytes())
        number = found.get("format") if isinstance(found, dict) else None
        if number != FORMAT:
            raise BackupError(f"{path} has format {shown(number)}; this program reads format {FORMAT}")
        contents = msgspec.convert(found, Contents)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BackupError(f"{backup} is no backup: {CONTENTS} cannot be read: {brief(error)}") from None
    for name in contents.files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BackupError(f"{path} names {shown(name)}, which is outside the backup")
    return contents


def _is_state(path: Path, backup: Path) -> bool:
    """Whether something in a data folder belongs to the state that a restore replaces."""
    own = path.name == LOCK or path.name.startswith(ASIDE) or path.name.endswith(PARTIAL)
    return not own and not backup.resolve().is_relative_to(path.resolve())


def _copy_back(backup: Path, incoming: Path, contents: Contents) -> None:
    for name, wanted in contents.files.items():
        (incoming / name).parent.mkdir(parents=True, exist_ok=True)
        if _copy(backup / name, incoming / name) != wanted:
            raise BackupError(f"{backup / name} changed while it was restored")
    _sync_all(incoming)


def _put_in_place(data_dir: Path, in_the_way: list[Path]) -> Path | None:
    """Put aside what is in the way, then what has been copied in its place; a start in between is refused."""
    now = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S.%fZ}"
    restoring, aside = data_dir / f"{RESTORING}{now}", data_dir / f"{ASIDE}{now}"
    (data_dir / INCOMING).rename(restoring)
    if in_the_way:
        aside.mkdir()
    sync_folder(data_dir)
    for path in in_the_way:
        path.rename(aside / path.name)
    if in_the_way:
        sync_folder(aside)  # before anything takes the names that these had
    for path in list(restoring.iterdir()):
        path.rename(data_dir / path.name)
    sync_folder(data_dir)
    restoring.rmdir()
    sync_folder(data_dir)
    return aside if in_the_way else None


# -- files -----------------------------------------------------------------------------------------------------------


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _copy(source: Path, target: Path) -> Copied:
    with naming(target), source.open("rb") as content, target.open("wb") as file:
        digest, size = hashlib.sha256(), 0
        while piece := content.read(PIECE_BYTES):
            digest.update(piece)
            size += file.write(piece)
    return Copied(size, digest.hexdigest())


def _copied(path: Path) -> Copied:
    with path.open("rb") as file:
        return Copied(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _sync_all(folder: Path) -> None:
    """Every file and every name below a folder, and its own."""
    for path in (*folder.rglob("*"), folder):
        sync(path)
