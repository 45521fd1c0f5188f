"""The last results of each equipment: what duplicates repeat and `/scores` lists.

A ring of `RING_RESULTS` rows a slot: time, digest of values and mask, score, p_value, status, reason, flags. Beside it,
with the state of its model, a mark of each sensor of each reading: it tells a conflict from another set of sensors.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.contract import Floats
from service.columns import Columns, Field

RING_RESULTS = 32
ALARM_BIT = 0x8000  # of the stored flags: an alarm was open

RING_FIELDS = {
    "ring_time": Field("int64", (RING_RESULTS,)),
    "ring_digest": Field("uint64", (RING_RESULTS,)),
    "ring_score": Field("float32", (RING_RESULTS,), np.nan),
    "ring_p_value": Field("float32", (RING_RESULTS,), np.nan),
    "ring_status": Field("uint8", (RING_RESULTS,)),
    "ring_reason": Field("uint8", (RING_RESULTS,)),
    "ring_flags": Field("uint16", (RING_RESULTS,)),
    "ring_count": Field("int64"),  # results ever written
}
RESULT_FIELDS = tuple(name for name, field in RING_FIELDS.items() if field.shape)


@dataclass(frozen=True, slots=True)
class Recent:
    """Recent results of one equipment, oldest first."""

    time: NDArray[np.int64]
    digest: NDArray[np.uint64]
    score: NDArray[np.float32]
    p_value: NDArray[np.float32]
    status: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    flags: NDArray[np.uint16]
    alarm: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.time)


def mark_field(sensors: int) -> Field:
    """The marks of the recent readings of one machine, in the places of the ring."""
    return Field("uint8", (RING_RESULTS, sensors))


def write(
    columns: Columns, slots: NDArray[Any], rank: NDArray[Any] | int, results: tuple[NDArray[Any], ...]
) -> NDArray[Any]:
    """Store results (n,), in the order of `RESULT_FIELDS`: row i is the `rank`-th new one of `slots[i]`. A later row of
    the same place wins. `ring_count` goes up afterwards. Returns the places (n,) in the ring."""
    places = (columns["ring_count"][slots] + rank) % RING_RESULTS
    flat = slots * RING_RESULTS + places
    for name, values in zip(RESULT_FIELDS, results, strict=True):
        columns[name].reshape(-1)[flat] = values
    return places


def order(columns: Columns, slot: int) -> NDArray[np.intp]:
    """Places of the recent results of one slot, oldest first."""
    count = int(columns["ring_count"][slot])
    return np.arange(count - min(count, RING_RESULTS), count) % RING_RESULTS


def recent(columns: Columns, slot: int) -> Recent:
    """Copies of the recent results of one slot, oldest first."""
    places = order(columns, slot)
    time, digest, score, p_value, status, reason, flags = (columns[name][slot][places] for name in RESULT_FIELDS)
    alarm = (flags & ALARM_BIT) != 0
    return Recent(time, digest, score, p_value, status, reason, flags & ~np.uint16(ALARM_BIT), alarm)


# -- digests ---------------------------------------------------------------------------------------------------------

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF, _REST, _MARK = np.uint64(32), np.uint64(29), np.uint64(56)


@dataclass(frozen=True, slots=True)
class Prints:
    """What is remembered of the values of readings: `digest` (n,), `marks` (n, d) of sensors, 0 where missing."""

    digest: NDArray[np.uint64]
    marks: NDArray[np.uint8]


def digest_key(sensor: str) -> int:
    """Odd 64-bit multiplier of a sensor's values: digests do not depend on the order of sensors."""
    return int.from_bytes(hashlib.blake2b(sensor.encode(), digest_size=8).digest(), "little") | 1


def prints(x: Floats, missing: NDArray[np.bool_] | None, keys: NDArray[np.uint64]) -> Prints:
    """Prints of readings: `x` (n, d), `missing` (n, d) or None where nothing is, `keys` (d,).

    Equal values give equal digests whatever the order of sensors; 0.0 and -0.0 are equal, a missing value is as if
    its sensor were not there, which 0.0 is not.

    >>> keys = np.array([digest_key("flow"), digest_key("speed")], np.uint64)
    >>> found = prints(np.array([[0.0, np.nan], [-0.0, 0.0]]), np.array([[False, True], [False, False]]), keys)
    >>> alone = prints(np.array([[0.0]]), None, keys[:1])
    >>> bool(found.digest[0] == found.digest[1]), bool(found.digest[0] == alone.digest[0])
    (False, True)
    >>> (found.marks > 0).tolist()
    [[True, False], [True, True]]
    """
    bits = (x + 0.0).view(np.uint64)
    bits += _MIX  # the bits of 0.0 are zero and would stay so
    bits *= keys
    mixed = bits >> _HALF
    mixed ^= bits
    mixed *= _MIX
    np.right_shift(mixed, _REST, out=bits)
    mixed ^= bits
    marks = np.maximum(mixed >> _MARK, 1).astype(np.uint8)
    if missing is not None:
        mixed[missing] = 0
        marks[missing] = 0
    return Prints(mixed.sum(1, dtype=np.uint64), marks)
