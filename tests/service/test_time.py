"""Late, early, repeated, partial and contradicting readings, silence, clocks and crashes: the service beside a plain
model."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from models.artifact import LoadedModel
from models.manifest import Sensor
from service import recovery, scoring
from service.assembly import Window
from service.clock import Clock, EventClock
from service.lifecycle import go_on
from service.limits import ShardLimits
from service.records import Record
from service.replay import replay
from service.shard import Shard
from tests.service import fleet
from tests.service.fleet import SECOND, START
from tests.service.observed import Journal, answers, as_columns, state, ticks_of
from tests.service.plain_alarms import PlainAlarm
from tests.service.plain_service import PlainService, Reading
from tests.service.plain_time import Values
from tests.service.test_clock import Computer


def model(name: str, seed: int, tolerance: float, holds: dict[str, int]) -> LoadedModel:
    """A model of these sensors, for how many seconds their values are held, and how evenly they come; values that do
    not change are normal."""
    found = fleet.model(name, seed, len(holds))
    sensors = tuple(Sensor(sensor, "", 0.0, 1.0, False, 0.01, hold * SECOND) for sensor, hold in holds.items())
    manifest = msgspec.structs.replace(found.manifest, sensors=sensors, tolerance=tolerance)
    scoring = replace(found.detector.scoring, combine=np.float32(64))
    return replace(found, manifest=manifest, detector=replace(found.detector, sensors=tuple(holds), scoring=scoring))


WIDE = model("pumps", 0, 0.5, {"sensor-0": 5, "sensor-1": 0, "sensor-2": 8})
NARROW = model("presses", 1, 2.0, {"sensor-2": 2, "sensor-0": 8})
MODELS = WIDE, NARROW
BY_ID = {model.artifact_id: model for model in MODELS}
SENSORS = WIDE.detector.sensors
SOURCES = {"exact": "event", "drifting": "offset", "hasty": "offset", "sleepy": "arrival"}
FUTURE = 300 * SECOND
LIMITS = ShardLimits(
    future=FUTURE, historical=20 * SECOND, time_source=SOURCES, sources_max=2, silent_intervals=4, join=("j*",)
)  # fmt: skip

times = st.integers(-6, 14).map(lambda half: half * SECOND // 2)  # around the newest, in half ticks
values = st.dictionaries(st.sampled_from(SENSORS), st.sampled_from([0.0, 1.0, None]), min_size=1)
whole = st.fixed_dictionaries({name: st.sampled_from([0.0, 1.0]) for name in SENSORS})
machines = st.integers(0, 1)


class Service(RuleBasedStateMachine):
    """Two machines: of one whose name begins with a j, the sensors come apart."""

    names = ("whole", "joined")
    limits = replace(LIMITS, window=Window(2 * SECOND), join_age=3 * SECOND)

    def __init__(self) -> None:
        super().__init__()
        self.model = WIDE
        self.computer, self.journal = Computer(), Journal()
        self.shard = self.empty()
        self.clock = self.started()
        detail = {"settings": {"clock": "wall" if self.clock.judges_future else "event"}, "changed": {}}
        self.journal.append(self.shard.record("settings", START, START, detail=detail))
        self.snapshot = recovery.capture(self.shard)
        self.plain = PlainService(self.limits, list(self.names), self.clock.now())
        self.sent: list[tuple[str, list[Reading]]] = []
        self.crashed = False

    def empty(self) -> Shard:
        return Shard(lambda equipment: self.model, self.limits)

    def started(self) -> Clock:
        """The clock of a service that starts."""
        return EventClock() if self.limits.future is None else self.computer.clock()

    def newest(self, machine: int) -> tuple[str, int]:
        """The name of a machine, and the newest time that was taken in from it."""
        name = self.names[machine]
        return name, self.plain.machines[name].newest or START

    # -- what is sent ------------------------------------------------------------------------------------------------

    @rule(machine=machines, sent=st.lists(st.tuples(times, values | whole), min_size=1, max_size=4))
    def readings(self, machine: int, sent: list[tuple[int, Values]]) -> None:
        """A body in rows around the newest time."""
        name, newest = self.newest(machine)
        self.post([("", [(name, newest + offset, found) for offset, found in sent])])

    @rule(bodies=st.lists(st.lists(st.tuples(machines, times, values | whole), min_size=1, max_size=4), max_size=3))
    def of_both(self, bodies: list[list[tuple[int, int, Values]]]) -> None:
        """Bodies of both machines in one micro-batch."""
        newest = [self.newest(machine) for machine in (0, 1)]
        self.post(
            [("", [(newest[m][0], newest[m][1] + offset, found) for m, offset, found in sent]) for sent in bodies]
        )

    @rule(
        machine=machines,
        sensors=st.lists(st.sampled_from(SENSORS), min_size=1, unique=True),
        offsets=st.lists(times, min_size=1, max_size=4),
        level=st.sampled_from([0.0, 1.0, None]),
    )
    def in_columns(self, machine: int, sensors: list[str], offsets: list[int], level: float | None) -> None:
        """A body in columns."""
        name, newest = self.newest(machine)
        self.post([("", [(name, newest + offset, dict.fromkeys(sensors, level)) for offset in offsets])], True)

    @rule(
        machine=machines,
        count=st.integers(1, 40) | st.just(40),
        step=st.sampled_from([1, 1, 1, 0.5, 1.25, 2]),
        level=st.sampled_from([0.0, 1.0, 50.0]),
        slope=st.sampled_from([0.0, 0.0, 1.0]),
        live=st.booleans(),
    )
    def in_order(self, machine: int, count: int, step: float, level: float, slope: float, live: bool) -> None:
        """Whole readings, each the next tick, or at another pace; or the time is that of the last one then."""
        name, newest = self.newest(machine)
        first, apart = newest // SECOND * SECOND, int(step * SECOND)
        sent = [(name, first + k * apart, dict.fromkeys(SENSORS, level + slope * k)) for k in range(1, count + 1)]
        if live:
            self.wait(max(sent[-1][1] - self.plain.now, 0))
        self.post([("", sent)])

    @rule(machine=machines, order=st.permutations([1, 2, 3, 4]), apart=st.booleans())
    def in_disorder(self, machine: int, order: list[int], apart: bool) -> None:
        """The next whole readings in any order, in one micro-batch or one after the other."""
        name, newest = self.newest(machine)
        sent = [(name, newest // SECOND * SECOND + k * SECOND, dict.fromkeys(SENSORS, float(k))) for k in order]
        for body in [[reading] for reading in sent] if apart else [sent]:
            self.post([("", body)])

    @rule(machine=machines, hole=st.integers(1, 3), count=st.sampled_from([0, 32, 40]), back=st.integers(30, 60))
    def of_long_ago(self, machine: int, hole: int, count: int, back: int) -> None:
        """After others and perhaps a hole, one that may be older than all that is remembered."""
        name, newest = self.newest(machine)
        first = newest // SECOND * SECOND + hole * SECOND
        sent = [first + k * SECOND for k in range(count)]
        sent.append(first + (count - back) * SECOND)
        self.post([("", [(name, time, dict.fromkeys(SENSORS, 1.0)) for time in sent])])

    @rule(
        machine=machines,
        source=st.sampled_from(["", *SOURCES]),
        ahead=st.lists(st.sampled_from([-400, -5, 0, 5, 5.5, 30, 200]), min_size=1, max_size=2),
        count=st.integers(1, 3),
        paced=st.sampled_from([(1, 0), (1, 300), (4, 1), (40, 0)]),
        restarted=st.booleans(),
    )
    def by_the_clock_of_its_sender(
        self, machine: int, source: str, ahead: list[float], count: int, paced: tuple[int, int], restarted: bool
    ) -> None:
        """Whole readings up to now, in bodies at once or some seconds apart; the sender's clock may be set, and the
        service be restarted meanwhile."""
        for number, seconds in enumerate(ahead):
            if number and restarted:
                self.crash(kept=True, together=True)
            bodies, apart = paced
            waiting = []
            for body in range(bodies):
                last = max(self.plain.now, START) + int(seconds * SECOND)
                found = dict.fromkeys(SENSORS, float(body))
                sent = [(self.names[machine], last + (k - count) * SECOND, found) for k in range(count)]
                waiting.append((source, sent))
                if apart:
                    self.post([waiting.pop()])
                    self.wait(apart * SECOND)
            self.post(waiting)

    @rule(machine=machines, source=st.sampled_from(["drifting", "hasty"]), back=st.sampled_from([0.5, 25]))
    def of_a_clock_that_is_set_back(self, machine: int, source: str, back: float) -> None:
        """A whole reading now and then, first by a clock that is half a minute ahead."""
        for number in range(8):
            time = max(self.plain.now, START) + int((30 - (number > 3) * back) * SECOND)
            self.post([(source, [(self.names[machine], time, dict.fromkeys(SENSORS, 1.0))])])
            self.wait(300 * SECOND)

    @rule(machine=machines, order=st.permutations(list(SOURCES)))
    def of_more_sources_than_are_remembered(self, machine: int, order: list[str]) -> None:
        """A whole reading of each, and then what the first one sent, again."""
        for source in order:
            time = max(self.plain.now, START)
            self.post([(source, [(self.names[machine], time, dict.fromkeys(SENSORS, 1.0))])])
            self.wait(SECOND)
        self.again(ago=len(order), count=1)

    @rule(ago=st.integers(1, 40), count=st.integers(1, 2))
    def again(self, ago: int, count: int) -> None:
        """What was sent before."""
        bodies = self.sent[-ago:][:count]
        self.post(bodies)

    @rule(machine=machines, ahead=st.sampled_from([FUTURE + SECOND, 10**15]))
    def of_a_clock_that_jumped(self, machine: int, ahead: int) -> None:
        """Far in the future: refused, and nothing moves."""
        if self.limits.future is not None:
            time = max(self.plain.now, self.plain.wall) + ahead
            self.post([("", [(self.names[machine], time, dict.fromkeys(SENSORS, 1.0))])])

    def post(self, bodies: list[tuple[str, list[Reading]]], columns: bool = False) -> None:
        """To both."""
        self.sent += bodies
        wanted = self.plain.post(self.model, bodies)
        written = [(source, as_columns(sent) if columns else fleet.in_rows(sent)) for source, sent in bodies]
        given = [fleet.body(body, source=source) for source, body in written]
        stepped = scoring.step(self.shard, given, self.clock.now(), self.plain.wall)
        self.clock.observe(stepped.record.now)
        self.journal.append(stepped.record)
        assert [told for outcome in stepped.outcomes for told in answers(outcome)] == wanted
        self.check(stepped.record)

    def check(self, record: Record | None) -> None:
        """What was scored by a record."""
        wanted = [
            (name, time, {sensor: values.get(sensor) for sensor in self.plain.machines[name].ticks.sensors}, told)
            for name, time, values, told in self.plain.closed
        ]
        found = ticks_of(record, self.shard.equipment_table.ids, BY_ID) if record else []
        assert found == sorted(wanted, key=lambda tick: tick[:2])

    # -- what happens ------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0, 1, 2, 3, 7, 30, 300]))
    def time_goes_on(self, seconds: int) -> None:
        """And a look at what is due."""
        self.wait(seconds * SECOND)
        self.plain.look()
        record = scoring.look(self.shard, self.clock.now(), self.plain.wall)
        if record is not None:
            self.journal.append(record)
        self.check(record)

    def wait(self, time: int) -> None:
        self.computer.wait(time / SECOND)
        self.plain.wait(time)

    @rule(seconds=st.sampled_from([-3_600, -30, 30, 3_600]))
    def the_computers_clock_is_set(self, seconds: int) -> None:
        """Time goes on as before."""
        self.computer.wall += seconds * 1_000_000_000
        self.plain.wall += seconds * SECOND

    @rule()
    def switch(self) -> None:
        """The model: machines follow it at their next reading."""
        self.model = NARROW if self.model is WIDE else WIDE
        self.shard.models_changed()

    @rule()
    def save(self) -> None:
        """A snapshot."""
        self.snapshot = recovery.capture(self.shard)

    @rule(kept=st.booleans(), together=st.booleans())
    def crash(self, kept: bool, together: bool) -> None:
        """The state is what it was, from the snapshot or from nothing, by many records at once or one by one."""
        lost = self.state()
        self.shard = self.empty()
        if kept:
            recovery.restore(self.shard, self.snapshot, BY_ID.get)
        if together:
            recovery.catch_up(self.shard, self.journal, BY_ID.get)
        else:
            for record in self.journal.read(self.shard.sequence):
                replay(self.shard, record, BY_ID.get)
            self.shard.counters.alarms.clear()
        found = self.state()
        assert [name for name in lost.keys() | found.keys() if found.get(name) != lost.get(name)] == []
        self.clock, self.crashed = self.started(), True
        go_on(self.clock, self.shard)
        self.plain.restart()

    def state(self) -> dict[str, Any]:
        """All that has to be the same after a crash; a start hears all machines anew."""
        found = state(self.shard)
        if self.crashed and self.limits.future is not None:
            del found["equipment.heard"]
        return found

    # -- what is seen at any time ------------------------------------------------------------------------------------

    @invariant()
    def clocks_are_the_same(self) -> None:
        assert self.clock.now() == self.plain.now

    @invariant()
    def alarms_are_those_of_the_plain_model(self) -> None:
        """And nobody is told of those of long ago."""
        for name, watched in self.plain.machines.items():
            alarms, _ = self.shard.book.select(equipment=name, count=10_000)
            names = [field.name for field in fields(PlainAlarm)]
            found, wanted = (
                sorted(([getattr(alarm, field) for field in names] for alarm in book), key=repr)
                for book in (alarms, watched.alarms.found)
            )
            assert found == wanted
        assert +self.shard.counters.alarms == +self.plain.told

    @invariant()
    def the_same_ticks_wait(self) -> None:
        for name, watched in self.plain.machines.items():
            slot = self.shard.equipment_table.slot(name)
            waiting = self.shard.waiting.machines.get(slot)
            assert sorted(waiting.ticks if waiting else ()) == sorted(watched.ticks.waiting)


class AtOnce(Service):
    """Without a reorder window; values are held as long as was learned."""

    limits = LIMITS


class Crowded(Service):
    """Fewer ticks may wait than the window has."""

    limits = replace(LIMITS, window=Window(6 * SECOND, 3))


class InOneGo(Service):
    """No machine's sensors come apart: records are replayed together."""

    names = ("whole", "other")
    limits = replace(LIMITS, window=Window(2 * SECOND))


class ByTheData(Service):
    """The clock follows the readings."""

    limits = replace(LIMITS, future=None, window=Window(2 * SECOND))


FEW = settings(
    deadline=None, max_examples=24, stateful_step_count=20, derandomize=True, suppress_health_check=list(HealthCheck)
)
KINDS = (Service, AtOnce, Crowded, InOneGo, ByTheData)


@pytest.mark.parametrize("kind", KINDS)
def test_the_service_does_what_the_plain_model_says(kind: type[Service]) -> None:
    run_state_machine_as_test(kind, settings=FEW)


@pytest.mark.prove
@pytest.mark.parametrize("kind", KINDS)
def test_the_service_does_what_the_plain_model_says_for_long(kind: type[Service]) -> None:
    run_state_machine_as_test(kind, settings=settings(FEW, max_examples=60, stateful_step_count=40))
