"""The history of a machine: what came of its readings, page by page, oldest first. From the journal, and where its
records have been removed, from what was exported of them.

Only what is committed is read, on a connection of its own. The times of a machine rise from record to record, so that a
page goes on after the last time of the one before. A page looks at a bounded part of the journal: it may be empty and
still have a next one.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import closing
from dataclasses import dataclass, field

from models.contract import MICROSECONDS
from service.errors import Invalid, shown
from service.exported import Exported, Timed, Wanted, chosen
from service.history import DAY
from service.ingest.times import TimeRefused, parse_time
from service.journal_reader import JournalFile
from service.records import Record, RecordError
from service.settings import JOURNAL, Settings
from service.views import ScoreEntry

JOURNAL_BYTES, JOURNAL_RECORDS = 32 * 1024 * 1024, 20_000  # looked at for one page
EXPORTED_BYTES = 256 * 1024 * 1024  # likewise, one day at least
FIRST, LAST = -(2**63) + 1, 2**63 - 1  # of all times and sequences


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for: readings of a machine with `first` <= time < `end`, at most `limit` of them at once."""

    equipment: str
    slot: int
    first: int
    end: int
    limit: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page goes on: with that record, after that time."""

    sequence: int
    time: int

    def text(self) -> str:
        """As an answer has it.

        >>> Place.parse(Place(17, 1_500_000).text())
        Place(sequence=17, time=1500000)
        """
        return urlsafe_b64encode(f"{self.sequence}.{self.time}".encode()).decode().rstrip("=")

    @staticmethod
    def parse(text: str) -> Place:
        """From what an answer had. Invalid where none had it."""
        try:
            sequence, time = map(int, urlsafe_b64decode(f"{text}===").split(b"."))
        except (ValueError, binascii.Error):
            sequence, time = -1, 0
        if not (0 <= sequence <= LAST and FIRST - 1 <= time <= LAST and Place(sequence, time).text() == text):
            raise Invalid(f"cursor is {shown(text)}; expected `next` of the page before", field="cursor")
        return Place(sequence, time)


def span(equipment: str, slot: int, first: str | None, end: str | None, limit: int) -> Span:
    """What a request asks for. Invalid names the parameter that cannot be used."""
    since, until = _time("from", first, FIRST), _time("to", end, LAST)
    if since >= until:
        raise Invalid(f"to is {shown(end)}; expected a time after from, which is {shown(first)}", field="to")
    return Span(equipment, slot, since, until, limit)


def _time(name: str, text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        return parse_time(text)
    except TimeRefused as error:
        hint = "; a + in an address is written %2B" if " " in text else ""
        raise Invalid(f"{name} {error}{hint}", field=name) from None


@dataclass(slots=True)
class Page:
    """What has been found of a span, and the time after which to look on."""

    span: Span
    after: int
    entries: list[ScoreEntry] = field(default_factory=list)

    @property
    def wanted(self) -> Wanted:
        """What is still to be found."""
        room = self.span.limit - len(self.entries)
        return Wanted(self.span.equipment, self.span.slot, self.after, self.span.end, room)

    @property
    def full(self) -> bool:
        return len(self.entries) >= self.span.limit

    def add(self, timed: list[Timed]) -> None:
        """Take in what was found, oldest first, as far as there is room."""
        for time, entry in timed[: self.wanted.limit]:
            self.entries.append(entry)
            self.after = time


class ScoreHistory:
    """The history that is in the data folder of a service."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.data_dir / JOURNAL
        self.exported = Exported(settings.data_dir)
        bounded = settings.clock == "wall"  # how far a reading may be ahead of the moment at which it comes in
        self.future = int(settings.future_seconds_max * MICROSECONDS) if bounded else None

    def page(self, wanted: Span, place: Place | None) -> tuple[list[ScoreEntry], Place | None]:
        """A page, and where the next one goes on; None where there is no more. It reads files for long."""
        journal = JournalFile(self.path)
        kept = journal.first_sequence() or journal.last_sequence() + 1
        if place is None:
            place = Place(self._beginning(journal, wanted, kept), wanted.first - 1)
        page = Page(wanted, max(place.time, wanted.first - 1))
        if place.sequence < kept and not self._add_exported(page, kept):
            return page.entries, Place(place.sequence, page.after)
        return page.entries, _add_recorded(page, journal, max(place.sequence, kept))

    def _beginning(self, journal: JournalFile, wanted: Span, kept: int) -> int:
        """The first record that may have readings of the span; 0 where it may be one that was removed."""
        if self.future is None or wanted.first == FIRST:
            return 0
        found = journal.sequence_at(max(wanted.first - self.future, 0))
        return found if found > kept else 0

    def _add_exported(self, page: Page, kept: int) -> bool:
        """Add what is in records before `kept`; whether that is all of it."""
        looked = 0
        for day, size in self.exported.days().items():
            if (day + 1) * DAY <= page.after + 1 or day * DAY >= page.span.end:
                continue
            if looked >= EXPORTED_BYTES:
                page.after = max(page.after, day * DAY - 1)
                return False
            looked += size
            page.add(self.exported.of_day(day, page.wanted, kept))
            if page.full:
                return False
        return True


def _add_recorded(page: Page, journal: JournalFile, first: int) -> Place | None:
    """Add what is in the journal from a record on; where to go on, None at its end."""
    expected, looked = first, 0
    with closing(journal.examine(first)) as rows:  # type: ignore[type-var]
        for row in rows:
            if row.after_gap:
                continue  # the row comes again
            if row.record is None:
                raise RecordError(row.trouble)
            if row.sequence > expected and (journal.first_sequence() or 0) > expected:
                return Place(expected, page.after)  # removed meanwhile: it may have been exported
            timed = [entry for part in row.record.readings for entry in chosen(page.wanted, part)]
            page.add(sorted(timed, key=lambda entry: entry[0]))
            if page.full:
                return Place(row.sequence, page.after)
            if _passed(page.span, row.record):
                return None
            expected, looked = row.sequence + 1, looked + row.payload_bytes
            if looked >= JOURNAL_BYTES or expected - first >= JOURNAL_RECORDS:
                return Place(expected, page.after)
    return None


def _passed(wanted: Span, record: Record) -> bool:
    """Whether the machine has come to the end of the span: nothing before it can follow."""
    return any(((part.slot == wanted.slot) & (part.time >= wanted.end)).any() for part in record.readings)
