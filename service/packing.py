"""A backup as one file: a tar of its folder, not compressed (its checksums are in the folder)."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.disk import PARTIAL, make_folder, remove, sync, sync_folder

SUFFIX = ".tar"
UNPACKED = f".unpacked{PARTIAL}"


class PackingError(ValueError):
    """A file that cannot be unpacked; the text says which and why."""


def pack(folder: Path, path: Path) -> None:
    """Write all files below a folder into the new file `path`: a crash leaves it whole or not there."""
    partial = path.with_name(f".{path.name}{SUFFIX}{PARTIAL}")
    try:
        with tarfile.open(partial, "w") as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.add(file, file.relative_to(folder).as_posix())
        sync(partial)
        partial.rename(path)
    except BaseException:
        remove(partial)
        raise
    sync_folder(path.parent)


@contextmanager
def unpacked(path: Path, place: Path) -> Iterator[Path]:
    """A folder in `place` with what a file holds, while the block runs. PackingError where it is no tar of files."""
    folder = place / UNPACKED
    remove(folder)
    make_folder(folder)
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                _take_out(archive, member, folder)
        yield folder
    except tarfile.TarError as error:
        raise PackingError(f"{path} is no tar file that can be read: {error}") from None
    finally:
        remove(folder)


def _take_out(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = Path(member.name)
    content = archive.extractfile(member) if member.isreg() else None
    if content is None or name.is_absolute() or ".." in name.parts:
        raise PackingError(f"the tar file holds {member.name!r}; expected files of a backup, and nothing else")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with content, (folder / name).open("wb") as file:
        shutil.copyfileobj(content, file)
