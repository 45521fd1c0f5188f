"""`limen restore`: a backup becomes a data folder again."""

from __future__ import annotations

import json
from pathlib import Path

from service.backup import restore
from service.commands.console import notice, progress


def run(backup: Path, data_dir: Path, force: bool) -> None:
    """Verify, copy, tell. BackupError or SettingsError where the backup or the folder cannot be used."""
    with progress("restore") as told:
        contents, aside = restore(backup, data_dir, force, told)
    if aside is not None:
        notice(f"what was in {data_dir} is in {aside}")
    print(f"{data_dir}: restored as of {contents.created}, up to record {contents.last}")
    print(f"the service then ran with: {json.dumps(contents.settings, ensure_ascii=False)}")
