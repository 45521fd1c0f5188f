from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingest.times import TimeRefused, parse_time, parse_times, time_text, time_texts

MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))


@given(st.lists(MOMENTS, min_size=1, max_size=20), st.sampled_from(["seconds", "milliseconds", "microseconds"]))
def test_times_of_one_shape_are_parsed_at_once_to_the_same_numbers_as_one_by_one(moments, precision):
    texts = [moment.isoformat(timespec=precision) + "Z" for moment in moments]
    assert parse_times(texts).tolist() == [parse_time(text) for text in texts]


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_an_offset_is_taken_into_account(moment, minutes):
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (zoned - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_time(zoned.isoformat()) == expected


@given(MOMENTS)
def test_written_times_are_read_back(moment):
    time = parse_time(moment.isoformat() + "Z")
    assert parse_time(time_text(time)) == time


def test_times_of_mixed_shapes_are_parsed_one_by_one():
    texts = ["1970-01-01T00:00:01Z", "1970-01-01T00:00:01.5Z", "1970-01-01T09:00:01+09:00", "1970-01-01T00:00Z"]
    assert parse_times(texts * 2).tolist() == [1_000_000, 1_500_000, 1_000_000, 0] * 2


def test_digits_beyond_microseconds_are_cut_off_alike():
    texts = ["2026-11-24T00:00:00.123456789Z"] * 6
    assert parse_times(texts).tolist() == [parse_time("2026-11-24T00:00:00.123456Z")] * 6


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-11-24", "2026-11-24T00:00:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "NaT"),
        *("2026-11-24T00:00:60Z", "2026-11-24T24:00:00Z", "0000-01-01T00:00:00Z", "2026-11-24T00:00:00Z" * 10),
        *("2026-01-01T00:00:00Z\x00", "2026-01-01X00:00:00Z", "2026-01-01\ud80000:00:00Z", "2026-01-01T00:00:00.Z"),
        *("2026-01-01T00:00:00Z\n", "2026-01-01\t00:00:00Z", "2026-01-01\u015300:00:00Z", "2026-01-01T00:00:00+"),
        *("\ud800", "\uff12\uff10\uff12\uff16-11-24T00:00:00Z", None, 1732406400, True),
    ],
)
def test_what_is_no_time_with_a_zone_is_refused(text):
    with pytest.raises(TimeRefused, match="expected a time with a zone"):
        parse_time(text)


@pytest.mark.parametrize(
    "text",
    [
        *("2026-01-01T00:00:00Z", "2026-01-01t00:00:00z", "2026-01-01 00:00:00Z", "2026-01-01T09:00:00.000000+09:00"),
        *("20260101T000000Z", "2026-01-01T00Z", "2026-01-01T00:00:00,000Z", "2026-W01-4T00:00:00Z"),
        *("2026-01-01T09:00+0900", "2026-01-01T09:00:00+09", "2026-01-01 09:00:00 +0900", "2025-12-31T23:00:00-01:00"),
    ],
)
def test_every_way_to_write_a_moment_is_that_moment(text):
    assert parse_time(text) == parse_times([text] * 6)[5] == 1_767_225_600_000_000


def test_one_bad_time_among_many_is_refused():
    good = ["2026-11-24T00:00:00Z"] * 6
    for bad in ("2026-11-24T00:00:00 ", "2026-11-31T00:00:00Z", "0000-11-24T00:00:00Z"):
        with pytest.raises(TimeRefused):
            parse_times([*good, bad])


def test_neighbours_cannot_lend_each_other_a_zone():
    texts = ["2026-11-24T00:00:00Z"] * 6
    texts[2:4] = ["2026-11-24T00:00:00", "Z2026-11-24T00:00:00Z"]
    with pytest.raises(TimeRefused, match="no zone"):
        parse_times(texts)


def test_fractions_are_written_only_where_they_are():
    assert time_texts(np.array([0, 1, 1_000_000])) == [
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00.000001Z",
        "1970-01-01T00:00:01Z",
    ]
