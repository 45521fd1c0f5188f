"""Options that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[list[Path], typer.Argument(help="Files: CSV, Parquet or .xlsx.", show_default=False)]
Model = Annotated[Path, typer.Argument(help="Folder of a trained model.", show_default=False)]
Time = Annotated[str | None, typer.Option("--time", help="Column of the time; detected where not given.")]
Equipment = Annotated[str | None, typer.Option("--equipment", help="Column of the machine; else one machine a file.")]
Label = Annotated[str | None, typer.Option("--label", help="Column that is 1 where the machine was faulty.")]
Ignore = Annotated[list[str] | None, typer.Option("--ignore", help="Column to leave out (repeatable).")]
Rows = Annotated[str | None, typer.Option("--rows", metavar="A:B", help="Rows to use; rows before A warm up a score.")]
Map = Annotated[Path | None, typer.Option("--map", help="CSV with tag, equipment, sensor, unit.")]
TimeFormat = Annotated[str | None, typer.Option("--time-format", help="Such as '%d/%m/%Y %H:%M:%S'.")]
Timezone = Annotated[str | None, typer.Option("--timezone", help="Of times without a zone, such as Asia/Tokyo.")]
Missing = Annotated[list[str] | None, typer.Option("--missing", help="Further word for a missing value (repeatable).")]
Running = Annotated[str | None, typer.Option("--running", help="Rows to use, such as 'current > 1'.")]
Settle = Annotated[str | None, typer.Option("--settle", help="Time to leave out after each start, such as 10m.")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="FROM/TO to leave out (repeatable).")]
Separator = Annotated[str | None, typer.Option("--separator", help="Of columns; detected where not given.")]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Of text; detected where not given.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
