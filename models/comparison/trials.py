"""One method on one recording: tuned, trained, scored, measured."""

from __future__ import annotations

import io
import json
import time
import zipfile
import zlib
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from models.backfill import score_series
from models.baselines.methods import METHODS
from models.comparison.costs import costs_of
from models.comparison.subject import WINDOW, Subject
from models.comparison.tuning import tune
from models.comparison.vus import buffer_of, vus_pr
from models.contract import ModelError, brief
from models.evaluate import Part
from models.feature_choice import feature_counts
from models.memory_choice import Choices
from models.train import Options, Training, train


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it: `facts` are numbers and words, `parts` the judged ticks of each machine."""

    facts: dict[str, Any]
    parts: tuple[Part, ...]

    def as_bytes(self) -> bytes:
        """For a file, read by `of_bytes`."""
        arrays = {
            f"{name}{i}": getattr(part, name)
            for i, part in enumerate(self.parts)
            for name in Part._fields
            if getattr(part, name) is not None
        }
        text = np.frombuffer(json.dumps(self.facts).encode(), np.uint8)
        file = io.BytesIO()
        np.savez_compressed(file, facts=text, **arrays)
        return file.getvalue()

    @classmethod
    def of_bytes(cls, content: bytes) -> Trial:
        """ModelError where the file is damaged."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as found:
                facts = json.loads(found["facts"].tobytes())
                count = sum(name.startswith("score") for name in found.files)
                parts = [Part(*(found.get(f"{name}{i}") for name in Part._fields)) for i in range(count)]
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ModelError(f"no result of a comparison: {brief(error)}") from None
        return cls(facts, tuple(parts))


def run(subject: Subject, method: str, seed: int, rate: float) -> Trial:
    """ModelError where the rows cannot carry a model of that method."""
    segments = subject.normal
    if not segments:
        raise ModelError(f"no stretch of rows to train on is longer than {2 * WINDOW} ticks")
    options = Options(false_alarm_rate=rate, seed=seed, method=method, name="compared")
    searched = 0.0
    if method in METHODS:
        tuning = tune(method, segments, subject.sensors, seed)
        searched, options = tuning.seconds, replace(options, shape=tuning.shape)
    else:
        choices = Choices()
        options = replace(options, shape=choices.least, choices=choices, features=feature_counts("auto"))
    clock = _Clock()
    training = train(segments, subject.sensors, subject.interval, options, progress=clock)
    fit_seconds = clock.of("fitting on all rows")
    chosen_in = clock.of("choosing the memory") + clock.of("trying features")
    parts = tuple(_part(training, subject, index) for index in range(len(subject.series)))
    labelled = [part for part in parts if (np.nan_to_num(part.label) > 0).any()]
    volumes = [
        vus_pr(np.nan_to_num(part.score), part.label > 0, buffer_of(subject.series[0].values[:, 0]))
        for part in labelled
    ]
    manifest = training.manifest
    facts = {
        "series": subject.name,
        "method": method,
        "seed": seed,
        "digest": subject.digest(),
        "shape": {"memory_size": manifest.p, "window": manifest.L, "discount": manifest.g},
        "vus_pr": float(np.mean([v for v in volumes if v is not None])) if volumes else None,
        "search_seconds": searched + chosen_in,
        "fit_seconds": fit_seconds,
        "retrain_seconds": training.seconds - chosen_in,
        "held_out_kept": training.calibration.kept,
        "supported": training.calibration.supported,
        "interval": subject.interval,
        **asdict(costs_of(training.detector, subject.series[0].values)),
    }
    return Trial(facts, parts)


def _part(training: Training, subject: Subject, index: int) -> Part:
    """Judged ticks of a machine; the memory has been through the rows before them."""
    series, detector = subject.series[index], training.detector
    found = score_series(detector, series.equipment, series.time, series.values)
    rows = subject.judged(index)
    label = np.zeros(int(rows.sum())) if series.label is None else series.label[rows]
    return Part(found.score[rows], label, series.time[rows], found.alarm[rows])


class _Clock:
    """How long each stage of `train` took."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float]] = []

    def __call__(self, stage: str, share: float) -> None:
        self.stages.append((stage, time.perf_counter()))

    def of(self, stage: str) -> float:
        """Seconds from its first mention to the next stage; 0 where there was none."""
        for (name, began), (_, ended) in pairwise(self.stages):
            if name == stage:
                return ended - began
        return 0.0
