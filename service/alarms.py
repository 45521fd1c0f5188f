"""The book of alarm episodes: one open alarm per equipment and kind, and the recent closed ones.

An alarm's id is made from the shard, the sequence and the row of the record that opened it: the same after a replay,
and unique without asking anybody. Alarms of several kinds may open at one row: a letter at the end tells them apart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

Kind = Literal["process", "silent", "sampling_mismatch"]
LETTERS: dict[Kind, str] = {"process": "", "silent": "s", "sampling_mismatch": "m"}  # at the end of ids
KINDS: tuple[Kind, ...] = tuple(LETTERS)

SHARE_DECIMALS = 4  # of a share, as it is told
SHARE_MIN = 0.01  # of a sensor that is named
SENSORS_NAMED_MAX = 5  # in an alarm
SETTLED_AFTER = 8  # fresh exceedances that must follow one before it may name the sensors of its alarm


class SensorShare(msgspec.Struct, frozen=True, gc=False):
    """A sensor, and its share of what the model failed to predict: of the statistic that made the score."""

    sensor: str
    share: float


class Opening(msgspec.Struct, frozen=True, gc=False):
    """What an alarm was when it opened: the score of that reading, and the sensors behind it."""

    score: float
    sensors: list[SensorShare]


class Exceedance(msgspec.Struct, frozen=True, gc=False):
    """A fresh exceedance of an open alarm: its score, and the sensors behind it."""

    score: float
    sensors: list[SensorShare]


class Alarm(msgspec.Struct):
    """One episode; times in microseconds, `end` None while it is open.

    `sensors` are those of its highest fresh exceedance that others followed: the step back to normal, often the
    highest of all, is among the last and names nothing. `height` is the score of that one (0: none yet), `recent` the
    last ones of an open alarm, oldest first. `historical`: opened by a reading of long ago, and by no later one found
    open; nobody is told of it.
    """

    id: str
    kind: Kind
    equipment: str
    model: str
    version: int
    start: int
    end: int | None = None
    peak: float | None = None
    peak_time: int | None = None
    sensors: list[SensorShare] = []
    opening: Opening | None = None  # of kind process
    height: float = 0.0
    recent: list[Exceedance] = []
    historical: bool = False

    @property
    def open(self) -> bool:
        return self.end is None

    def add(self, exceedance: Exceedance) -> None:
        """Take in one fresh exceedance."""
        self.recent = [*self.recent, exceedance]
        if len(self.recent) > SETTLED_AFTER:
            settled, *self.recent = self.recent
            if settled.score > self.height:
                self.height, self.sensors = settled.score, settled.sensors
        elif self.height == 0:
            self.sensors = max(self.recent, key=lambda one: one.score).sensors


def named(shares: dict[str, float]) -> list[SensorShare]:
    """The sensors with the greatest shares of the whole, greatest first, none under `SHARE_MIN`.

    >>> named({"flow": 3.0, "speed": 0.99, "current": 0.01})
    [SensorShare(sensor='flow', share=0.75), SensorShare(sensor='speed', share=0.2475)]
    """
    total = sum(shares.values())
    greatest = sorted(shares.items(), key=_greatest_first)[:SENSORS_NAMED_MAX]
    return [
        SensorShare(sensor, round(share / total, SHARE_DECIMALS))
        for sensor, share in greatest
        if total > 0 and share / total >= SHARE_MIN
    ]


def _greatest_first(item: tuple[str, float]) -> tuple[float, str]:
    return -item[1], item[0]


def alarm_id(shard: int, sequence: int, row: int, kind: Kind = "process") -> str:
    """Of the alarm that row `row` of record `sequence` opened.

    >>> alarm_id(0, 1729, 3), alarm_id(0, 1729, 3, "silent")
    ('0-1729-3', '0-1729-3s')
    """
    return f"{shard}-{sequence}-{row}{LETTERS[kind]}"


class AlarmBook:
    """Alarms by id. Open ones are always kept; of the closed ones the last `closed_max`."""

    def __init__(self, closed_max: int) -> None:
        self.closed_max = closed_max
        self._open: dict[tuple[str, Kind], Alarm] = {}
        self._closed: OrderedDict[str, Alarm] = OrderedDict()
        self._by_id: dict[str, Alarm] = {}

    def open(self, alarm: Alarm) -> None:
        """Enter a new alarm."""
        self._open[alarm.equipment, alarm.kind] = alarm
        self._by_id[alarm.id] = alarm

    def current(self, equipment: str, kind: Kind) -> Alarm | None:
        """The open alarm of that kind, if there is one."""
        return self._open.get((equipment, kind))

    def close(self, equipment: str, kind: Kind, end: int) -> Alarm | None:
        """End the open alarm of that kind, if there is one."""
        alarm = self._open.pop((equipment, kind), None)
        if alarm is None:
            return None
        alarm.end, alarm.recent = max(end, alarm.start), []
        self._keep(alarm)
        return alarm

    def get(self, alarm_id: str) -> Alarm | None:
        """One alarm by id, open or closed."""
        return self._by_id.get(alarm_id)

    def newest_first(self) -> Iterator[Alarm]:
        """Open alarms by start, newest first, then closed ones, the last closed first."""
        yield from sorted(self._open.values(), key=lambda alarm: (alarm.start, alarm.id), reverse=True)
        yield from reversed(self._closed.values())

    def select(
        self,
        open: bool | None = None,
        equipment: str | None = None,
        kind: Kind | None = None,
        skip: int = 0,
        count: int = 100,
        historical: bool | None = None,
    ) -> tuple[list[Alarm], int]:
        """A page of the alarms that fit, newest first, and how many fit in all."""
        fitting = [
            alarm
            for alarm in self.newest_first()
            if (open is None or alarm.open is open)
            and (equipment is None or alarm.equipment == equipment)
            and (kind is None or alarm.kind == kind)
            and (historical is None or alarm.historical is historical)
        ]
        return fitting[skip : skip + count], len(fitting)

    def open_counts(self) -> dict[tuple[str, Kind], int]:
        """Open alarms by model and kind, without historical ones."""
        counts: dict[tuple[str, Kind], int] = {}
        for alarm in self._open.values():
            counts[alarm.model, alarm.kind] = counts.get((alarm.model, alarm.kind), 0) + (not alarm.historical)
        return counts

    def saved(self) -> bytes:
        """All alarms, for a snapshot."""
        return msgspec.json.encode([*self._closed.values(), *self._open.values()])

    def restore(self, alarms: Iterable[Alarm]) -> None:
        """Take over the alarms of a snapshot, in the order in which `saved` has them."""
        self._open.clear()
        self._closed.clear()
        self._by_id.clear()
        for alarm in alarms:
            if alarm.end is None:
                self.open(alarm)
            else:
                self._keep(alarm)

    def _keep(self, alarm: Alarm) -> None:
        """Among the closed ones; the oldest of them goes where there are too many."""
        self._closed[alarm.id] = self._by_id[alarm.id] = alarm
        if len(self._closed) > self.closed_max:
            forgotten, _ = self._closed.popitem(last=False)
            del self._by_id[forgotten]
