"""What the journal keeps: one record a micro-batch (or look for silence), with all that changed the state of a shard.

    readings   machines met for the first time, machines that follow another model, points that wait, admitted readings
               and their outcomes
    event      what became due by the clock: ticks that waited, and machines that fell silent
    activate   a version of a model began to serve: `detail` says which
    settings   the settings that change scores, where they are not those of the record before: `detail`

A record is replayed from its inputs: equipment, models, times and values. Outcomes and alarms are kept beside them for
those who read the journal later; on the same engine a replay gives the same ones, bit for bit.

Payload: msgpack; arrays as bytes, little endian, by model, then machine, then time.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.contract import Floats, brief
from service.alarms import Alarm

VERSION = 1  # of the payload
KINDS = ("readings", "event", "activate", "settings")
DIGEST_BYTES = 16
ARRAYS = {
    "slot": "<i4",
    "time": "<i8",
    "values": "<f8",
    "status": "u1",
    "reason": "u1",
    "flags": "<u2",
    "score": "<f4",
    "p_value": "<f4",
}


HELD_ARRAYS = {"slot": "<i4", "tick": "<i8", "time": "<i8", "sensor": "<u2", "value": "<f8"}


class RecordError(ValueError):
    """A record that cannot be read; the text says which and why."""


@dataclass(frozen=True, slots=True)
class ModelReadings:
    """Admitted readings (n) of one model, and what came of them."""

    artifact_id: str
    slot: NDArray[np.intp]  # of the equipment
    time: NDArray[np.int64]
    values: Floats  # (n, d) sensors of the model, NaN = missing
    status: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    flags: NDArray[np.uint16]
    score: NDArray[np.float32]
    p_value: NDArray[np.float32]

    def ordered(self) -> ModelReadings:
        """By machine, then time: as the journal has them."""
        order = np.lexsort((self.time, self.slot))
        if (np.diff(order) == 1).all():
            return self
        return ModelReadings(self.artifact_id, *(getattr(self, name)[order] for name in ARRAYS))


@dataclass(frozen=True, slots=True)
class HeldPoints:
    """Points (n) that were taken in and wait until their tick is closed, in order of arrival: of machine `slot`, for
    tick `tick`, at `time`, of the model's sensor number `sensor`, with `value` (NaN: it said that it has none)."""

    artifact_id: str
    slot: NDArray[np.int32]
    tick: NDArray[np.int64]
    time: NDArray[np.int64]
    sensor: NDArray[np.uint16]
    value: Floats


@dataclass(frozen=True, slots=True)
class Record:
    """What one step of the shard did; `kind` is one of KINDS, `now` what the clock said, times in microseconds.

    `registered` are (slot, equipment id) met for the first time, `followed` (slot, artifact id) of machines that follow
    another model from here on ("": none), `silenced` slots of machines that fell silent, `alarms` those that opened or
    closed, `detail` what else there is to say, as JSON has it: by kind (readings: `shifts` of bodies whose
    times are not those that were sent), `held` the points that wait."""

    kind: str
    shard: int
    sequence: int
    received_at: int
    now: int
    readings: Sequence[ModelReadings] = ()
    alarms: Sequence[Alarm] = ()
    registered: Sequence[tuple[int, str]] = ()
    followed: Sequence[tuple[int, str]] = ()
    silenced: Sequence[int] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    held: Sequence[HeldPoints] = ()


class _Part(msgspec.Struct, array_like=True):
    artifact_id: str
    rows: int
    arrays: list[bytes]


class _Payload(msgspec.Struct, array_like=True):
    now: int
    registered: list[tuple[int, str]]
    followed: list[tuple[int, str]]
    silenced: list[int]
    parts: list[_Part]
    alarms: list[Alarm]
    detail: dict[str, Any]
    held: list[_Part] = []


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_Payload)


def encode(record: Record) -> bytes:
    """The payload of a record."""
    parts = [_part(readings.ordered()) for readings in record.readings]
    payload = _Payload(
        record.now, list(record.registered), list(record.followed), list(record.silenced), parts, list(record.alarms),
        dict(record.detail), [_held(points) for points in record.held],
    )  # fmt: skip
    return _encoder.encode(payload)


def _part(readings: ModelReadings) -> _Part:
    arrays = [np.ascontiguousarray(getattr(readings, name), dtype).tobytes() for name, dtype in ARRAYS.items()]
    return _Part(readings.artifact_id, len(readings.time), arrays)


def _held(points: HeldPoints) -> _Part:
    arrays = [np.ascontiguousarray(getattr(points, name), dtype).tobytes() for name, dtype in HELD_ARRAYS.items()]
    return _Part(points.artifact_id, len(points.time), arrays)


def decode(kind: str, shard: int, sequence: int, received_at: int, payload: bytes) -> Record:
    """A record from what is stored. RecordError where that is not a payload of this program."""
    if kind not in KINDS:
        raise RecordError(f"record {sequence} is of kind {kind!r}; this program knows {', '.join(KINDS)}")
    try:
        found = _decoder.decode(payload)
        readings = [_readings(part) for part in found.parts]
        held = [HeldPoints(part.artifact_id, **_arrays(part, HELD_ARRAYS)) for part in found.held]
    except (msgspec.DecodeError, ValueError) as error:
        raise RecordError(f"record {sequence} cannot be read: {brief(error)}") from None
    return Record(
        kind, shard, sequence, received_at, found.now, readings, found.alarms, found.registered, found.followed,
        found.silenced, found.detail, held,
    )  # fmt: skip


def _readings(part: _Part) -> ModelReadings:
    arrays = _arrays(part, ARRAYS)
    arrays["values"] = arrays["values"].reshape(part.rows, -1)
    arrays["slot"] = arrays["slot"].astype(np.intp)
    return ModelReadings(part.artifact_id, **arrays)


def _arrays(part: _Part, dtypes: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    if len(part.arrays) != len(dtypes):
        raise ValueError(f"{len(part.arrays)} arrays; expected {len(dtypes)}")
    arrays = {name: np.frombuffer(raw, dtype) for (name, dtype), raw in zip(dtypes.items(), part.arrays, strict=True)}
    for name, array in arrays.items():
        if len(array) != part.rows and not (name == "values" and dtypes is ARRAYS):
            raise ValueError(f"{len(array)} of {name}; expected {part.rows}")
    return arrays


def checksum(
    kind: str, version: int, shard: int, sequence: int, received_at: int, engine: str, payload: bytes
) -> bytes:
    """16 bytes over a record and its key: a flipped bit, a torn write or a record in another's place is found out."""
    digest = hashlib.blake2b(struct.pack("<HIQq", version, shard, sequence, received_at), digest_size=DIGEST_BYTES)
    digest.update(f"{kind}\0{engine}\0".encode())
    digest.update(payload)
    return digest.digest()
