import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.contract import DataError
from models.data import DataOptions, Recording, read
from tests.models.exports.exporting import HEADER, kinds, recorded, rows, written

JAPANESE = ("日時,入口圧力,モータ電流", "2026/11/24 13:00:00,1.5,20", "2026/11/24 13:00:10,1.6,21")


@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp932", "euc_jp"])
def test_japanese_headers_come_out_right(tmp_path: Path, code: str) -> None:
    found = recorded(tmp_path, *JAPANESE, code=code)
    assert found.sensors == ("入口圧力", "モータ電流")
    np.testing.assert_array_equal(found.series[0].values, [[1.5, 20], [1.6, 21]])
    assert ("encoding" in kinds(found)) == (code in {"cp932", "euc_jp"})
    assert "encoding" not in kinds(recorded(tmp_path, *JAPANESE, code=code, encoding=code))


def test_western_accents_are_not_taken_for_japanese(tmp_path: Path) -> None:
    found = recorded(tmp_path, "Zeit;Temp °C;Durchfluß m³", "24.11.2026 13:00;1,5;2", code="cp1252")
    assert found.sensors == ("Temp °C", "Durchfluß m³")


def test_bytes_of_another_encoding_are_refused_with_their_line(tmp_path: Path) -> None:
    path = written(tmp_path, *JAPANESE, code="cp932")
    with pytest.raises(DataError, match=r"pump-7\.csv: line 1: byte 0x93 is not utf-8 text; name its --encoding"):
        read([path], DataOptions(encoding="utf-8"))


def export(
    folder: Path, separator: str, comma: bool, crlf: bool, code: str, units: bool, preamble: int, blank: int
) -> Recording:
    header = ["time", "flow rate", "pressure"]
    lines = [["# export"]] * preamble + [header] + ([["", "m3/h", "bar"]] if units else [])
    for i in range(8):
        cells = [f"{i + 0.25}", "" if i == 2 else f"{-i * 1000.5:.3e}"]
        lines.append([f"2026-11-24 13:00:0{i}", *(c.replace(".", ",") if comma else c for c in cells)])
    quoted = [[f'"{c}"' if separator in c else c for c in line] for line in lines]
    text = [separator.join(line) for line in quoted]
    text.insert(len(text) - 2, *[""] * 1) if blank else None
    path = folder / "pump-7.csv"
    path.write_bytes((("\r\n" if crlf else "\n").join(text) + "\n").encode(code))
    return read([path])


@given(
    separator=st.sampled_from([",", ";", "\t", "|"]),
    comma=st.booleans(),
    crlf=st.booleans(),
    code=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    units=st.booleans(),
    preamble=st.integers(0, 2),
    blank=st.integers(0, 1),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_dialect_the_same_is_read(
    tmp_path: Path, separator: str, comma: bool, crlf: bool, code: str, units: bool, preamble: int, blank: int
) -> None:
    found = export(tmp_path, separator, comma, crlf, code, units, preamble, blank)
    assert found.sensors == ("flow rate", "pressure")
    assert found.units == (("m3/h", "bar") if units else ("", ""))
    flow = np.arange(8) + 0.25
    pressure = np.where(np.arange(8) == 2, np.nan, [float(f"{-i * 1000.5:.3e}") for i in range(8)])
    np.testing.assert_array_equal(found.series[0].values, np.column_stack([flow, pressure]))
    assert found.interval == 1_000_000


def test_a_file_of_old_line_ends_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mac.csv"
    path.write_bytes("\r".join([HEADER, *rows(3)]).encode())
    assert read([path]).rows == 3


def test_a_header_line_break_in_quotes_counts_as_one_row(tmp_path: Path) -> None:
    found = recorded(tmp_path, 'time,"flow', '[m3/h]",pressure', *rows(2))
    assert found.sensors[1] == "pressure"
    assert found.units[0] == "m3/h"


def test_the_separator_that_excel_writes_is_obeyed(tmp_path: Path) -> None:
    found = recorded(tmp_path, "sep=|", HEADER.replace(",", "|"), *(row.replace(",", "|") for row in rows(3)))
    assert found.sensors == ("flow", "pressure")


def test_a_separator_at_the_end_of_lines_makes_no_column(tmp_path: Path) -> None:
    assert recorded(tmp_path, HEADER + ",", *(row + "," for row in rows(3))).sensors == ("flow", "pressure")
    assert recorded(tmp_path, HEADER, *(row + "," for row in rows(3))).sensors == ("flow", "pressure")


def test_inch_marks_in_a_cell_do_no_harm(tmp_path: Path) -> None:
    found = recorded(tmp_path, 'time,flow,12" pipe', *rows(3))
    assert found.sensors == ("flow", '12" pipe')


def test_a_row_with_too_many_fields_is_refused_with_its_line(tmp_path: Path) -> None:
    lines = rows(5)
    lines[2] += ",7"
    with pytest.raises(DataError, match="line 4 has 4 fields; expected 3"):
        recorded(tmp_path, HEADER, *lines)


@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_row_cut_short_misses_its_last_values(tmp_path: Path, place: int) -> None:
    lines = rows(5)
    lines[place] = lines[place].rpartition(",")[0]
    values = recorded(tmp_path, HEADER, *lines).series[0].values
    assert np.argwhere(np.isnan(values)).tolist() == [[range(5)[place], 1]]


def test_quoted_numbers_and_spaces_are_numbers(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, '"2026-11-24T00:00:00Z"," 1.5 ","2"', "2026-11-24T00:01:00Z , 2.5,+3")
    np.testing.assert_array_equal(found.series[0].values, [[1.5, 2], [2.5, 3]])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("1.234,5", "2,5"), "without separators of thousands"),
        (("1,234.5", "2.5"), "without separators of thousands"),
        (("inf", "1"), "a finite number"),
        (("1e999", "1"), "a finite number"),
        (("1.5", "2,5"), "one decimal sign"),
    ],
)
def test_numbers_that_could_mean_two_things_are_refused(tmp_path: Path, cells: tuple[str, ...], message: str) -> None:
    lines = [f"2026-11-24T00:0{i}:00Z;{cell};7" for i, cell in enumerate(cells)]
    with pytest.raises(DataError, match=message):
        recorded(tmp_path, "time;flow;pressure", *lines)


def test_columns_of_text_are_refused_together_with_how_to_leave_them_out(tmp_path: Path) -> None:
    lines = [row + f",batch {i},A{i}" for i, row in enumerate(rows(3))]
    with pytest.raises(DataError, match=r"'batch' \('batch 0'\), 'operator' .* --ignore 'batch' --ignore 'operator'"):
        recorded(tmp_path, HEADER + ",batch,operator", *lines)
    found = recorded(tmp_path, HEADER + ",batch,operator", *lines, ignore=("batch", "operator"))
    assert found.sensors == ("flow", "pressure")


def test_a_column_without_any_value_is_left_out_and_said(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER + ",spare,dead", *(row + ",,Bad" for row in rows(3)))
    assert found.sensors == ("flow", "pressure")
    assert "left out: spare, dead" in found.findings[0].text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n\n", "is empty"),
        (b"time,flow\n", "header but no rows"),
        (b"time,flow\n\n,\n", "header but no rows"),
        (b"<html><table></table></html>", "is a web page"),
        (b"\x1f\x8b\x08\x00abc", "is compressed"),
        (bytes(range(256)) * 20, "pump-7.csv"),
        (b"PK\x03\x04not a workbook", "no workbook"),
        (b"PAR1 not parquet", "no Parquet file"),
        (b"2026-11-24 13:00,1,2\n2026-11-24 13:01,1,2\n", "expected a header"),
        (b"time,flow,flow\n2026-11-24 13:00,1,2\n", "'flow' is there twice"),
        (b"flow,pressure\n1,2\n3,4\n", "no column that holds a time"),
        (b"time,flow\nmorning,2\nnoon,4\n", "no column that holds a time; 'time' holds 'morning'"),
        (b"time\n2026-11-24 13:00\n", "no column with a sensor"),
        (b"time,flow\n2026-11-24 13:00,\n2026-11-24 13:01,\n", "no sensor has a value"),
    ],
)
def test_a_file_that_holds_no_recording_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pump-7.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as refused:
        read([path])
    assert "pump-7.csv" in str(refused.value)


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet"])
def test_a_text_file_under_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    for code in ("utf-8", "cp932"):
        with pytest.raises(
            DataError, match=rf"{name} is no {Path(name).suffix} file: it looks like text; rename it to .csv"
        ):
            read([written(tmp_path, "日時,圧力", *rows(2), name=name, code=code)])
    (tmp_path / name).write_bytes(b"\x00\x01\x02 data")
    with pytest.raises(DataError, match=rf"{name} is no {Path(name).suffix} file: its first bytes are b'"):
        read([tmp_path / name])


def test_what_is_not_there_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv is not there"):
        read([tmp_path / "absent.csv"])
    with pytest.raises(DataError, match="is a folder"):
        read([tmp_path])


def workbook(path: Path, header_row: int = 0) -> None:
    book = xlsxwriter.Workbook(path)
    book.add_worksheet("Cover").write(0, 0, "Report of the plant")
    sheet = book.add_worksheet("Data")
    dates = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    for column, name in enumerate(("日時", "flow", "running", "mixed")):
        sheet.write(header_row, column, name)
    for i in range(5):
        row = header_row + 1 + i
        sheet.write_datetime(row, 0, datetime(2026, 11, 24, 13) + timedelta(seconds=10 * i), dates)
        sheet.write(row, 1, i / 3 * 1e-9)
        sheet.write(row, 2, i > 1)
        sheet.write(row, 3, "Bad" if i == 3 else i)
    book.close()


@pytest.mark.parametrize("header_row", [0, 4])
def test_a_workbook_is_read_from_its_largest_sheet_without_loss(tmp_path: Path, header_row: int) -> None:
    workbook(tmp_path / "pump-7.xlsx", header_row)
    found = read([tmp_path / "pump-7.xlsx"])
    assert found.sensors == ("flow", "running", "mixed")
    values = found.series[0].values
    np.testing.assert_allclose(values[:, 0], np.arange(5) / 3 * 1e-9, rtol=1e-15)
    np.testing.assert_array_equal(values[:, 1], [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(values[:, 2], [0, 1, 2, np.nan, 4])
    assert list(found.row_time)[4] == "2026-11-24T13:00:40Z"
    assert kinds(found) == ["sheet", "zone", "missing_word"]


def test_text_in_a_workbook_is_refused_with_the_row_that_excel_shows(tmp_path: Path) -> None:
    book = xlsxwriter.Workbook(tmp_path / "pump-7.xlsx")
    sheet = book.add_worksheet()
    for row, cells in enumerate([("time", "flow"), ("2026-11-24 13:00", 1), ("2026-11-24 13:01", "open")], start=2):
        sheet.write_row(row, 0, cells)
    book.close()
    with pytest.raises(DataError, match=r"pump-7\.xlsx: row 5, column 'flow': found 'open'"):
        read([tmp_path / "pump-7.xlsx"])


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet_keeps_its_types(tmp_path: Path, zone: str | None, unit: str) -> None:
    start = datetime(2026, 11, 24, 4, tzinfo=UTC)
    times = pl.Series([start + timedelta(seconds=i) for i in range(3)]).dt.convert_time_zone(zone or "UTC")
    frame = pl.DataFrame(
        {
            "index": times.dt.replace_time_zone(zone).cast(pl.Datetime(unit, zone)) if zone is None else times,
            "flow": pl.Series([1.5, None, float("nan")], dtype=pl.Float32),
            "count": [1, 2, 3],
            "on": [True, False, None],
            "text": ["1", "Bad", " 3"],
        }
    )
    frame.write_parquet(tmp_path / "pump-7.parquet")
    found = read([tmp_path / "pump-7.parquet"])
    assert found.row_time[0] == "2026-11-24T04:00:00Z"
    np.testing.assert_array_equal(
        found.series[0].values, [[1.5, 1, 1, 1], [np.nan, 2, 0, np.nan], [np.nan, 3, np.nan, 3]]
    )
    assert ("zone" in kinds(found)) == (zone is None)


def test_a_long_parquet_file_with_categories_is_read(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "time": pl.Series([0, 0, 1, 1]).cast(pl.Datetime("us", "UTC")),
            "tag": pl.Series(["a", "b"] * 2, dtype=pl.Categorical),
            "value": [1.0, 2.0, None, 4.0],
        }
    )
    frame.write_parquet(tmp_path / "x.parquet")
    np.testing.assert_array_equal(read([tmp_path / "x.parquet"]).series[0].values, [[1, 2], [np.nan, 4]])


def test_lists_in_parquet_are_refused_by_column(tmp_path: Path) -> None:
    frame = pl.DataFrame({"time": [datetime(2026, 11, 24)], "flow": [1.0], "spectrum": [[1.0, 2.0]]})
    frame.write_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet.*spectrum"):
        read([tmp_path / "x.parquet"])


def test_a_header_of_many_thousand_names_is_read(tmp_path: Path) -> None:
    names = [f"tag_with_a_long_name_{i:06}" for i in range(9_000)]
    found = recorded(tmp_path, "time," + ",".join(names), "2026-11-24 13:00," + ",".join(["1.5"] * 9_000))
    assert found.sensors == tuple(names)


def test_a_counter_of_rows_without_a_name_is_no_sensor(tmp_path: Path) -> None:
    found = recorded(tmp_path, "," + HEADER, *(f"{i},{row}" for i, row in enumerate(rows(3))))
    assert found.sensors == ("flow", "pressure")
    assert kinds(found) == ["unnamed_column"]


def test_thousands_in_quotes_are_not_taken_for_decimals(tmp_path: Path) -> None:
    lines = [f'2026-11-24T00:0{i}:00Z,"1,23{i}",2' for i in range(3)]
    with pytest.raises(DataError, match=r"line 2, column 'flow': found '1,230'; expected a number without separators"):
        recorded(tmp_path, HEADER, *lines)
    decimal = [line.replace("1,23", "0,23") for line in lines]
    assert recorded(tmp_path, HEADER, *decimal).series[0].values[0].tolist() == [0.230, 2]


@pytest.mark.parametrize(
    ("cell", "column", "row"), [((4999, 16383), "16,384", "5,000"), ((999_999, 70), "71", "1,000,000")]
)
@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_a_sheet_that_reaches_too_far_is_refused_before_it_is_read(
    tmp_path: Path, cell: tuple[int, int], column: str, row: str, told: bool
) -> None:
    """One stray cell far outside, and all up to it would be read; whatever the sheet says of its size."""
    path = tmp_path / "stray.xlsx"
    book = xlsxwriter.Workbook(path)
    sheet = book.add_worksheet("plant")
    sheet.write_row(0, 0, ["time", "flow"])
    sheet.write_row(1, 0, ["2026-01-01T00:00:00Z", 1.0])
    sheet.write(*cell, "x")
    book.close()
    if not told:
        with zipfile.ZipFile(path) as old:
            parts = {name: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(path, "w") as new:
            for name, part in parts.items():
                new.writestr(name, re.sub(rb"<dimension[^>]*>", b'<dimension ref="A1:B2"/>', part))
    with pytest.raises(DataError, match=rf"stray\.xlsx: sheet1\.xml reaches to column {column} and row {row}, "):
        read([path])
