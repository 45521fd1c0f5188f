"""What a service says and keeps, in the words of `plain_service.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from models.artifact import LoadedModel
from service import recovery
from service.journal import Unjournaled
from service.outcome import BodyOutcome
from service.records import Record, decode, encode
from service.ring import ALARM_BIT
from service.shard import Shard
from service.status import REASON_NAMES, STATUS_NAMES, flag_names
from tests.service import fleet
from tests.service.plain_service import Answer, Reading
from tests.service.plain_time import Values


class Journal(Unjournaled):
    """Records as they are read back."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[Record, bytes]] = []

    def append(self, record: Record) -> int:
        self.written.append((record, encode(record)))
        return super().append(record)

    def read(self, first: int = 1) -> Iterator[Record]:
        for record, payload in self.written[first - 1 :]:
            yield decode(record.kind, record.shard, record.sequence, record.received_at, payload)

    def first_sequence(self) -> int | None:
        return 1


def as_columns(sent: list[Reading]) -> dict[str, Any]:
    """Readings of one machine and the same sensors, as a body in columns."""
    rows = [[np.nan if value is None else value for value in found.values()] for _, _, found in sent]
    name, _, first = sent[0]
    return fleet.in_columns(name, list(first), np.array([time for _, time, _ in sent]), np.array(rows))


def number(value: float) -> float | None:
    return None if value != value else value


def answers(outcome: BodyOutcome) -> list[Answer]:
    """What is told of the readings of a body."""
    columns = [getattr(outcome, name).tolist() for name in ("status", "reason", "flags", "score", "p_value", "alarm")]
    return [answer(*row) for row in zip(*columns, strict=True)]


def answer(status: int, reason: int, flags: int, score: float, p_value: float, alarm: bool) -> Answer:
    names = frozenset(flag_names(flags))
    return Answer(STATUS_NAMES[status], REASON_NAMES[reason], names, number(score), number(p_value), alarm)


def ticks_of(record: Record, names: list[str], models: dict[str, LoadedModel]) -> list[tuple[str, int, Values, Answer]]:
    """The ticks of a record, by machine and time."""
    found = []
    for part in record.readings:
        sensors = models[part.artifact_id].detector.sensors
        columns = (part.slot, part.time, part.values, part.status, part.reason, part.flags, part.score, part.p_value)
        for slot, time, row, status, reason, flags, score, p_value in zip(*(c.tolist() for c in columns), strict=True):
            told = answer(status, reason, flags & ~ALARM_BIT, score, p_value, bool(flags & ALARM_BIT))
            found.append((names[slot], time, dict(zip(sensors, map(number, row), strict=True)), told))
    return sorted(found, key=lambda tick: tick[:2])


def state(shard: Shard) -> dict[str, Any]:
    """All that a shard keeps, but what only this process knows."""
    captured = recovery.capture(shard)
    arrays = {name: array.tobytes() for name, array in captured.arrays.items()}
    del arrays["equipment.generation"]
    return {"header": captured.header, **arrays}
