"""Mistakes that a service could make with what waits, to be planted from outside as those of `tests/planted.py` are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from service import recovery, replay
from service.entry import Meeting
from service.records import ModelReadings, Record
from service.settings import load
from service.shard import Shard
from service.snapshot import Snapshot
from tests.planted import Patch


def waiting_not_in_snapshots(patch: Patch) -> None:
    """A snapshot keeps nothing that waits, and does not say that anything did: else it is refused."""
    capture = recovery.capture

    def captured(of: Shard) -> Snapshot:
        found = capture(of)
        arrays = {name: array for name, array in found.arrays.items() if name != "waiting"}
        arrays["equipment.waits"] = np.zeros_like(arrays["equipment.waits"])
        return replace(found, arrays=arrays)

    patch(recovery, "capture", captured)


def held_points_not_recorded(patch: Patch) -> None:
    """The record of a micro-batch has what was scored and nothing that waits."""
    patch(Meeting, "points", lambda self: None)


def closed_ticks_wait_again(patch: Patch) -> None:
    """A replay scores the ticks that were closed and lets them wait on."""
    patch(replay, "_close_again", lambda shard, readings: None)


def closed_ticks_scored_again(patch: Patch) -> None:
    """After a start, the ticks of the last record are scored a second time, with the next readings."""
    groups, record = recovery.groups, Shard.record
    last: list[ModelReadings] = []

    def remembered(records: Iterable[Record]) -> Iterator[list[Record]]:
        for group in groups(records):
            last[:] = next((found.readings for found in reversed(group) if found.readings), last)
            yield group

    def recorded(
        self: Shard, kind: str, now: int, received_at: int | None, readings: Any = (), *given: Any, **named: Any
    ) -> Record:
        again = [*last, *readings] if kind == "readings" and readings and self.sequence > 1 else readings
        if again is not readings:
            last.clear()
        return record(self, kind, now, received_at, again, *given, **named)

    patch(recovery, "groups", remembered)
    patch(Shard, "record", recorded)


PLANTED_WAITING: dict[str, Callable[[Patch], None]] = {
    bug.__name__: bug
    for bug in (
        waiting_not_in_snapshots,
        held_points_not_recorded,
        closed_ticks_wait_again,
        closed_ticks_scored_again,
    )
}


def program(name: str) -> str:
    """Python text of a service process with a mistake."""
    return f"from service.commands.tether import hold; hold(); from tests.planted_waiting import serve; serve({name!r})"


def serve(name: str) -> None:
    """Serve with a mistake until told to stop."""
    import service.serve

    PLANTED_WAITING[name](setattr)
    raise SystemExit(service.serve.serve(load()))
