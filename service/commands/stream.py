"""Readings of many machines in order of time, cut into bodies for POST /v1/readings, and when each is due."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from models.contract import MICROSECONDS, Floats, Ints
from service.ingest.times import time_texts

CELLS_MAX = 200_000  # in one body: about 4 MB of JSON
READINGS_MAX = 2_000  # in one body
FRAME_SECONDS = 0.1  # between two bodies where a speed is kept
WAIT_SECONDS_MAX = 0.5  # until the caller has its turn again, however far away the next reading is


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: `time` (n,) microseconds, increasing, `values` (n, d), NaN = missing."""

    equipment: str
    time: Ints
    values: Floats


@dataclass(slots=True)
class Stream:
    """The readings of `machines`, whose columns are `sensors`; `time` (n,) of all of them, in order."""

    sensors: tuple[str, ...]
    machines: Sequence[Machine]
    time: Ints = field(init=False)
    _owner: Ints = field(init=False)
    _row: Ints = field(init=False)

    def __post_init__(self) -> None:
        counts = [len(machine.time) for machine in self.machines]
        times = np.concatenate([np.empty(0, np.int64), *(machine.time for machine in self.machines)])
        order = np.argsort(times, kind="stable")
        self.time = times[order]
        self._owner = np.repeat(np.arange(len(counts)), counts)[order]
        self._row = np.concatenate([np.empty(0, np.int64), *map(np.arange, counts)])[order]

    def __len__(self) -> int:
        return len(self.time)

    @property
    def body_readings(self) -> int:
        """Readings that go into one body."""
        return max(min(READINGS_MAX, CELLS_MAX // max(len(self.sensors), 1)), 1)

    def body(self, part: slice) -> dict[str, Any]:
        """The readings at these places, as batches of one machine each."""
        owners, rows = self._owner[part], self._row[part]
        batches = []
        for owner in dict.fromkeys(owners.tolist()):
            machine, own = self.machines[owner], rows[owners == owner]
            batches.append(
                {
                    "equipment": machine.equipment,
                    "sensors": self.sensors,
                    "times": time_texts(machine.time[own]),
                    "values": machine.values[own].tolist(),  # NaN is written as null
                }
            )
        return {"batches": batches}


class Wall(Protocol):
    """Time that passes while one waits."""

    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class RealWall:
    """The computer's own."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def due(stream: Stream, speed: float, wall: Wall) -> Iterator[slice]:
    """Places of the readings to send next, when they are due at `speed` times real speed; 0: at once.

    Where the next reading is far away an empty slice comes now and then, so that the caller can look after other
    things. Where the caller takes too long, bodies grow and follow each other without a pause.
    """
    sent, begun, total = 0, wall.now(), len(stream)
    while sent < total:
        until = total
        if speed:
            passed = (wall.now() - begun) * speed * MICROSECONDS
            until = int(np.searchsorted(stream.time, stream.time[0] + passed, side="right"))
        stop = min(until, sent + stream.body_readings)
        yield slice(sent, stop)
        sent = stop
        if sent == until < total:
            ahead = float(stream.time[sent] - stream.time[0]) / MICROSECONDS / speed - (wall.now() - begun)
            wall.sleep(min(max(ahead, FRAME_SECONDS), WAIT_SECONDS_MAX))
