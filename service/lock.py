"""A data folder is held by one process at a time: `flock` on a file in it, which is gone with the process."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from models.disk import make_folder
from service.settings import MODELS, SNAPSHOTS, SettingsError

LOCK = "lock"
RESTORING = "restoring-"  # begins the name of a folder in the data folder, while what was restored is put in its place


@contextmanager
def locked(data_dir: Path, folders: Sequence[str] = (MODELS, SNAPSHOTS)) -> Iterator[None]:
    """Hold the data folder (made if absent, with `folders` in it); SettingsError where it is held or cannot be
    written."""
    try:
        for folder in (data_dir, *(data_dir / name for name in folders)):
            make_folder(folder)
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        descriptor = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        needed = f"it and all in it must be writable for user id {os.getuid()}"
        reason = f"{error.filename}: {error.strerror}"
        raise SettingsError(f"data folder {data_dir} cannot be used ({reason}); {needed}") from None
    try:
        _take(descriptor, data_dir)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, data_dir: Path) -> None:
    """Lock the open file and write into it who holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        raise SettingsError(f"data folder {data_dir} is in use by process {holder}; stop it or use another") from None
    except OSError as error:
        raise SettingsError(f"data folder {data_dir} cannot be used ({LOCK}: {error.strerror})") from None


def check_restored(data_dir: Path) -> None:
    """SettingsError where a restore into the folder was cut off while it put things in their place."""
    for found in data_dir.glob(f"{RESTORING}*"):
        text = f"data folder {data_dir} holds a restore that was cut off ({found.name})"
        raise SettingsError(f"{text}; run limen restore again, with --force")
