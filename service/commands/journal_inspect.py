"""`limen journal inspect`: what a journal holds, in all or record by record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from models.contract import MICROSECONDS
from service import configuration, snapshot
from service.commands.console import facts, progress
from service.commands.span import EVERYTHING, Span
from service.ingest.times import time_texts
from service.journal_reader import Examined, JournalError, JournalFile
from service.records import KINDS, ModelReadings, Record
from service.ring import ALARM_BIT
from service.settings import JOURNAL, SNAPSHOTS
from service.status import REASON_NAMES, STATUS_NAMES, flag_names

NAMED_MAX = 5  # machines in one line
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What to list: records by number, the time that they came in, and kind; readings by machine. Nothing chosen: a
    summary of all."""

    span: Span = EVERYTHING
    equipment: Sequence[str] = ()
    kinds: Sequence[str] = ()

    @property
    def anything(self) -> bool:
        return bool(self.span != EVERYTHING or self.equipment or self.kinds)


def run(data_dir: Path, chosen: Chosen, as_json: bool) -> None:
    """Tell of the journal of a data folder. JournalError where there is none."""
    if unknown := set(chosen.kinds) - set(KINDS):
        raise JournalError(f"--kind names {', '.join(sorted(unknown))}; expected {', '.join(KINDS)}")
    path = data_dir / JOURNAL
    journal = JournalFile(path)
    names = snapshot.newest_ids(data_dir / SNAPSHOTS)
    if not chosen.anything:
        found = summary_of(journal, _bytes_of(path)).as_dict()
        print(json.dumps(found, indent=1)) if as_json else facts(summary_lines(found))
        return
    for line in listed(journal, chosen, names):
        print(json.dumps(line) if as_json else " ".join(_text(value) for value in line.values()))


# -- in all ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Summary:
    """What a journal holds; bytes of its files beside those of its records."""

    file_bytes: int
    kinds: Counter[str] = field(default_factory=Counter)
    readings: int = 0
    held_points: int = 0  # of readings that had to wait
    damaged: int = 0
    record_bytes: int = 0
    sequences: list[int] = field(default_factory=list)  # first, last
    received: list[int] = field(default_factory=list)  # oldest, newest
    times: list[int] = field(default_factory=list)  # of readings: oldest, newest
    engines: Counter[str] = field(default_factory=Counter)
    machines: set[int] = field(default_factory=set)  # slots with readings

    def add(self, found: Examined) -> None:
        """Take in one row."""
        self.sequences = _span(self.sequences, [found.sequence])
        self.record_bytes += found.payload_bytes
        self.engines[found.engine] += 1
        if found.record is None:
            self.damaged += 1
            return
        self.kinds[found.kind] += 1
        self.received = _span(self.received, [found.received_at])
        self.held_points += sum(len(points.time) for points in found.record.held)
        for part in found.record.readings:
            self.readings += len(part.time)
            self.machines.update(np.unique(part.slot).tolist())
            if len(part.time):
                self.times = _span(self.times, [int(part.time.min()), int(part.time.max())])

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "records": self.kinds.total() + self.damaged,
            "damaged": self.damaged,
            "sequences": self.sequences,
            "kinds": dict(self.kinds),
            "readings": self.readings,
            "held_points": self.held_points,
            "machines": len(self.machines),
            "times": _texts(self.times),
            "received": _texts(self.received),
            "record_bytes": self.record_bytes,
            "file_bytes": self.file_bytes,
            "bytes_per_reading": round(self.record_bytes / self.readings, 1) if self.readings else None,
            "engines": dict(self.engines),
        }


def summary_of(journal: JournalFile, file_bytes: int) -> Summary:
    """All rows of a journal, counted."""
    summary, last = Summary(file_bytes), journal.last_sequence()
    with progress("inspect") as told:
        for found in journal.examine():
            summary.add(found)
            if found.sequence % 64 == 0:
                told("records", found.sequence / max(last, found.sequence))
    return summary


def summary_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Line by line."""
    lines = []
    for name, value in found.items():
        if isinstance(value, dict):
            text = ", ".join(f"{part} {count:,}" for part, count in value.items())
        elif isinstance(value, list):
            text = " to ".join(map(str, value))
        else:
            text = f"{value:,}" if value is not None else ""
        lines.append((name.replace("_", " "), text or "none"))
    return lines


def _bytes_of(path: Path) -> int:
    """Of the database and the log beside it."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _span(so_far: list[int], more: list[int]) -> list[int]:
    both = [*so_far, *more]
    return [min(both), max(both)]


# -- one by one ------------------------------------------------------------------------------------------------------


def listed(journal: JournalFile, chosen: Chosen, names: dict[int, str]) -> Iterator[Line]:
    """A line for each record, or for each reading of the machines that were chosen; with these, what else changed their
    scores. `names` are those of slots that were met before the oldest record."""
    wanted, span = set(chosen.equipment), chosen.span
    for found in journal.examine():
        if found.record is not None:
            names.update(found.record.registered)
        if found.sequence < span.first or (chosen.kinds and found.kind not in chosen.kinds):
            continue
        if found.sequence > span.last:
            break
        if found.record is None:
            yield {"sequence": found.sequence, "kind": found.kind, "damage": found.trouble}
        elif not span.has_time(found.received_at):
            continue
        elif wanted:
            yield from machine_lines(found.record, wanted, names)
        else:
            yield record_line(found.record, names)
    if wanted and (unknown := wanted - set(names.values())):
        raise JournalError(f"--equipment names {', '.join(sorted(unknown))}, of which the journal knows nothing")


def record_line(record: Record, names: dict[int, str]) -> Line:
    """What one record holds."""
    return {**_head(record), "text": "; ".join(_facts(record, names)) or "nothing"}


def _head(record: Record) -> Line:
    return {"sequence": record.sequence, "received": _time(record.received_at), "kind": record.kind}


def _facts(record: Record, names: dict[int, str]) -> Iterator[str]:
    if record.kind in ("activate", "settings"):
        yield configuration.summary(record.kind, record.detail)
    if record.registered:
        yield f"new: {_named([name for _, name in record.registered])}"
    if record.held:
        waiting = {slot for points in record.held for slot in points.slot.tolist()}
        count = sum(len(points.time) for points in record.held)
        yield f"{count:,} points that wait of {_named(_names(waiting, names))}"
    if record.readings:
        statuses: Counter[str] = Counter()
        slots: set[int] = set()
        for part in record.readings:
            statuses.update(STATUS_NAMES[code] for code in part.status.tolist())
            slots.update(part.slot.tolist())
        counts = ", ".join(f"{count:,} {status}" for status, count in statuses.items())
        yield f"{statuses.total():,} readings of {_named(_names(slots, names))}: {counts}"
    if record.silenced:
        yield f"silent: {_named(_names(record.silenced, names))}"
    if shifts := record.detail.get("shifts"):
        yield f"taken by another clock: {_named([_shift(source, shift) for source, _, shift in shifts])}"
    for alarm in {alarm.id: alarm for alarm in record.alarms}.values():  # one may have opened and closed in it
        began = f"-{record.sequence}-" in alarm.id
        yield f"alarm {alarm.id} of {alarm.equipment} {_turn(began, alarm.open)}"


def _turn(began: bool, is_open: bool) -> str:
    """What became of an alarm in a record; one that goes on is historical no more.

    >>> _turn(True, True), _turn(True, False), _turn(False, False), _turn(False, True)
    ('opened', 'opened and closed', 'closed', 'counts from here on')
    """
    if is_open:
        return "opened" if began else "counts from here on"
    return "opened and closed" if began else "closed"


def _shift(source: str, shift: int) -> str:
    """
    >>> _shift("gateway-3", -1_500_000)
    'gateway-3 -1.500 s'
    """
    return f"{source} {shift / MICROSECONDS:+.3f} s"


def _names(slots: Iterable[int], names: dict[int, str]) -> list[str]:
    return [names.get(slot, f"slot {slot}") for slot in slots]


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def machine_lines(record: Record, wanted: set[str], names: dict[int, str]) -> Iterator[Line]:
    """What one record says of some machines."""
    if record.kind in ("activate", "settings"):
        yield record_line(record, names)
    for slot, artifact_id in record.followed:
        if names.get(slot) in wanted:
            then = f"follows model {artifact_id[:12]} from here on" if artifact_id else "follows no model any more"
            yield {**_head(record), "equipment": names[slot], "text": then}
    for part in record.readings:
        for row, slot in enumerate(part.slot.tolist()):
            if names.get(slot) in wanted:
                yield _reading(record, names[slot], part, row)
    for slot in record.silenced:
        if names.get(slot) in wanted:
            yield {**_head(record), "equipment": names[slot], "text": "fell silent"}


def _reading(record: Record, equipment: str, part: ModelReadings, row: int) -> Line:
    score, p_value, flags = float(part.score[row]), float(part.p_value[row]), int(part.flags[row])
    return {
        "sequence": record.sequence,
        "equipment": equipment,
        "time": _time(int(part.time[row])),
        "status": STATUS_NAMES[part.status[row]],
        "reason": REASON_NAMES[part.reason[row]],
        "score": None if score != score else score,
        "p_value": None if p_value != p_value else p_value,
        "alarm": bool(flags & ALARM_BIT),
        "flags": flag_names(flags),
    }


def _text(value: object) -> str:
    """A value for a person.

    >>> _text(None), _text([]), _text(0.25), _text(True)
    ('-', '-', '0.25', 'true')
    """
    if value in (None, "", []):
        return "-"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _time(microseconds: int) -> str:
    return time_texts(np.array([microseconds], np.int64))[0]


def _texts(times: list[int]) -> list[str]:
    return [_time(time) for time in times]
