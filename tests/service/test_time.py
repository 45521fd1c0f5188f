"""Late, early, repeated, partial and contradicting readings, clocks and crashes: the service beside a plain model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from models.artifact import LoadedModel
from models.backfill import score_series
from service import records, recovery, scoring
from service.assembly import Window
from service.limits import ShardLimits
from service.records import Record
from service.replay import replay
from service.ring import RING_RESULTS
from service.shard import Shard
from tests.service import fleet
from tests.service.fleet import SECOND, START
from tests.service.plain_time import PlainMachine, Values

WIDE, NARROW = fleet.model(sensors=3), fleet.model("presses", 1, 2)
NARROW = replace(NARROW, detector=replace(NARROW.detector, sensors=("sensor-2", "sensor-0")))
MODELS = WIDE, NARROW
BY_ID = {model.artifact_id: model for model in MODELS}
SENSORS = MODELS[0].detector.sensors
FUTURE = 60 * SECOND
times = st.integers(-6, 14).map(lambda half: half * SECOND // 2)  # around the newest, in half ticks
names = st.sampled_from(["whole", "joined"])
values = st.dictionaries(st.sampled_from(SENSORS), st.sampled_from([0.0, 1.0, None]), min_size=1)
whole = st.fixed_dictionaries({name: st.sampled_from([0.0, 1.0]) for name in SENSORS})


def again(record: Record) -> Record:
    """A record as the journal gives it back."""
    return records.decode(record.kind, record.shard, record.sequence, record.received_at, records.encode(record))


def as_columns(sent: list[tuple[str, int, Values]]) -> dict[str, Any]:
    """Readings of one machine and the same sensors, as a body in columns."""
    rows = [[np.nan if value is None else value for value in found.values()] for _, _, found in sent]
    name, _, first = sent[0]
    return fleet.in_columns(name, list(first), np.array([time for _, time, _ in sent]), np.array(rows))


def state(shard: Shard) -> dict[str, Any]:
    """All that a shard keeps, but what only this process knows."""
    captured = recovery.capture(shard)
    arrays = {name: array.tobytes() for name, array in captured.arrays.items() if not name.startswith("drift.")}
    del arrays["equipment.generation"]
    return {"header": captured.header, **arrays}


class Service(RuleBasedStateMachine):
    """One machine that sends whole readings, and one whose sensors come apart."""

    reorder = 2 * SECOND

    def __init__(self) -> None:
        super().__init__()
        self.limits = ShardLimits(
            future=FUTURE, historical=10**15, window=Window(self.reorder), join=("j*",), join_age=3 * SECOND
        )
        self.now = START
        self.model = MODELS[0]
        self.shard = self.empty()
        self.journal: list[Record] = []
        self.snapshot = recovery.capture(self.shard)
        self.plain = {
            name: PlainMachine(SENSORS, name == "joined", self.reorder, 3 * SECOND, RING_RESULTS)
            for name in ("whole", "joined")
        }
        self.newest = {name: START for name in self.plain}
        self.answered: dict[tuple[str, int], float] = {}

    def empty(self) -> Shard:
        return Shard(lambda equipment: self.model, self.limits)

    @rule(name=names, sent=st.lists(st.tuples(times, values | whole), min_size=1, max_size=4))
    def readings(self, name: str, sent: list[tuple[int, Values]]) -> None:
        """A body in rows around the newest time."""
        self.post([[(name, self.newest[name] + offset, found) for offset, found in sent]])

    @rule(bodies=st.lists(st.lists(st.tuples(names, times, values | whole), min_size=1, max_size=4), max_size=3))
    def of_both(self, bodies: list[list[tuple[str, int, Values]]]) -> None:
        """Bodies of both machines in one micro-batch."""
        self.post([[(name, self.newest[name] + offset, found) for name, offset, found in sent] for sent in bodies])

    @rule(
        name=names,
        sensors=st.lists(st.sampled_from(SENSORS), min_size=1, unique=True),
        offsets=st.lists(times, min_size=1, max_size=4),
        level=st.sampled_from([0.0, 1.0, None]),
    )
    def in_columns(self, name: str, sensors: list[str], offsets: list[int], level: float | None) -> None:
        """A body in columns."""
        self.post([[(name, self.newest[name] + offset, dict.fromkeys(sensors, level)) for offset in offsets]], True)

    @rule(name=names, count=st.integers(1, 40), level=st.sampled_from([0.0, 1.0]))
    def in_order(self, name: str, count: int, level: float) -> None:
        """Whole readings, each the next tick."""
        first = self.newest[name] // SECOND * SECOND
        self.post([[(name, first + k * SECOND, dict.fromkeys(SENSORS, level + k)) for k in range(1, count + 1)]])

    @rule(name=names, order=st.permutations([1, 2, 3, 4]), apart=st.booleans())
    def in_disorder(self, name: str, order: list[int], apart: bool) -> None:
        """The next whole readings in any order, in one micro-batch or one after the other."""
        first = self.newest[name] // SECOND * SECOND
        sent = [(name, first + k * SECOND, dict.fromkeys(SENSORS, float(k))) for k in order]
        for body in [[reading] for reading in sent] if apart else [sent]:
            self.post([body])

    @rule(name=names, hole=st.integers(1, 3), count=st.sampled_from([0, 32, 40]), back=st.integers(30, 60))
    def of_long_ago(self, name: str, hole: int, count: int, back: int) -> None:
        """After others and perhaps a hole, one that may be older than all that is remembered."""
        first = self.newest[name] // SECOND * SECOND + hole * SECOND
        sent = [first + k * SECOND for k in range(count)]
        sent.append(first + (count - back) * SECOND)
        self.post([[(name, time, dict.fromkeys(SENSORS, 1.0)) for time in sent]])

    @rule(name=names, ahead=st.sampled_from([FUTURE + SECOND, 10**15]))
    def of_a_clock_that_jumped(self, name: str, ahead: int) -> None:
        """Far in the future: refused, and nothing moves."""
        self.post([[(name, self.now + ahead, dict.fromkeys(SENSORS, 1.0))]])

    @rule()
    def switch(self) -> None:
        """The model: machines follow it at their next reading."""
        self.model = next(model for model in MODELS if model is not self.model)
        self.shard.models_changed()

    def post(self, bodies: list[list[tuple[str, int, Values]]], columns: bool = False) -> None:
        """To both."""
        readings = [reading for sent in bodies for reading in sent]
        for name in {name for name, _, _ in readings}:
            if self.plain[name].sensors != self.model.detector.sensors:
                self.plain[name].follow(self.model.detector.sensors)
        wanted = [self.plain[name].post(time, found, self.now, self.now + FUTURE) for name, time, found in readings]
        written = [as_columns(sent) if columns else fleet.in_rows(sent) for sent in bodies]
        stepped = scoring.step(self.shard, [fleet.body(one) for one in written], self.now)
        self.journal.append(stepped.record)
        words = [word for outcome in stepped.outcomes for word in fleet.statuses(outcome)]
        words = ["scored" if word in ("warming", "unscored") else word for word in words]
        reasons = [reason for outcome in stepped.outcomes for reason in fleet.reasons(outcome)]
        found = [
            (word, "" if reason == "gap" or (word != "rejected" and reason == "no_sensor") else reason)
            for word, reason in zip(words, reasons, strict=True)
        ]
        assert found == wanted
        scores = [score for outcome in stepped.outcomes for score in outcome.score.tolist()]
        for (name, time, _), (status, _), score in zip(readings, wanted, scores, strict=True):
            if status == "scored":
                tick = -(-time // SECOND) * SECOND if self.plain[name].joined else time
                self.answered[name, tick] = score
            if status not in ("rejected", "late"):
                self.newest[name] = max(self.newest[name], time)

    @rule(seconds=st.sampled_from([0, 1, 2, 3, 30]))
    def time_goes_on(self, seconds: int) -> None:
        """And a look at what is due."""
        self.now += seconds * SECOND
        for plain in self.plain.values():
            plain.look(self.now)
        record = scoring.look(self.shard, self.now)
        if record is not None:
            self.journal.append(record)

    @rule()
    def save(self) -> None:
        """A snapshot."""
        self.snapshot = recovery.capture(self.shard)

    @rule()
    def crash(self) -> None:
        """The state is what it was, from the snapshot and from nothing."""
        lost = state(self.shard)
        for snapshot in (None, self.snapshot):
            self.shard = self.empty()
            if snapshot is not None:
                recovery.restore(self.shard, snapshot, BY_ID.get)
            for record in self.journal[self.shard.sequence - 1 :]:
                replay(self.shard, again(record), BY_ID.get)
            found = state(self.shard)
            assert [name for name in lost if found[name] != lost[name]] == []

    @invariant()
    def ticks_are_scored_once_and_in_order(self) -> None:
        """Those of the plain model, with their values."""
        for name, plain in self.plain.items():
            slot = self.shard.equipment_table.slot(name)
            found = [
                (int(time), dict(zip(BY_ID[part.artifact_id].detector.sensors, row.tolist(), strict=True)))
                for record in self.journal
                for part in map(lambda readings: readings.ordered(), record.readings)
                for own, time, row in zip(part.slot.tolist(), part.time.tolist(), part.values, strict=True)
                if own == slot
            ]
            assert [time for time, _ in found] == [time for time, _ in plain.closed]
            for (_, row), (_, tick) in zip(found, plain.closed, strict=True):
                assert {name: None if value != value else value for name, value in row.items()} == {
                    name: tick.get(name) for name in row
                }

    def teardown(self) -> None:
        """Scores are those of the closed ticks, one after the other."""
        for name, plain in self.plain.items():
            for model, ticks in self.of_each_model(plain):
                time = np.array([tick for tick, _ in ticks])
                known = [[found.get(sensor) for sensor in model.detector.sensors] for _, found in ticks]
                x = np.array([[np.nan if value is None else value for value in row] for row in known], np.float64)
                scores = score_series(model.detector, name, time, x).score.tolist()
                told = [(self.answered[name, tick], score) for (tick, _), score in zip(ticks, scores, strict=True)
                        if (name, tick) in self.answered]  # fmt: skip
                np.testing.assert_array_equal([answer for answer, _ in told], [score for _, score in told])

    @staticmethod
    def of_each_model(plain: PlainMachine) -> Iterator[tuple[LoadedModel, list[tuple[int, Values]]]]:
        """The closed ticks of a machine by the models that it followed, which took turns."""
        for number, (first, end) in enumerate(pairwise([*plain.since, len(plain.closed)])):
            if first < end:
                yield MODELS[number % 2], plain.closed[first:end]


class AtOnce(Service):
    """Without a reorder window."""

    reorder = 0


LOOSE = settings(
    deadline=None, max_examples=60, stateful_step_count=25, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestReorder = Service.TestCase
TestReorder.settings = LOOSE
TestAtOnce = AtOnce.TestCase
TestAtOnce.settings = LOOSE
