"""A consumer at work on a disk that waits until it is let go, and fails where it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from service.clock import EventClock
from service.consumer import BatchReport, Consumer, QueueLimits
from service.journal import Unjournaled
from service.outcome import BodyOutcome
from service.records import Record
from tests.service import fleet
from tests.service.fleet import body, in_columns, normal, play, seconds

MODEL = fleet.model()
X = normal(MODEL.detector, 3, 50)


class Disk(Unjournaled):
    """A journal whose `sync` waits until it is let go, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[Record] = []
        self.free = asyncio.Event()
        self.syncing = asyncio.Event()
        self.fails: str = ""

    def append(self, record: Record) -> int:
        if self.fails == "append":
            raise OSError(28, "No space left on device")
        self.appended.append(record)
        return super().append(record)

    async def sync(self) -> None:
        self.syncing.set()
        await self.free.wait()
        if self.fails == "sync":
            raise OSError(5, "Input/output error")


class Bench:
    """A consumer at work, and what it reported."""

    def __init__(self, limits: QueueLimits | None = None, clock: Any = None) -> None:
        self.disk, self.reports = Disk(), list[BatchReport]()
        self.shard = fleet.shard(MODEL)
        self.consumer = Consumer(self.shard, self.disk, clock or EventClock(), limits, self.reports.append)
        self.running = asyncio.create_task(self.consumer.run())

    def post(self, equipment: str, first: int, count: int) -> asyncio.Task[BodyOutcome]:
        columns = in_columns(equipment, MODEL.detector.sensors, seconds(first, count), X[first : first + count])
        return asyncio.create_task(self.consumer.submit(body(columns)))

    async def end(self) -> None:
        self.disk.free.set()
        self.consumer.stop()
        await self.running


def played(scenario: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """A test of a coroutine."""

    def test() -> None:
        play(scenario)

    test.__name__ = scenario.__name__
    return test


async def idle() -> None:
    """Let everybody do what can be done now."""
    for _ in range(10):
        await asyncio.sleep(0)
