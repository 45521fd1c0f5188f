"""Backups, restores, the follower and exports of `tests/fault_run_copies.py`, to be recorded under strace.

`python -m tests.power_copies RUN PLACE STEP`: STEP is `prepare`, after which everything is on disk, or `play`, after
which a file right in PLACE says that it was told to be done. MISTAKE ("": none) leaves out what makes it safe.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from models import disk
from service import backup, history, packing
from tests.fault_run import DISK, runs

PREPARED, DONE = "prepared", "done"  # files right in the place


def prepare(name: str, place: Path) -> None:
    """Make what a run begins with, with calls that a recording understands."""
    shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]
    (place / DISK).mkdir(parents=True)
    runs()[name].prepare(place)
    for path in (*place.rglob("*"), place):
        disk.sync(path)
    note(place / PREPARED)


def play(name: str, place: Path) -> None:
    """Run it."""
    runs()[name].play(place)
    note(place / DONE)


def note(path: Path) -> None:
    """Write when it was so far."""
    os.write(os.open(path, os.O_WRONLY | os.O_CREAT), b"now")


def forget_copies() -> None:
    """Give a backup, or what was restored, its name before it is on disk."""
    backup._sync_all = lambda folder: None
    packing.sync = lambda path: None  # type: ignore[assignment]


def forget_exports() -> None:
    """Forget what was exported before the file is on disk."""
    history.write_durably = lambda path, content: path.write_bytes(content)  # type: ignore


MISTAKES = {"copies": forget_copies, "exports": forget_exports}

if __name__ == "__main__":
    name, place, step, mistake = sys.argv[1:5]
    MISTAKES.get(mistake, lambda: None)()
    {"prepare": prepare, "play": play}[step](name, Path(place))
