"""The parts of one service process, and the order in which they start and stop.

    start: models -> newest snapshot -> journal after it -> consumer -> looks for silence, snapshots now and then
    stop:  take no more -> answer what waits -> snapshot

The start loads in a thread: meanwhile the event loop answers that the service is not ready, and how far it is.

Where the consumer fails, nothing is answered any more and `on_failure` is called: the process has to end, without a
snapshot of what may not be safe.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from models.contract import MICROSECONDS
from service import announce, free_space, recovery, snapshot
from service.align import NEVER
from service.assembly import Window
from service.body import InFlight
from service.clock import Clock, EventClock, SteadyClock, WallClock, make_clock
from service.configuration import Change, changes, configured
from service.consumer import BatchReport, Consumer, QueueLimits
from service.errors import NotReady, Stopping, Unavailable
from service.followers.store import Place
from service.followers.supervisor import Supervisor
from service.free_space import FreeSpace
from service.ingest.batch import Limits
from service.journal import Journal, SqliteJournal, Unjournaled
from service.limits import ShardLimits
from service.metrics import Metrics
from service.progress import Abandoned, Progress
from service.registry import Registry, RegistryLimits, Routing, View
from service.scrub import scrub
from service.settings import JOURNAL, MODELS, SNAPSHOTS, Settings
from service.shard import Shard
from service.thread import in_daemon

RECORD_READINGS = 20  # to replay a record takes as long as so many of its readings

log = logging.getLogger("limen")
DAY = 86_400 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service consists of once it runs."""

    registry: Registry
    shard: Shard
    clock: Clock
    consumer: Consumer


@dataclass(slots=True)
class Service:
    """All that the routes use. Made before the event loop runs; `start` and `stop` run in it."""

    settings: Settings
    prometheus: CollectorRegistry = field(default_factory=CollectorRegistry)
    on_failure: Callable[[], None] = lambda: None
    on_ready: Callable[[], None] = lambda: None
    limits: Limits = field(init=False)
    in_flight: InFlight = field(init=False)
    metrics: Metrics = field(init=False)
    followers: Supervisor = field(init=False)
    space: FreeSpace = field(init=False)
    changing_models: asyncio.Lock = field(default_factory=asyncio.Lock)
    progress: Progress = field(default_factory=Progress)
    _starting: asyncio.Task[None] | None = None
    _loaded: tuple[Registry, Shard, Clock, Journal] | None = None
    _parts: Parts | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _covered: int = 0  # by the snapshot of the start: records before that one
    _readings_since_snapshot: int = 0
    _snapshot_due: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        given = self.settings
        self.limits = Limits(
            readings=given.body_readings_max,
            sensors=given.sensors_max,
            sensor_sets=given.body_sensor_sets_max,
            equipment_id_characters=given.equipment_id_characters_max,
            sensor_name_characters=given.sensor_name_characters_max,
        )
        self.in_flight = InFlight(given.in_flight_bytes_max)
        self.metrics = Metrics(self.prometheus, given.drift_sensors_max)
        self.followers = Supervisor(given)
        self.space = FreeSpace(given.data_dir, given.disk_free_bytes_min)

    @property
    def running(self) -> bool:
        """Whether the start is complete."""
        return self._parts is not None

    @property
    def registry(self) -> Registry:
        return self._started().registry

    @property
    def shard(self) -> Shard:
        return self._started().shard

    @property
    def consumer(self) -> Consumer:
        return self._started().consumer

    @property
    def clock(self) -> Clock:
        return self._started().clock

    @property
    def snapshots(self) -> Path:
        """Folder of the snapshots."""
        return self.settings.data_dir / SNAPSHOTS

    async def measure(self) -> None:
        """What the disk has, and how far the followers are behind, for the metrics."""
        self.metrics.disk_free = self.space.free
        if self.followers.names:
            places = await asyncio.to_thread(self.followers.places)
            last, now = self.consumer.journal.next_sequence - 1, self.clock.now()
            self.metrics.lags = {
                name: (max(last - p.position, 0), _behind(p, now) if p.position < last else 0.0)
                for name, p in places.items()
            }

    def check_ready(self) -> None:
        """Raises NotReady, Stopping, LowSpace or Unavailable where readings would not be scored now."""
        if self._stopping.is_set():
            raise Stopping("the service is stopping")
        self.consumer.check()
        self.space.check()

    def load(self) -> None:
        """Read models and state from the data folder, once.

        ModelError, RegistryError, JournalError or RecordError where what is there cannot be used."""
        if self._loaded is None:
            self._loaded = self._load()

    def begin(self) -> None:
        """Start while the event loop goes on; `on_ready` is called in the end, or `on_failure`."""
        self._starting = asyncio.create_task(self._start())

    async def started(self) -> None:
        """Return when the start is complete; raises why it cannot be."""
        assert self._starting is not None
        await asyncio.shield(self._starting)

    def check_started(self) -> None:
        """Raises what the start failed by; nothing where it did not fail, or was given up for a stop."""
        starting = self._starting
        if starting and starting.done() and (error := starting.exception()) and not isinstance(error, Abandoned):
            raise error

    async def _start(self) -> None:
        try:
            await in_daemon(self.load)
            await self._consume()
        except Abandoned:
            raise
        except BaseException:
            self.on_failure()
            raise
        self.progress.phase = "ready"
        self.on_ready()

    async def _consume(self) -> None:
        assert self._loaded is not None
        registry, shard, clock, journal = self._loaded
        await asyncio.to_thread(self.space.look)
        limits = QueueLimits(self.settings.queue_readings_max, self.settings.batch_readings_max)
        consumer = Consumer(shard, journal, clock, limits, self._observe)
        self.metrics.follow(shard, lambda: consumer.queued_readings, lambda: registry.view.active)
        self._parts = Parts(registry, shard, clock, consumer)
        with suppress(Unavailable):  # the consumer then ends at once, and the process with it
            await consumer.tell(self._changes(registry.view))
        following = [self.followers.keep(name, self._stopping) for name in self.followers.names]
        keeping = (self._keep_looking(), self._keep_saving(), self._keep_room(), self._scrub())
        for work in (consumer.run(), *keeping, *following):
            task = asyncio.create_task(work)
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        """Answer what waits, then save a snapshot; `on_failure` where it cannot be saved."""
        self._stopping.set()
        self.progress.stopping.set()
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self._parts is None:
            return
        consuming, *others = self._tasks
        await asyncio.gather(*others, return_exceptions=True)  # a snapshot under way is finished, not left to a thread
        self.consumer.stop()
        await asyncio.gather(consuming, return_exceptions=True)
        try:
            if self.consumer.failure is None:
                await self.save()
        except Exception as error:
            told = None if isinstance(error, OSError) else error  # a defect, and its place matters
            log.critical("no snapshot could be saved: %s", error, exc_info=told)
            self.on_failure()
        finally:
            await asyncio.to_thread(self.consumer.journal.close)

    async def save(self) -> None:
        """Write a snapshot: copied between two micro-batches, written in a thread."""
        await asyncio.to_thread(recovery.make_room, self.shard)
        await self.consumer.settled()
        captured = recovery.capture(self.shard)
        self._readings_since_snapshot = 0  # of one that fails, too: the next one is not tried at once
        path = await asyncio.to_thread(snapshot.write, self.snapshots, captured, self.settings.snapshots_kept)
        log.info("saved %s with %d machines", path.name, captured.header.equipment)
        try:
            await asyncio.to_thread(self._prune)
        except Exception as error:  # the snapshot is safe all the same
            log.error("no records could be removed from the journal: %s", error)

    def _prune(self) -> None:
        """Remove the oldest records that no kept snapshot needs: those over the bound of age, and as far as the journal
        is over that of its bytes."""
        journal, bytes_max = self.consumer.journal, self.settings.journal_bytes_max
        oldest = min(snapshot.sequence_of(path) for path in snapshot.paths(self.snapshots))
        unread = [place.position + 1 for place in self.followers.places().values()]
        aged = journal.sequence_at(WallClock().now() - self.settings.journal_days_max * DAY)
        if removed := journal.prune(min([oldest, aged, *unread]), 0):
            log.info("removed %d records from the journal, which are older than journal_days_max", removed)
        if journal.bytes_used() > bytes_max:
            removed = journal.prune(min([oldest, *unread]), bytes_max)
            removed += journal.prune(oldest, bytes_max)  # the bound goes before followers
            log.info("removed %d records from the journal, which is over journal_bytes_max", removed)

    async def show_models(self, view: View) -> None:
        """Serve by another view of the registry, once the journal says so: readings before that record are scored by
        the old one, those after it by the new one."""

        def show() -> None:
            self.registry.show(view)
            self.shard.models_changed()

        await self.consumer.tell(self._changes(view), show)

    def _changes(self, view: View) -> list[Change]:
        """Where the configuration differs from what the journal says."""
        now = configured(self.settings, view, snapshot.engine_id())
        return list(changes(self.shard.configuration, now))

    def _load(self) -> tuple[Registry, Shard, Clock, Journal]:
        given = self.settings
        routing = Routing(given.model_assignments, given.model_patterns, given.model_default)
        bounds = RegistryLimits(given.model_inflated_bytes_max, given.models_max, given.model_versions_max)
        registry = Registry(given.data_dir / MODELS, routing, bounds)
        if given.model is not None:
            before, view = registry.default, registry.installation(given.model)
            registry.show(view)
            announce.made_default(view.index.default, before, registry.default)
        journal = self._opened_journal()
        try:
            shard, clock = self._recovered(registry, journal)
        except BaseException:
            journal.close()
            raise
        for note in registry.notes:
            log.warning("%s", note)
        announce.started(given, registry, len(shard))
        return registry, shard, clock, journal

    def _opened_journal(self) -> Journal:
        if not self.settings.journal:
            return Unjournaled()
        return SqliteJournal(self.settings.data_dir / JOURNAL, engine=snapshot.engine_id())

    def _recovered(self, registry: Registry, journal: Journal) -> tuple[Shard, Clock]:
        given = self.settings
        clock = make_clock(given.clock)
        shard = Shard(
            registry.resolve,
            ShardLimits(
                equipment_max=given.equipment_max,
                future=int(given.future_seconds_max * MICROSECONDS) if clock.judges_future else None,
                historical=int(given.historical_seconds * MICROSECONDS),
                time_source=given.time_source,
                sources_max=given.sources_max,
                silent_intervals=given.silent_intervals,
                window=Window(int(given.reorder_seconds * MICROSECONDS), given.held_ticks_max),
                join=tuple(given.join),
                join_age=int(given.join_age_seconds * MICROSECONDS),
                alarms_closed_max=given.alarms_closed_max,
                warnings_max=given.warnings_per_body_max,
            ),
        )
        self.progress.enter("snapshot")
        path, notes = recovery.recover(shard, self.snapshots, registry.model_of)
        for note in notes:
            log.warning("%s", note)
        if path is not None:
            log.info("restored %d machines from %s", len(shard), path.name)
        self._covered = shard.sequence
        self.progress.enter("replay", journal.next_sequence - shard.sequence)
        if replayed := recovery.catch_up(shard, journal, registry.model_of, self.progress.replayed):
            log.info("replayed %d readings from the journal", replayed)
        go_on(clock, shard)
        return shard, clock

    def _observe(self, report: BatchReport) -> None:
        self.metrics.observe_scoring(report.step_seconds)
        self.metrics.observe_sync(report.sync_seconds)
        admitted = sum(len(readings.time) for readings in report.record.readings)
        held = sum(len(points.time) for points in report.record.held)
        self._readings_since_snapshot += RECORD_READINGS + admitted + held
        if self._readings_since_snapshot >= self.settings.snapshot_readings_max:
            self._snapshot_due.set()
        self.metrics.observe_readings(report.record.readings, report.now)

    async def _keep_saving(self) -> None:
        """Snapshots now and then; one that fails is told, and the next one is tried."""
        while await self._goes_on_after(self.settings.snapshot_seconds, self._snapshot_due):
            self._snapshot_due.clear()
            try:
                await self.save()
            except Unavailable:
                raise  # the process is ending
            except Exception as error:
                told = None if isinstance(error, OSError) else error
                log.error("no snapshot could be saved: %s", error, exc_info=told)

    async def _keep_looking(self) -> None:
        """Looks for what is due by the clock: ticks that waited, and machines that fell silent. A look that left some
        is followed by the next one at once; readings that came meanwhile are taken between them."""
        while await self._goes_on_after(0.0 if self.shard.waiting.room.more else self.settings.look_seconds):
            await self.consumer.sweep()

    async def _keep_room(self) -> None:
        """Looks at the free space."""
        while await self._goes_on_after(free_space.LOOK_SECONDS):
            await asyncio.to_thread(self.space.look)

    async def _scrub(self) -> None:
        """Looks at the records that the start did not read."""
        if self.settings.journal:
            work = partial(scrub, self.settings.data_dir / JOURNAL, self._covered, self.progress.stopping)
            self.metrics.journal_damaged = await in_daemon(work)

    async def _goes_on_after(self, seconds: float, sooner: asyncio.Event | None = None) -> bool:
        """Wait, or until `sooner` is set; false, at once, when the service stops."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._stopping, sooner) if event]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not self._stopping.is_set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            told = None if isinstance(error, (OSError, Unavailable)) else error
            log.critical("the service cannot go on: %s", error, exc_info=told)
            self.on_failure()

    def _started(self) -> Parts:
        if self._parts is None:
            raise NotReady(self.progress.sentence(), self.progress.details())
        return self._parts


def _behind(place: Place, now: int) -> float | None:
    """Seconds since a follower's last record; None where it has not read any.

    >>> _behind(Place(), 5_000_000), _behind(Place(7, 3_000_000), 5_000_000)
    (None, 2.0)
    """
    return max(now - place.now, 0) / MICROSECONDS if place.position else None


def go_on(clock: Clock, shard: Shard) -> None:
    """Let a clock go on from what it said when the machines were last heard."""
    last, heard = (shard.columns[name][: len(shard)] for name in ("last_time", "heard"))
    known = (heard != NEVER) & (clock.name == shard.configuration.settings.get("clock"))  # by a clock of its kind
    newest = int(heard[known].max(initial=0))
    if isinstance(clock, EventClock):
        clock.observe(max(newest, int(last[last != NEVER].max(initial=0))))
    if isinstance(clock, SteadyClock):
        clock.go_on_from(newest)
        shard.hear_all(clock.now())
