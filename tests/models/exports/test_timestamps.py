from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract import DataError
from models.exports.timestamps import NO_TIME, TimeTexts, are_clocks, are_dates, looks_like, parse, rfc3339
from tests.models.exports.exporting import recorded

NOON = "2026-11-24T13:05:00Z"


def read_one(*cells: str, time_format: str | None = None) -> str:
    times = parse(pl.Series(cells), time_format=time_format)
    return rfc3339(int(times.us[0])) if times.read[0] else "no time"


@pytest.mark.parametrize(
    "cell",
    [
        "2026-11-24 13:05", "2026-11-24T13:05:00", "2026-11-24T13:05:00Z", "2026-11-24T14:05:00+01:00",
        "2026-11-24 22:05+0900", "2026-11-24 13:05:00.000", "2026-11-24 13:05:00,0", "2026/11/24 13:05:00",
        "2026/11/24 1:05 PM", "2026-11-24 22:05 JST", "2026年11月24日 13時05分", "2026年11月24日 13:05:00",
        "2026/11/24 午後1:05", "2026/11/24(火) 13:05", "2026/11/24\uff08火\uff09 13:05:00",
        "2026/11/24(火)13:05", "2026年11月24日 13時05分00秒", "2026年11月24日13時05分",
        "2026年11月24日(火) 午後1時05分",
        "24.11.2026 13:05", "24-Nov-26 13:05:00",
        "24-NOV-2026 13:05:00.0000", "24 Nov 2026 13:05", "24. November 2026 13:05", "Nov 24, 2026 1:05:00 PM",
        "Tue, 24 Nov 2026 13:05:00 GMT", "11/24/2026 13:05", "24/11/2026 13:05:00", "11/24/2026 1:05:00 PM",
        "24/11/2026 1:05 p.m.",
        "20261124130500", "20261124T130500Z", "1795525500", "1795525500000", "1795525500000000", "1795525500000000000",
        "46350.545138888889", " 2026-11-24 13:05 ",
    ],
)  # fmt: skip
def test_a_time_is_read_however_it_is_written(cell: str) -> None:
    assert read_one(cell) == NOON


@pytest.mark.parametrize(
    "cell",
    ["", "soon", "12", "-5", "31.02.2026 10:00", "2026-13-01", "2026-11-24 25:00", "2026-11-24 13:61", "13:05", "1.5.3",
     "2026-11-24 13:00 XYZ", "2026-11-24 13:00 extra", "0001-01-01 00:00:00", "9999-12-31 23:59:59"],
)  # fmt: skip
def test_what_is_no_time_is_not_read(cell: str) -> None:
    assert read_one(cell) == "no time"


def test_midnight_may_be_twenty_four_and_the_second_sixty() -> None:
    assert read_one("2026-11-24 24:00") == "2026-11-25T00:00:00Z"
    assert read_one("2016-12-31 23:59:60") == "2017-01-01T00:00:00Z"


def test_a_full_hour_needs_no_minutes() -> None:
    assert read_one("2026年3月1日 10時") == read_one("2026年3月1日(日) 10時") == "2026-03-01T10:00:00Z"


def test_midnight_and_noon_of_the_twelve_hour_clock() -> None:
    assert read_one("11/24/2026 12:00 AM") == "2026-11-24T00:00:00Z"
    assert read_one("11/24/2026 12:00 PM") == "2026-11-24T12:00:00Z"


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["03/04/2026 10:00", "13/04/2026 10:00"], "2026-04-03T10:00:00Z"),
        (["03/04/2026 10:00", "03/13/2026 10:00"], "2026-03-04T10:00:00Z"),
        (["03/04/2026 23:59", "04/04/2026 00:00"], "2026-04-03T23:59:00Z"),
        (["03/04/2026 23:59", "03/05/2026 00:00"], "2026-03-04T23:59:00Z"),
        (["03.04.2026 10:00", "03.04.2026 10:01"], "2026-04-03T10:00:00Z"),
        (["05/05/2026 10:00", "05/05/2026 10:01"], "2026-05-05T10:00:00Z"),
        (["26/11/24 23:59", "26/11/25 00:00"], "2026-11-24T23:59:00Z"),
        (["24/11/26 23:59", "25/11/26 00:00"], "2026-11-24T23:59:00Z"),
    ],
)
def test_the_data_decides_in_which_order_a_date_is_written(cells: list[str], first: str) -> None:
    assert read_one(*cells) == first


@pytest.mark.parametrize("day", ["03/04/2026", "3-4-26", "26/11/24"])
def test_a_date_that_may_be_two_is_refused_with_the_way_out(tmp_path: Path, day: str) -> None:
    lines = ("time,flow", f"{day} 10:00,1", f"{day} 10:01,2")
    with pytest.raises(
        DataError, match=rf"pump-7\.csv: column 'time': found '{day} 10:00', which may be .*--time-format"
    ):
        recorded(tmp_path, *lines)


def test_the_format_decides_what_the_data_does_not(tmp_path: Path) -> None:
    found = recorded(tmp_path, "time,flow", "26/11/24 10:00,1", "26/11/24 10:01,2", time_format="%y/%m/%d %H:%M")
    assert found.row_time[0] == "2026-11-24T10:00:00Z"


@pytest.mark.parametrize(
    ("cell", "time_format"),
    [
        ("24/11/2026 13:05", "%d/%m/%Y %H:%M"),
        ("13.05.00 24-11-26", "%H.%M.%S %d-%m-%y"),
        ("24112026 130500.000000", "%d%m%Y %H%M%S.%f"),
        ("2026 11 24 14:05 +0100", "%Y %m %d %H:%M %z"),
        ("11-24-2026 01:05 PM", "%m-%d-%Y %I:%M %p"),
    ],
)
def test_the_format_that_is_given_is_used(cell: str, time_format: str) -> None:
    assert read_one(cell, time_format=time_format) == NOON


def test_a_format_of_a_date_alone_gives_midnight() -> None:
    assert read_one("24/11/2026", time_format="%d/%m/%Y") == "2026-11-24T00:00:00Z"


def test_a_format_that_fits_nothing_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"found '2026-11-24'; expected a time written as --time-format '%d/%m/%Y' says"
    ):
        read_one("2026-11-24", time_format="%d/%m/%Y")


@given(
    st.lists(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), min_size=1, max_size=5),
    st.sampled_from(["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%fZ", "%d.%m.%Y %H:%M:%S,%f", "%d-%b-%Y %I:%M:%S.%f %p",
                     "%Y年%m月%d日 %H時%M分%S.%f秒", "%Y%m%dT%H%M%S.%f"]),
)  # fmt: skip
def test_writing_and_reading_gives_the_same_times(times: list[datetime], written: str) -> None:
    cells = [time.strftime(written).replace(time.strftime("%Y"), f"{time.year:04}") for time in times]
    expected = [(time - datetime(1970, 1, 1)) // timedelta(microseconds=1) for time in times]
    assert parse(pl.Series(cells)).us.tolist() == expected


@given(st.integers(-(10**15), 5 * 10**15))
def test_rfc3339_is_read_back(us: int) -> None:
    text = rfc3339(us)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def test_numbers_are_in_the_unit_that_most_of_them_have() -> None:
    times = parse(pl.Series(["1795525500", "1795525501.5", "7"]))
    assert times.us[:2].tolist() == [1795525500_000_000, 1795525501_500_000]
    assert not times.read[2]
    assert not times.naive.any()


def test_zoned_and_local_times_in_one_column_are_told_apart() -> None:
    times = parse(pl.Series(["2026-11-24T13:05:00+01:00", "2026-11-24T13:05:00"]))
    assert times.naive.tolist() == [False, True]
    assert times.us[1] - times.us[0] == 3600 * 10**6


def test_sensors_are_not_taken_for_times() -> None:
    assert not looks_like(["21.5", "22.5"])
    assert not looks_like(["1795525500", "46350.5"])
    assert not looks_like(["1.2.3", "open"])
    assert looks_like(["1795525500"], numbers=True)
    assert looks_like(["03/04/2026 10:00"])


def test_dates_and_times_of_day_are_told_apart() -> None:
    assert are_dates(["2026-11-24", "24.11.2026"])
    assert not are_dates(["2026-11-24 13:05"])
    assert are_clocks(["13:05", "1:05:00 PM"])
    assert not are_clocks(["2026-11-24 13:05"])
    assert not are_clocks([""])


def test_texts_of_times_behave_as_a_sequence() -> None:
    texts = TimeTexts(np.array([0, NO_TIME, 1_000_000]), {1: "soon"})
    assert list(texts) == ["1970-01-01T00:00:00Z", "soon", "1970-01-01T00:00:01Z"]
    assert texts[-2] == "soon"
    assert texts[1:] == ["soon", "1970-01-01T00:00:01Z"]
    with pytest.raises(IndexError):
        texts[3]
