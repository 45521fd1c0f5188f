"""What each column of a table is: time, machine, label, sensor; in a long table tag, value and quality.

Names are those that historians, loggers and data frames write; --time, --equipment and --label overrule them. What a
label is called (`LABEL` a word of its name, `LABEL_WHOLE` all of it, `LABEL_PART` a part) makes a column none: a person
is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from models.contract import DataError
from models.exports.findings import Finding, some
from models.exports.tables import KnownRoles, Table
from models.exports.timestamps import are_clocks, are_dates, looks_like

TIME = (
    "timestamp", "datetime", "time", "date time", "time stamp", "date", "ts", "utc", "utc time", "local time",
    "event time", "sample time", "record time", "measurement time", "date/time", "log time", "zeitstempel", "zeit",
    "datum", "datum/zeit", "datum/uhrzeit", "uhrzeit", "datum uhrzeit", "horodatage", "fecha", "fecha/hora", "日時",
    "時刻", "日付", "時間", "年月日", "タイムスタンプ",
)  # fmt: skip
EQUIPMENT = (
    "equipment", "equipment id", "equipment name", "machine", "machine id", "machine name", "asset", "asset id",
    "asset name", "device", "device id", "device name", "anlage", "maschine", "設備", "設備名", "設備番号", "機器",
    "機器名", "号機",
)  # fmt: skip
TAG = (
    "tag", "tag name", "tagname", "tag id", "point", "point name", "point id", "sensor", "sensor name", "sensor id",
    "signal", "signal name", "variable", "name", "item", "item id", "node id", "series", "metric", "field", "parameter",
    "channel", "messstelle", "タグ", "タグ名", "測定点", "項目",
)  # fmt: skip
VALUE = ("value", "val", "pv", "reading", "wert", "messwert", "valeur", "valor", "値", "測定値", "計測値", "データ")
QUALITY = (
    "quality", "opc quality", "status code", "statuscode", "status", "is good", "good", "q", "qualität", "品質",
)  # fmt: skip
LABEL = frozenset({
    "label", "labels", "anomaly", "anomalies", "anomalous", "outlier", "abnormal", "fault", "faults", "faulty",
    "failure", "failures", "failed", "attack", "attacks", "changepoint", "breakdown", "defect", "broken",
    "störung", "fehler", "ausfall",
})  # fmt: skip
LABEL_WHOLE = frozenset({"y", "target", "class", "ground truth", "change point"})
LABEL_PART = re.compile("異常|故障|不具合|ラベル|正解")
UNIT = ("unit", "units", "uom", "eu", "engineering units", "einheit", "単位")


@dataclass(frozen=True, slots=True)
class ColumnOptions:
    """The columns that options name."""

    time: str | None = None
    equipment: str | None = None
    label: str | None = None
    ignore: tuple[str, ...] = ()
    time_format: str | None = None  # where it is given, a column called as time is need not look like one


@dataclass(frozen=True, slots=True)
class Roles:
    """Positions of columns. `time` are two where date and time of day stand apart; `tag` is None in a wide table."""

    time: tuple[int, ...]
    equipment: int | None
    label: int | None
    sensors: tuple[int, ...]
    ignored: tuple[int, ...]
    tag: int | None = None
    value: int | None = None
    quality: int | None = None
    unit: int | None = None

    @property
    def texts(self) -> list[int]:
        """Columns to be read as text."""
        found = (*self.time, self.equipment, self.label, self.tag, self.quality, self.unit)
        return list(dict.fromkeys(i for i in found if i is not None))


def folded(name: str) -> str:
    """A name without case, underscores, unit and leading signs, for comparison with those above.

    >>> folded("@Time_Stamp [UTC]"), folded("StatusCode"), folded("日時")
    ('time stamp', 'status code', '日時')
    """
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    plain = re.sub(r"\s*[\[(\uff08].*$", "", name).strip().casefold()
    return re.sub(r"[\s_\-]+", " ", plain).strip(" @#$.")


def is_called_label(name: str) -> bool:
    """Whether a column is called as one that says where a machine was faulty.

    >>> [is_called_label(name) for name in ("is_fault", "Anomaly", "Normal/Attack", "異常フラグ", "y", "flow", "yaw")]
    [True, True, True, True, True, False, False]
    """
    plain = folded(name)
    return plain in LABEL_WHOLE or not LABEL.isdisjoint(re.split(r"\W+", plain)) or bool(LABEL_PART.search(plain))


def find_roles(table: Table, options: ColumnOptions) -> Roles:
    """The role of every column of a table. DataError where no column holds the time, or no sensor is left."""
    if table.roles is not None:
        return _known_roles(table, table.roles, options)
    ignored = tuple(i for i, name in enumerate(table.columns) if name in options.ignore)
    label = position(table, "--label", options.label) if options.label else None
    free = [i for i in range(len(table.columns)) if i not in ignored and i != label]
    time = _given_time(table, free, options.time) if options.time else _time(table, free, options.time_format)
    _say_unnamed(table, [i for i in free if i not in time])
    free = [i for i in free if i not in time and table.columns[i]]
    given = options.equipment
    equipment = position(table, "--equipment", given) if given else named(table, free, EQUIPMENT)
    free = [i for i in free if i != equipment]
    tag, value = named(table, free, TAG), named(table, free, VALUE)
    if tag is not None and value is not None and _is_words(table, tag):
        rest = [i for i in free if i not in (tag, value)]
        quality, unit = named(table, rest, QUALITY), named(table, rest, UNIT)
        return Roles(time, equipment, label, (), ignored, tag, value, quality, unit)
    if not free:
        raise DataError(f"{table.path.name} has no column with a sensor; its columns are {some(table.columns)}")
    return Roles(time, equipment, label, tuple(free), ignored)


def _known_roles(table: Table, known: KnownRoles, options: ColumnOptions) -> Roles:
    """The roles that a file itself tells, with what options say first; what is no sensor may still be asked for."""
    time = position(table, "--time", options.time or known.time)
    equipment = position(table, "--equipment", options.equipment or known.equipment)
    label = position(table, "--label", options.label) if options.label else None
    wanted = known.sensors - set(options.ignore)
    rest = [i for i in range(len(table.columns)) if i not in (time, equipment, label)]
    sensors = tuple(i for i in rest if table.columns[i] in wanted)
    return Roles((time,), equipment, label, sensors, tuple(i for i in rest if i not in sensors))


def _given_time(table: Table, free: list[int], name: str) -> tuple[int, ...]:
    """The column of --time, and that of the time of day where it holds dates alone."""
    column = position(table, "--time", name)
    if not any(cell.strip() for cell in cells(table, column)):
        raise DataError(f"{table.path.name}: column {name!r}, named by --time, is empty in the first rows")
    clocks = [i for i in _called_time(table, free) if i != column and are_clocks(cells(table, i))]
    return (column, clocks[0]) if clocks and are_dates(cells(table, column)) else (column,)


def position(table: Table, option: str, name: str) -> int:
    """Where a column is that an option names. DataError listing the columns that there are."""
    if name in table.columns:
        return table.columns.index(name)
    alike = [i for i, column in enumerate(table.columns) if folded(column) == folded(name)]
    if len(alike) == 1:
        return alike[0]
    raise DataError(f"{table.path.name}: {unknown(option, name, table.columns)}")


def unknown(option: str, name: str, columns: tuple[str, ...]) -> str:
    """The sentence for a name that is not there.

    >>> unknown("--time", "tme", ("time", "flow"))
    "--time names 'tme', which is no column; did you mean 'time'? The columns are time, flow"
    """
    close = get_close_matches(name, columns, n=1)
    hint = f"; did you mean {close[0]!r}? The" if close else "; the"
    return f"{option} names {name!r}, which is no column{hint} columns are {some(columns)}"


def named(table: Table, free: list[int], names: tuple[str, ...]) -> int | None:
    """The free column with the earliest of some names."""
    found = {folded(table.columns[i]): i for i in reversed(free)}
    return next((found[name] for name in names if name in found), None)


def cells(table: Table, column: int) -> list[str]:
    """First cells of a column as text."""
    return [row[column] for row in table.head]


def _say_unnamed(table: Table, columns: list[int]) -> None:
    """Say of columns without a name that hold anything that they are left out."""
    for i in columns:
        if not table.columns[i] and any(cell.strip() for cell in cells(table, i)):
            table.findings.append(Finding("unnamed_column", f"{table.path.name}: column {i + 1} has no name, left out"))


def _is_words(table: Table, column: int) -> bool:
    return any(not re.fullmatch(r"[\d.,+\-\s]*", cell) for cell in cells(table, column))


def _called_time(table: Table, free: list[int]) -> list[int]:
    """Columns called as time is, the likeliest first."""
    plain = {i: folded(table.columns[i]) for i in free}
    called = sorted((i for i in free if plain[i] in TIME), key=lambda i: TIME.index(plain[i]))
    called += [i for i in free if i not in called and re.search("timestamp|datetime|日時|時刻", plain[i])]
    return called + [i for i in free[:1] if not table.columns[i]]


def _time(table: Table, free: list[int], time_format: str | None) -> tuple[int, ...]:
    called = _called_time(table, free)
    dates = [i for i in called if are_dates(cells(table, i))]
    clocks = [i for i in called if are_clocks(cells(table, i))]
    if dates and clocks:
        return dates[0], clocks[0]
    for i in called:
        if time_format or looks_like(cells(table, i), numbers=True):
            return (i,)
    for i in free:
        if looks_like(cells(table, i)):
            return (i,)
    first = f"; {table.columns[called[0]]!r} holds {shown_first(table, called[0])}" if called else ""
    raise DataError(
        f"{table.path.name} has no column that holds a time{first}; name it with --time, and how it is written with "
        f"--time-format; the columns are {some(table.columns)}"
    )


def shown_first(table: Table, column: int) -> str:
    """The first cell of a column that is not empty, in quotes."""
    return repr(next((cell for cell in cells(table, column) if cell.strip()), ""))
