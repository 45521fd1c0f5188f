"""A look at the records that a start had no need of, since a snapshot covers them: damage among them changes no score,
but they are missing where history is exported, and in a backup.

It is slow on purpose: it rests nine times as long as it works, so that readings are not held up.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from service.journal_reader import JournalError, JournalFile

WORK_SECONDS = 0.002  # between two rests
REST_RATIO = 9.0  # of a rest to the work before it
NAMED_MAX = 20

log = logging.getLogger("limen")


def scrub(path: Path, before: int, stopping: threading.Event) -> int | None:
    """How many records before a sequence are damaged or missing in the journal at `path`, each named in the log; None
    where it was stopped."""
    lost, told, last, began = 0, 0, 0, time.monotonic()
    try:
        for found in JournalFile(path).examine():
            first = last + 1 if found.after_gap else found.sequence
            if first >= before:
                break
            if found.trouble:
                lost += max(found.sequence - first, 1)
                told = _tell(told, found.trouble)
            last = found.sequence - found.after_gap  # which comes again after a gap
            if (worked := time.monotonic() - began) >= WORK_SECONDS:
                if stopping.wait(REST_RATIO * worked):
                    return None
                began = time.monotonic()
    except (JournalError, OSError) as error:
        lost += 1
        _tell(told, str(error))
    return lost


def _tell(told: int, trouble: str) -> int:
    if told < NAMED_MAX:
        log.error("the journal is damaged where a snapshot covers it, and scores are what they were: %s", trouble)
    if told + 1 == NAMED_MAX:
        log.error("limen journal verify names what else is damaged")
    return told + 1
