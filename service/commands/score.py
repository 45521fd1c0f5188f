"""`limen score`: whole files through a model, as serving would score them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from models.artifact import LoadedModel, load
from models.backfill import Backfill, arrange, columns_of, score_series
from models.contract import Bools, Floats32
from models.data import DataOptions, Recording, Series, read
from service.commands.console import notice, progress
from service.commands.remedy import other_pace

IN_WORDS = {"excluded": "unscored", "bad_time": "rejected", "conflict": "rejected"}  # status of a row -> of a reading
HEADER = ("time", "equipment", "status", "score", "p_value", "alarm", "top_sensor")


@dataclass(frozen=True, slots=True)
class Scored:
    """A recording with what came of every series; `fed` (n,) marks the ticks of a series that the model saw."""

    model: LoadedModel
    recording: Recording
    results: list[Backfill]
    fed: list[Bools]


def score(model: Path, data: Sequence[Path], out: Path | None, data_options: DataOptions) -> None:
    """Write a line for each input row, in its order."""
    scored = score_files(model, data, data_options)
    with out.open("w", encoding="utf-8", newline="") if out else nullcontext(sys.stdout) as file:
        write_csv(scored, file)


def score_files(model: Path, data: Sequence[Path], data_options: DataOptions) -> Scored:
    """Load, read and score; every machine starts with an empty memory."""
    loaded = load(model)
    with progress("scoring") as told:
        told("reading", 0.0)
        recording = read(data, data_options)
        columns = columns_of(loaded.detector, recording.sensors)
        say_what_differs(loaded, recording)
        total, done = sum(len(s.time) for s in recording.series), 0

        def advanced(ticks: int) -> None:
            nonlocal done
            done += ticks
            told("rows", done / max(total, 1))

        results, fed = [], []
        for series in recording.series:
            through = goes_through(recording, series)
            x = arrange(series.values[through], columns)
            results.append(score_series(loaded.detector, series.equipment, series.time[through], x, progress=advanced))
            fed.append(through)
    return Scored(loaded, recording, results, fed)


def goes_through(recording: Recording, series: Series) -> Bools:
    """Ticks of a series that the model sees: those to score, and those outside --rows as warm-up; not excluded ones."""
    return np.array([recording.row_status[row] != "excluded" for row in series.row], np.bool_)


def say_what_differs(model: LoadedModel, recording: Recording) -> None:
    """Notices of sensors that only one of them has, of another pace, and of what was found in the files."""
    absent = [name for name in model.detector.sensors if name not in recording.sensors]
    unknown = [name for name in recording.sensors if name not in model.detector.sensors]
    if absent:
        notice(f"not in the data, scored as missing: {', '.join(absent)}")
    if unknown:
        notice(f"not known to the model, left out: {', '.join(unknown)}")
    if said := other_pace(model.manifest.interval, recording.interval):
        notice(said)
    for finding in recording.findings:
        notice(finding.text)


def texts(values: Floats32) -> list[str]:
    """Each as an answer over HTTP has it, digit by digit, so that every reader finds the same number in both; nothing
    where there is none.

    >>> texts(np.array([0.5, 2 / 3, np.nan], np.float32))
    ['0.5', '0.6666666865348816', '']
    """
    return ["" if value != value else repr(value) for value in values.tolist()]


def write_csv(scored: Scored, file: TextIO) -> None:
    """One line for each input row in its order; rows outside --rows are left out."""
    recording, sensors = scored.recording, scored.model.detector.sensors
    lines: dict[int, tuple[str, str, str, str, str]] = {}
    for series, result, through in zip(recording.series, scored.results, scored.fed, strict=True):
        columns = (result.status, texts(result.score), texts(result.p_value), result.alarm.tolist(), result.top)
        for row, status, score, p_value, alarm, top in zip(series.row[through].tolist(), *columns, strict=True):
            lines[row] = (
                status,
                score,
                p_value,
                "1" if alarm else "0",
                sensors[top] if top >= 0 else "",
            )
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    for row in range(recording.rows):
        found = str(recording.row_status[row])
        if found == "outside":
            continue
        rest = lines.get(row, (IN_WORDS.get(found, found), "", "", "0", ""))
        writer.writerow((recording.row_time[row], recording.row_equipment[row], *rest))
