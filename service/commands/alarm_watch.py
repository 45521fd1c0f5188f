"""Alarms of a service, followed over GET /v1/alarms: what has opened and closed since the last look."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.client import Client
from service.commands.console import duration
from service.ingest.times import parse_time

PAGE = 100
SENSORS_SHOWN = 3
SHARE_MIN = 0.01  # of a sensor that is named

AlarmJson = dict[str, Any]  # as GET /v1/alarms shows it


@dataclass(frozen=True, slots=True)
class News:
    """An alarm that has opened or closed."""

    event: Literal["opened", "closed"]
    alarm: AlarmJson

    @property
    def time(self) -> str:
        """When it did."""
        return str(self.alarm["start" if self.event == "opened" else "end"])


class AlarmWatch:
    """Follows the alarms of `equipment`; those that there are when it begins are no news, but their end is."""

    def __init__(self, client: Client, equipment: Collection[str]) -> None:
        self._client = client
        self._equipment = frozenset(equipment)
        self._before: set[str] = set()
        self._alarms: dict[str, AlarmJson] = {}
        self.look()
        self._before.update(self._alarms)

    @property
    def alarms(self) -> list[AlarmJson]:
        """Every alarm that has opened since the watch began, by its start."""
        return sorted((a for a in self._alarms.values() if a["id"] not in self._before), key=lambda a: str(a["start"]))

    @property
    def open(self) -> list[AlarmJson]:
        """Alarms that are open now, by their start."""
        return sorted((alarm for alarm in self._alarms.values() if alarm["open"]), key=lambda a: str(a["start"]))

    def look(self) -> list[News]:
        """What is new, in order of time. An alarm that has opened and closed meanwhile is news twice."""
        found = []
        for alarm in (*self._open_now(), *self._lately_closed()):
            known = self._alarms.get(alarm["id"])
            self._alarms[alarm["id"]] = alarm
            if known is None:
                found.append(News("opened", alarm))
            if not alarm["open"] and (known is None or known["open"]):
                found.append(News("closed", alarm))
        return sorted(found, key=lambda news: parse_time(news.time))

    def _open_now(self) -> Iterator[AlarmJson]:
        for page in self._pages("true"):
            yield from page

    def _lately_closed(self) -> Iterator[AlarmJson]:
        """Closed alarms, the last closed first, as far back as a page has any that is news."""
        for page in self._pages("false"):
            fresh = [alarm for alarm in page if self._alarms.get(alarm["id"], {"open": True})["open"]]
            yield from fresh
            if page and not fresh:
                return

    def _pages(self, open: str) -> Iterator[list[AlarmJson]]:
        offset, total = 0, 1
        while offset < total:
            answer = self._client.get("v1", "alarms", open=open, limit=PAGE, offset=offset)
            offset, total = offset + PAGE, answer["total"]
            yield [alarm for alarm in answer["alarms"] if alarm["equipment"] in self._equipment]


def sentence(news: News) -> str:
    """One line on an alarm: when, which machine, what, and which sensors; at its opening those of that tick, at its
    end those behind all of it.

    >>> shares = [{"sensor": "flow", "share": 0.52}, {"sensor": "current", "share": 0.3}]
    >>> opening = {"score": 1.25, "sensors": shares[:1]}
    >>> alarm = {"equipment": "p1", "kind": "process", "start": "2026-01-01T00:00:00Z", "opening": opening}
    >>> sentence(News("opened", {**alarm, "peak": 2.5, "sensors": shares}))
    '2026-01-01T00:00:00Z  p1  alarm opened  score 1.25  flow 52%'
    """
    alarm = news.alarm
    parts = [news.time, alarm["equipment"], f"{kind_word(alarm)} {news.event}"]
    word, score, sensors = "peak", alarm["peak"], alarm["sensors"]
    if news.event == "opened":
        opening = alarm.get("opening") or {"score": score, "sensors": sensors}
        word, score, sensors = "score", opening["score"], opening["sensors"]
    else:
        parts.append(f"after {duration((parse_time(alarm['end']) - parse_time(alarm['start'])) / 1e6)}")
    if score is not None:
        parts.append(f"{word} {score:.2f}")
    return "  ".join([*parts, *filter(None, [sensors_text(sensors)])])


def kind_word(alarm: AlarmJson) -> str:
    """What kind of alarm, where it is not of the usual one.

    >>> [kind_word({"kind": kind}) for kind in ("silent", "process", "sampling_mismatch")]
    ['silence alarm', 'alarm', 'interval alarm']
    """
    words = {"process": "alarm", "silent": "silence alarm", "sampling_mismatch": "interval alarm"}
    return words.get(alarm["kind"], f"{alarm['kind']} alarm")


def sensors_text(sensors: Sequence[dict[str, Any]]) -> str:
    """Sensors with their shares, the first few of those that have one to speak of.

    >>> sensors_text([{"sensor": "flow", "share": 0.985}, {"sensor": "speed", "share": 0.004}])
    'flow 98%'
    """
    told = [found for found in sensors if found["share"] >= SHARE_MIN]
    return ", ".join(f"{found['sensor']} {found['share']:.0%}" for found in told[:SENSORS_SHOWN])
