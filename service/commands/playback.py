"""A stream, played to a service: bodies when they are due, alarms as they open and close, and a tally of it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from service.client import Client, ServiceError
from service.commands.alarm_watch import AlarmWatch, News
from service.commands.stream import Stream, Wall, due
from service.ingest.times import time_text
from service.status import STATUS_NAMES

LOOK_SECONDS = 0.5  # between two looks at the alarms
OLD_NEWS = {"duplicate", "late"}


@dataclass(frozen=True, slots=True)
class Latest:
    """The last reading of a machine that was answered."""

    equipment: str
    status: str
    score: float | None
    alarm: bool


@dataclass(slots=True)
class Tally:
    """What became of the readings so far."""

    total: int
    sent: int = 0
    time: int | None = None  # of the last reading sent, microseconds
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    closed: int = 0
    ahead: tuple[str, str] | None = None  # a machine that the service knew already, and up to which time

    @property
    def complete(self) -> bool:
        """Whether every reading was sent."""
        return self.sent == self.total

    def count(self, answer: dict[str, Any]) -> None:
        """Add what came of one body."""
        self.statuses.update({status: answer[status] for status in STATUS_NAMES})
        for batch in answer["batches"]:
            self.reasons.update(filter(None, batch.get("reason", ())))

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "readings": self.sent,
            "readings_total": self.total,
            "complete": self.complete,
            "until": None if self.time is None else time_text(self.time),
            "seconds": round(self.seconds, 3),
            "readings_per_second": round(self.sent / self.seconds, 1) if self.seconds else None,
            **{status: self.statuses[status] for status in STATUS_NAMES},
            "reasons": dict(self.reasons.most_common()),
            "alarms_opened": self.opened,
            "alarms_closed": self.closed,
        }


@dataclass(frozen=True, slots=True)
class Step:
    """What one body, or one look at the alarms, has brought."""

    latest: list[Latest]
    news: list[News]
    complaints: list[str]


class Playback:
    """One stream on its way to one service. ServiceError where that is gone, saying how far the stream got."""

    def __init__(self, client: Client, stream: Stream, speed: float, wall: Wall) -> None:
        self._client, self._stream, self._speed, self._wall = client, stream, speed, wall
        self.tally = Tally(len(stream))
        self.watch = AlarmWatch(client, [machine.equipment for machine in stream.machines])
        self._told: set[str] = set()

    def steps(self) -> Iterator[Step]:
        """Play it; the last step has the last news. Steps may be left undone."""
        begun = looked = self._wall.now()
        for part in due(self._stream, self._speed, self._wall):
            step = Step([], [], [])
            if part.stop > part.start:
                step = self._post(part)
            now = self._wall.now()
            self.tally.seconds = now - begun
            if now - looked >= LOOK_SECONDS:
                looked = now
                step.news.extend(self.news())
            yield step
        ended = self._close()
        yield Step([], self.news(), ended)

    def news(self) -> list[News]:
        """Alarms that have opened or closed since the last look, counted."""
        try:
            found = self.watch.look()
        except ServiceError as error:
            raise ServiceError(f"{error} ({self.progress()})") from None
        self.tally.opened += sum(news.event == "opened" for news in found)
        self.tally.closed += sum(news.event == "closed" for news in found)
        return found

    def _close(self) -> list[str]:
        """Say that nothing later will come, where ticks wait for it by the clock of the data; a sentence on them."""
        if not self.tally.statuses["held"]:
            return []
        clock = self._client.get("v1", "clock")
        if clock["clock"] != "event" or clock["due"] is None:
            return []
        self._client.put("v1", "clock", body={"time": clock["due"]})
        waited = f"{clock['held']:,} ticks waited for readings that did not come"
        return [f"{waited}; the clock of the service went on to {clock['due']}, and they are scored"]

    def progress(self) -> str:
        """How far it got, in words."""
        time = self.tally.time
        until = f", up to {time_text(time)}" if time is not None else ""
        return f"{self.tally.sent:,} of {self.tally.total:,} readings were streamed{until}"

    def _post(self, part: slice) -> Step:
        body = self._stream.body(part)
        try:
            answer = self._client.post_readings(body)
            self.tally.ahead = self.tally.ahead or self._ahead(body["batches"], answer["batches"])
        except ServiceError as error:
            raise ServiceError(f"{error} ({self.progress()})") from None
        self.tally.sent, self.tally.time = part.stop, int(self._stream.time[part.stop - 1])
        self.tally.count(answer)
        latest = [
            Latest(batch["equipment"], batch["status"][-1], batch["score"][-1], batch["alarm"][-1])
            for batch in answer["batches"]
        ]
        return Step(latest, [], self._complaints(answer))

    def _ahead(self, sent: list[dict[str, Any]], answered: list[dict[str, Any]]) -> tuple[str, str] | None:
        """A machine of a body that the service had been told of before, and how far: asked for where all of the body
        was old news, and else the last time that was."""
        for batch, answer in zip(sent, answered, strict=True):
            old = [row for row, status in enumerate(answer["status"]) if status in OLD_NEWS]
            if old and old[-1] < len(answer["status"]) - 1:
                return batch["equipment"], batch["times"][old[-1]]
            if old:
                return batch["equipment"], self._client.get("v1", "equipment", batch["equipment"])["last_time"]
        return None

    def _complaints(self, answer: dict[str, Any]) -> list[str]:
        """What the service warns of or refuses, each once: unknown sensors, and the first reading of each reason."""
        found = [(text, text) for text in answer.get("warnings", ())]
        found += [(error["reason"], error["detail"]) for error in answer.get("errors", ())]
        fresh = {key: text for key, text in reversed(found) if key not in self._told}
        self._told.update(fresh)
        return list(fresh.values())[::-1]
