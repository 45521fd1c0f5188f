"""Neighbouring records of the journal as one micro-batch: a replay of many small records takes as long as one of a few
large ones. Scores do not depend on batching, so the state comes out bit for bit as record by record.

Merged are records of readings, points that wait among them, that changed nothing beside: no alarm, no new machine, no
other model, no silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from service.admission import Admitted
from service.columns import Index
from service.records import ARRAYS, ModelReadings, Record

MERGED_READINGS_MAX = 8192
KEY = frozenset({"kind", "shard", "sequence", "received_at", "now", "readings", "held"})
CHANGES = tuple(field.name for field in fields(Record) if field.name not in KEY)


@dataclass(frozen=True, slots=True)
class Parts:
    """Rows of a merged micro-batch by record: those of record k, in its own wave order, are
    `rows[bounds[k] : bounds[k + 1]]`."""

    rows: Index
    bounds: list[int]


@dataclass(frozen=True, slots=True)
class Merged:
    """The readings (n) of one model over several records, by machine and time, and the record (index) of each."""

    readings: ModelReadings
    record: Index

    def parts(self, admitted: Admitted) -> Parts:
        """The rows of each record, `admitted` being all of these readings in wave order."""
        slot, record = self.readings.slot, self.record
        edge = np.append(True, (slot[1:] != slot[:-1]) | (record[1:] != record[:-1]))
        starts = np.flatnonzero(edge)
        counts = np.diff(starts, append=len(slot))
        rank = np.arange(len(slot)) - np.repeat(starts, counts)
        order = np.lexsort((slot, -np.repeat(counts, counts), rank, record))
        row = np.empty(len(slot), np.intp)
        row[admitted.rows] = np.arange(len(slot))
        sizes = np.bincount(record)
        return Parts(row[order], np.cumsum([0, *sizes[sizes > 0]]).tolist())


def groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records in order, those together that may be merged."""
    group: list[Record] = []
    size = 0
    for record in records:
        count = sum(len(readings.time) for readings in record.readings)
        follows = bool(group) and record.sequence == group[-1].sequence + 1
        if group and not (follows and plain(group[-1]) and plain(record) and size + count <= MERGED_READINGS_MAX):
            yield group
            group, size = [], 0
        group.append(record)
        size += count
    if group:
        yield group


def plain(record: Record) -> bool:
    """Whether a record holds readings, of which some may wait, and nothing else."""
    return record.kind == "readings" and not any(getattr(record, name) for name in CHANGES)


def merge(group: Sequence[Record]) -> list[Merged]:
    """The readings of some records by model."""
    found: dict[str, list[tuple[int, ModelReadings]]] = {}
    for number, record in enumerate(group):
        for readings in record.readings:
            found.setdefault(readings.artifact_id, []).append((number, readings))
    return [_merged(artifact_id, parts) for artifact_id, parts in found.items()]


def _merged(artifact_id: str, parts: list[tuple[int, ModelReadings]]) -> Merged:
    counts = [len(readings.time) for _, readings in parts]
    record = np.repeat([number for number, _ in parts], counts)
    arrays = {name: np.concatenate([getattr(readings, name) for _, readings in parts]) for name in ARRAYS}
    order = np.argsort(arrays["slot"], kind="stable")
    return Merged(ModelReadings(artifact_id, *(arrays[name][order] for name in ARRAYS)), record[order])
