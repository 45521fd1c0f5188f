"""How a text export is written: separator, decimal sign, header, row of units; all from the first part of the file.

What its bytes mean, `encodings.py` says.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from models.contract import DataError

SAMPLE_LINES = 300
SEPARATORS = (";", "\t", "|", ",")
NAMED_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
ROWS_UNDER_HEADER = 3  # rows of units or descriptions that may stand between header and data
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
DOT_NUMBER = re.compile(r"[+-]?\d+\.\d+([eE][+-]?\d+)?")
LOOKS_LIKE_TIME = re.compile(r"\d{1,4}[-/.年]\d{1,2}[-/.月]\d{1,4}|\d{1,2}:\d{2}|\d{1,2}[- ][A-Za-z]{3}[- ]\d{2}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written; `skip` lines (header and rows of units included) stand before the data.

    `columns` are the names of the header, "" where it has none; `units` one each; `head` the first rows of data.
    """

    encoding: str
    separator: str
    decimal: str  # "," or "."; "" where the first rows show neither
    columns: tuple[str, ...]
    units: tuple[str, ...]
    skip: int
    head: tuple[tuple[str, ...], ...] = field(repr=False)
    guessed: bool = False  # the encoding is a guess between 8-bit codes
    quoted: bool = True  # whether a quotation mark at the start of a cell encloses it


def detect(text: str, path: Path, encoding: str, guessed: bool = False, separator: str | None = None) -> Dialect:
    """The dialect of a file from the first part of its text. DataError where it has no header or no row of data.

    >>> found = detect("時刻;圧力\\n;bar\\n24.11.2026 13:00;1,5\\n", Path("a.csv"), "cp932")
    >>> found.separator, found.decimal, found.columns, found.units, found.skip
    (';', ',', ('時刻', '圧力'), ('', 'bar'), 2)
    """
    lines = text.splitlines()[:SAMPLE_LINES]
    declared = 1 if lines and lines[0].lower().startswith("sep=") else 0
    if declared and not separator:
        separator = lines[0][4:].strip('"') or "\t"
    separator = _separator(separator, lines[declared:], path)
    layout = lay_out(_split(lines[declared:], separator), path, separator)
    marks = any('"' in line for line in lines)
    quoted = not marks or any(re.search(rf'(^|{re.escape(separator)})\s*"', line) for line in lines)
    return Dialect(
        encoding, separator, layout.decimal, layout.columns, layout.units, declared + layout.skip, layout.head, guessed,
        quoted,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """What the first rows of a text file or a sheet say: see `Dialect`."""

    columns: tuple[str, ...]
    units: tuple[str, ...]
    skip: int
    head: tuple[tuple[str, ...], ...]
    decimal: str


def lay_out(rows: list[list[str]], path: Path, separator: str = "") -> Layout:
    """Header, units and first rows of data of `rows` of cells, empty rows included; "" separates cells of a sheet."""
    first, width = _header_row(rows)
    if first < 0:
        raise DataError(f"{path.name} holds no rows; expected a header and rows of data")
    header = [name.strip() for name in rows[first]]
    _refuse_absent_header(header, path)
    filled = [i for i in range(first + 1, len(rows)) if any(cell.strip() for cell in rows[i])]
    extra = _rows_of_units([rows[i] for i in filled])
    if len(filled) == extra:
        raise DataError(f"{path.name} has a header but no rows of data")
    width = max(width, len(header))
    columns = tuple((header + [""] * width)[:width])
    head = tuple(tuple((rows[i] + [""] * width)[:width]) for i in filled[extra:])
    return Layout(
        columns, _units(columns, [rows[i] for i in filled[:extra]]), filled[extra], head, _decimal(head, separator)
    )  # fmt: skip


def _split(lines: list[str], separator: str) -> list[list[str]]:
    """Rows of cells; without heed to quotation marks where a cell is too long to be one."""
    try:
        return list(csv.reader(lines, delimiter=separator))
    except csv.Error:
        return [line.split(separator) for line in lines]


def _separator(given: str | None, lines: list[str], path: Path) -> str:
    if given:
        found = NAMED_SEPARATORS.get(given.lower(), given)
        if len(found) != 1:
            raise DataError(f"--separator is {given!r}; expected one character, or tab, comma, semicolon or pipe")
        return found
    best, best_score = ",", (-1.0, 0, 0)
    for candidate in SEPARATORS:
        rows = _split(lines, candidate)
        first, width = _header_row(rows)
        if first < 0 or width < 2:
            continue
        filled = [row for row in rows[first:] if row]
        share = sum(len(row) == width for row in filled) / len(filled)
        score = (round(share, 1), -first, width)
        if score > best_score:
            best, best_score = candidate, score
    return best


def _header_row(rows: list[list[str]]) -> tuple[int, int]:
    """Position of the header, and how many fields the rows of data have.

    The header is the fullest row before the data that is as wide, or wide but for a last, unnamed field; titles and
    settings that loggers write above it are emptier.
    """
    widths = Counter(len(row) for row in rows if any(cell.strip() for cell in row))
    if not widths:
        return -1, 0
    width = max(widths, key=lambda n: (widths[n], n))
    wide = [i for i, row in enumerate(rows) if len(row) >= max(width - 1, min(width, 2)) and _filled(row)]
    data = next((i for i in wide if len(rows[i]) >= width <= 2 * _filled(rows[i]) and _is_data(rows[i])), None)
    before = [i for i in wide if data is None or i < data]
    if data is None or not before:
        return (wide[0], width) if wide else (-1, 0)
    return max(before, key=lambda i: (_filled(rows[i]), -i)), width


def _filled(row: list[str]) -> int:
    return sum(1 for cell in row if cell.strip())


def _refuse_absent_header(header: list[str], path: Path) -> None:
    named = [cell for cell in header if cell]
    if named and all(NUMBER.fullmatch(cell) or LOOKS_LIKE_TIME.match(cell) for cell in named):
        raise DataError(
            f"{path.name}: the first row is {', '.join(named[:3])}, ...; expected a header with a name for each column"
        )
    twice = [name for name, count in Counter(named).items() if count > 1]
    if twice:
        raise DataError(f"{path.name}: column {twice[0]!r} is there twice; expected different names")


def _rows_of_units(below: list[list[str]]) -> int:
    """How many rows under the header hold words where the data holds numbers and times."""
    if not below or not any(_is_data(row) for row in below):
        return 0
    first = next(i for i, row in enumerate(below) if _is_data(row))
    return first if first <= ROWS_UNDER_HEADER else 0


def _is_data(row: list[str]) -> bool:
    return any(NUMBER.fullmatch(cell.strip()) or LOOKS_LIKE_TIME.match(cell.strip()) for cell in row)


def _units(columns: tuple[str, ...], rows: list[list[str]]) -> tuple[str, ...]:
    """Units from the last row of them, or from names such as "pressure [bar]"; "" where neither tells."""
    last = rows[-1] if rows else []
    under = [cell.strip().strip("[]") for cell in last] + [""] * len(columns)
    return tuple(under[i] or unit_in(name) for i, name in enumerate(columns))


def unit_in(name: str) -> str:
    """The unit that a name carries in square brackets.

    >>> unit_in("pressure [bar]"), unit_in("pressure")
    ('bar', '')
    """
    found = re.search(r"\[([^\[\]]{1,20})\]\s*$", name)
    return found[1].strip() if found else ""


def _decimal(head: tuple[tuple[str, ...], ...], separator: str) -> str:
    """The decimal sign; 1,234 in quotes between commas is taken for thousands, which are refused cell by cell."""
    cells = [cell.strip() for row in head for cell in row]
    if any(DOT_NUMBER.fullmatch(cell) for cell in cells):
        return "."
    commas = [cell for cell in cells if COMMA_NUMBER.fullmatch(cell)]
    if commas and separator in {",", ""} and all(THOUSANDS.fullmatch(cell) for cell in commas):
        return "."
    return "," if commas else ""
