"""`limen journal`: what is done with the journal of a data folder from outside the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(name="journal", help="Look into the journal of a data folder.", no_args_is_help=True)

DataFolder = Annotated[Path, typer.Argument(help="Data folder of the service.", show_default=False)]


@app.command()
def export(
    data_dir: DataFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the Parquet files.")],
    start: Annotated[str, typer.Option("--from", help="First time, such as 2026-11-24T00:00:00Z.")] = "",
    stop: Annotated[str, typer.Option("--to", help="Time before which to end.")] = "",
    equipment: Annotated[list[str] | None, typer.Option("--equipment", help="Machine to export (repeatable).")] = None,
) -> None:
    """Export readings and their results as Parquet, which `limen train` reads; the service may be running."""
    from service.commands import journal_export as command

    command.run(data_dir, out, start, stop, equipment or [])
