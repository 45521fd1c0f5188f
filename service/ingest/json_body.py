"""JSON bodies of readings -> `Body`: in rows, in columns, or in batches of columns.

    {"readings": [{"equipment": "pump-7", "time": "2026-11-24T00:00:00Z", "values": {"pressure": 1.2, "flow": null}}]}
    {"equipment": "pump-7", "sensors": ["pressure", "flow"], "times": [...], "values": [[1.2, 32.0], ...]}
    {"batches": [{"equipment": ..., "sensors": ..., "times": ..., "values": ...}, ...]}

The whole body is decoded at once by types (msgspec), which refuses text and booleans for numbers, NaN, and unknown
fields. What it refuses goes row by row through `json_rows`, so that one bad cell costs one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from service.ingest import json_rows
from service.ingest.batch import Body, Form, Limits, ReadingBatch
from service.ingest.names import sound, sound_sensors
from service.ingest.sensor_sets import batches_by_sensors
from service.ingest.times import parse_times

Cells = dict[str, float | None]


class Reading(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One reading of a body in rows."""

    equipment: str
    time: str
    values: Cells


class Columns(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Readings of one equipment in columns: `values[i]` were read at `times[i]`, in the order of `sensors`."""

    equipment: str
    sensors: list[str]
    times: list[str]
    values: list[list[float | None]]


class RowsBody(msgspec.Struct, forbid_unknown_fields=True):
    """A body in rows."""

    readings: list[Reading]


class BatchesBody(msgspec.Struct, forbid_unknown_fields=True):
    """A body in batches of columns."""

    batches: list[Columns]


class _AnyBody(msgspec.Struct, forbid_unknown_fields=True):
    """Any of the three forms: decoded in one pass, told apart afterwards."""

    readings: list[Reading] | UnsetType = UNSET
    batches: list[Columns] | UnsetType = UNSET
    equipment: str | UnsetType = UNSET
    sensors: list[str] | UnsetType = UNSET
    times: list[str] | UnsetType = UNSET
    values: list[list[float | None]] | UnsetType = UNSET


_decoder = msgspec.json.Decoder(_AnyBody)


def decode(content: bytes, limits: Limits) -> Body:
    """Decode a request body. Raises NotJson, Invalid or BodyTooLarge where nothing of it can be used."""
    body = decode_strictly(content, limits)
    return json_rows.decode(content, limits) if body is None else body


def decode_strictly(content: bytes, limits: Limits) -> Body | None:
    """The body where everything about it is sound; None sends it the slow way, which names what is not."""
    try:
        found = _decoder.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    whole = (found.equipment, found.sensors, found.times, found.values)
    given = [part is not UNSET for part in (found.readings, found.batches, *whole)]
    if given == [True, False, False, False, False, False]:
        return _from_rows(content, found.readings, limits)  # type: ignore[arg-type]
    if given == [False, True, False, False, False, False]:
        return _from_columns(content, found.batches, "batches", limits)  # type: ignore[arg-type]
    if given == [False, False, True, True, True, True]:
        return _from_columns(content, [Columns(*whole)], "columns", limits)  # type: ignore[arg-type]
    return None


def _from_rows(content: bytes, readings: Sequence[Reading], limits: Limits) -> Body | None:
    json_rows.check_count(len(readings), limits)
    if not readings:
        return Body("rows", 0, [])
    values = [reading.values for reading in readings]
    if not _keys_are_unique(content, 1 + 5 * len(readings) + sum(map(len, values))):
        return None
    equipment = [reading.equipment for reading in readings]
    if not sound(equipment, limits.equipment_id_characters):
        return None
    keys = [tuple(cells) for cells in values]
    if not all(sound_sensors(names, limits) for names in set(keys)):
        return None
    try:
        times = parse_times([reading.time for reading in readings])
    except ValueError:
        return None
    batches, refused = batches_by_sensors(equipment, times, keys, values, np.arange(len(readings)), limits)
    return Body("rows", len(readings), batches, refused)


def _from_columns(content: bytes, columns: Sequence[Columns], form: Form, limits: Limits) -> Body | None:
    sizes = [len(one.times) for one in columns]
    json_rows.check_count(max(sum(sizes), sum(len(one.values) for one in columns)), limits)
    equipment = [one.equipment for one in columns]
    strings = (form == "batches") + sum(5 + len(one.sensors) + len(one.times) for one in columns)
    if not _keys_are_unique(content, strings) or not sound(equipment, limits.equipment_id_characters):
        return None
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, one in enumerate(columns):
        if len(one.values) != len(one.times) or set(map(len, one.values)) - {len(one.sensors)}:
            return None
        groups.setdefault(tuple(one.sensors), []).append(index)
    if not all(sound_sensors(sensors, limits) for sensors in groups):
        return None
    try:
        times = parse_times(columns[0].times if len(columns) == 1 else [t for one in columns for t in one.times])
    except ValueError:
        return None
    ends = np.cumsum([0, *sizes])
    batches = []
    for sensors, members in groups.items():
        rows = np.concatenate([np.arange(ends[i], ends[i + 1]) for i in members])
        values: Any = (
            columns[members[0]].values
            if len(members) == 1
            else list(chain.from_iterable(columns[i].values for i in members))
        )
        table = np.array(values, np.float64).reshape(len(rows), len(sensors))
        owners, counts = [equipment[i] for i in members], [sizes[i] for i in members]
        batches.append(ReadingBatch(sensors, owners, counts, times[rows], table, rows))
    return Body(form, int(ends[-1]), batches, [], sizes, equipment)


def _keys_are_unique(content: bytes, strings: int) -> bool:
    """Whether the body has as many strings as were decoded: a key that occurs twice in an object is decoded once.

    Strings are counted by their quotes; where an escape makes that hard, the answer is no."""
    quotes = content.count(b'"')
    if b"\\" in content:
        if b"\\\\" in content:
            return False
        quotes -= content.count(b'\\"')
    return quotes == 2 * strings
