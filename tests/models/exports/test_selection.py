from pathlib import Path

import numpy as np
import pytest

from models.contract import DataError
from models.data import DataOptions, read, segments
from models.exports.selection import condition, duration, period, row_range, selection
from tests.models.exports.exporting import HEADER, minutes, recorded, rows, written

MINUTE = 60_000_000


def currents(*values: str) -> list[str]:
    """Lines of time, flow and current."""
    return [f"{time},{i},{value}" for i, (time, value) in enumerate(zip(minutes(len(values)), values, strict=True))]


def used(folder: Path, lines: list[str], **options: object) -> list[int]:
    return np.flatnonzero(recorded(folder, "time,flow,current", *lines, **options).series[0].use).tolist()


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        ("current > 1", [2, 3, 5]),
        ("current >= 1", [1, 2, 3, 5]),
        ("current < 2", [0, 1, 4]),
        ("current <= 2", [0, 1, 2, 4]),
        ("current == 2", [2]),
        ("current != 2", [0, 1, 3, 4, 5]),
        ("current > 1 and flow < 5", [2, 3]),
        ("current>1e0", [2, 3, 5]),
    ],
)
def test_only_rows_of_a_running_machine_are_used(tmp_path: Path, running: str, expected: list[int]) -> None:
    assert used(tmp_path, currents("0", "1", "2", "3", "0", "5"), running=running) == expected


def test_settling_leaves_out_the_time_after_each_start(tmp_path: Path) -> None:
    lines = currents(*"0111100111")
    assert used(tmp_path, lines, running="current > 0", settle="2m") == [3, 4, 9]


def test_a_machine_that_runs_from_the_first_row_on_has_settled(tmp_path: Path) -> None:
    assert used(tmp_path, currents(*"1110"), running="current > 0", settle="2m") == [0, 1, 2]


def test_a_missing_value_does_not_stop_a_machine(tmp_path: Path) -> None:
    lines = currents("1", "1", "", "1", "0", "", "1")
    assert used(tmp_path, lines, running="current > 0", settle="5m") == [0, 1, 2, 3]


def test_a_column_that_is_no_sensor_may_say_whether_the_machine_runs(tmp_path: Path) -> None:
    found = recorded(tmp_path, "time,flow,current", *currents(*"0110"), running="current > 0", ignore=("current",))
    assert found.sensors == ("flow",)
    assert found.series[0].use.tolist() == [False, True, True, False]


def test_each_machine_runs_for_itself(tmp_path: Path) -> None:
    lines = [
        f"{time},{machine},{i},{i * sign}"
        for i, time in enumerate(minutes(3), 1)
        for machine, sign in (("a", 1), ("b", -1))
    ]
    found = recorded(tmp_path, "time,machine,flow,current", *lines, running="current > 0", settle="1m")
    assert [series.use.tolist() for series in found.series] == [[True] * 3, [False] * 3]


def test_excluded_times_are_half_open_and_leave_a_hole(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *rows(8), exclude=("2026-11-24T00:02Z/2026-11-24T00:04Z", "2026-11-24 00:07/"))
    assert found.row_status == ["used"] * 2 + ["excluded"] * 2 + ["used"] * 3 + ["excluded"]
    assert segments(found.series[0], 10 * MINUTE) == [slice(0, 2), slice(4, 7)]


def test_excluded_times_without_a_zone_are_in_that_of_the_files(tmp_path: Path) -> None:
    times = ("2026-11-24 09:00/2026-11-24 09:02",)
    found = recorded(tmp_path, HEADER, *rows(4), exclude=times, timezone="Asia/Tokyo")
    assert found.row_status == ["excluded"] * 2 + ["used"] * 2


def test_a_row_that_is_outside_and_excluded_warms_nothing_up(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *rows(5), rows="2:", exclude=("/2026-11-24T00:01Z",))
    assert found.row_status == ["outside"] * 2 + ["used"] * 3
    assert found.series[0].row.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("rows_", ["2:4", ":4", "2:", ":", "0:0", "3:99"])
def test_rows_are_counted_as_python_counts(tmp_path: Path, rows_: str) -> None:
    found = recorded(tmp_path, HEADER, *rows(6), rows=rows_)
    expected = list(range(6))[row_range(rows_)]
    assert np.flatnonzero(found.series[0].use).tolist() == expected


def test_rows_count_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *reversed(rows(4)), rows="1:")
    assert found.series[0].use.tolist() == [True, True, True, False]


@pytest.mark.parametrize("text", ["", "5", "a:b", "1:2:3", "-:", "1.5:2"])
def test_rows_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="--rows is"):
        row_range(text)


@pytest.mark.parametrize("text", ["", "current", "current >", "> 1", "current > one", "current = 1", "current > 1.2.3"])
def test_conditions_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="--running is"):
        condition(text)


@pytest.mark.parametrize(
    ("text", "us"), [("90s", 90 * 10**6), ("10m", 6 * 10**8), ("1.5h", 5400 * 10**6), ("2 d", 2 * 864 * 10**8)]
)
def test_durations_are_read_with_their_unit(text: str, us: int) -> None:
    assert duration(text) == us


@pytest.mark.parametrize("text", ["", "10", "ten minutes", "-5m", "5 weeks"])
def test_durations_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="--settle is"):
        duration(text)


@pytest.mark.parametrize(
    "text", ["", "/", "2026-11-24", "a/b", "2026-11-24/2026-11-25/2026-11-26", "2026-11-25/2026-11-25"]
)
def test_periods_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="--exclude"):
        period(text, "UTC")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": "5000:6000"}, r"--rows 5000:6000 names no row: pump-7\.csv has 6 rows, counted from 0"),
        ({"rows": "6:"}, "--rows 6: names no row"),
        ({"running": "current > 9999"}, "--running 'current > 9999' holds in no row: current is 0 to 5"),
        ({"running": "current > 2 and flow < 1"}, "holds in no row: current is 0 to 5, flow is 0 to 5"),
        ({"running": "current > 9", "ignore": ("current",)}, "holds in no row: current is 0 to 5"),
        ({"exclude": ("2026-11-24/",)}, "--exclude leaves no row.* 2026-11-24T00:00:00Z to 2026-11-24T00:05:00Z"),
    ],
)
def test_options_that_leave_no_row_say_what_there_is(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        used(tmp_path, currents("0", "1", "2", "", "0", "5"), **options)


def test_rows_that_one_of_two_files_has_are_used(tmp_path: Path) -> None:
    short, long = written(tmp_path, HEADER, *rows(3), name="a.csv"), written(tmp_path, HEADER, *rows(6), name="b.csv")
    assert [one.use.sum() for one in read([short, long], DataOptions(rows="4:")).series] == [0, 2]
    with pytest.raises(DataError, match=r"a\.csv has 3 rows, b\.csv has 6 rows"):
        read([short, long], DataOptions(rows="6:9"))


def test_a_column_that_never_moves_or_has_no_value_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"current is 3$"):
        used(tmp_path, currents("3", "3"), running="current > 5")
    with pytest.raises(DataError, match=r"current has no value$"):
        used(tmp_path, currents("", "Bad"), running="current > 5")


def test_settling_without_running_is_refused() -> None:
    with pytest.raises(DataError, match="--settle leaves out the time after each start; say with --running"):
        selection(None, None, "10m", (), "UTC")
