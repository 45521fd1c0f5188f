from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract import DataError
from models.exports.cells import MISSING_WORDS, Origin, Words, is_text, numbers, shown

ORIGIN = Origin(Path("pump.csv"), lambda row: row + 2)


def read(*cells: str | None, decimal: str = "", words: Words | None = None) -> list[float]:
    text = pl.Series(cells, dtype=pl.String)
    return numbers(text, "flow", words or Words(), ORIGIN, decimal).tolist()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.booleans())
def test_every_number_is_read_back_exactly(values: list[float], comma: bool) -> None:
    cells = [repr(value).replace(".", ",") if comma else repr(value) for value in values]
    assert read(*cells, decimal="," if comma else ".") == values


@pytest.mark.parametrize("word", sorted(MISSING_WORDS))
def test_a_word_of_a_historian_is_a_missing_value_in_any_case(word: str) -> None:
    assert np.isnan(read(word, f" {word.upper()} ", None, "")).all()


def test_a_message_with_its_number_is_a_missing_value() -> None:
    assert np.isnan(read("[-11059] No Good Data For Calculation")[0])


def test_further_words_are_missing_and_counted() -> None:
    words = Words.of(["Aus ", "gestört"])
    assert np.isnan(read("aus", "GESTÖRT", "aus", words=words)).all()
    assert words.seen == {"aus": 2, "GESTÖRT": 1}


def test_true_and_false_are_one_and_zero() -> None:
    assert read("true", "False", "TRUE", "0.5") == [1, 0, 1, 0.5]


@pytest.mark.parametrize("cell", ["open", "1.2.3", "12 bar", "50%", "0x1F", "1_000", "\u22125", "1e5e5", "++1", "ON"])
def test_any_other_text_is_refused_with_its_place(cell: str) -> None:
    with pytest.raises(DataError, match=r"^pump\.csv: line 4, column 'flow': found '.*'; expected"):
        read("1", "2", cell, cell)


def test_a_decimal_comma_is_found_where_the_column_shows_it() -> None:
    assert read("1,5", "2", "-3,25e2") == [1.5, 2, -325]
    with pytest.raises(DataError, match="found '1,5'"):
        read("1,5", "2.5")
    with pytest.raises(DataError, match=r"found '2\.5'"):
        read("1,5", "2.5", decimal=",")


def test_a_column_of_words_alone_is_text() -> None:
    assert is_text(pl.Series(["open", "Bad"]), Words())
    assert is_text(pl.Series(["batch 1", "2026-11-24"]), Words())
    assert not is_text(pl.Series(["Bad", "No Data", None]), Words())
    assert not is_text(pl.Series(["open", "1.5"]), Words())
    assert not is_text(pl.Series(["true", "false"]), Words())


def test_long_values_are_cut_in_errors() -> None:
    assert len(shown("x" * 1000)) < 70
