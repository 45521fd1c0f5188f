"""Excel workbooks -> tables: the sheet that holds the most, dates and numbers as the cells hold them."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import IO

import fastexcel
import polars as pl

from models.contract import DataError, brief
from models.exports.dialect import SAMPLE_LINES, lay_out
from models.exports.findings import Finding, some
from models.exports.tables import Kinds, Table

CELLS_MAX = 60_000_000  # of a sheet: about 3 GB while it is read
CHUNK_BYTES, REFERENCE_BYTES = 1 << 20, 64  # read of a sheet at a time; how long a reference in it may be
DIGITS_MAX = 12  # of the number of a row, in a damaged file
SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
REFERENCE = re.compile(  # of a row or a cell, and the corner that a sheet says that it reaches to
    rb"""(?:\bdimension\s+ref=["'](?:[A-Z]+\d+:)?|\br=["'])([A-Z]*)(\d+)["']"""
)


def open_workbook(path: Path) -> Table:
    """The table in the largest sheet of a workbook. DataError where no sheet holds a table."""
    _check_reach(path)
    try:
        reader = fastexcel.read_excel(path)
        sheets = {name: _sheet(reader, name) for name in reader.sheet_names}
    except (fastexcel.FastExcelError, ValueError) as error:
        raise DataError(f"{path.name} is no workbook that can be read: {str(error).splitlines()[0]}") from None
    if not sheets:
        raise DataError(f"{path.name} has no sheet of cells; expected one with a header and rows of data")
    name = max(sheets, key=lambda sheet: sheets[sheet].height * sheets[sheet].width)
    texts = sheets[name]
    layout = lay_out([["" if cell is None else cell for cell in row] for row in texts.head(SAMPLE_LINES).rows()], path)

    def fetch(kinds: Kinds) -> pl.DataFrame:
        exact = reader.load_sheet(
            name, header_row=None, skip_rows=layout.skip, use_columns=sorted(kinds),
            dtypes={i: "string" if kind == pl.String else "float" for i, kind in kinds.items()},
            skip_whitespace_tail_rows=False,
        ).to_polars()  # fmt: skip
        ordered = dict(zip(sorted(kinds), exact.get_columns(), strict=True))
        return pl.DataFrame([ordered[i].alias(str(i)) for i in kinds])

    findings = []
    others = [sheet for sheet, cells in sheets.items() if sheet != name and cells.height]
    if others:
        findings.append(Finding("sheet", f"{path.name}: sheet {name!r} is read; left out: {some(others)}"))
    return Table(
        path, layout.columns, layout.units, layout.head, fetch, lambda row: row + layout.skip + 1, noun="row",
        decimal=layout.decimal, findings=findings,
    )  # fmt: skip


def _check_reach(path: Path) -> None:
    """DataError where a sheet says that it reaches further than can be held: one stray cell far outside is enough,
    since every cell up to it is read; and where the workbook is damaged."""
    if not zipfile.is_zipfile(path):
        return
    try:
        _check_sheets(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path.name} is no workbook that can be read: {brief(error)}") from None


def _check_sheets(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            if not SHEET.fullmatch(entry):
                continue
            with archive.open(entry) as file:
                columns, rows = _reach(file)
            if columns * rows > CELLS_MAX:
                raise DataError(
                    f"{path.name}: {entry.rsplit('/', 1)[-1]} reaches to column {columns:,} and row {rows:,}, "
                    f"{columns * rows:,} cells; expected at most {CELLS_MAX:,}: delete what lies far outside the "
                    "table, or export it as CSV"
                )


def _reach(file: IO[bytes]) -> tuple[int, int]:
    """Columns and rows up to the furthest cell that a sheet names, whatever it says of its own size."""
    columns = rows = 0
    before = b""
    while chunk := file.read(CHUNK_BYTES):
        text = before + chunk
        found = REFERENCE.findall(text)
        columns = max(columns, max((_column(letters) for letters in {letters for letters, _ in found}), default=0))
        rows = max(rows, max((int(number[:DIGITS_MAX]) for number in {number for _, number in found}), default=0))
        before = text[-REFERENCE_BYTES:]
    return columns, rows


def _column(letters: bytes) -> int:
    """Number of a column from its letters.

    >>> _column(b"A"), _column(b"XFD")
    (1, 16384)
    """
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
    return number


def _sheet(reader: fastexcel.ExcelReader, name: str) -> pl.DataFrame:
    """Every cell of a sheet as text, from its first row on."""
    return reader.load_sheet(
        name, header_row=None, skip_rows=0, dtypes="string", skip_whitespace_tail_rows=False
    ).to_polars()
