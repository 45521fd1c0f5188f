"""`limen backup`: a verified copy of a data folder, while the service runs."""

from __future__ import annotations

from pathlib import Path

from service.backup import back_up
from service.commands.console import progress


def run(data_dir: Path, out: Path) -> None:
    """Copy, verify, tell. BackupError or JournalError where there is nothing to copy or it is not whole."""
    with progress("backup") as told:
        path, contents = back_up(data_dir, out, told)
    records = f"records {contents.first} to {contents.last}" if contents.first else "no record"
    size = sum(file.bytes for file in contents.files.values())
    print(f"{path}: {records}, {contents.readings:,} readings, {size:,} bytes in {len(contents.files)} files: verified")
