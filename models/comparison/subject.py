"""One recording of a comparison: rows to train on, then rows to judge."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from models.contract import Bools, DataError
from models.data import Series, segments
from models.gaps import gap_reset_ticks, on_grid
from models.preprocess import Segment

WINDOW = 10  # ticks: what a stretch to train on is cut by, the same for all methods


@dataclass(frozen=True, slots=True)
class Split:
    """How the rows of a series are parted: its first `rows`, those before `until` (microseconds), or those where the
    column `column` is not 0."""

    rows: int | None = None
    until: int | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """`series` of one file, one a machine, with the ticks of each to `train` on; the rest is judged."""

    name: str
    sensors: tuple[str, ...]
    interval: int
    series: tuple[Series, ...]
    train: tuple[Bools, ...]

    @property
    def normal(self) -> list[Segment]:
        """Ticks to train on, without rows that are labelled as faulty."""
        gap = gap_reset_ticks(WINDOW) * self.interval
        found = []
        for series, chosen in zip(self.series, self.train, strict=True):
            use = chosen if series.label is None else chosen & ~(series.label > 0)
            for part in segments(replace(series, use=use), gap):
                rows = on_grid(series.time[part], series.values[part], self.interval)
                if len(rows) > 2 * WINDOW:
                    found.append(Segment(series.equipment, rows))
        return found

    def judged(self, index: int) -> Bools:
        """Ticks of a series that are judged."""
        return self.series[index].use & ~self.train[index]

    def digest(self) -> str:
        """Of the data and how it is parted."""
        found = hashlib.sha256(" ".join(self.sensors).encode())
        for series, chosen in zip(self.series, self.train, strict=True):
            for array in (series.time, series.values, series.use, chosen, series.label):
                found.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:16]


def subject_of(
    name: str, sensors: tuple[str, ...], interval: int, series: list[Series], split: Split, labelled: bool
) -> Subject:
    """A recording parted by a split. DataError where there is nothing to train on or nothing to judge."""
    if split.column is not None:
        if split.column not in sensors:
            raise DataError(f"{name}: there is no column {split.column!r} of numbers to part the rows by")
        place = sensors.index(split.column)
        chosen = [s.use & (np.nan_to_num(s.values[:, place]) != 0) for s in series]
        series = [replace(s, values=np.delete(s.values, place, axis=1)) for s in series]
        sensors = tuple(sensor for sensor in sensors if sensor != split.column)
    elif split.until is not None:
        chosen = [s.use & (s.time < split.until) for s in series]
    else:
        chosen = [s.use & (np.cumsum(s.use) <= _rows(s, split)) for s in series]
    found = Subject(name, sensors, interval, tuple(series), tuple(chosen))
    if not any(c.any() for c in chosen):
        raise DataError(f"{name}: no row is left to train on; look at --train-rows, --until or --train-column")
    if not any(found.judged(i).any() for i in range(len(series))):
        raise DataError(f"{name}: no row is left to judge; look at --train-rows, --until or --train-column")
    if labelled and any(s.label is None for s in series):
        raise DataError(f"{name}: the data has no labels; name their column with --label")
    return found


def _rows(series: Series, split: Split) -> int:
    """The rows asked for, else a third of those there are."""
    return split.rows if split.rows is not None else int(series.use.sum()) // 3
