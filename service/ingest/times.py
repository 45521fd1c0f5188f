"""Times as text <-> int64 microseconds since 1970-01-01 UTC.

A time is ISO 8601 (RFC 3339 among it) with a zone (`Z` or an offset), date and time with `T` or a space between them;
without a zone it is refused, because nobody can say what it means. Digits beyond microseconds are cut off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from service.errors import shown

EXPECTED = "expected a time with a zone, such as 2026-11-24T00:00:00Z"
TIME_CHARACTERS_MAX = 64
TIME_MIN, TIME_MAX = -62_135_596_800_000_000, 253_402_300_799_999_999  # of the years 1 to 9999
UNIFORM_MIN = 5  # from this many times on, all at once is cheaper than one by one

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DIGITS_TO_0 = bytes.maketrans(b"123456789", b"000000000")
_TEXT = re.compile(  # what `fromisoformat` takes is wider: any separator, anything behind a NUL
    r"(\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d-?\d)([T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?( ?(Z|[+-]\d\d(:?\d\d){0,2}))?)?",
    re.ASCII | re.IGNORECASE,
)
_UTC_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)


class TimeRefused(ValueError):
    """A text that is no time, or has no zone."""


def parse_time(text: object) -> int:
    """One time. TimeRefused says what was found and what is expected.

    >>> parse_time("1970-01-01T09:00:01+09:00")
    1000000
    """
    if not isinstance(text, str) or len(text) > TIME_CHARACTERS_MAX:
        raise TimeRefused(f"is {shown(text)}; {EXPECTED}")
    if not _TEXT.fullmatch(text):
        raise TimeRefused(f"is {shown(text)}; {EXPECTED}")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        raise TimeRefused(f"is {shown(text)}; {EXPECTED}") from None
    if moment.tzinfo is None:
        raise TimeRefused(f"is {shown(text)}, which has no zone; {EXPECTED}")
    return (moment - _EPOCH) // _MICROSECOND


def parse_times(texts: Sequence[str]) -> NDArray[np.int64]:
    """Many times (n,); where all are UTC and of one shape, at once. TimeRefused as in `parse_time`.

    >>> parse_times(["1970-01-01T00:00:01Z", "1970-01-01T00:00:01.5Z"])
    array([1000000, 1500000])
    """
    if len(texts) >= UNIFORM_MIN:
        times = _parse_uniform(texts)
        if times is not None:
            return times
    return np.array([parse_time(text) for text in texts], np.int64)


def _parse_uniform(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """Times that are written alike: `Z` at the end, the same number of digits. None where they are not."""
    first = texts[0]
    size = len(first)
    if not _UTC_TEXT.fullmatch(first) or set(map(len, texts)) != {size}:
        return None
    joined = "".join(texts)
    if not joined.isascii():
        return None
    buffer = joined.encode()
    if buffer.translate(_DIGITS_TO_0) != first.encode().translate(_DIGITS_TO_0) * len(texts):
        return None
    try:
        times = np.frombuffer(buffer, f"S{size}").astype(f"S{size - 1}").astype("M8[us]").view(np.int64)
    except ValueError:
        return None
    return times if times.min() >= TIME_MIN else None


def time_text(time: int) -> str:
    """RFC 3339 in UTC with `Z`; a fraction only where there is one.

    >>> time_text(1_500_000), time_text(0)
    ('1970-01-01T00:00:01.500000Z', '1970-01-01T00:00:00Z')
    """
    return time_texts(np.array([time], np.int64))[0]


def time_texts(times: NDArray[np.int64]) -> list[str]:
    """`time_text` of many."""
    unit = "us" if (times % 1_000_000).any() else "s"
    texts: list[str] = np.datetime_as_string(times.view("M8[us]").astype(f"M8[{unit}]"), timezone="UTC").tolist()
    if unit == "us":
        return [text.replace(".000000Z", "Z") for text in texts]
    return texts
