"""What should become of bodies of readings, said plainly: one reading after the other, one machine after the other.

`plain_time.py` says which ticks there are; here, they are scored one after the other, flagged, and followed by the
alarms of `plain_alarms.py`. `test_time.py` compares the service with all of it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from models.artifact import LoadedModel
from service.limits import ShardLimits
from service.ring import RING_RESULTS
from tests.service.plain_alarms import PlainAlarms
from tests.service.plain_sources import PlainSources
from tests.service.plain_time import PlainMachine, Values

Reading = tuple[str, int, Values]  # machine, time, values


@dataclass(frozen=True)
class Answer:
    """What is told of a reading."""

    status: str
    reason: str = ""
    flags: frozenset[str] = frozenset()
    score: float | None = None
    p_value: float | None = None
    alarm: bool = False


class PlainScores:
    """The memory of one machine that follows a model: its kernel, one tick after the other."""

    def __init__(self, model: LoadedModel, name: str) -> None:
        self.detector = model.detector
        self.state = self.detector.init_state(1)
        self.centre = self.detector.centre_index(name)
        self.valued: int | None = None  # time of the last tick with a value

    def score(self, time: int, values: Values, last: int | None) -> tuple[Answer, bool]:
        """The tick after the one at `last`: what is told of it, and whether it is a fresh exceedance."""
        detector = self.detector
        x = np.array([[values.get(name) for name in detector.sensors]], np.float64)
        missing, any_value = bool(np.isnan(x).any()), not np.isnan(x).all()
        reset = any_value and self.valued is not None and time - self.valued > detector.gap_reset
        step = 0 if self.valued is None or last is None or time - last > detector.gap_reset else time - last
        skipped = max((step + detector.interval // 2) // detector.interval - 1, 0)
        self.valued = time if any_value else self.valued
        self.state, found = detector.advance(
            self.state, x, [1], np.array([reset]), np.array([self.centre]), np.array([skipped])
        )
        score, p_value = _number(found.score[0]), _number(found.p_value[0])
        status = "warming" if found.warming[0] else "unscored" if score is None else "scored"
        reason = "gap" if reset else "no_sensor" if status == "unscored" else ""
        flags = frozenset({"imputed"} if missing and status != "unscored" else ())
        return Answer(status, reason, flags, score, p_value), bool(found.fresh[0])


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


@dataclass
class Watched:
    """One machine: its ticks in time, the model that scores them, what is told of each, and its alarms."""

    name: str
    ticks: PlainMachine
    alarms: PlainAlarms
    model: LoadedModel | None = None
    scores: PlainScores | None = None
    results: dict[int, Answer] = field(default_factory=dict)
    newest: int = 0  # of the times that were taken in
    sent: int | None = None  # what the clock said when it last sent something

    def follow(self, model: LoadedModel, ages: dict[str, int]) -> None:
        """From here on, a model judges it with an empty memory."""
        last = self.ticks.closed[-1][0] if self.ticks.closed else 0
        self.alarms.leave(last)
        self.ticks.follow(model.detector.sensors, ages)
        self.model, self.scores = model, PlainScores(model, self.name)

    def score(self, historical: int | None) -> list[tuple[int, Values, Answer]]:
        """The ticks that were closed since: those before `historical` are of long ago."""
        found = []
        for number in range(len(self.results), len(self.ticks.closed)):
            time, values = self.ticks.closed[number]
            last = self.ticks.closed[number - 1][0] if number else None
            answer, fresh = self.scores.score(time, values, last)
            old = historical is not None and time < historical
            name, steps = self.model.name, None if last is None else (time - last) / self.model.detector.interval
            self.alarms.step(name, steps, 1 + self.model.manifest.tolerance / 2, time, old)
            alarm = self.alarms.tick(name, time, answer.score, fresh, old)
            answer = replace(answer, flags=answer.flags | ({"historical"} if old else set()), alarm=alarm)
            self.results[time] = answer
            found.append((time, values, answer))
        return found


class PlainService:
    """Machines by name, and the sources of their readings. `now` is what the service lives by, `wall` the computer's
    clock."""

    def __init__(self, limits: ShardLimits, names: list[str], now: int) -> None:
        self.limits, self.now, self.wall = limits, now, now
        self.told: Counter[tuple[str, str]] = Counter()
        window = limits.window
        self.machines = {
            name: Watched(
                name,
                PlainMachine((), name[0] == "j", window.reorder, 0, RING_RESULTS, ticks_max=window.ticks_max),
                PlainAlarms(told=self.told),
            )
            for name in names
        }
        self.sources = PlainSources(limits.time_source, limits.sources_max)
        self.closed: list[tuple[str, int, Values, Answer]] = []  # by the last call

    def wait(self, time: int) -> None:
        """Time passes; a clock that follows the readings stands."""
        self.wall += time
        self.now += time if self.limits.future is not None else 0

    def post(self, model: LoadedModel, bodies: list[tuple[str, list[Reading]]]) -> list[Answer]:
        """Bodies of one micro-batch, each with its source, while a model serves."""
        placed = [reading for source, sent in bodies for reading in self._placed(source, sent)]
        for watched in self._of(placed):
            if watched.model is not model:
                watched.follow(model, self._ages(model))
        before = {name: len(watched.ticks.closed) for name, watched in self.machines.items()}
        waited = {name: set(watched.ticks.waiting) for name, watched in self.machines.items()}
        verdicts = [self._take(*reading) for reading in placed]
        taken = [
            reading for reading, (status, _, _) in zip(placed, verdicts, strict=True) if status in ("held", "scored")
        ]
        if self.limits.future is None:
            closed = [
                tick for name, watched in self.machines.items() for tick, _ in watched.ticks.closed[before[name] :]
            ]
            self.now = max([self.now, *closed, *(time for _, time, _ in taken)])
        for watched in self._of(taken):
            watched.sent = watched.ticks.heard = self.now
            watched.ticks.came |= dict.fromkeys(watched.ticks.waiting.keys() - waited[watched.name], self.now)
            watched.alarms.hear(self.now)
        self._score()
        return [
            self.machines[name].results[tick] if status == "scored" else self._answer(name, status, reason, tick)
            for (name, _, _), (status, reason, tick) in zip(placed, verdicts, strict=True)
        ]

    def _placed(self, source: str, sent: list[Reading]) -> list[Reading]:
        """The readings of a body by the times that count."""
        if self.limits.future is None or not sent:
            return sent
        newest = max(time for _, time, _ in sent)
        shift = self.sources.shift(source, json.dumps(sent), newest, max(self.now, self.wall))
        return [(name, time + shift, values) for name, time, values in sent]

    def _take(self, name: str, time: int, values: Values) -> tuple[str, str, int | None]:
        """Status and reason, and the tick whose result is told."""
        watched = self.machines[name]
        ticks = watched.ticks
        future = self.limits.future
        horizon = time if future is None else max(self.now, self.wall) + future
        tick = -(-time // ticks.step) * ticks.step if ticks.joined else time
        status, reason = ticks.post(time, values, self.now, horizon)
        if status in ("held", "scored"):
            watched.newest = max(watched.newest, time)
        repeats = status == "duplicate" and not reason and tick not in ticks.waiting
        return status, reason, tick if status == "scored" or repeats else None

    def _answer(self, name: str, status: str, reason: str, tick: int | None) -> Answer:
        if tick is None:
            return Answer(status, reason)
        return replace(self.machines[name].results[tick], status=status)

    def look(self) -> None:
        """What is due by the clock: ticks, and then machines that have fallen silent."""
        for watched in self.machines.values():
            watched.ticks.look(self.now)
        self._score()
        for watched in self.machines.values():
            if watched.sent is not None:
                watched.alarms.look(watched.model.name, self.now, watched.ticks.heard, self._patience(watched))

    def restart(self) -> None:
        """Time goes on from when something was sent last, and no machine is silent for the time without service."""
        self.sources.restart()
        self.told.clear()
        if self.limits.future is not None:
            known = [watched for watched in self.machines.values() if watched.sent is not None]
            self.now = max([self.wall, *(watched.sent for watched in known)])
            for watched in known:
                watched.ticks.heard = self.now

    def _of(self, readings: list[Reading]) -> list[Watched]:
        return [self.machines[name] for name in sorted({name for name, _, _ in readings})]

    def _score(self) -> None:
        historical = None if self.limits.future is None else min(self.now, self.wall) - self.limits.historical
        self.closed = [(name, *tick) for name, watched in self.machines.items() for tick in watched.score(historical)]

    def _ages(self, model: LoadedModel) -> dict[str, int]:
        """For how long values are held: as the settings say, or as was learned."""
        learned = {sensor.name: sensor.hold for sensor in model.manifest.sensors}
        return {name: self.limits.join_age or hold for name, hold in learned.items()}

    def _patience(self, watched: Watched) -> int:
        """For how long a machine may send nothing."""
        ages = [age for age in watched.ticks.ages.values() if age] if watched.ticks.joined else []
        intervals = self.limits.silent_intervals * watched.model.detector.interval
        return max(intervals, min(ages, default=intervals))
