"""A log in which the same warning again and again is one line, and once a minute how often it came.

Lines are the same where logger, level and text before its values are filled in are the same, and, where an exception is
told, its type and the place that raised it: a fault that 10,000 machines have at once is one line that names the first
of them, not 10,000. Lines below `warning` are written one by one: they say what somebody did.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

WINDOW_SECONDS = 60.0
KINDS_MAX = 1000  # of lines that are counted at a time
BARE = "%s"  # a text without words of its own: what is filled in counts

Kind = tuple[object, ...]


@dataclass(slots=True)
class Counted:
    """A line that was written, when, and how many like it were not; the last of them."""

    since: float
    last: logging.LogRecord
    more: int = 0


class RepeatsHandler(logging.StreamHandler[TextIO]):
    """Writes lines to standard error, or `stream`; those that repeat are counted and told when `window_seconds` are
    over, or at the end."""

    def __init__(
        self,
        stream: TextIO | None = None,
        window_seconds: float = WINDOW_SECONDS,
        kinds_max: int = KINDS_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream)
        self.window_seconds, self.kinds_max, self._clock = window_seconds, kinds_max, clock
        self._counted: dict[Kind, Counted] = {}  # oldest first
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it."""
        self.tell_due()
        if record.levelno < logging.WARNING:
            super().emit(record)
            return
        kind = kind_of(record)
        counted = self._counted.get(kind)
        if counted is not None:
            counted.more, counted.last = counted.more + 1, record
            self._wait()
            return
        super().emit(record)
        if len(self._counted) >= self.kinds_max:
            self._tell(next(iter(self._counted)))
        self._counted[kind] = Counted(self._clock(), record)

    def tell_due(self) -> None:
        """Tell of all lines whose time is over; the next like them is written again."""
        now = self._clock()
        for kind, counted in list(self._counted.items()):
            if now - counted.since < self.window_seconds:
                break
            self._tell(kind)

    def _tell(self, kind: Kind) -> None:
        counted = self._counted.pop(kind)
        if counted.more:
            super().emit(summary(counted, self._clock() - counted.since))

    def _wait(self) -> None:
        """Tell in time where nothing else is logged."""
        if self._timer is None:
            self._timer = threading.Timer(self.window_seconds, self._on_time)
            self._timer.daemon = True
            self._timer.start()

    def _on_time(self) -> None:
        with self.lock or threading.RLock():
            self._timer = None
            self.tell_due()
            if any(counted.more for counted in self._counted.values()):
                self._wait()

    def close(self) -> None:
        """Tell of all that was not told yet."""
        with self.lock or threading.RLock():
            if self._timer is not None:
                self._timer.cancel()
            for kind in list(self._counted):
                self._tell(kind)
        super().close()


def kind_of(record: logging.LogRecord) -> Kind:
    """What lines that are the same have in common."""
    text = record.getMessage() if record.msg == BARE else record.msg
    return record.name, record.levelno, text, *_raised(record)


def _raised(record: logging.LogRecord) -> Kind:
    """Type of the exception that a line tells, and where it was raised."""
    if not record.exc_info or record.exc_info[1] is None:
        return ()
    kind, _, trace = record.exc_info
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (kind,) if trace is None else (kind, trace.tb_frame.f_code.co_filename, trace.tb_lineno)


def summary(counted: Counted, seconds: float) -> logging.LogRecord:
    """The line on those that were not written: the last of them, and how many they are."""
    last = counted.last
    text = f"{last.getMessage()} ... {counted.more:,} more like the first in {seconds:.0f} s, this the last"
    record = logging.LogRecord(last.name, last.levelno, last.pathname, last.lineno, BARE, (text,), None)
    record.repeated = counted.more
    return record
