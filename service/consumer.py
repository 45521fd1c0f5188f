"""The one consumer: takes all that is queued, makes one micro-batch of it, and answers it all.

    step -> append -> sync -> answer

Nothing is answered before it is safe. When that order breaks anywhere, the consumer answers no more: the process has to
end, and recovery is the one way back. Under load batches grow by themselves; idle, a reading is answered at once.
While the disk works, what came meanwhile is stepped and appended once it is as much as the disk has in hand: the two
then work side by side, and the next sync takes all of it. Whoever wants to look has it wait.
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

AHEAD_READINGS_MIN = 500  # that wait, from which they are stepped while the disk still works
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


@dataclass(frozen=True, slots=True)
class Step:
    """A step whose record is appended and not safe yet: who waits for which outcome, and the seconds that it took."""

    record: Record
    seconds: float = 0.0
    taken: Sequence[Waiting] = ()
    outcomes: Sequence[BodyOutcome] = ()

    @property
    def readings(self) -> int:
        return sum(body.received for body, _ in self.taken)


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
        self._looking = 0  # that wait until nothing stands between step and sync
        self._stepping = False  # in a thread
        self._unsafe: list[Step] = []
        self._syncing: asyncio.Task[None] | None = None
        self._in_hand = 0  # readings that are being synced, or will be next
        self._writing = asyncio.Lock()  # one step at a time

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
                if not self._may_step():
                    self._work.clear()
                    await self._work.wait()
                    continue
                await self._consume()
                await asyncio.sleep(0)  # let requests that came meanwhile be queued
            await self._safe()
        except BaseException as error:
            self.failure = self.failure or error
            self._fail_waiting()
            if self._syncing is not None:
                await asyncio.wait([self._syncing])
            raise

    def _may_step(self) -> bool:
        """Whether what waits is stepped now: at once where the disk rests, else if it is enough and nobody looks."""
        if self._syncing is None or not self._waiting:
            return bool(self._waiting)
        enough = self._readings >= max(self._in_hand, AHEAD_READINGS_MIN)
        return enough and not self._looking and self._readings + self._in_hand <= self.limits.batch_readings_max

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
        self._looking += 1
        try:
            while not self._settled.is_set():
                await self._settled.wait()
        finally:
            self._looking -= 1
        self.check()

    async def sweep(self) -> None:
        """Look for what is due by the clock; it becomes safe like any record."""
        async with self._writing:
            self.check()
            timer = asyncio.get_running_loop().time
            start, now, wall = timer(), self.clock.now(), self._wall.now()
            long = len(self.shard.waiting.machines) >= THREAD_POINTS_MIN
            record = await self._in_turn(long, partial(scoring.look, self.shard, now, wall))
            if record is None:
                self._settle()
                return
            self._append(Step(record, timer() - start))
            await self._safe()

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
                    self._append(Step(self.shard.record(kind, self.clock.now(), self._wall.now(), detail=detail)))
                await self._safe()
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

    async def _consume(self) -> None:
        """Step what waits, and append its record."""
        async with self._writing:
            self.check()  # a look for what is due may have failed
            taken = self._take()
            bodies = [body for body, _ in taken]
            timer = asyncio.get_running_loop().time
            try:
                start = timer()
                long = takes_long(bodies, self.shard.waiting.possible)
                now, wall = self.clock.now(), self._wall.now()
                stepped = await self._in_turn(long, partial(scoring.step, self.shard, bodies, now, wall))
                self.clock.observe(stepped.record.now)
                self._append(Step(stepped.record, timer() - start, taken, stepped.outcomes))
            except BaseException as error:
                _fail(taken, self.failure or error)
                raise

    async def _in_turn(self, long: bool, work: Callable[[], T]) -> T:
        """One step of the shard; a long one in a thread, so that probes and scrapes are answered meanwhile."""
        if not long:
            return work()
        self._settled.clear()  # nobody looks at the shard until this is safe
        self._stepping = True
        try:
            return await asyncio.to_thread(work)
        except BaseException as error:
            self.failure = error
            self._settled.set()
            raise
        finally:
            self._stepping = False

    def _append(self, step: Step) -> None:
        """Hand a record to the journal, which makes it safe as soon as the disk is free."""
        self._settled.clear()
        try:
            self.journal.append(step.record)
        except BaseException as error:
            self.failure = error
            self._settled.set()
            raise
        self._unsafe.append(step)
        self._in_hand += step.readings
        if self._syncing is None:
            self._syncing = asyncio.create_task(self._make_safe())

    async def _safe(self) -> None:
        """Return when all that was appended is safe; raises why it cannot be."""
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
        if self.failure is not None:
            raise self.failure

    async def _make_safe(self) -> None:
        """Sync and answer what was appended, all of it at a time, until nothing is left."""
        timer = asyncio.get_running_loop().time
        while self._unsafe and self.failure is None:
            steps, self._unsafe = self._unsafe, []
            start = timer()
            try:
                await self._sync()
            except BaseException as error:
                self.failure = self.failure or error
                self._unsafe = [*steps, *self._unsafe]
                break
            self._in_hand -= sum(step.readings for step in steps)
            self._answer(steps, timer() - start)
            if self._unsafe:
                self._work.set()  # more may be stepped meanwhile
        for step in self._unsafe:
            _fail(step.taken, self.failure)
        self._syncing = None
        self._settle()  # first whoever looks
        self._work.set()

    async def _sync(self) -> None:
        await self.journal.sync()

    def _answer(self, steps: Sequence[Step], sync_seconds: float) -> None:
        """Tell the outcomes of steps that are safe."""
        for step in steps:
            for (_, future), outcome in zip(step.taken, step.outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)
        for step in steps:
            record = step.record
            if step.taken or record.readings:
                now = record.received_at if self.clock.judges_future else record.now
                self.observe(BatchReport([body for body, _ in step.taken], record, now, step.seconds, sync_seconds))

    def _settle(self) -> None:
        """Let everybody look, where nothing stands between step and sync, and nothing will."""
        if self._syncing is None and not self._stepping:
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


def _fail(waiting: Sequence[Waiting], error: BaseException | None) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(Unavailable(f"the service could not make these readings safe and is ending: {error}"))
