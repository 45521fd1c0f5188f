from pathlib import Path

import numpy as np
import pytest

import models.exports.ragged as ragged
from models.contract import DataError
from models.data import DataOptions, read
from tests.models.exports.exporting import HEADER, kinds, recorded, rows, written


def short(folder: Path, *lines: str, **options: object) -> list[str]:
    return [f.text for f in recorded(folder, *lines, **options).findings if f.kind == "short_line"]


def test_a_line_with_too_few_fields_is_counted_and_named(tmp_path: Path) -> None:
    lines = rows(5)
    lines[2] = lines[2].rpartition(",")[0]
    said = "pump-7.csv: 1 line has too few fields, the rest read as missing: line 4 has 2 of 3"
    assert short(tmp_path, HEADER, *lines) == [said]
    assert np.isnan(recorded(tmp_path, HEADER, *lines).series[0].values[2, 1])
    lines[4] = lines[4].partition(",")[0]
    assert short(tmp_path, HEADER, *lines)[0].endswith(
        "2 lines have too few fields, the rest read as missing: the first, line 4 has 2 of 3"
    )


@pytest.mark.parametrize("code", ["utf-8-sig", "utf-16", "cp932"])
def test_lines_are_counted_below_titles_units_and_blank_lines(tmp_path: Path, code: str) -> None:
    lines = ["title", "", "時刻,flow,pressure", ",m3/h,bar", *rows(2), "", "2026-11-24T01:00:00Z,7"]
    found = recorded(tmp_path, *lines, code=code)
    assert [f.text.rpartition(": ")[2] for f in found.findings if f.kind == "short_line"] == ["line 8 has 2 of 3"]


def test_whole_lines_are_not_short(tmp_path: Path) -> None:
    assert short(tmp_path, HEADER, *rows(3)) == []
    assert short(tmp_path, HEADER + ",", *rows(3)) == []
    assert short(tmp_path, HEADER, *(row + "," for row in rows(3))) == []
    assert short(tmp_path, HEADER, *(row.rpartition(",")[0] + "," for row in rows(3)), *rows(2, 3)) == []
    path = tmp_path / "open.csv"
    path.write_bytes("\r\n".join([HEADER, *rows(3), "", ""]).encode())
    assert kinds(read([path])) == []


def test_separators_and_line_ends_between_quotation_marks_do_not_count(tmp_path: Path) -> None:
    header = "time,flow,note"
    lines = [f'2026-11-24T00:0{i}:00Z,{i},"one, two\nthree"' for i in range(4)]
    assert short(tmp_path, header, *lines, ignore=("note",)) == []
    (text,) = short(tmp_path, header, *lines, '2026-11-24T00:05:00Z,"1"', *lines[:0], ignore=("note",))
    assert text.endswith("line 10 has 2 of 3")


def test_blocks_of_a_long_file_are_counted_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rows(50)
    for i in (7, 30):
        lines[i] = lines[i].rpartition(",")[0]
    whole = short(tmp_path, HEADER, *lines)
    for size in (1, 10, 64, 1000):
        monkeypatch.setattr(ragged, "BLOCK_BYTES", size)
        assert short(tmp_path, HEADER, *lines) == whole
    assert "2 lines" in whole[0]
    assert "line 9 has 2 of 3" in whole[0]


def test_a_line_with_too_many_fields_is_refused_by_its_number(tmp_path: Path) -> None:
    lines = rows(60)
    lines[40] += ",7"
    path = written(tmp_path, HEADER, *lines)
    for options in ({}, {"ignore": ("pressure",)}, {"ignore": ("flow",)}):
        with pytest.raises(DataError, match=r"pump-7\.csv: line 42 has 4 fields; expected 3, as the header has"):
            read([path], DataOptions(**options))
