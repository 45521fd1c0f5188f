"""Text cells -> numbers: words of historians are missing values, any other text is refused with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from models.contract import DataError, Floats

MISSING_WORDS = frozenset(
    word.casefold()
    for word in (
        "Bad", "Bad Input", "Bad Output", "Bad Data", "Bad Quality", "Bad_Quality", "I/O Timeout", "IO Timeout",
        "No Data", "NoData", "No_Data", "No Sample", "No Result", "No Good Data", "No Good Data For Calculation",
        "Configure", "Comm Fail", "Comm_Fail", "Comm Failure", "Scan Off", "Scan Timeout", "Intf Shut", "Pt Created",
        "Shutdown", "Under Range", "Over Range", "UnderRange", "OverRange", "Inp OutRange", "Not Connect",
        "Not Connected", "Disconnected", "Equip Fail", "Out of Serv", "Out of Service", "Calc Failed", "Calc Off",
        "Calc Overflw", "Calc Timeout", "Invalid Data", "Invalid Float", "Invalid", "Set to Bad", "Arc Off-line",
        "Access Denied", "Failed", "Doubtful", "Uncertain", "Unknown", "Not Available", "Missing", "Stale", "Error",
        "Err", "N/A", "NA", "n.a.", "#N/A", "#N/A N/A", "#NA", "#VALUE!", "#REF!", "#DIV/0!", "#NAME?", "#NUM!",
        "#NULL!", "#ERROR", "#WERT!", "#BEZUG!", "NaN", "-NaN", "NaT", "null", "<null>", "(null)", "none", "nil", "\\N",
        "-", "--", "---", "----", "-----", "*", "**", "***", "****", "?", "???", "—", "欠測", "欠損", "データなし",
        "通信異常",
    )
)  # fmt: skip
TRUTHS = {"true": 1.0, "false": 0.0}
DECIMAL_COMMA = r"^[+-]?\d+,\d+(?:[eE][+-]?\d+)?$"


@dataclass(slots=True)
class Words:
    """The words that mean "missing": those of historians and those of --missing; `seen` counts what was met."""

    missing: frozenset[str] = MISSING_WORDS
    seen: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, more: Iterable[str]) -> Words:
        """With further words, case and surrounding space ignored."""
        return cls(MISSING_WORDS | {word.strip().casefold() for word in more})

    def __contains__(self, text: str) -> bool:
        folded = text.strip().casefold()
        return not folded or folded in self.missing or _without_code(folded) in self.missing


def _without_code(folded: str) -> str:
    """A PI message without its number: "[-11059] no good data for calculation"."""
    return folded.partition("] ")[2] if folded.startswith("[-") else folded


@dataclass(frozen=True, slots=True)
class Origin:
    """A file as errors name it: `line` gives the number that an editor (or Excel) shows beside an input row."""

    path: Path
    line: Callable[[int], int]
    noun: str = "line"

    def refuse(self, row: int, column: str, value: str, expected: str, advice: str = "") -> DataError:
        """The error for one cell: file, row, column, value found, value expected, what to do."""
        place = f"{self.path.name}: {self.noun} {self.line(row)}, column {column!r}"
        text = f"{place}: found {shown(value)}; expected {expected}"
        return DataError(f"{text} ({advice})" if advice else text)


def shown(value: str, width: int = 60) -> str:
    """A value in quotes, cut where it is long.

    >>> shown("x" * 70) == repr("x" * 60 + "...")
    True
    """
    return repr(value if len(value) <= width else value[:width] + "...")


def numbers(
    text: pl.Series,
    column: str,
    words: Words,
    origin: Origin,
    decimal: str = "",
    leave_out: Callable[[int], str] | None = None,
) -> Floats:
    """Cells of one column as float64 (n,), NaN = missing. DataError for the first cell that is neither.

    `decimal` is the decimal sign of the file; "" where it is not known yet and the column may tell. `leave_out` names
    what --ignore would leave out for a row, where that is not the column.

    >>> from pathlib import Path
    >>> origin = Origin(Path("pump.csv"), lambda row: row + 2)
    >>> numbers(pl.Series(["1.5", " 2 ", "", "Bad"]), "flow", Words(), origin)
    array([1.5, 2. , nan, nan])
    >>> numbers(pl.Series(["1.5", "open"]), "flow", Words(), origin)
    Traceback (most recent call last):
    ...
    models.contract.DataError: pump.csv: line 3, column 'flow': found 'open'; expected a number or an empty field \
(--missing 'open' if it stands for no value; --ignore 'flow' to leave it out)
    """
    stripped = text.str.strip_chars()
    parsed = _comma_to_float(stripped) if decimal == "," else stripped.cast(pl.Float64, strict=False)
    bad = _unread(stripped, parsed)
    if bad.any():
        bad = _without_words(stripped, bad, words)
    if bad.any() and not decimal and _is_decimal_comma(stripped, parsed, bad):
        parsed = _comma_to_float(stripped)
        bad = _without_words(stripped, _unread(stripped, parsed), words)
    if bad.any():
        parsed, bad = _with_truths(stripped, parsed, bad)
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise origin.refuse(
            row, column, str(text[row]), *_expected(str(stripped[row]), leave_out(row) if leave_out else column)
        )
    return parsed.fill_null(np.nan).to_numpy()


def is_text(text: pl.Series, words: Words) -> bool:
    """Whether a column holds words and not one number: a comment, a batch, a name."""
    distinct = text.drop_nulls().unique().str.strip_chars()
    rest = distinct.filter(~distinct.str.contains(r"\d") | ~distinct.str.contains(r"^[+-]?[\d.,'\s]+([eE][+-]?\d+)?$"))
    return len(rest) == len(distinct) and any(
        cell not in words and cell.lower() not in TRUTHS for cell in rest.head(1000)
    )


def _with_truths(stripped: pl.Series, parsed: pl.Series, bad: pl.Series) -> tuple[pl.Series, pl.Series]:
    """True and false, as programs write them, are 1 and 0."""
    truths = stripped.str.to_lowercase().replace_strict(TRUTHS, default=None, return_dtype=pl.Float64)
    return parsed.set(bad, None).fill_null(truths), bad & truths.is_null()


def _unread(stripped: pl.Series, parsed: pl.Series) -> pl.Series:
    empty = stripped.is_null() | (stripped == "")
    return (parsed.is_null() & ~empty) | parsed.is_infinite().fill_null(False)


def _without_words(stripped: pl.Series, bad: pl.Series, words: Words) -> pl.Series:
    counts = stripped.filter(bad).value_counts()
    for word, count in zip(counts[:, 0].to_list(), counts[:, 1].to_list(), strict=True):
        if word in words:
            words.seen[word] = words.seen.get(word, 0) + count
    known = [word for word in counts[:, 0].to_list() if word in words]
    return bad & ~stripped.is_in(known).fill_null(False)


def _is_decimal_comma(stripped: pl.Series, parsed: pl.Series, bad: pl.Series) -> bool:
    commas = stripped.filter(bad).str.contains(DECIMAL_COMMA).all()
    return bool(commas) and not stripped.filter(parsed.is_not_null()).str.contains(".", literal=True).any()


def _comma_to_float(stripped: pl.Series) -> pl.Series:
    dotted = stripped.str.contains(".", literal=True)
    swapped = stripped.str.replace(",", ".", literal=True)
    return pl.select(pl.when(dotted).then(None).otherwise(swapped)).to_series().cast(pl.Float64, strict=False)


def _expected(value: str, name: str) -> tuple[str, str]:
    folded = value.casefold().lstrip("+-")
    if folded in {"inf", "infinity", "∞"} or folded.replace(".", "").replace("e", "").replace("+", "").isdigit():
        return "a finite number or an empty field", ""
    if folded.replace(",", "").replace(".", "").replace("'", "").replace(" ", "").isdigit():
        return "a number without separators of thousands, with one decimal sign in the whole file", ""
    advice = f"--missing {value!r} if it stands for no value; --ignore {name!r} to leave it out"
    return "a number or an empty field", advice if value.isprintable() and len(value) <= 60 else ""
