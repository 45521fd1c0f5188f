"""Times of exports -> int64 microseconds since 1970-01-01 UTC.

A column is read in one way from top to bottom. Where its cells allow two (03/04/2026), the data decides: a day over 12,
or a step over midnight that is a day in one reading and a month in the other. Where neither is there, it is an error
that asks for --time-format. Local times become UTC in `models/exports/zones.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import polars as pl

from models.contract import MICROSECONDS, Bools, DataError, Ints

NO_TIME = np.iinfo(np.int64).min  # what a cell that is no time becomes
DAY = 86_400 * MICROSECONDS
YEARS = (1900, 2261)
SMOOTH_STEP = 4 * DAY  # a step over midnight that is no longer than that tells how dates are written
EXCEL_EPOCH = -25_569 * DAY  # 1899-12-30
NUMBERS = (
    (20_000, 80_000, DAY, EXCEL_EPOCH),  # days, as Excel counts them
    (1e8, 1e10, MICROSECONDS, 0),  # seconds since 1970
    (1e11, 1e13, 1_000, 0),  # milliseconds
    (1e14, 1e16, 1, 0),  # microseconds
    (1e17, 9.2e18, 0.001, 0),  # nanoseconds
)  # lowest and highest plausible number, microseconds in one, microseconds at zero

ZONE_HOURS = {"z": 0, "utc": 0, "gmt": 0, "jst": 9, "cet": 1, "mez": 1, "cest": 2, "mesz": 2}
MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan januar january janvier", "feb februar february feb fev fév", "mar march mär märz mrz mars",
            "apr april avr avril", "may mai", "jun june juni juin", "jul july juli juil", "aug august aou août",
            "sep sept september septembre", "oct october okt oktober", "nov november novembre",
            "dec december dez dezember déc",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip

CLOCK = (
    r"(?:(?P<before>AM|PM|am|pm|午前|午後)\s*)?(?P<hour>\d{1,2})(?:[:時](?P<minute>\d{1,2})"
    r"(?:[:分](?P<second>\d{1,2})(?:[.,:](?P<fraction>\d{1,9}))?秒?|分)?|時)"
    r"\s*(?P<after>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>[A-Za-z]{1,4}|[+-]\d{2}(?::?\d{2})?)?"
)
WEEKDAY = r"(?:[^\W\d_]{2,9}\.?,?\s+)?"
DATES = (  # year month day; three numbers; day, name of month, year; name of month, day, year
    r"(?P<y>\d{4})\s*[-/.年]\s*(?P<m>\d{1,2})\s*[-/.月]\s*(?P<d>\d{1,2})\s*日?(?:\s*[(\uff08][^)\uff09]*[)\uff09])?",
    r"(?P<first>\d{1,2})[-/.](?P<middle>\d{1,2})[-/.](?P<last>\d{4}|\d{2})",
    WEEKDAY + r"(?P<d>\d{1,2})[-\s./]*(?P<name>[^\W\d_]{3,10})\.?[-\s./,]*(?P<y>\d{4}|\d{2})",
    WEEKDAY + r"(?P<name>[^\W\d_]{3,10})\.?\s+(?P<d>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<y>\d{4})",
)
PATTERNS = (
    *(rf"^{date}(?:(?:\s*[T,]\s*|\s+|日|[(\uff08][^)\uff09]*[)\uff09]){CLOCK})?$" for date in DATES),
    # digits alone
    r"^(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:[T _-]?(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})?"
    r"(?:[.,](?P<fraction>\d{1,9}))?(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?$",
)
DATE_ONLY = re.compile("^(?:" + "|".join(re.sub(r"\?P<\w+>", "?:", date) for date in DATES) + r"|\d{8})$")
CLOCK_ONLY = re.compile("^" + re.sub(r"\?P<\w+>", "?:", CLOCK) + "$")
QUICK_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%.f")
ADVICE = "name it with --time-format, such as '%d/%m/%Y %H:%M:%S' or '%m/%d/%Y %I:%M %p'"


@dataclass(frozen=True, slots=True)
class Times:
    """`us` (n,) microseconds, NO_TIME where a cell is no time; of UTC, but local where `naive` (n,) is set."""

    us: Ints
    naive: Bools

    @property
    def read(self) -> Bools:
        """Cells that are times, (n,)."""
        return self.us != NO_TIME


def parse(cells: pl.Series, place: str = "the time", time_format: str | None = None) -> Times:
    """Cells of a time column, text or typed. DataError where two readings are possible; `place` names the column.

    >>> parse(pl.Series(["2026-11-24T13:00:00+09:00", "no time"])).us[0].item()
    1795492800000000
    >>> parse(pl.Series(["24-Nov-26 13:00:00", "2026年11月24日 13:00"])).naive
    array([ True,  True])
    """
    if cells.dtype.is_temporal():
        return _typed(cells, place)
    if cells.dtype.is_numeric():
        return _numbers(cells.cast(pl.Float64) if cells.dtype.is_float() else cells.cast(pl.Int64))
    text = cells.cast(pl.String).str.strip_chars()
    if time_format:
        return _formatted(text, time_format, place)
    return _quick(text) or _any_form(text, place)


def _typed(cells: pl.Series, place: str) -> Times:
    if cells.dtype == pl.Date or isinstance(cells.dtype, pl.Datetime):
        zone = getattr(cells.dtype, "time_zone", None)
        us = cells.cast(pl.Datetime("us", zone)).dt.epoch("us").fill_null(NO_TIME).to_numpy()
        return Times(us, np.full(len(us), zone is None))
    raise DataError(f"{place} is of type {cells.dtype}; expected dates with times")


def _numbers(cells: pl.Series) -> Times:
    """Epoch and Excel numbers; the unit is the one in whose range the middle of them lies."""
    values = cells.fill_null(0).to_numpy()
    plausible = values[values >= NUMBERS[0][0]]
    middle = float(np.median(plausible)) if len(plausible) else 0.0
    for low, high, unit, zero in NUMBERS:
        if low <= middle < high:
            fits = (values >= low) & (values < high)
            us = np.where(fits, _scaled(np.where(fits, values, 0), unit) + zero, NO_TIME)
            return Times(us, np.full(len(us), unit == DAY))
    return _none(len(values))


def _scaled(values: Ints, unit: float) -> Ints:
    if unit == DAY:
        return np.rint(values.astype(np.float64) * 86_400_000).astype(np.int64) * 1_000
    if unit < 1:
        return values.astype(np.int64) // 1_000
    whole = np.floor(values).astype(np.int64)
    return whole * int(unit) + np.rint((values - whole) * unit).astype(np.int64)


def _none(n: int) -> Times:
    return Times(np.full(n, NO_TIME), np.zeros(n, np.bool_))


def _formatted(text: pl.Series, time_format: str, place: str) -> Times:
    """By --time-format; `%f` is a fraction as Python writes it."""
    zoned = re.search(r"%(:|::|#)?[zZ]", time_format) is not None
    chrono = time_format.replace(".%f", "%.f")
    wanted = chrono if re.search("%[HIkTRXcsl+]", chrono) else chrono + " %H:%M"
    cells = text if wanted == chrono else text + " 00:00"
    try:
        found = cells.str.to_datetime(wanted, strict=False, time_unit="us", time_zone="UTC" if zoned else None)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"--time-format {time_format!r} cannot be used: {str(error).splitlines()[0]}") from None
    if text.len() and found.null_count() == text.len():
        first = next((cell for cell in text if cell), "")
        raise DataError(f"{place}: found {first!r}; expected a time written as --time-format {time_format!r} says")
    us = found.dt.epoch("us").fill_null(NO_TIME).to_numpy()
    return Times(us, np.full(len(us), not zoned))


def _quick(text: pl.Series) -> Times | None:
    """The usual forms, many times faster than by pattern; None where any cell is written otherwise."""
    for form in QUICK_FORMATS:
        if text.head(20).str.to_datetime(form, strict=False).null_count():
            continue
        found = text.str.to_datetime(form, strict=False, time_unit="us")
        if not found.null_count() and _plausible(found):
            return Times(found.dt.epoch("us").to_numpy(), np.full(text.len(), not form.endswith("Z")))
    return None


def _plausible(found: pl.Series) -> bool:
    years = found.dt.year()
    return not found.is_empty() and int(years.min()) >= YEARS[0] and int(years.max()) <= YEARS[1]  # type: ignore[arg-type]


def _any_form(text: pl.Series, place: str) -> Times:
    us, naive = np.full(text.len(), NO_TIME), np.zeros(text.len(), np.bool_)
    digits = text.str.replace(",", ".", literal=True)
    numeric = digits.str.contains(r"^\d+(\.\d+)?$").fill_null(False)
    if numeric.any() and not text.filter(numeric).str.contains(r"^(19|20)\d{6}(\d{4}|\d{6})?$").all():
        whole = not digits.filter(numeric).str.contains(".", literal=True).any()
        cells = digits.set(~numeric, None).cast(pl.Int64 if whole else pl.Float64, strict=False)
        found = _numbers(cells)
        us, naive = found.us.copy(), found.naive & found.read
    for pattern in PATTERNS:
        open_rows = np.flatnonzero(us == NO_TIME)
        if not len(open_rows):
            break
        rest = text if len(open_rows) == text.len() else text[open_rows]
        hits = rest.str.contains(pattern).fill_null(False)
        if not hits.any():
            continue
        rows = open_rows[hits.to_numpy()]
        found = _matched(rest.filter(hits), pattern, place)
        us[rows], naive[rows] = found.us, found.naive
    return Times(us, naive)


def _matched(text: pl.Series, pattern: str, place: str) -> Times:
    parts = text.str.extract_groups(pattern).struct.unnest()
    clock = _clock_us(parts)
    shift, zoned = _zone_us(parts)
    if "first" in parts.columns:
        date = _three_numbers(parts, clock, text, place)
    else:
        date = _date_us(_year(parts, "y"), _month(parts), _ints(parts, "d"))
    bad = (date == NO_TIME) | (clock == NO_TIME) | (shift == NO_TIME)
    return Times(np.where(bad, NO_TIME, date + np.where(bad, 0, clock - shift)), ~zoned)


def _month(parts: pl.DataFrame) -> Ints:
    if "name" not in parts.columns:
        return _ints(parts, "m")
    return parts["name"].str.to_lowercase().replace_strict(MONTHS, default=0, return_dtype=pl.Int64).to_numpy()


def _year(parts: pl.DataFrame, name: str) -> Ints:
    """Years of two digits are 1970 to 2069."""
    year = _ints(parts, name)
    short = (parts[name].str.len_chars() <= 2).to_numpy()
    return np.where(short, year + np.where(year < 70, 2000, 1900), year)


def _ints(parts: pl.DataFrame, name: str, default: int = 0) -> Ints:
    if name not in parts.columns:
        return np.full(parts.height, default)
    return parts[name].cast(pl.Int64).fill_null(default).to_numpy()


def _clock_us(parts: pl.DataFrame) -> Ints:
    """Microseconds since midnight; 24:00 is the end of a day."""
    hour, minute, second = (_ints(parts, name) for name in ("hour", "minute", "second"))
    fraction = np.zeros(parts.height, np.int64)
    if "fraction" in parts.columns and parts["fraction"].null_count() < parts.height:
        fraction = parts["fraction"].fill_null("").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64).to_numpy()
    good = (hour <= 24) & (minute < 60) & (second <= 60)
    if "after" in parts.columns:
        half = pl.select(pl.coalesce(parts["before"], parts["after"])).to_series().str.to_lowercase()
        twelve = half.is_not_null().to_numpy()
        late = half.str.contains("p|後").fill_null(False).to_numpy()
        good &= ~twelve | (hour <= 12)
        hour = np.where(twelve, hour % 12 + 12 * late, hour)
    return np.where(good, ((hour * 60 + minute) * 60 + second) * MICROSECONDS + fraction, NO_TIME)


def _zone_us(parts: pl.DataFrame) -> tuple[Ints, Bools]:
    """Microseconds ahead of UTC, and where a zone is given at all."""
    if "zone" not in parts.columns:
        return np.zeros(parts.height, np.int64), np.zeros(parts.height, np.bool_)
    zone = parts["zone"]
    known = {text: _offset(text) for text in zone.unique() if text is not None}
    shift = zone.replace_strict(known, default=0, return_dtype=pl.Int64).fill_null(0).to_numpy()
    return shift, zone.is_not_null().to_numpy()


def _offset(zone: str) -> int:
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        minutes = int(digits[:2]) * 60 + int(digits[2:])
        return (minutes if zone[0] == "+" else -minutes) * 60 * MICROSECONDS
    hours = ZONE_HOURS.get(zone.lower())
    return NO_TIME if hours is None else hours * 3600 * MICROSECONDS


def _date_us(year: Ints, month: Ints, day: Ints) -> Ints:
    """Midnight; NO_TIME for days that no month has."""
    good = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year >= YEARS[0]) & (year <= YEARS[1])
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(good, day - 1, 0)
    good &= days.astype("datetime64[M]") == months
    return np.where(good, days.astype(np.int64) * DAY, NO_TIME)


def _three_numbers(parts: pl.DataFrame, clock: Ints, text: pl.Series, place: str) -> Ints:
    """Midnight of dates such as 03/04/2026, in the one order that the data allows."""
    first, middle, year = _ints(parts, "first"), _ints(parts, "middle"), _year(parts, "last")
    dates = {"day/month/year": _date_us(year, middle, first), "month/day/year": _date_us(year, first, middle)}
    if "." in str(text[0])[:6]:
        del dates["month/day/year"]
    if (parts["last"].str.len_chars() == 2).all():
        dates["year/month/day"] = _date_us(_year(parts, "first"), middle, _ints(parts, "last"))
    unread = {order: int((date == NO_TIME).sum()) for order, date in dates.items()}
    fewest = min(unread.values())
    left = {order: date for order, date in dates.items() if unread[order] == fewest}
    smooth = {order: date for order, date in left.items() if _is_smooth(date, clock)}
    left = smooth if len(smooth) == 1 else left
    date = next(iter(left.values()))
    if any((other != date).any() for other in left.values()):
        raise DataError(f"{place}: found {text[0]!r}, which may be {' or '.join(left)}; {ADVICE}")
    return date


def _is_smooth(date: Ints, clock: Ints) -> bool:
    """Whether the date changes, and never by more than a few days from one row to the next."""
    good = (date != NO_TIME) & (clock != NO_TIME)
    steps = np.abs(np.diff((date + clock)[good]))
    return bool((np.diff(date[good]) != 0).any() and (steps <= SMOOTH_STEP).all())


def looks_like(cells: Sequence[str], numbers: bool = False) -> bool:
    """Whether most of some cells are times; any, and plain `numbers` too, where the column is called as time is.

    >>> looks_like(["2026-11-24 13:00", ""]), looks_like(["46350.5"]), looks_like(["46350.5"], numbers=True)
    (True, False, True)
    """
    filled = pl.Series([cell for cell in cells if cell.strip()], dtype=pl.String)
    if not numbers:
        filled = filled.filter(
            ~filled.str.contains(r"^\s*[+-]?[\d.,eE+-]*\d\s*$") | filled.str.contains(r"\d[-/.]\d+[-/.]\d")
        )
    try:
        good = int(parse(filled).read.sum()) if len(filled) else 0
    except DataError:
        return True
    return good > 0 and (numbers or 2 * good >= sum(1 for cell in cells if cell.strip()))


def are_dates(cells: Sequence[str]) -> bool:
    """Whether all cells are dates without a time of day."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    return bool(filled) and all(DATE_ONLY.match(cell) for cell in filled)


def are_clocks(cells: Sequence[str]) -> bool:
    """Whether all cells are times of day without a date."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    return bool(filled) and all(CLOCK_ONLY.match(cell) for cell in filled)


def rfc3339(us: int) -> str:
    """A time as text, with as many decimals as it needs: none, three or six.

    >>> rfc3339(1_795_492_800_000_000), rfc3339(1_795_492_800_500_000)
    ('2026-11-24T04:00:00Z', '2026-11-24T04:00:00.500Z')
    """
    unit = "us" if us % 1_000 else "ms" if us % MICROSECONDS else "s"
    return f"{np.datetime64(us, 'us').astype(f'datetime64[{unit}]')}Z"


class TimeTexts(Sequence[str]):
    """Times of rows as text, made when asked for; the raw text where a cell was no time.

    >>> TimeTexts(np.array([0, NO_TIME]), {1: "soon"})[1]
    'soon'
    """

    def __init__(self, us: Ints, raw: dict[int, str]) -> None:
        self.us, self.raw = us, raw

    def __len__(self) -> int:
        return len(self.us)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        us = int(self.us[row])
        return self.raw.get(range(len(self))[row], "") if us == NO_TIME else rfc3339(us)
