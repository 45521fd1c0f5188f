"""Recordings of the process that the service of the tests knows, with a fault where one is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models import artifact
from service.commands.stream import Machine, Stream
from service.ingest.times import time_texts
from tests.builders import process
from tests.service.running import SENSORS, START, model_folder

SECOND = 1_000_000
FAULT = slice(60, 90)  # rows of a faulty machine
ROWS = 300


def warmup() -> int:
    """Ticks of every machine that the model of the tests leaves without a score."""
    return artifact.load(model_folder()).detector.warmup


def machine(name: str, seed: int = 5, faulty: bool = False, rows: int = ROWS, start: int = START) -> Machine:
    """Readings a second apart; a faulty one has `sensor-2` far off during FAULT."""
    values = process(seed, rows)
    if faulty:
        values[FAULT, 2] += 40
    return Machine(name, (start + np.arange(rows)) * SECOND, values)


def stream(*machines: Machine) -> Stream:
    return Stream(SENSORS, machines)


def write_csv(file: Path, *machines: Machine, zone: str = "Z") -> Path:
    """A wide file with a column of the machine; NaN is an empty cell. `zone` is put after every time."""
    lines = [",".join(("time", "equipment", *SENSORS))]
    for one in machines:
        for time, row in zip(time_texts(one.time), one.values.tolist(), strict=True):
            cells = ("" if value != value else repr(value) for value in row)
            lines.append(",".join((time.removesuffix("Z") + zone, one.equipment, *cells)))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
