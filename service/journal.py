"""Where a micro-batch is made durable: step -> append -> sync -> answer.

Nothing outside this file may know how a journal stores. `Unjournaled` only numbers the records, so that sequences (and
the alarm ids made from them) exist from the first version on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.contract import Floats
from service.alarms import Alarm


@dataclass(frozen=True, slots=True)
class ModelReadings:
    """Admitted readings of one model, in wave order, and what came of them."""

    artifact_id: str
    slot: NDArray[np.intp]  # (n,) of the equipment
    time: NDArray[np.int64]  # (n,)
    values: Floats  # (n, d) sensors of the model, NaN = missing
    status: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    flags: NDArray[np.uint16]
    score: NDArray[np.float32]
    p_value: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Record:
    """What one step of the shard admitted, and the alarms that it opened or closed.

    `kind` is "readings" for a micro-batch, "event" for what the clock brings about (silent equipment)."""

    kind: str
    shard: int
    sequence: int
    received_at: int
    readings: Sequence[ModelReadings]
    alarms: Sequence[Alarm]


class Journal(Protocol):
    """Append-only store of records."""

    @property
    def next_sequence(self) -> int:
        """Sequence that the next record will get."""
        ...

    def append(self, record: Record) -> int:
        """Hand a record over; returns its sequence. It is safe only after `sync`."""
        ...

    async def sync(self) -> None:
        """Return when all that was appended would survive a crash; raise when that cannot be had."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...


class Unjournaled:
    """Numbers records and keeps none of them: after a crash, the last snapshot is all there is."""

    def __init__(self, next_sequence: int = 1) -> None:
        self._next = next_sequence

    @property
    def next_sequence(self) -> int:
        return self._next

    def append(self, record: Record) -> int:
        if record.sequence != self._next:
            raise ValueError(f"record has sequence {record.sequence}; expected {self._next}: records go in one order")
        self._next += 1
        return record.sequence

    async def sync(self) -> None:
        return

    def close(self) -> None:
        return
