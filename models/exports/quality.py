"""The quality that a historian or an OPC server writes beside a value: good or not."""

from __future__ import annotations

import numpy as np
import polars as pl

from models.contract import Bools
from models.exports.cells import Origin, Words

GOOD_WORDS = frozenset({"good", "ok", "g", "valid", "true", "yes", "normal", "正常", "良"})
BAD_WORDS = frozenset(
    {"bad", "uncertain", "questionable", "invalid", "false", "no", "b", "u", "異常", "不良", "substituted", "stale"}
)
OPC_GOOD = 192  # OPC Data Access: 192 and over is good, 64 to 191 uncertain, less is bad
OPC_UA_BAD = 0x4000_0000  # OPC Unified Architecture: 0 is good, from here on uncertain or bad


def is_good(cells: pl.Series, column: str, words: Words, origin: Origin) -> Bools:
    """Whether each cell (n,) says that its value can be used; an empty cell says nothing against it.

    Numbers are read as OPC means them: 192 and over where there are such; flags 1 and 0 where there are only these; 0
    for good where 0 is the only number, or where others are codes of OPC UA.

    >>> from pathlib import Path
    >>> origin = Origin(Path("a.csv"), lambda row: row + 2)
    >>> is_good(pl.Series(["Good", "Bad", "", "good, annotated"]), "quality", Words(), origin)
    array([ True, False,  True,  True])
    >>> is_good(pl.Series(["192", "0", "216", "64"]), "quality", Words(), origin)
    array([ True, False,  True, False])
    """
    text = cells.cast(pl.String).fill_null("").str.strip_chars()
    distinct = text.unique(maintain_order=True).to_list()
    numbers = {cell: number for cell in distinct if (number := _number(cell)) is not None}
    least = _least_good(set(numbers.values()))
    known: dict[str, bool] = {}
    for cell in distinct:
        verdict = (numbers[cell] in least) if cell in numbers else _word(cell, words)
        if verdict is None:
            row = int((text == cell).arg_max() or 0)
            raise origin.refuse(
                row, column, cell, "a quality such as Good, Bad, 192 or 0",
                f"--missing {cell!r} if its values are bad; --ignore {column!r} to use all values",
            )  # fmt: skip
        known[cell] = verdict
    return text.replace_strict(known, return_dtype=pl.Boolean).to_numpy().astype(np.bool_)


def _number(cell: str) -> int | None:
    try:
        return int(cell, 16) if cell.lower().startswith("0x") else int(float(cell))
    except (ValueError, OverflowError):
        return None


def _least_good(numbers: set[int]) -> range:
    """Numbers that stand for good."""
    if numbers == {0} or any(number >= OPC_UA_BAD for number in numbers):
        return range(OPC_UA_BAD)
    if numbers <= {0, 1}:
        return range(1, 2)
    return range(OPC_GOOD, OPC_UA_BAD)


def _word(cell: str, words: Words) -> bool | None:
    first = cell.casefold().replace(",", " ").replace("_", " ").split(" ")[0].split("(")[0]
    if not first or first in GOOD_WORDS or first.startswith("good"):
        return True
    return False if first in BAD_WORDS or first.startswith(("bad", "uncertain")) or cell in words else None
