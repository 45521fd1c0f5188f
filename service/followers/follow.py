"""How a follower reads the journal: from its own position, at its own pace, exactly once.

What is made of some records and the position after them are written in one transaction: after `kill -9`, it goes on
with the record that comes next. Records that were removed before they were read are a hole, told in log and store.
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing, suppress
from typing import Protocol

from service.followers.store import Place, Store
from service.journal_reader import Reader
from service.records import Record, RecordError

BATCH_RECORDS = 256  # of one transaction
BATCH_READINGS = 100_000
POLL_SECONDS = 0.5

log = logging.getLogger("limen")


class Follower(Protocol):
    """What reads the journal in its own process, with its own store."""

    name: str
    store: Store

    def take(self, record: Record) -> None:
        """Take a record in; within the transaction that moves the position over it."""
        ...

    def missed(self, first: int, last: int) -> None:
        """Records are gone unread; within the transaction that notes the hole."""
        ...

    def settle(self) -> None:
        """Do what is due, whether there were records or not."""
        ...


def follow(follower: Follower, reader: Reader, stopping: threading.Event) -> None:
    """Read on until told to stop. RecordError where a record cannot be read."""
    check_place(follower, reader)
    while not stopping.is_set():
        moved = advance(follower, reader)
        follower.settle()
        if not moved:
            stopping.wait(POLL_SECONDS)


def check_place(follower: Follower, reader: Reader) -> None:
    """Say so where the journal is not the one that was read: it was put back to an earlier state and has grown since,
    so that records of the same numbers were read before, and others now go unread."""
    place = follower.store.place
    if not place.received_at:
        return
    with closing(reader.read(place.position)) as records, suppress(RecordError):  # type: ignore[type-var]
        for record in records:
            if record.sequence == place.position and record.received_at != place.received_at:
                log.error(
                    "follower %s has read another record %d than the journal has: it was put back to an earlier state; "
                    "some records up to it go unread", follower.name, place.position,
                )  # fmt: skip
            return


def advance(follower: Follower, reader: Reader) -> bool:
    """Take in some records, if there are any; whether there were."""
    store = follower.store
    before = store.place
    if (last := reader.last_sequence()) < before.position:
        log.error(
            "follower %s has read up to record %d, and the journal ends with %d: it was put back to an earlier state; "
            "what comes from now on is read", follower.name, before.position, last,
        )  # fmt: skip
        with store.transaction():
            store.move(Place(last, before.now))
        return True
    first = reader.first_sequence()
    if first is None:
        return False
    if first > before.position + 1:
        _skip(follower, before, first)
        return True
    records = _next(reader, before.position + 1)
    if not records:
        return False
    with store.transaction():
        for record in records:
            follower.take(record)
        now = max(before.now, *(record.now for record in records))
        store.move(Place(records[-1].sequence, now, records[-1].received_at))
    return True


def _next(reader: Reader, first: int) -> list[Record]:
    """The records of one transaction; none where they are being removed just now."""
    found: list[Record] = []
    readings = 0
    with closing(reader.read(first)) as records:  # type: ignore[type-var]
        try:
            for record in records:
                if record.sequence != first + len(found):
                    break
                found.append(record)
                readings += sum(len(part.time) for part in record.readings)
                if len(found) >= BATCH_RECORDS or readings >= BATCH_READINGS:
                    break
        except RecordError:
            if found or (reader.first_sequence() or 0) > first:
                return found
            raise
    return found


def _skip(follower: Follower, before: Place, first: int) -> None:
    """Go on after records that are gone."""
    hole = before.position + 1, first - 1
    log.error("follower %s: records %d to %d were removed before it had read them", follower.name, *hole)
    with follower.store.transaction():
        follower.store.add_hole(*hole)
        follower.missed(*hole)
        follower.store.move(Place(first - 1, before.now))
