"""The one consumer: takes all that is queued, makes one micro-batch of it, and answers it all.

    step -> append -> sync -> answer

Nothing is answered before it is safe. When that order breaks anywhere, the consumer answers no more: the process has to
end, and recovery is the one way back. Under load batches grow by themselves; idle, a reading is answered at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from service import scoring
from service.clock import Clock, WallClock
from service.configuration import Change
from service.errors import QueueFull, Stopping, Unavailable
from service.ingest.batch import Body
from service.journal import Journal
from service.outcome import BodyOutcome
from service.records import Record
from service.settings import default
from service.shard import Shard

THREAD_CELLS_MIN = 400_000  # values of a micro-batch from which it is stepped off the event loop
THREAD_WAVES_MIN = 1_000  # readings of one machine in it, likewise: they are stepped one after the other
THREAD_POINTS_MIN = 500  # readings that may have to wait, or machines of which something waits, likewise
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Bounds of the queue and of one micro-batch, in readings (a batch holds one body at least)."""

    queue_readings_max: int = default("queue_readings_max")
    batch_readings_max: int = default("batch_readings_max")


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one micro-batch took, for the metrics: seconds to score, and seconds to make it safe. `now` is what the ages
    of its readings are told by: the wall's time, or where the clock follows the readings, that."""

    bodies: list[Body]
    record: Record
    now: int
    step_seconds: float
    sync_seconds: float


Waiting = tuple[Body, "asyncio.Future[BodyOutcome]"]


class Consumer:
    """Queue in front of a shard. `observe` is called after every micro-batch, with what it took."""

    def __init__(
        self,
        shard: Shard,
        journal: Journal,
        clock: Clock,
        limits: QueueLimits | None = None,
        observe: Callable[[BatchReport], None] = lambda report: None,
        wall: WallClock | None = None,
    ) -> None:
        self.shard, self.journal, self.clock = shard, journal, clock
        self.limits = limits or QueueLimits()
        self.observe = observe
        self._wall = wall or WallClock()  # when records came in, whatever the data says
        self.failure: BaseException | None = None
        self._waiting: deque[Waiting] = deque()
        self._readings = 0
        self._work = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._stopping = False
        self._writing = asyncio.Lock()  # one record at a time between step and sync

    @property
    def queued_readings(self) -> int:
        """Readings that wait, those of the micro-batch under way not counted."""
        return self._readings

    async def submit(self, body: Body) -> BodyOutcome:
        """Queue a body and wait for its outcome. QueueFull where there is no room, Stopping after `stop`."""
        self.check()
        if self._stopping:
            raise Stopping("the service is stopping and takes no more readings")
        limit = self.limits.queue_readings_max
        if self._readings + body.received > limit and self._waiting:
            raise QueueFull(f"{self._readings} readings wait to be scored; expected at most {limit}: send again later")
        future: asyncio.Future[BodyOutcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, future))
        self._readings += body.received
        self._work.set()
        return await future

    async def run(self) -> None:
        """Consume until `stop` was called and nothing waits; raises what broke the order."""
        try:
            while self._waiting or not self._stopping:
                if self.failure is not None:
                    raise self.failure
                if not self._waiting:
                    self._work.clear()
                    await self._work.wait()
                    continue
                await self._consume(self._take())
                await asyncio.sleep(0)  # let requests that came meanwhile be queued
        except BaseException as error:
            self.failure = self.failure or error
            self._fail_waiting()
            raise

    def check(self) -> None:
        """Unavailable after something broke the order."""
        if self.failure is not None:
            raise Unavailable("the service could not make its last readings safe and is ending")

    def stop(self) -> None:
        """Take no more bodies; `run` returns when those that wait are answered."""
        self._stopping = True
        self._work.set()

    async def settled(self) -> None:
        """Return when nothing stands between step and sync: what is read then, is safe. Unavailable where it is not."""
        await self._settled.wait()
        self.check()

    async def sweep(self) -> None:
        """Look for what is due by the clock; it becomes safe like any record."""
        async with self._writing:
            self.check()
            timer = asyncio.get_running_loop().time
            start, now, wall = timer(), self.clock.now(), self._wall.now()
            long = len(self.shard.waiting.machines) >= THREAD_POINTS_MIN
            record = await self._in_turn(long, partial(scoring.look, self.shard, now, wall))
            middle = timer()
            if record is None:
                self._settled.set()
                return
            await self._make_safe(record)
        if record.readings:
            told = wall if self.clock.judges_future else now
            self.observe(BatchReport([], record, told, middle - start, timer() - middle))

    async def tell(self, changes: Iterable[Change], then: Callable[[], None] = lambda: None) -> None:
        """Make records of changes beside readings safe, in order with them, and call `then` before the next reading is
        scored. Stopping after `stop`; Unavailable where they could not be made safe: the process ends. A caller that
        goes away interrupts nothing."""
        if self._stopping:
            raise Stopping("the service is stopping and changes nothing more")
        await asyncio.shield(asyncio.ensure_future(self._tell(changes, then)))

    async def _tell(self, changes: Iterable[Change], then: Callable[[], None]) -> None:
        async with self._writing:
            self.check()
            try:
                for kind, detail in changes:
                    await self._make_safe(self.shard.record(kind, self.clock.now(), self._wall.now(), detail=detail))
            except Exception as error:
                self._work.set()  # `run` raises it
                raise Unavailable(f"the service could not make this change safe and is ending: {error}") from error
            then()

    def _take(self) -> list[Waiting]:
        """What goes into the next micro-batch."""
        taken: list[Waiting] = []
        readings = 0
        while self._waiting:
            following = self._waiting[0][0].received
            if taken and readings + following > self.limits.batch_readings_max:
                break
            taken.append(self._waiting.popleft())
            readings += following
        self._readings -= readings
        return taken

    async def _consume(self, taken: list[Waiting]) -> None:
        bodies = [body for body, _ in taken]
        timer = asyncio.get_running_loop().time
        try:
            async with self._writing:
                self.check()  # a look for silent machines may have failed
                start = timer()
                long = takes_long(bodies, self.shard.waiting.possible)
                now, wall = self.clock.now(), self._wall.now()
                stepped = await self._in_turn(long, partial(scoring.step, self.shard, bodies, now, wall))
                self.clock.observe(stepped.record.now)
                middle = timer()
                await self._make_safe(stepped.record)
        except BaseException as error:
            _fail(taken, self.failure or error)
            raise
        for (_, future), outcome in zip(taken, stepped.outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)
        now = stepped.record.received_at if self.clock.judges_future else stepped.record.now
        self.observe(BatchReport(bodies, stepped.record, now, middle - start, timer() - middle))

    async def _in_turn(self, long: bool, work: Callable[[], T]) -> T:
        """One step of the shard; a long one in a thread, so that probes and scrapes are answered meanwhile."""
        if not long:
            return work()
        self._settled.clear()  # nobody looks at the shard until this is safe
        try:
            return await asyncio.to_thread(work)
        except BaseException as error:
            self.failure = error
            self._settled.set()
            raise

    async def _make_safe(self, record: Record) -> None:
        self._settled.clear()
        try:
            self.journal.append(record)
            await self.journal.sync()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self._settled.set()

    def _fail_waiting(self) -> None:
        _fail(list(self._waiting), self.failure)
        self._waiting.clear()
        self._readings = 0


def takes_long(bodies: Sequence[Body], waiting: bool = False) -> bool:
    """Whether a step of the shard would hold up the event loop; `waiting`: its readings may have to wait."""
    batches = [batch for body in bodies for batch in body.batches]
    if sum(batch.values.size for batch in batches) >= THREAD_CELLS_MIN:
        return True
    readings = sum(batch.readings for batch in batches)
    if waiting and readings >= THREAD_POINTS_MIN:
        return True
    if readings < THREAD_WAVES_MIN:
        return False
    waves: Counter[str] = Counter()
    for batch in batches:
        for equipment, count in zip(batch.equipment, batch.counts, strict=True):
            waves[equipment] += count
    return max(waves.values()) >= THREAD_WAVES_MIN


def _fail(waiting: list[Waiting], error: BaseException | None) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(Unavailable(f"the service could not make these readings safe and is ending: {error}"))
