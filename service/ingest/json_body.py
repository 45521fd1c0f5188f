"""JSON bodies of readings -> `Body`: in rows, in columns, or in batches of columns.

    {"readings": [{"equipment": "pump-7", "time": "2026-11-24T00:00:00Z", "values": {"pressure": 1.2, "flow": null}}]}
    {"equipment": "pump-7", "sensors": ["pressure", "flow"], "times": [...], "values": [[1.2, 32.0], ...]}
    {"batches": [{"equipment": ..., "sensors": ..., "times": ..., "values": ...}, ...]}

The whole body is decoded at once by types (msgspec), which refuses text and booleans for numbers, NaN, and unknown
fields. What it refuses goes row by row through `json_rows`, so that one bad cell costs one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from service.ingest import json_rows
from service.ingest.batch import Body, Form, Limits, ReadingBatch
from service.ingest.containers import check_containers
from service.ingest.names import sound, sound_sensors
from service.ingest.sensor_sets import batches_by_sensors
from service.ingest.times import parse_times

REMEMBERED_BYTES_MAX = 16 * 1024
_QUOTE = ord('"')

Cells = dict[str, float | None]


class _Reading(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One reading of a body in rows."""

    equipment: str
    time: str
    values: Cells


class _Columns(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Readings of one equipment in columns: `values[i]` were read at `times[i]`, in the order of `sensors`."""

    equipment: str
    sensors: msgspec.Raw  # names: senders repeat them in every body, so they are looked up as bytes
    times: list[str]
    values: list[list[float | None]]


class _AnyBody(msgspec.Struct, forbid_unknown_fields=True):
    """Any of the three forms: decoded in one pass, told apart afterwards."""

    readings: list[_Reading] | UnsetType = UNSET
    batches: list[_Columns] | UnsetType = UNSET
    equipment: str | UnsetType = UNSET
    sensors: msgspec.Raw | UnsetType = UNSET
    times: list[str] | UnsetType = UNSET
    values: list[list[float | None]] | UnsetType = UNSET


_decoder = msgspec.json.Decoder(_AnyBody)
_names_decoder = msgspec.json.Decoder(list[str])


def decode(content: bytes, limits: Limits) -> Body:
    """Decode a request body. Raises NotJson, Invalid or BodyTooLarge where nothing of it can be used."""
    check_containers(content, limits)
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
        return _from_columns(content, [_Columns(*whole)], "columns", limits)  # type: ignore[arg-type]
    return None


def _from_rows(content: bytes, readings: Sequence[_Reading], limits: Limits) -> Body | None:
    json_rows.check_count(len(readings), limits)
    values = [reading.values for reading in readings]
    if not _keys_are_unique(content, 1 + 5 * len(readings) + sum(map(len, values))):
        return None
    if not readings:
        return Body("rows", 0, [])
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


def _from_columns(content: bytes, columns: Sequence[_Columns], form: Form, limits: Limits) -> Body | None:
    sizes = [len(one.times) for one in columns]
    json_rows.check_count(max(sum(sizes), sum(len(one.values) for one in columns)), limits)
    equipment = [one.equipment for one in columns]
    sensors = [_sensors(one.sensors, limits) for one in columns]
    strings = (form == "batches") + sum(5 + len(names or ()) for names in sensors) + sum(sizes)
    if not _keys_are_unique(content, strings) or not sound(equipment, limits.equipment_id_characters):
        return None
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, (one, names) in enumerate(zip(columns, sensors, strict=True)):
        if names is None or len(one.values) != len(one.times) or set(map(len, one.values)) - {len(names)}:
            return None
        groups.setdefault(names, []).append(index)
    try:
        times = parse_times(columns[0].times if len(columns) == 1 else [t for one in columns for t in one.times])
    except ValueError:
        return None
    ends = np.cumsum([0, *sizes])
    batches = []
    for names, members in groups.items():
        rows = np.concatenate([np.arange(ends[i], ends[i + 1]) for i in members])
        values: Any = (
            columns[members[0]].values
            if len(members) == 1
            else list(chain.from_iterable(columns[i].values for i in members))
        )
        table = np.array(values, np.float64).reshape(len(rows), len(names))
        owners, counts = [equipment[i] for i in members], [sizes[i] for i in members]
        batches.append(ReadingBatch(names, owners, counts, times[rows], table, rows))
    return Body(form, int(ends[-1]), batches, [], sizes, equipment)


def _sensors(raw: msgspec.Raw, limits: Limits) -> tuple[str, ...] | None:
    """The sensors of a batch from their JSON; None where they are not sound."""
    text = bytes(raw)
    return _remembered_sensors(text, limits) if len(text) <= REMEMBERED_BYTES_MAX else _decode_sensors(text, limits)


def _decode_sensors(text: bytes, limits: Limits) -> tuple[str, ...] | None:
    try:
        names = tuple(_names_decoder.decode(text))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return names if sound_sensors(names, limits) else None


_remembered_sensors = lru_cache(maxsize=256)(_decode_sensors)


def _keys_are_unique(content: bytes, strings: int) -> bool:
    """Whether the body has as many strings as were decoded: a key that occurs twice in an object is decoded once.

    Strings are counted by their quotes; where an escape makes that hard, the answer is no."""
    quotes = int(np.count_nonzero(np.frombuffer(content, np.uint8) == _QUOTE))
    if b"\\" in content:
        if b"\\\\" in content:
            return False
        quotes -= content.count(b'\\"')
    return quotes == 2 * strings
