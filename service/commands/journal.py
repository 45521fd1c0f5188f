"""`limen journal`: what is done with the journal of a data folder from outside the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands import options as o

app = typer.Typer(name="journal", help="Look into the journal of a data folder.", no_args_is_help=True)

DataFolder = Annotated[Path, typer.Argument(help="Data folder of the service.", show_default=False)]


@app.command()
def export(
    data_dir: DataFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the Parquet files.")],
    start: Annotated[
        str, typer.Option("--from", help="First time of readings, such as 2026-11-24T00:00:00Z, or first record.")
    ] = "",
    stop: Annotated[str, typer.Option("--to", help="Time before which to end, or number of the last record.")] = "",
    equipment: Annotated[list[str] | None, typer.Option("--equipment", help="Machine to export (repeatable).")] = None,
) -> None:
    """Export readings and their results as Parquet, which `limen train` reads; the service may be running. Exit status
    1 where records are damaged: they are named, and all others exported."""
    from service.commands import journal_export as command
    from service.commands.span import span

    command.run(data_dir, out, span(start, stop), equipment or [])


@app.command()
def verify(data_dir: DataFolder, as_json: o.Json = False) -> None:
    """Check all records, snapshots, models and exported days of a data folder; exit status 1 where any is damaged."""
    from service.commands import journal_verify as command

    command.run(data_dir, as_json)


@app.command()
def inspect(
    data_dir: DataFolder,
    start: Annotated[
        str, typer.Option("--from", help="First record to list, by number or the time that it came in.")
    ] = "",
    stop: Annotated[
        str, typer.Option("--to", help="Number of the last record to list, or the time before which it came in.")
    ] = "",
    equipment: Annotated[
        list[str] | None, typer.Option("--equipment", help="Machine whose readings to list (repeatable).")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Kind of records to list, such as activate (repeatable).")
    ] = None,
    as_json: o.Json = False,
) -> None:
    """Say what a journal holds; with one of these options, list its records, or the readings of a machine."""
    from service.commands import journal_inspect as command
    from service.commands.span import span

    command.run(data_dir, command.Chosen(span(start, stop), equipment or [], kind or []), as_json)
