"""Options that several commands share, said once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.data import DataOptions

PANEL = "How to read the files"

Data = Annotated[list[Path], typer.Argument(help="Files: CSV, Parquet or .xlsx.", show_default=False)]
Model = Annotated[Path, typer.Argument(help="Folder of a trained model.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def _option(name: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(name, help=text, metavar=metavar, rich_help_panel=PANEL)


@dataclass(frozen=True, slots=True)
class DataFlags:
    """How to read the files, as given on the command line; every command that reads files has all of these."""

    time: Annotated[str | None, _option("--time", "Column of the time; detected where not given.")] = None
    equipment: Annotated[str | None, _option("--equipment", "Column of the machine; else one machine a file.")] = None
    label: Annotated[str | None, _option("--label", "Column that is 1 where the machine was faulty.")] = None
    ignore: Annotated[list[str] | None, _option("--ignore", "Column to leave out (repeatable).")] = None
    rows: Annotated[str | None, _option("--rows", "Rows to use; rows before A warm up a score.", "A:B")] = None
    map: Annotated[Path | None, _option("--map", "CSV with tag, equipment, sensor, unit.")] = None
    time_format: Annotated[str | None, _option("--time-format", "Such as '%d/%m/%Y %H:%M:%S'.")] = None
    timezone: Annotated[str | None, _option("--timezone", "Of times without a zone, such as Asia/Tokyo.")] = None
    missing: Annotated[list[str] | None, _option("--missing", "Further word for a missing value (repeatable).")] = None
    running: Annotated[str | None, _option("--running", "Rows to use, such as 'current > 1'.")] = None
    settle: Annotated[str | None, _option("--settle", "Time to leave out after each start, such as 10m.")] = None
    exclude: Annotated[list[str] | None, _option("--exclude", "Time to leave out (repeatable).", "FROM/TO")] = None
    separator: Annotated[str | None, _option("--separator", "Of columns; detected where not given.")] = None
    encoding: Annotated[str | None, _option("--encoding", "Of text; detected where not given.")] = None

    def options(self) -> DataOptions:
        """For models/data.py."""
        from models.data import DataOptions

        given: dict[str, Any] = asdict(self)
        repeatable = {name: tuple(given[name] or ()) for name in ("ignore", "missing", "exclude")}
        return DataOptions(**given | repeatable)


def reads_files(command: Callable[..., None]) -> Callable[..., None]:
    """`command(..., flags: DataFlags)` as typer is to see it: with an option for each field in place of `flags`."""
    signature = inspect.signature(command, eval_str=True)
    fields = inspect.signature(DataFlags, eval_str=True).parameters
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "flags"]

    @functools.wraps(command)
    def with_flags(**given: Any) -> None:
        flags = DataFlags(**{name: given.pop(name) for name in fields})
        command(**given, flags=flags)

    with_flags.__signature__ = signature.replace(parameters=[*own, *fields.values()])  # type: ignore[attr-defined]
    return with_flags
