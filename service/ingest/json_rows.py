"""The slow way through a JSON body: decoded loosely, judged row by row, so that one bad cell costs one row.

It accepts exactly what the fast way accepts; what it refuses, it names: thing, value found, value expected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.errors import BodyTooLarge, Invalid, NotJson, plain, shown
from service.ingest import names
from service.ingest.batch import Body, Form, Limits, ReadingBatch, Refusal
from service.ingest.sensor_sets import batches_by_sensors
from service.ingest.times import TimeRefused, parse_time
from service.status import Reason

SHAPES = 'expected {"readings": [...]}, {"equipment", "sensors", "times", "values"} or {"batches": [...]}'
READING_FIELDS = ("equipment", "time", "values")
COLUMNS_FIELDS = ("equipment", "sensors", "times", "values")
EXACT_DIGITS_MAX = 18  # of an integer; a longer one becomes a float


class RepeatedKey(dict[str, Any]):
    """An object in which a key occurs twice."""

    key: str = ""


@dataclass(frozen=True, slots=True)
class NotANumber:
    """`NaN`, `Infinity` or `-Infinity`, which JSON does not have."""

    text: str

    def __repr__(self) -> str:
        return self.text


class Refused(Exception):
    """Why a row, or the head of a batch, is refused: `field` is at fault, `complaint` ends the sentence about it."""

    def __init__(self, field: str, complaint: str, reason: Reason = Reason.BAD_VALUE) -> None:
        super().__init__(complaint)
        self.field = plain(field)
        self.complaint = complaint
        self.reason = reason


def decode(content: bytes, limits: Limits) -> Body:
    """Decode a request body. Raises NotJson, Invalid or BodyTooLarge where nothing of it can be used."""
    found = parse(content)
    if not isinstance(found, dict):
        raise Invalid(f"the body is {shown(found)}; {SHAPES}")
    if isinstance(found, RepeatedKey):
        raise Invalid(f"{shown(found.key)} occurs twice in the body; expected once", field=plain(found.key))
    if "readings" in found:
        _only(found, ("readings",))
        return _from_rows(_array(found["readings"], "readings"), limits)
    if "batches" in found:
        _only(found, ("batches",))
        return _from_batches(_array(found["batches"], "batches"), "batches", limits)
    if not set(COLUMNS_FIELDS) & set(found):
        raise Invalid(f"the body has the fields {shown_names(found)}; {SHAPES}")
    try:
        _head(found, limits)
    except Refused as refused:
        raise Invalid(f"{refused.field} {refused.complaint}", field=refused.field) from None
    return _from_batches([found], "columns", limits)


def parse(content: bytes) -> Any:
    """JSON with a bounded depth; odd objects and numbers are kept as what they are, to be named later."""
    if not content:
        raise NotJson(f"the body is empty; {SHAPES}")
    try:
        return json.loads(content.decode(), object_pairs_hook=_object, parse_constant=NotANumber, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise NotJson(f"the body is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at line {error.lineno}, column {error.colno} of the body") from None
    except RecursionError:
        raise NotJson("the body is nested too deeply; a body of readings needs 4 levels") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = RepeatedKey(found)
    repeated.key = names.twice([key for key, _ in pairs]) or ""
    return repeated


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= EXACT_DIGITS_MAX else float(text)


def shown_names(found: Sequence[str] | dict[str, Any]) -> str:
    """The first few names of many, for a sentence."""
    few = [shown(name) for name in list(found)[:5]]
    return ", ".join(few) + (f" and {len(found) - 5} more" if len(found) > 5 else "") if few else "(none)"


def _only(found: dict[str, Any], allowed: tuple[str, ...]) -> None:
    unknown = [name for name in found if name not in allowed]
    if unknown:
        raise Invalid(f"the body has the unknown field {shown(unknown[0])}; {SHAPES}", field=plain(unknown[0]))


def _array(found: Any, field: str) -> list[Any]:
    if not isinstance(found, list):
        raise Invalid(f"{field} is {shown(found)}; expected an array", field=field)
    return found


def _check_fields(found: Any, what: str, fields: tuple[str, ...]) -> dict[str, Any]:
    """The object that a reading or a batch has to be."""
    if not isinstance(found, dict):
        raise Refused(what, f"is {shown(found)}; expected an object with {', '.join(fields)}")
    if isinstance(found, RepeatedKey):
        raise Refused(found.key, "occurs twice; expected once")
    for name in fields:
        if name not in found:
            raise Refused(name, f"is missing; expected {', '.join(fields)}")
    for name in found:
        if name not in fields:
            raise Refused(name, f"is an unknown field; expected {', '.join(fields)}")
    return found


def _check_equipment(found: Any, limits: Limits) -> str:
    fault = names.complaint(found, limits.equipment_id_characters)
    if fault:
        raise Refused("equipment", fault)
    return str(found)


def _check_time(found: Any) -> int:
    try:
        return parse_time(found)
    except TimeRefused as refused:
        raise Refused("time", str(refused)) from None


def _check_cell(sensor: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("values", f"of sensor {shown(sensor)} is {shown(value)}; expected a number or null")
    if not math.isfinite(value):
        raise Refused(
            "values", f"of sensor {shown(sensor)} is too large for a 64-bit float; expected less than 1.8e308"
        )
    return float(value)


def _check_cells(found: Any, limits: Limits) -> dict[str, float | None]:
    if not isinstance(found, dict):
        raise Refused("values", f"is {shown(found)}; expected an object of numbers by sensor")
    if isinstance(found, RepeatedKey):
        raise Refused("values", f"names sensor {shown(found.key)} twice; expected once")
    _check_width(len(found), "values", limits)
    for sensor in found:
        fault = names.complaint(sensor, limits.sensor_name_characters)
        if fault:
            raise Refused("values", f"names a sensor that {fault}")
    return {sensor: _check_cell(sensor, value) for sensor, value in found.items()}


def _check_width(width: int, field: str, limits: Limits) -> None:
    if width > limits.sensors:
        raise Refused(field, f"names {width} sensors; expected at most {limits.sensors}", Reason.LIMIT)


# -- rows ------------------------------------------------------------------------------------------------------------


def _from_rows(readings: list[Any], limits: Limits) -> Body:
    check_count(len(readings), limits)
    refused: list[Refusal] = []
    good: list[tuple[int, str, int, dict[str, float | None]]] = []
    for row, reading in enumerate(readings):
        try:
            fields = _check_fields(reading, "reading", READING_FIELDS)
            equipment, time = _check_equipment(fields["equipment"], limits), _check_time(fields["time"])
            good.append((row, equipment, time, _check_cells(fields["values"], limits)))
        except Refused as why:
            refused.append(_refusal(row, reading, why, limits))
    if not good:
        return Body("rows", len(readings), [], refused)
    rows, equipment_ids, times, values = map(list, zip(*good, strict=True))
    keys = [tuple(cells) for cells in values]
    batches, over = batches_by_sensors(
        equipment_ids, np.array(times, np.int64), keys, values, np.array(rows, np.int64), limits
    )
    return Body("rows", len(readings), batches, sorted(refused + over, key=lambda refusal: refusal.row))


def _refusal(row: int, reading: Any, why: Refused, limits: Limits) -> Refusal:
    """With equipment and time of the reading as far as they are sound."""
    found = reading if isinstance(reading, dict) else {}
    owner, time = found.get("equipment"), None
    equipment = owner if names.complaint(owner, limits.equipment_id_characters) is None else ""
    if isinstance(found.get("time"), str):
        try:
            time = parse_time(found["time"])
        except TimeRefused:
            time = None
    return Refusal(row, equipment, why.reason, f"row {row}: {why.field} {why.complaint}", time, why.field)  # type: ignore[arg-type]


def check_count(readings: int, limits: Limits) -> None:
    """Refuse a body with too many readings."""
    if readings > limits.readings:
        raise BodyTooLarge(f"the body holds {readings} readings; expected at most {limits.readings}: send several")


# -- columns ---------------------------------------------------------------------------------------------------------


def _from_batches(found: list[Any], form: Form, limits: Limits) -> Body:
    sizes = [_size(one) for one in found]
    check_count(sum(sizes), limits)
    batches: list[ReadingBatch] = []
    refused: list[Refusal] = []
    owners: list[str] = []
    start = 0
    for number, (one, size) in enumerate(zip(found, sizes, strict=True)):
        rows = range(start, start + size)
        try:
            equipment, sensors = _head(one, limits)
        except Refused as why:
            sizes[number] = size or 1  # the one that says so
            rows = range(start, start + sizes[number])
            owner = one.get("equipment") if isinstance(one, dict) else None
            equipment = owner if names.complaint(owner, limits.equipment_id_characters) is None else ""  # type: ignore[assignment]
            detail = f"batch {number}: {why.field} {why.complaint}"
            refused += [Refusal(row, equipment, why.reason, detail, None, why.field) for row in rows]
        else:
            batch = _judge_rows(equipment, sensors, one, rows, refused)
            batches += [batch] if batch.readings else []
        owners.append(equipment)
        start = rows.stop
    return Body(form, start, batches, refused, sizes, owners)


def _size(batch: Any) -> int:
    """Readings that a batch stands for, however broken it is: at least the one that says so."""
    columns = [batch.get(name) for name in ("times", "values")] if isinstance(batch, dict) else []
    lengths = [len(column) for column in columns if isinstance(column, list)]
    return max(lengths) if len(lengths) == 2 else max([1, *lengths])


def _head(batch: Any, limits: Limits) -> tuple[str, tuple[str, ...]]:
    """Equipment and sensors of a batch whose four fields are sound."""
    fields = _check_fields(batch, "batch", COLUMNS_FIELDS)
    equipment = _check_equipment(fields["equipment"], limits)
    for name in COLUMNS_FIELDS[1:]:
        if not isinstance(fields[name], list):
            raise Refused(name, f"is {shown(fields[name])}; expected an array")
    sensors = fields["sensors"]
    _check_width(len(sensors), "sensors", limits)
    for place, sensor in enumerate(sensors):
        fault = names.complaint(sensor, limits.sensor_name_characters)
        if fault:
            raise Refused(f"sensors[{place}]", fault)
    repeated = names.twice(sensors)
    if repeated is not None:
        raise Refused("sensors", f"names {shown(repeated)} twice; expected once")
    times, values = len(fields["times"]), len(fields["values"])
    if times != values:
        raise Refused("values", f"has {values} rows and times has {times}; expected as many")
    return equipment, tuple(sensors)


def _judge_rows(
    equipment: str, sensors: tuple[str, ...], fields: dict[str, Any], rows: range, refused: list[Refusal]
) -> ReadingBatch:
    """The rows of one batch that are sound; what is not goes to `refused`."""
    kept: list[tuple[int, int, list[float | None]]] = []
    for row, text, cells in zip(rows, fields["times"], fields["values"], strict=True):
        time = None
        try:
            time = _check_time(text)
            if not isinstance(cells, list):
                raise Refused("values", f"is {shown(cells)}; expected an array of {len(sensors)}")
            if len(cells) != len(sensors):
                raise Refused("values", f"has {len(cells)} values; expected {len(sensors)}, one a sensor")
            kept.append((row, time, [_check_cell(*pair) for pair in zip(sensors, cells, strict=True)]))
        except Refused as why:
            detail = f"row {row}: {why.field} {why.complaint}"
            refused.append(Refusal(row, equipment, why.reason, detail, time, why.field))
    places, times, values = map(list, zip(*kept, strict=True)) if kept else ([], [], [])
    table = np.array(values, np.float64).reshape(len(kept), len(sensors))
    return ReadingBatch(sensors, [equipment], [len(kept)], np.array(times, np.int64), table, np.array(places, np.int64))
