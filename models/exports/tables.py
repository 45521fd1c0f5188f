"""A table as a file holds it: named columns of text or numbers, with the place of every row for errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from models.contract import Bools, DataError, Floats
from models.exports.cells import Origin, Words, is_text, numbers, shown
from models.exports.findings import Finding, some

Kinds = dict[int, type[pl.String] | type[pl.Float64]]  # position of a column -> how it is read
TEXT_COLUMNS = 16  # columns that are held as text at once


@dataclass(frozen=True, slots=True)
class KnownRoles:
    """Names of the columns of a table with a role; all others are none of these."""

    time: str
    equipment: str
    sensors: frozenset[str]


@dataclass(slots=True)
class Table:
    """One file. `columns` are its names in order, `head` its first rows as text, `rows` how many it has.

    `fetch(kinds)` reads some columns of all rows, cells that are not of their kind null; rows without anything are
    dropped from it by `load`, for good. `position` (rows,) says which row of `fetch` a row of the table is.
    """

    path: Path
    columns: tuple[str, ...]
    units: tuple[str, ...]
    head: tuple[tuple[str, ...], ...]
    fetch: Callable[[Kinds], pl.DataFrame]
    line: Callable[[int], int]  # the number that an editor shows beside a row of `fetch`
    noun: str = "line"
    decimal: str = ""
    findings: list[Finding] = field(default_factory=list)
    roles: KnownRoles | None = None  # where the file itself says what its columns are
    _frame: pl.DataFrame = field(default_factory=pl.DataFrame)
    _filled: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))

    @property
    def rows(self) -> int:
        """Rows that hold anything."""
        return self._frame.height

    @property
    def origin(self) -> Origin:
        """The file as errors name it."""
        position = np.flatnonzero(self._filled)
        return Origin(self.path, lambda row: self.line(int(position[row])), self.noun)

    def load(self, texts: Sequence[int], values: Sequence[int]) -> None:
        """Read the columns `texts` as they are written and `values` as numbers."""
        frame = self.fetch({i: pl.String for i in texts} | {i: pl.Float64 for i in values})
        blank = pl.all_horizontal(
            pl.col(name).is_null() | (pl.col(name).str.strip_chars() == "") if frame[name].dtype == pl.String
            else pl.col(name).is_null()
            for name in frame.columns
        )  # fmt: skip
        self._filled = ~frame.select(blank).to_series().to_numpy()
        self._frame = frame if self._filled.all() else frame.filter(pl.Series(self._filled))
        if not self.rows:
            raise DataError(f"{self.path.name} has a header but no rows of data")

    def text(self, column: int) -> pl.Series:
        """A column that was loaded as text; typed where the file types it."""
        return self._frame[str(column)]

    def values(self, columns: Sequence[int], words: Words) -> Floats:
        """Columns that were loaded as numbers, (rows, columns) float64, NaN = missing. Releases them."""
        frame = self._frame.select(str(i) for i in columns)
        self._frame = self._frame.drop(str(i) for i in columns)
        again = [i for i in columns if frame[str(i)].null_count() or frame[str(i)].is_infinite().any()]
        for start in range(0, len(again), TEXT_COLUMNS):
            part = again[start : start + TEXT_COLUMNS]
            frame = frame.with_columns(self._checked(frame, part, words))
        return frame.to_numpy(order="c").astype(np.float64, copy=False)

    def _checked(self, frame: pl.DataFrame, columns: list[int], words: Words) -> list[pl.Series]:
        """Columns in which some cells are no finite number, with the words of historians as NaN."""
        texts = self.fetch({i: pl.String for i in columns})
        texts = texts if self._filled.all() else texts.filter(pl.Series(self._filled))
        empty = [i for i in columns if frame[str(i)].null_count() == frame.height]
        written = [i for i in empty if is_text(texts[str(i)].cast(pl.String), words)]
        if written:
            cells = [f"{self.columns[i]!r} ({shown(str(texts[str(i)].drop_nulls()[0]))})" for i in written]
            options = " ".join(f"--ignore {self.columns[i]!r}" for i in written)
            raise DataError(f"{self.path.name}: text and no number in {some(cells)}; leave out with {options}")
        return [self._filled_in(frame[str(i)], texts[str(i)].cast(pl.String), i, words) for i in columns]

    def _filled_in(self, known: pl.Series, text: pl.Series, column: int, words: Words) -> pl.Series:
        """One column: its numbers as they were read, the rest of its cells from their text."""
        values = known.fill_null(np.nan).to_numpy().copy()
        rest = np.flatnonzero((known.is_null() | known.is_infinite().fill_null(False)).to_numpy())
        finite = values[np.isfinite(values)]
        decimal = self.decimal or ("." if (finite != np.rint(finite)).any() else "")
        origin = self.origin
        part = Origin(self.path, lambda row: origin.line(int(rest[row])), self.noun)
        values[rest] = numbers(text[rest], self.columns[column], words, part, decimal)
        return pl.Series(str(column), values)
