"""`limen journal export`: readings and their results as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from service.journal import JournalError


def run(data_dir: Path, out: Path, start: str, stop: str, equipment: Sequence[str]) -> None:
    """Export from the journal of a data folder."""
    raise JournalError(f"{data_dir}: the export is not built yet")
