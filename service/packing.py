"""A backup as one file: a tar of its folder, not compressed (its checksums are in the folder)."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.contract import brief
from models.disk import PARTIAL, make_folder, naming, remove, sync, sync_folder
from service.errors import shown

SUFFIX = ".tar"
UNPACKED = f".unpacked{PARTIAL}"


class PackingError(ValueError):
    """A file that cannot be unpacked; the text says which and why."""


def pack(folder: Path, path: Path) -> None:
    """Write all files below a folder into the new file `path`: a crash leaves it whole or not there."""
    partial = path.with_name(f".{path.name}{SUFFIX}{PARTIAL}")
    try:
        with naming(partial), tarfile.open(partial, "w") as archive:
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
        _unpack(path, folder)
        yield folder
    finally:
        remove(folder)


def _unpack(path: Path, folder: Path) -> None:
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not 0 <= member.size <= size:
                    raise PackingError(f"{path} holds a file of {member.size} bytes; expected at most {size}")
                _take_out(archive, member, folder)
    except (tarfile.TarError, OverflowError) as error:
        raise PackingError(f"{path} is no tar file that can be read: {brief(error)}") from None


def _take_out(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = Path(member.name)
    content = archive.extractfile(member) if member.isreg() else None
    if content is None or member.issparse() or not name.parts or name.is_absolute() or ".." in name.parts:
        raise PackingError(f"the tar file holds {shown(member.name)}; expected files of a backup, and nothing else")
    try:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        file = (folder / name).open("xb")
    except (FileExistsError, NotADirectoryError, ValueError) as error:
        raise PackingError(f"the tar file holds {shown(member.name)}, which cannot be a file: {brief(error)}") from None
    with content, file:
        shutil.copyfileobj(content, file)
