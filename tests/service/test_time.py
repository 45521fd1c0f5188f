"""Late, early, repeated, partial and contradicting readings, clocks and crashes: the service beside a plain model."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

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
from tests.service.plain_time import PlainMachine

MODEL = fleet.model(sensors=3)
SENSORS = MODEL.detector.sensors
FUTURE = 60 * SECOND
times = st.integers(-6, 14).map(lambda half: half * SECOND // 2)  # around the newest, in half ticks
values = st.dictionaries(st.sampled_from(SENSORS), st.sampled_from([0.0, 1.0, None]), min_size=1)
whole = st.fixed_dictionaries({name: st.sampled_from([0.0, 1.0]) for name in SENSORS})


def again(record: Record) -> Record:
    """A record as the journal gives it back."""
    return records.decode(record.kind, record.shard, record.sequence, record.received_at, records.encode(record))


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
        return Shard(lambda equipment: MODEL, self.limits)

    @rule(
        name=st.sampled_from(["whole", "joined"]),
        sent=st.lists(st.tuples(times, values | whole), min_size=1, max_size=4),
    )
    def readings(self, name: str, sent: list[tuple[int, dict[str, float | None]]]) -> None:
        """A body in rows around the newest time."""
        self.post(name, [(self.newest[name] + offset, found) for offset, found in sent])

    @rule(name=st.sampled_from(["whole", "joined"]), count=st.integers(1, 40), level=st.sampled_from([0.0, 1.0]))
    def in_order(self, name: str, count: int, level: float) -> None:
        """Whole readings, each the next tick."""
        first = self.newest[name] // SECOND * SECOND
        self.post(name, [(first + k * SECOND, dict.fromkeys(SENSORS, level + k)) for k in range(1, count + 1)])

    @rule(name=st.sampled_from(["whole", "joined"]), ahead=st.sampled_from([FUTURE + SECOND, 10**15]))
    def of_a_clock_that_jumped(self, name: str, ahead: int) -> None:
        """Far in the future: refused, and nothing moves."""
        self.post(name, [(self.now + ahead, dict.fromkeys(SENSORS, 1.0))])

    def post(self, name: str, sent: list[tuple[int, dict[str, float | None]]]) -> None:
        """To both."""
        plain = self.plain[name]
        wanted = [plain.post(time, found, self.now, self.now + FUTURE) for time, found in sent]
        stepped = scoring.step(self.shard, [fleet.body(fleet.in_rows([(name, *one) for one in sent]))], self.now)
        self.journal.append(stepped.record)
        (outcome,) = stepped.outcomes
        words = ["scored" if word in ("warming", "unscored") else word for word in fleet.statuses(outcome)]
        reasons = [reason if reason not in ("gap", "no_sensor") else "" for reason in fleet.reasons(outcome)]
        assert list(zip(words, reasons, strict=True)) == wanted
        for (time, _), (status, _), score in zip(sent, wanted, outcome.score.tolist(), strict=True):
            if status == "scored":
                self.answered[name, -(-time // SECOND) * SECOND if plain.joined else time] = score
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
                recovery.restore(self.shard, snapshot, {MODEL.artifact_id: MODEL}.get)
            for record in self.journal[self.shard.sequence - 1 :]:
                replay(self.shard, again(record), {MODEL.artifact_id: MODEL}.get)
            found = state(self.shard)
            assert [name for name in lost if found[name] != lost[name]] == []

    @invariant()
    def ticks_are_scored_once_and_in_order(self) -> None:
        """Those of the plain model, with their values."""
        for name, plain in self.plain.items():
            slot = self.shard.equipment_table.slot(name)
            found = [
                (int(time), row)
                for record in self.journal
                for part in map(lambda readings: readings.ordered(), record.readings)
                for own, time, row in zip(part.slot.tolist(), part.time.tolist(), part.values, strict=True)
                if own == slot
            ]
            assert [time for time, _ in found] == [time for time, _ in plain.closed]
            wanted = [[tick.get(sensor) for sensor in SENSORS] for _, tick in plain.closed]
            rows = np.array([[np.nan if v is None else v for v in row] for row in wanted]).reshape(-1, len(SENSORS))
            np.testing.assert_array_equal(np.array([row for _, row in found]).reshape(rows.shape), rows)

    def teardown(self) -> None:
        """Scores are those of the closed ticks, one after the other."""
        for name, plain in self.plain.items():
            if plain.closed:
                time = np.array([tick for tick, _ in plain.closed])
                x = np.array(
                    [[np.nan if tick.get(s) is None else tick[s] for s in SENSORS] for _, tick in plain.closed],
                    np.float64,
                )
                scores = dict(zip(time.tolist(), score_series(MODEL.detector, name, time, x).score, strict=True))
                told = {tick: score for (owner, tick), score in self.answered.items() if owner == name}
                np.testing.assert_array_equal([told[t] for t in told], [scores[t] for t in told])


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
