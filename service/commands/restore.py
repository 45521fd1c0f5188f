"""`limen restore`: a backup becomes a data folder again."""

from __future__ import annotations

from pathlib import Path

from service import settings, snapshot
from service.backup import restore
from service.commands.console import notice, progress
from service.configuration import differing, facts_of, summary


def run(backup: Path, data_dir: Path, force: bool, config: Path | None) -> None:
    """Verify, copy, tell. BackupError or SettingsError where the backup, the folder or the settings cannot be used."""
    here = facts_of(settings.load(settings.config_file(config)), snapshot.engine_id())
    with progress("restore") as told:
        contents, aside = restore(backup, data_dir, force, told)
    if aside is not None:
        notice(f"what was in {data_dir} is in {aside}")
    print(f"{data_dir}: restored as of {contents.created}, up to record {contents.last}")
    if not contents.settings:
        print("the backup does not say with which settings the service then ran")
    elif changed := differing(contents.settings, here):
        print(f"the service then ran with other settings (then -> here): {summary('settings', {'changed': changed})}")
    else:
        print("the service then ran with the settings that are set here")
