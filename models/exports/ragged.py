"""Lines of a text table: their numbers, and those with fewer or more fields than the header names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from models.contract import Bools, DataError, Ints
from models.exports.dialect import Dialect
from models.exports.findings import Finding, plural, verb

BLOCK_BYTES = 1 << 24  # in which fields are counted at once
NEWLINE, RETURN, QUOTE = b'\n\r"'


def line_number(source: Path | bytes, dialect: Dialect, row: int) -> int:
    """The line on which a row of data begins, as an editor counts; read anew, since only errors ask."""
    with _opened(source) as text:
        reader = csv.reader(text, delimiter=dialect.separator, quoting=_quoting(dialect))
        for _ in range(dialect.skip + row):
            try:
                next(reader, None)
            except csv.Error:  # a cell that is too long; its line counts all the same
                continue
        return reader.line_num + 1


def check_lines(raw: bytes, path: Path, dialect: Dialect) -> list[Finding]:
    """A finding where lines of data end before the last column that has a name: their other cells are missing.
    DataError naming the first line with something in a field beyond the header's.

    >>> found = Dialect("utf-8", ",", ".", ("time", "flow"), ("", ""), 1, ())
    >>> check_lines(b"time,flow\\n13:00,1\\n13:01\\n", Path("a.csv"), found)[0].text
    'a.csv: 1 line has too few fields, the rest read as missing: line 3 has 1 of 2'
    """
    needed = max((i + 1 for i, name in enumerate(dialect.columns) if name), default=0)
    quotes = dialect.quoted and b'"' in raw
    short: list[tuple[int, int]] = []
    for first, fields, blank in _counted(raw, dialect.separator, quotes):
        data = ~blank & (np.arange(first, first + len(fields)) >= dialect.skip)
        if (data & (fields > len(dialect.columns))).any():
            refuse_long_lines(raw, path, dialect)
        few = np.flatnonzero(data & (fields < needed))
        short += zip((first + few + 1).tolist(), fields[few].tolist(), strict=True)
    if short and quotes:  # some lines are of one row
        short = list(_short_rows(raw, dialect, needed))
    return [_short_finding(path, short, needed)] if short else []


def refuse_long_lines(source: Path | bytes, path: Path, dialect: Dialect) -> None:
    """DataError naming the first line with something in a field beyond the header's."""
    width = len(dialect.columns)
    with _opened(source) as text:
        reader = csv.reader(text, delimiter=dialect.separator, quoting=_quoting(dialect))
        for number, row in enumerate(_sound(reader)):
            if number >= dialect.skip and any(cell.strip() for cell in row[width:]):
                raise DataError(
                    f"{path.name}: line {reader.line_num} has {len(row)} fields; expected {width}, as the header has"
                )


def _counted(raw: bytes, separator: str, quotes: bool) -> Iterator[tuple[int, Ints, Bools]]:
    """Block by block: how many rows stand before it, how many fields each of its rows has, and which are blank.

    Where cells stand in quotation marks the file is one block, since a line end within a cell ends no row.
    """
    start = rows = 0
    while start < len(raw):
        near = start + (len(raw) if quotes else BLOCK_BYTES)
        stop = raw.rfind(b"\n", start, near) + 1 or raw.find(b"\n", start) + 1 or len(raw)
        stop = len(raw) if near >= len(raw) else stop
        block = np.frombuffer(raw, np.uint8, stop - start, start)
        ends, cuts = block == NEWLINE, block == ord(separator)
        if quotes:
            outside = np.bitwise_xor.accumulate((block == QUOTE).view(np.uint8)) == 0
            ends &= outside
            cuts &= outside
        begins = np.concatenate([[0], np.flatnonzero(ends) + 1])
        begins = begins[begins < len(block)]
        blank = (block[begins] == NEWLINE) | (block[begins] == RETURN)
        before = np.searchsorted(np.flatnonzero(cuts), np.append(begins, len(block)))
        yield rows, np.diff(before) + 1, blank
        start, rows = stop, rows + len(begins)


def _short_finding(path: Path, short: list[tuple[int, int]], needed: int) -> Finding:
    count, (line, fields) = len(short), short[0]
    text = (
        f"{path.name}: {plural(count, 'line')} {verb(count, 'has', 'have')} too few fields, the rest read as missing: "
        f"{verb(count, '', 'the first, ')}line {line:,} has {fields:,} of {needed:,}"
    )
    return Finding("short_line", text, count=count)


def _short_rows(raw: bytes, dialect: Dialect, needed: int) -> Iterator[tuple[int, int]]:
    """Line and fields of each row of data with fewer than `needed`, as the slow and exact reader counts them."""
    with _opened(raw) as text:
        reader = csv.reader(text, delimiter=dialect.separator)
        for number, row in enumerate(_sound(reader)):
            if number >= dialect.skip and row and len(row) < needed:
                yield reader.line_num, len(row)


def _opened(source: Path | bytes) -> io.TextIOBase:
    opened = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    return io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")


def _quoting(dialect: Dialect) -> Literal[0, 3]:
    return csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE


def _sound(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """Rows up to the first cell that is too long to be one."""
    try:
        yield from reader
    except csv.Error:
        return
