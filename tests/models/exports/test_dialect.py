from pathlib import Path

import pytest

from models.contract import DataError
from models.exports.dialect import detect, lay_out, unit_in

PATH = Path("pump.csv")
ROWS = [["time", "flow", "pressure"], ["2026-11-24 13:00", "1.5", "2"], ["2026-11-24 13:01", "1.5", "2"]]


def test_titles_and_settings_above_the_header_are_skipped() -> None:
    for above in ([["Report"]], [["Report", "", ""], ["Model", "LG-200", ""]], [[], ["Date:", "2026-11-24"], []]):
        found = lay_out(above + ROWS, PATH)
        assert found.columns == ("time", "flow", "pressure")
        assert found.skip == len(above) + 1


def test_rows_of_units_and_descriptions_under_the_header_are_no_data() -> None:
    found = lay_out([ROWS[0], ["", "of water", "at outlet"], ["", "[m3/h]", "bar"], *ROWS[1:]], PATH)
    assert found.units == ("", "m3/h", "bar")
    assert found.head[0] == tuple(ROWS[1])
    assert found.skip == 3


def test_a_first_row_of_words_of_historians_is_data_where_it_has_a_time() -> None:
    found = lay_out([ROWS[0], ["2026-11-24 12:59", "Bad", "No Data"], *ROWS[1:]], PATH)
    assert found.skip == 1
    assert found.units == ("", "", "")


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "|"), (",", "comma")])
def test_the_separator_is_found_or_named(separator: str, name: str) -> None:
    text = "\n".join(separator.join(row) for row in ROWS)
    assert detect(text, PATH, "utf-8").separator == separator
    assert detect(text, PATH, "utf-8", separator=name).columns == ("time", "flow", "pressure")


def test_decimal_commas_do_not_separate() -> None:
    found = detect("time;flow\n2026-11-24 13:00;1,5\n2026-11-24 13:01;2,5\n", PATH, "utf-8")
    assert (found.separator, found.decimal) == (";", ",")


def test_units_are_taken_from_square_brackets_at_the_end_of_a_name() -> None:
    assert [unit_in(name) for name in ("flow [m3/h]", "flow [m3/h] ", "[a] flow", "flow", "flow []")] == [
        "m3/h", "m3/h", "", "", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows"),
        ("a,b\n", "header but no rows"),
        ("1,2\n3,4\n", "expected a header"),
        ("a,a\n1,2\n", "column 'a' is there twice"),
    ],
)
def test_a_text_without_a_table_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        detect(text, PATH, "utf-8")
