"""`--from` and `--to` of commands on a journal: each the number of a record, or a time."""

from __future__ import annotations

from dataclasses import dataclass

from service.ingest.times import TIME_MAX, TIME_MIN, TimeRefused, parse_time
from service.journal_reader import JournalError

RECORD_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Span:
    """Records `first` to `last`, both of them in it, and times from `start` until before `stop`, in microseconds."""

    first: int = 0
    last: int = RECORD_MAX
    start: int = TIME_MIN
    stop: int = TIME_MAX + 1

    def has_time(self, time: int) -> bool:
        """Whether a time is in it."""
        return self.start <= time < self.stop


EVERYTHING = Span()


def span(start: str, stop: str) -> Span:
    """What `--from` and `--to` say, where they are given. JournalError where one is neither a number nor a time.

    >>> span("17", "2026-11-24T00:00:00Z")
    Span(first=17, last=9223372036854775807, start=-62135596800000000, stop=1795478400000000)
    """
    given: dict[str, int] = {}
    for option, text, number, time in (("--from", start, "first", "start"), ("--to", stop, "last", "stop")):
        if text.isascii() and text.isdecimal():
            given[number] = _record(option, text)
        elif text:
            given[time] = _time(option, text)
    return Span(**given)


def _record(option: str, text: str) -> int:
    if len(text) > len(str(RECORD_MAX)) or not 1 <= int(text) <= RECORD_MAX:
        raise JournalError(f"{option} is record {text[:20]}; expected a number from 1 to {RECORD_MAX}, or a time")
    return int(text)


def _time(option: str, text: str) -> int:
    try:
        return parse_time(text)
    except TimeRefused as error:
        raise JournalError(f"{option} {error}, or the number of a record") from None
