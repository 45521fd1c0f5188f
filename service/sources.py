"""Where bodies come from, how far the clocks there are from ours, and by which clock the times of a body are taken.

The clock of a source is as far ahead of ours as the newest event time of its least delayed body is ahead of the moment
at which that body comes in. That is by the computer's clock or the one that the service lives by, whichever is later.
Delay only makes a clock look further behind, so the greatest difference counts. A clock that is further ahead than
known is believed at the second body that says so (at the first of all, at once), one that is further behind where the
greatest of two windows agree: what a backlog looks like while it goes over is not that.

A body that is sent again must come to the same times, or nothing of it would be known again: what the last bodies of
each source were shifted by is remembered by a digest of their content, recorded with their readings, and replayed.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import msgspec
import numpy as np

from models.contract import MICROSECONDS
from service.clock import TimeSource
from service.errors import BadRequest, shown
from service.ingest.batch import Body, ReadingBatch
from service.ingest.times import TIME_MAX, TIME_MIN
from service.records import Record, RecordError
from service.settings import default

Shift = tuple[str, str, int]  # source, digest of a body, what was added to its times (microseconds)

SOURCE_HEADER = "Limen-Source"
SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,63}", re.ASCII)
SHIFTS_REMEMBERED = 32  # bodies of a source
WINDOW = 300 * MICROSECONDS  # within which a source is taken to send at least one body without delay
TOLERANCE = MICROSECONDS  # by which a clock may be off and is left so
DIGEST_BYTES = 16

log = logging.getLogger("limen")


@dataclass(slots=True)
class SourceClock:
    """The clock of one source against ours, in microseconds: positive is ahead. `held` is what its times are taken back
    by, where its offset counts.

    >>> clock = SourceClock()
    >>> for moment, offset in enumerate([-7, 5_000_000, 5_200_000, 90_000_000]):
    ...     clock.observe(offset, moment)
    >>> clock.held, clock.greatest
    (5000000, 5200000)
    """

    held: int = 0
    last: int | None = None
    window: int = 0
    highest: int | None = None  # of the window under way
    before: int | None = None  # of the last window in which something came

    @property
    def greatest(self) -> int | None:
        """Offset as of the last two windows in which something came; None before that."""
        return max((value for value in (self.highest, self.before) if value is not None), default=None)

    def observe(self, offset: int, now: int) -> None:
        """A body came in `now`, and its newest event time was ahead by `offset`."""
        if self.highest is not None and now // WINDOW != self.window:
            self._close()
        self.window = now // WINDOW
        believed = offset if self.last is None else min(offset, self.last)
        self.last = offset
        self.highest = believed if self.highest is None else max(self.highest, believed)
        if believed > self.held + TOLERANCE:
            self.held = believed

    def _close(self) -> None:
        """A window has ended."""
        if self.highest is not None and self.before is not None and abs(self.highest - self.before) <= TOLERANCE:
            greatest = max(self.highest, self.before)
            self.held = greatest if greatest < self.held - TOLERANCE else self.held
        self.before, self.highest = self.highest, None


@dataclass(slots=True)
class Sources:
    """The sources of one shard. `time_source` are name patterns and the clock that counts, first match wins."""

    time_source: Mapping[str, TimeSource] = field(default_factory=dict)
    sources_max: int = default("sources_max")
    clocks: dict[str, SourceClock] = field(default_factory=dict)
    shifts: dict[str, dict[str, int]] = field(default_factory=dict)  # of the last bodies, by source and digest

    def place(self, bodies: Sequence[Body], now: int) -> tuple[Sequence[Body], list[Shift]]:
        """The bodies by the times that count, and what is new to be remembered; all came in `now`."""
        placed, found = list(bodies), list[Shift]()
        for number, body in enumerate(bodies):
            newest = max((int(batch.times.max()) for batch in body.batches if batch.readings), default=None)
            if newest is None or not body.source:
                continue
            kind = self.kind_of(body.source)
            clock = self._observed(body.source, kind, newest - now, now)
            if kind == "event":
                continue
            digest = digest_of(body)
            shift = self.shifts.get(body.source, {}).get(digest)
            if shift is None:
                shift = now - newest if kind == "arrival" else -clock.held if clock else 0
                found.append((body.source, digest, shift))
                self.remember(found[-1:])
            if shift:
                placed[number] = shifted(body, shift)
        return placed, found

    def offsets(self) -> Iterator[tuple[str, int]]:
        """How far the clock of each source is ahead, in microseconds."""
        for source, clock in self.clocks.items():
            if clock.greatest is not None:
                yield source, clock.greatest

    def kind_of(self, source: str) -> TimeSource:
        """By which clock the times of a source are taken."""
        if not self.time_source:
            return "event"
        return next((kind for pattern, kind in self.time_source.items() if fnmatchcase(source, pattern)), "event")

    def remember(self, shifts: Iterable[Shift]) -> None:
        """Keep what bodies were shifted by, in the order in which they came."""
        for source, digest, shift in shifts:
            own = self.shifts.pop(source, {})
            self.shifts[source] = own  # the last source that sent is the last to go
            own[digest] = shift
            if len(own) > SHIFTS_REMEMBERED:
                del own[next(iter(own))]
            if len(self.shifts) > self.sources_max:
                del self.shifts[next(iter(self.shifts))]

    def _observed(self, source: str, kind: TimeSource, offset: int, now: int) -> SourceClock | None:
        """The clock of a source after one more body; None where there are too many sources."""
        clock = self.clocks.get(source)
        if clock is None:
            if len(self.clocks) >= self.sources_max:
                if kind == "offset":
                    text = (
                        "the clock of source %s is not measured and its times are left as they are: sources_max is %d"
                    )
                    log.warning(text, shown(source), self.sources_max)
                return None
            clock = self.clocks[source] = SourceClock(self._last_held(source) if kind == "offset" else 0)
        clock.observe(offset, now)
        return clock

    def _last_held(self, source: str) -> int:
        """What the times of a source were taken back by before this start; 0 where nothing came."""
        return -next(reversed(self.shifts.get(source, {"": 0}).values()))

    def saved(self) -> bytes:
        """What is remembered, for a snapshot."""
        return msgspec.json.encode(self.shifts)

    def restore(self, shifts: dict[str, dict[str, int]]) -> None:
        """Take over what a snapshot remembers."""
        self.shifts = shifts


def told(shifts: Sequence[Shift]) -> dict[str, Any] | None:
    """Shifts as the detail of a record has them; None where there are none."""
    return {"shifts": [list(shift) for shift in shifts]} if shifts else None


def shifts_in(record: Record) -> list[Shift]:
    """The shifts that a record tells of. RecordError where they are not as this program writes them."""
    if record.kind != "readings":
        return []
    try:
        return msgspec.convert(record.detail.get("shifts", []), list[Shift])
    except msgspec.ValidationError as error:
        raise RecordError(f"record {record.sequence} of kind readings cannot be read: {error}") from None


def digest_of(body: Body) -> str:
    """Of the content of a body: equal for one that is sent again as it was."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for batch in body.batches:
        digest.update(msgspec.json.encode([batch.sensors, batch.equipment, batch.counts]))
        digest.update(np.ascontiguousarray(batch.times).data)
        digest.update(np.ascontiguousarray(batch.values).data)
    return digest.hexdigest()


def shifted(body: Body, shift: int) -> Body:
    """A body with other times, within those that can be told."""
    return replace(body, batches=[_later(batch, shift) for batch in body.batches])


def _later(batch: ReadingBatch, shift: int) -> ReadingBatch:
    return replace(batch, times=np.clip(batch.times + shift, TIME_MIN, TIME_MAX))


def source_of(headers: Mapping[bytes, bytes], client: tuple[str, int] | None) -> str:
    """Who sends a body: as its header says, else the address of the client, "" where there is none. BadRequest where
    the header is no name.

    >>> source_of({b"limen-source": b"gateway-3"}, ("10.0.0.7", 4711)), source_of({}, ("10.0.0.7", 4711))
    ('gateway-3', '10.0.0.7')
    """
    named = headers.get(SOURCE_HEADER.lower().encode())
    if named is None:
        return client[0] if client else ""
    text = named.decode("latin-1")
    if not SOURCE.fullmatch(text):
        expected = "expected 1 to 64 letters, digits or . _ : / @ -, such as gateway-3"
        raise BadRequest(f"{SOURCE_HEADER} is {shown(text)}; {expected}", field=SOURCE_HEADER)
    return text
