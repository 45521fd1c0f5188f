"""How far a start is: counted by the thread that loads, told by the event loop and now and then by the log."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Literal

Phase = Literal["models", "snapshot", "replay", "ready"]
LOG_SECONDS = 5.0  # between two lines on one start

log = logging.getLogger("limen")


class Abandoned(Exception):
    """The service is to stop before it has started."""


@dataclass(slots=True)
class Progress:
    """The phase of a start, and how much of the journal is replayed."""

    phase: Phase = "models"
    records: int = 0  # to replay
    records_done: int = 0
    readings_done: int = 0
    stopping: Event = field(default_factory=Event)
    began: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)

    def enter(self, phase: Phase, records: int = 0) -> None:
        """A phase begins. Abandoned where the service is to stop."""
        self.phase, self.records = phase, records
        self._go_on()

    def replayed(self, records: int, readings: int) -> None:
        """So much of the journal is done. Abandoned where the service is to stop."""
        self.records_done, self.readings_done = records, readings
        self._go_on()

    def _go_on(self) -> None:
        if self.stopping.is_set():
            raise Abandoned
        if time.monotonic() - self._told >= LOG_SECONDS:
            self._told = time.monotonic()
            log.info("%s", self.sentence())

    def sentence(self) -> str:
        """Where the start is.

        >>> Progress("replay", 40, 10, 1000, began=time.monotonic()).sentence()
        'the service is starting: replay, 10 of 40 records of the journal (1000 readings), for 0.0 s'
        """
        done = f", {self.records_done} of {self.records} records of the journal ({self.readings_done} readings)"
        seconds = time.monotonic() - self.began
        return f"the service is starting: {self.phase}{done if self.phase == 'replay' else ''}, for {seconds:.1f} s"

    def details(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "phase": self.phase,
            "records": self.records,
            "records_done": self.records_done,
            "readings_done": self.readings_done,
            "seconds": round(time.monotonic() - self.began, 3),
        }
