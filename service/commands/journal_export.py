"""`limen journal export`: readings and their results as Parquet, whether the service runs or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.exports.findings import plural
from service import history, snapshot
from service.commands.span import Span
from service.history import DAY, Part, Source
from service.journal import JournalError
from service.journal_reader import JournalFile
from service.records import Record
from service.settings import JOURNAL, MODELS, SNAPSHOTS

BUFFER_BYTES = 128 * 1024 * 1024  # of readings that are held before they are written
TOLD_MAX = 20  # records that are named


@dataclass(slots=True)
class Export:
    """One export: what is wanted, and what has been written so far."""

    out: Path
    sources: dict[str, Source]
    ids: dict[int, str]
    span: Span
    equipment: frozenset[str]
    rows: int = 0
    left_out: int = 0
    files: list[Path] = field(default_factory=list)
    _held: dict[tuple[int, str], list[Part]] = field(default_factory=lambda: defaultdict(list))
    _bytes: int = 0

    def take(self, record: Record) -> None:
        """The readings of a record."""
        self.ids.update(record.registered)
        if record.sequence < self.span.first:
            return
        for part in self._wanted(record):
            if part.readings.artifact_id not in self.sources:
                self.left_out += len(part.readings.time)
                continue
            self._held[part.day, part.readings.artifact_id].append(part)
            self._bytes += history.size_of(part.readings)
        if self._bytes > BUFFER_BYTES:
            self.flush()

    def _wanted(self, record: Record) -> Iterator[Part]:
        for readings in record.readings:
            own = (readings.time >= self.span.start) & (readings.time < self.span.stop)
            if self.equipment:
                own &= np.array([self.ids.get(int(slot)) in self.equipment for slot in readings.slot], np.bool_)
            if own.any():
                yield from history.by_day(record.sequence, history.rows_of(readings, own))

    def flush(self) -> None:
        """Write what is held."""
        for (day, artifact_id), held in sorted(self._held.items()):
            parts, unnamed = history.known(held, self.ids)
            self.left_out += unnamed
            if parts:
                self.files.append(history.write(self.out, self.sources[artifact_id], day, self.ids, parts))
                self.rows += sum(len(part.readings.time) for part in parts)
        self._held.clear()
        self._bytes = 0


def run(data_dir: Path, out: Path, span: Span, equipment: Sequence[str]) -> None:
    """Export what the journal of a data folder holds. JournalError where there is none, nothing fits, or records are
    damaged: what is whole is exported all the same."""
    reader = JournalFile(data_dir / JOURNAL)
    export = Export(
        out, history.sources(data_dir / MODELS), snapshot.newest_ids(data_dir / SNAPSHOTS),
        span, frozenset(equipment),
    )  # fmt: skip
    troubles = take_whole(export, reader)
    export.flush()
    if export.rows:
        print(f"{export.rows:,} readings in {plural(len(export.files), 'file')} in {out}")
    if export.left_out:
        print(f"{export.left_out:,} readings left out: their model or the name of their machine is not known any more")
    if troubles:
        more = f" and {len(troubles) - TOLD_MAX} more" if len(troubles) > TOLD_MAX else ""
        raise JournalError(f"not all could be exported: {'; '.join(troubles[:TOLD_MAX])}{more}")
    if unknown := export.equipment - set(export.ids.values()):
        raise JournalError(f"--equipment names {', '.join(sorted(unknown))}, of which the journal knows nothing")
    if not export.rows:
        raise JournalError(f"the journal of {data_dir} holds no reading that was asked for")


def _day(received_at: int) -> str:
    return history.day_name(received_at // DAY)


def take_whole(export: Export, journal: JournalFile) -> list[str]:
    """Take the records that are whole; a sentence on what is not, with the day when the record before it came in."""
    troubles: list[str] = []
    before, place = 0, ""
    try:
        for found in journal.examine():
            lost = (before + 1, found.sequence - 1) if found.after_gap else (found.sequence, found.sequence)
            if lost[0] > export.span.last:
                break
            if found.record is None and lost[1] >= export.span.first:
                troubles.append(f"{found.trouble}{place}")
            if found.record is not None:
                export.take(found.record)
                before, place = found.sequence, f" (after record {found.sequence} of {_day(found.received_at)})"
    except JournalError as error:
        troubles.append(f"{error}{place}")
    return troubles
