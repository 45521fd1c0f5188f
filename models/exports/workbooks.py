"""Excel workbooks -> tables: the sheet that holds the most, dates and numbers as the cells hold them."""

from __future__ import annotations

from pathlib import Path

import fastexcel
import polars as pl

from models.contract import DataError
from models.exports.dialect import SAMPLE_LINES, lay_out
from models.exports.findings import Finding, some
from models.exports.tables import Kinds, Table


def open_workbook(path: Path) -> Table:
    """The table in the largest sheet of a workbook. DataError where no sheet holds a table."""
    try:
        reader = fastexcel.read_excel(path)
        sheets = {name: _sheet(reader, name) for name in reader.sheet_names}
    except (fastexcel.FastExcelError, ValueError) as error:
        raise DataError(f"{path.name} is no workbook that can be read: {str(error).splitlines()[0]}") from None
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


def _sheet(reader: fastexcel.ExcelReader, name: str) -> pl.DataFrame:
    """Every cell of a sheet as text, from its first row on."""
    return reader.load_sheet(
        name, header_row=None, skip_rows=0, dtypes="string", skip_whitespace_tail_rows=False
    ).to_polars()
