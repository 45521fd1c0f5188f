from pathlib import Path

import polars as pl
import pytest

from models.contract import DataError
from models.exports.cells import Origin, Words
from models.exports.quality import is_good

ORIGIN = Origin(Path("pump.csv"), lambda row: row + 2)


def good(*cells: object, missing: tuple[str, ...] = ()) -> list[bool]:
    return is_good(pl.Series(cells, strict=False), "quality", Words.of(missing), ORIGIN).tolist()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("Good", "GOOD, local override", "Bad", "Bad_NoData", "Uncertain"), [True, True, False, False, False]),
        ((192, 216, 0, 64, 24), [True, True, False, False, False]),
        ((0, 0x80310000, 0x40000000), [True, False, False]),
        (("0x0", "0x80310000"), [True, False]),
        ((0, 0), [True, True]),
        ((1, 0, 1), [True, False, True]),
        ((True, False), [True, False]),
        (("Good", None, ""), [True, True, True]),
        (("正常", "異常", "欠測"), [True, False, False]),
    ],
)
def test_quality_is_read_as_its_source_means_it(cells: tuple[object, ...], expected: list[bool]) -> None:
    assert good(*cells) == expected


def test_an_unknown_word_is_refused_unless_it_is_said_to_be_missing() -> None:
    with pytest.raises(DataError, match=r"pump\.csv: line 3, column 'quality': found 'so-so'"):
        good("Good", "so-so")
    assert good("Good", "so-so", missing=("so-so",)) == [True, False]
