from pathlib import Path

import numpy as np
import pytest

from models.contract import DataError
from models.data import DataOptions, read, segments
from tests.models.exports.exporting import HEADER, kinds, recorded, rows, written

MINUTE = 60_000_000


def test_a_wide_file_is_one_machine_named_after_it(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *rows(3))
    assert (found.sensors, found.units, found.interval, found.rows) == (("flow", "pressure"), ("", ""), MINUTE, 3)
    (series,) = found.series
    assert series.equipment == "pump-7"
    np.testing.assert_array_equal(series.values, [[0, 0], [1, 0.5], [2, 1]])
    assert list(found.row_time) == ["2026-11-24T00:00:00Z", "2026-11-24T00:01:00Z", "2026-11-24T00:02:00Z"]
    assert found.row_equipment == ["pump-7"] * 3
    assert found.row_status == ["used"] * 3
    assert series.label is None


def test_rows_outside_the_range_stay_as_warm_up_unused(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *rows(6), rows="2:5")
    assert found.series[0].use.tolist() == [False, False, True, True, True, False]
    assert found.row_status == ["outside"] * 2 + ["used"] * 3 + ["outside"]
    assert segments(found.series[0], 10 * MINUTE) == [slice(2, 5)]


def test_the_label_is_no_sensor(tmp_path: Path) -> None:
    lines = [f"{line},{word}" for line, word in zip(rows(3), ["true", "FALSE", "1"], strict=True)]
    found = recorded(tmp_path, HEADER + ",fault", *lines, label="fault")
    assert found.sensors == ("flow", "pressure")
    assert found.series[0].label.tolist() == [1, 0, 1]


def test_several_files_are_several_machines_with_columns_in_one_order(tmp_path: Path) -> None:
    first = written(tmp_path, HEADER, *rows(3), name="a.csv")
    second = written(tmp_path, "time,pressure,flow", *rows(2), name="b.csv")
    found = read([first, second])
    assert [series.equipment for series in found.series] == ["a", "b"]
    assert found.sensors == ("flow", "pressure")
    np.testing.assert_array_equal(found.series[1].values, [[0, 0], [0.5, 1]])
    assert found.series[1].row.tolist() == [3, 4]
    assert found.row_equipment == ["a", "a", "a", "b", "b"]


def test_a_machine_in_two_files_is_two_series(tmp_path: Path) -> None:
    header = "time,equipment,flow"
    first = written(tmp_path, header, "2026-11-24T00:00:00Z,p,1", "2026-11-24T00:00:00Z,q,2", name="a.csv")
    second = written(tmp_path, header, "2026-11-25T00:00:00Z,p,3", name="b.csv")
    found = read([first, second])
    assert [(s.equipment, s.values.tolist(), s.row.tolist()) for s in found.series] == [
        ("p", [[1]], [0]), ("q", [[2]], [1]), ("p", [[3]], [2]),
    ]  # fmt: skip


def test_newest_first_is_turned_round(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *reversed(rows(4)))
    assert kinds(found) == ["newest_first"]
    assert found.series[0].values[:, 0].tolist() == [0, 1, 2, 3]
    assert found.series[0].row.tolist() == [3, 2, 1, 0]
    assert found.row_time[0] == "2026-11-24T00:03:00Z"


def test_rows_out_of_order_are_put_in_order_and_counted(tmp_path: Path) -> None:
    lines = rows(6)
    lines[1], lines[4] = lines[4], lines[1]
    found = recorded(tmp_path, HEADER, *lines)
    assert [(f.kind, f.count) for f in found.findings] == [("disorder", 3)]
    assert (np.diff(found.series[0].time) == MINUTE).all()


def test_a_repeated_time_with_equal_values_is_a_duplicate_and_with_others_a_conflict(tmp_path: Path) -> None:
    lines = rows(6)
    found = recorded(tmp_path, HEADER, *lines, lines[2], lines[3].replace("1.5", "9"), lines[4])
    assert found.row_status == ["used"] * 6 + ["duplicate", "conflict", "duplicate"]
    assert [(f.kind, f.count) for f in found.findings] == [
        ("disorder", 3),
        ("duplicate", 2),
        ("conflict", 1),
    ]
    assert found.series[0].values[3].tolist() == [3, 1.5]
    assert "2 rows repeat a time with the same values" in found.findings[1].text
    assert "1 row repeats a time with other values" in found.findings[2].text


def test_a_repeated_time_fills_in_what_is_missing(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, "2026-11-24T00:00:00Z,1,", "2026-11-24T00:00:00Z,,2", *rows(3, first=1))
    assert found.series[0].values[0].tolist() == [1, 2]
    assert found.row_status[1] == "duplicate"


def test_a_row_without_a_time_is_left_out_and_listed_with_its_text(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *rows(3), "Average,1,2")
    assert found.row_status == ["used"] * 3 + ["bad_time"]
    assert found.row_time[3] == "Average"
    assert "the first is 'Average' in line 5" in found.findings[0].text
    assert len(found.series[0].time) == 3


def test_text_in_a_sensor_is_refused_with_file_line_column_and_value(tmp_path: Path) -> None:
    lines = rows(5)
    lines[3] = lines[3].replace(",3,", ",open,")
    with pytest.raises(DataError, match=r"pump-7\.csv: line 5, column 'flow': found 'open'; expected a number"):
        recorded(tmp_path, HEADER, *lines)


def test_lines_are_counted_as_an_editor_shows_them(tmp_path: Path) -> None:
    quoted = ('2026-11-24T00:01:00Z,1,"', '"')
    with pytest.raises(DataError, match="line 8, column 'flow'"):
        recorded(tmp_path, "Report of line 3", "", HEADER, *rows(1), "", *quoted, "2026-11-24T00:02:00Z,x,1")


def test_words_of_historians_are_missing_values(tmp_path: Path) -> None:
    found = recorded(
        tmp_path,
        HEADER,
        *rows(2),
        "2026-11-24T00:02:00Z,I/O Timeout,Bad",
        "2026-11-24T00:03:00Z,,aus",
        missing=("AUS",),
    )
    assert np.isnan(found.series[0].values[2:]).all()
    assert kinds(found) == ["missing_word"]


def test_segments_are_cut_at_gaps(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *rows(3), *rows(3, first=20))
    assert segments(found.series[0], 10 * MINUTE) == [slice(0, 3), slice(3, 6)]
    assert segments(found.series[0], 60 * MINUTE) == [slice(0, 6)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "tiem"}, "--time names 'tiem', which is no column; did you mean 'time'"),
        ({"equipment": "pump"}, "--equipment names 'pump'"),
        ({"label": "fault"}, "--label names 'fault'.* time, flow, pressure"),
        ({"ignore": ("fault",)}, "--ignore names 'fault'"),
        ({"running": "speed > 1"}, "--running names 'speed'.* flow, pressure"),
        ({"timezone": "Berlin"}, "--timezone is 'Berlin'"),
        ({"rows": "4"}, "--rows is '4'; expected A:B"),
        ({"settle": "10m"}, "--running"),
        ({"running": "flow > 1", "settle": "10 apples"}, "--settle is '10 apples'"),
        ({"running": "flow is 1"}, "--running is 'flow is 1'"),
        ({"exclude": ("yesterday",)}, "--exclude is 'yesterday'"),
        ({"exclude": ("2026-11-25/2026-11-24",)}, "ends before it starts"),
        ({"encoding": "klingon"}, "unknown --encoding 'klingon'"),
        ({"separator": "::"}, "--separator is '::'"),
        ({"time_format": "%d/%m/%Y"}, "as --time-format '%d/%m/%Y' says"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_followed_is_refused_by_its_name(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        recorded(tmp_path, HEADER, *rows(3), **options)


def test_a_misspelt_name_is_said_before_what_comes_of_it(tmp_path: Path) -> None:
    lines = [f"{row},smith" for row in rows(3)]
    with pytest.raises(DataError, match="--ignore names 'operater', which is no column; did you mean 'operator'"):
        recorded(tmp_path, HEADER + ",operator", *lines, ignore=("operater",))
    with pytest.raises(DataError, match="text and no number in 'operator'"):
        recorded(tmp_path, HEADER + ",operator", *lines, ignore=("flow",))


def test_a_name_to_ignore_may_be_in_another_file(tmp_path: Path) -> None:
    first = written(tmp_path, HEADER + ",batch", *(f"{row},x" for row in rows(2)), name="a.csv")
    second = written(tmp_path, HEADER + ",batches", *(f"{row},x" for row in rows(2)), name="b.csv")
    with pytest.raises(DataError, match=r"a\.csv: text and no number in 'batch'"):
        read([first, second], DataOptions(ignore=("batches",)))


def test_no_file_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="no files"):
        read([], DataOptions())


def test_a_sensor_that_one_file_lacks_is_missing_there_and_said(tmp_path: Path) -> None:
    first = written(tmp_path, HEADER, *rows(3), name="a.csv")
    second = written(tmp_path, "time,flow", "2026-11-24T00:00:00Z,1", "2026-11-24T00:01:00Z,2", name="b.csv")
    found = read([first, second])
    assert np.isnan(found.series[1].values[:, 1]).all()
    assert "b.csv has no pressure; missing there" in [finding.text for finding in found.findings]


def test_files_without_a_common_sensor_are_refused(tmp_path: Path) -> None:
    first = written(tmp_path, HEADER, *rows(2), name="a.csv")
    second = written(tmp_path, "time,wind", "2026-11-24T00:00:00Z,1", name="weather.csv")
    with pytest.raises(
        DataError, match=r"a\.csv and weather\.csv have no sensor in common: flow, pressure against wind"
    ):
        read([first, second])


def test_times_cut_to_whole_minutes_are_refused_with_what_to_do(tmp_path: Path) -> None:
    lines = [f"2026-11-24 13:{i // 10:02},{i},1" for i in range(40)]
    with pytest.raises(DataError, match=r"36 rows of 40 repeat the time of another with other values; .*--equipment"):
        recorded(tmp_path, HEADER, *lines)


def test_a_file_in_which_most_times_cannot_be_read_is_refused(tmp_path: Path) -> None:
    lines = ["noon,1,2"] * 3
    with pytest.raises(DataError, match=r"line 3, column 'time': found 'noon'.*3 rows of 4 have none.*--time-format"):
        recorded(tmp_path, HEADER, *rows(1), *lines)


def test_a_label_that_is_a_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2, column 'state': found 'ok'; expected a label: 0 and 1, or true"):
        recorded(tmp_path, HEADER + ",state", *(row + ",ok" for row in rows(2)), label="state")


@pytest.mark.parametrize(("day", "kind"), [("2026-03-29", "skipped_hour"), ("2026-10-25", "repeated_hour")])
def test_an_hour_that_a_clock_change_leaves_open_is_said(tmp_path: Path, day: str, kind: str) -> None:
    found = recorded(tmp_path, "time,flow", f"{day} 02:10,1", f"{day} 02:20,2", timezone="Europe/Berlin")
    assert kinds(found)[0] == kind
    assert "Europe/Berlin" in found.findings[0].text


def test_a_sensor_is_ignored_by_the_name_that_the_map_gives_it(tmp_path: Path) -> None:
    tags = written(tmp_path, "tag,equipment,sensor", "flow,p,f", "pressure,p,p", name="tags.csv")
    assert recorded(tmp_path, HEADER, *rows(2), map=tags, ignore=("p",)).sensors == ("f",)
