"""A plant whose readings do not come in order: what becomes of each is said by `tests/service/plain_time.py`.

Some machines send whole readings, of which some are late and some come in two parts; others send points of single
sensors, each at its own rate. The reorder window is longer than the run: ticks are closed by what is sent alone, so
that every answer, every tick and everything that waits follows from what was sent before, however often the service is
killed. A body that was under way when it was is taken either as a whole or not at all.
"""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from models.contract import Floats
from service.assembly import Window
from service.ingest.times import time_text
from service.limits import ShardLimits
from service.ring import RING_RESULTS
from tests.builders import process as readings_of
from tests.crash import BODY_READINGS_MAX, Answer, Plant
from tests.service.fleet import SECOND, in_rows
from tests.service.plain_time import PlainMachine, Values
from tests.service.running import SENSORS, model_folder

INTERVAL = 600 * SECOND  # of the model
WINDOW = 10 * INTERVAL  # of readings that come late, and far more than the seconds that a run takes
AGE = 3 * INTERVAL  # of a point, until its sensor is missing
PERIODS = (600, 200, 900, 450)  # seconds between two points of each sensor
START = 1_749_999_600 * SECOND  # 2025-06-15T15:00:00Z
JOINED = "j-*"
LIMITS = ShardLimits(window=Window(WINDOW), join=(JOINED,), join_age=AGE)
SETTINGS = {
    "LIMEN_CLOCK": "wall",
    "LIMEN_REORDER_SECONDS": str(WINDOW // SECOND),
    "LIMEN_JOIN": JOINED,
    "LIMEN_JOIN_AGE_SECONDS": str(AGE // SECOND),
    "LIMEN_SILENT_INTERVALS": "1000",
}

Reading = tuple[int, Values]  # time, and some sensors' values
Verdict = tuple[str, str]  # status and reason


def slow_model() -> str:
    """An artifact whose interval is INTERVAL."""
    return str(model_folder("slow", interval=INTERVAL))


@dataclass
class Sender:
    """One machine: what it sends, in this order, and how far it is; `plain` is what should have become of that."""

    name: str
    sent: list[Reading]
    plain: PlainMachine
    at: int = 0
    count: int = 0  # readings of the pending body
    again: bool = False  # whether it was sent before
    accepted: list[Reading] = field(default_factory=list)  # answered as held or scored, now or before a kill
    answers: dict[int, list[Answer]] = field(default_factory=lambda: defaultdict(list))  # by tick

    @classmethod
    def of(cls, name: str, seed: int, ticks: int) -> Sender:
        """A machine whose name says whether its sensors come apart."""
        joined = name.startswith(JOINED[:-1])
        rng = random.Random(seed)
        sent = _points(seed, ticks, rng) if joined else _readings(seed, ticks, rng)
        return cls(name, sent, PlainMachine(SENSORS, joined, WINDOW, AGE, RING_RESULTS, INTERVAL))

    @property
    def readings(self) -> int:
        return len(self.sent)

    @property
    def done(self) -> bool:
        return self.at >= len(self.sent)

    @property
    def pending(self) -> list[Reading]:
        return self.sent[self.at : self.at + self.count]

    def body(self, rng: random.Random) -> list[Reading]:
        """What is not answered yet, or what comes next."""
        self.again = self.count > 0
        if not self.again:
            self.count = min(rng.randint(1, BODY_READINGS_MAX), len(self.sent) - self.at)
        return self.pending

    def answered(self, results: list[dict[str, Any]]) -> None:
        """The pending body was answered: as one that comes for the first time or, where it was sent before, as one
        that had been taken."""
        found = [(_status(result["status"]), _reason(result.get("reason", ""))) for result in results]
        trial = copy.deepcopy(self.plain) if self.again else self.plain
        first = post(trial, self.pending)
        expected = [first]
        if self.again and found != first:
            expected.append(post(trial, self.pending))
        assert found in expected, self._unexpected(found, expected)
        self.plain = trial
        for (time, values), (status, _), result in zip(self.pending, first, results, strict=True):
            if status in ("scored", "held"):
                self.accepted.append((time, values))
            answer = result["status"], result["score"], result["p_value"], result["alarm"]
            self.answers[self.tick_of(time)].append(answer)
        self.at, self.count = self.at + self.count, 0

    def _unexpected(self, found: list[Verdict], expected: list[list[Verdict]]) -> str:
        """What is wrong with an answer."""
        for place, (ours, *theirs) in enumerate(zip(found, *expected, strict=True), self.at):
            if ours not in theirs:
                wanted = " or ".join(map(str, theirs))
                return f"{self.name}, reading {place} was answered as {ours}; expected {wanted}"
        return f"{self.name}, readings {self.at} to {self.at + self.count - 1} were taken in part: {found}"

    def tick_of(self, time: int) -> int:
        """The tick that a time belongs to."""
        return -(-time // INTERVAL) * INTERVAL if self.plain.joined else time

    def closed_after(self, last_time: str, held: int) -> int:
        """How many ticks a service has closed whose last one is of `last_time`, and which lets `held` ones wait: all
        that follow from what was answered, and of the body that was not either all or nothing."""
        trial, allowed = self.plain, [_state(self.plain)]
        if self.count:
            trial = copy.deepcopy(trial)
            post(trial, self.pending)
            allowed.append(_state(trial))
        assert any(last_time == last for last, _, _ in allowed), (
            f"{self.name} ends at {last_time or 'no tick'} after the restart; expected {allowed[0][0]}"
        )
        for last, waiting, closed in allowed:
            if (last_time, held) == (last, waiting):
                return closed
        raise AssertionError(f"{self.name} has {held} ticks that wait after the restart; expected {allowed[0][1]}")


def post(plain: PlainMachine, readings: list[Reading]) -> list[Verdict]:
    """Status and reason of each; by the clock, nothing is due."""
    return [plain.post(time, values, 0, time) for time, values in readings]


def _state(plain: PlainMachine) -> tuple[str, int, int]:
    """Time of the last tick that is closed, ticks that wait, and ticks that are closed."""
    last = time_text(plain.closed[-1][0]) if plain.closed else ""
    return last, len(plain.waiting), len(plain.closed)


def _status(word: str) -> str:
    return "scored" if word in ("warming", "unscored") else word


def _reason(word: str) -> str:
    return "" if word in ("gap", "no_sensor") else word


class DisorderedPlant(Plant):
    """Clients of such machines: the readings of several are mixed in a body in rows."""

    def body(self, chosen: list[Sender], rng: random.Random) -> dict[str, Any]:
        parts = {machine.name: list(machine.body(rng)) for machine in chosen}
        turns = [name for name, part in parts.items() for _ in part]
        rng.shuffle(turns)
        return in_rows([(name, *parts[name].pop(0)) for name in turns])

    def take(self, chosen: list[Sender], answer: dict[str, Any]) -> None:
        found = defaultdict(list)
        for result in answer["results"]:
            found[result["equipment"]].append(result)
        for machine in chosen:
            machine.answered(found[machine.name])

    async def count_kept(self, client: httpx.AsyncClient, last: dict[str, str]) -> int:
        held: dict[str, int] = {}
        for name in last:
            held[name] = (await client.get(f"/v1/equipment/{name}")).json()["held"]
        return sum(
            machine.closed_after(last.get(machine.name, ""), held.get(machine.name, 0)) for machine in self.machines
        )


# -- what is sent ----------------------------------------------------------------------------------------------------


def _recording(seed: int, ticks: int) -> Floats:
    """Values (ticks, sensors) with faults."""
    x = readings_of(seed, ticks)
    for start in range(40, ticks - 20, 150):
        x[start : start + 12, seed % 4] += 15
    return x


def _readings(seed: int, ticks: int, rng: random.Random) -> list[Reading]:
    """Whole readings, some without a sensor, with a gap; one in ten comes late, one in ten in two parts, a few too late
    or twice."""
    x = _recording(seed, ticks)
    steps = np.ones(ticks, np.int64)
    steps[ticks // 3] = 25
    keyed: list[tuple[float, Reading]] = []
    for place, row in zip(np.cumsum(steps).tolist(), x.tolist(), strict=True):
        values = {name: value for name, value in zip(SENSORS, row, strict=True) if rng.random() > 0.005}
        values = {name: None if rng.random() < 0.02 else value for name, value in values.items()}
        parts = [values]
        if rng.random() < 0.1 and len(values) > 1:
            names = rng.sample(sorted(values), rng.randint(1, len(values) - 1))
            parts = [{name: values[name] for name in names}]
            parts.append({name: value for name, value in values.items() if name not in names})
        if rng.random() < 0.02:
            parts.append(parts[0])
        for part in parts:
            if part:
                keyed.append((place + _delay(rng), (START + place * INTERVAL, part)))
    return _in_order_of_arrival(keyed)


def _points(seed: int, ticks: int, rng: random.Random) -> list[Reading]:
    """Points of single sensors at their own rates, one of which is out for a while; one in ten comes late, a few too
    late or twice."""
    x = _recording(seed, ticks)
    keyed: list[tuple[float, Reading]] = []
    for column, (name, period) in enumerate(zip(SENSORS, PERIODS, strict=True)):
        step = period * SECOND
        for passed in range(rng.randrange(step), ticks * INTERVAL, step):
            place = passed // INTERVAL
            if column == seed % 4 and ticks // 2 <= place < ticks // 2 + 8:
                continue
            value = None if rng.random() < 0.01 else float(x[place, column]) + rng.random()
            for _ in range(2 if rng.random() < 0.02 else 1):
                keyed.append((passed / INTERVAL + _delay(rng), (START + passed, {name: value})))
    return _in_order_of_arrival(keyed)


def _delay(rng: random.Random) -> float:
    """Ticks by which one comes late."""
    if rng.random() < 0.1:
        return rng.uniform(0, 6)
    return rng.uniform(15, 40) if rng.random() < 0.003 else 0.0


def _in_order_of_arrival(keyed: list[tuple[float, Reading]]) -> list[Reading]:
    return [reading for _, reading in sorted(keyed, key=lambda pair: pair[0])]
