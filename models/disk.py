"""Files that survive a crash whole: with their old content or the new one, never with half of it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"  # ends the name of a file that is being written


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file by temp file, fsync, rename, fsync of the folder: a crash leaves the old file or the new one.
    Where the disk fails, what was written of the new one makes room again."""
    temporary = path.with_name(f".{path.name}{PARTIAL}")
    try:
        with naming(temporary), temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        remove(temporary)
        raise
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove what a write that failed or a crash left, file or folder; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path, *patterns: str) -> None:
    """Remove what matches one of the patterns in a folder."""
    for pattern in patterns:
        for leftover in folder.glob(pattern):
            remove(leftover)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are absent; their names are there after a crash."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        try:
            sync_folder(folder.parent)
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()  # or the next try would take its name for safe
            raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder safe: what was renamed into it is there after a crash."""
    sync(folder)


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, safe."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the disk in it says which file, where it does not say so itself."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and not error.filename:
            error.filename = str(path)
        raise
