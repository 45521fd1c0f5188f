"""Hyper-parameters of a rival, by the error of held-out normal rows; labels are never looked at.

Each method that has any gets the same number of trials, each fitted on all blocks of the training rows but the last and
judged by its squared residuals on that, in the variances of the sensors.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from models.baselines.methods import METHODS
from models.calibrate import CrossFit
from models.contract import ModelError
from models.fit import Shape
from models.preprocess import Segment, fit_scaling
from models.train import fill_missing

BLOCKS = 5
SIZED = (Shape(16, 10), Shape(32, 10), Shape(64, 10))  # of networks with units
WINDOWED = (Shape(52, 3), Shape(52, 10), Shape(52, 20))  # of those that read a window
FIXED = ("pca",)  # nothing to choose: how many components it takes follows from the data
WINDOWS = ("dynamic-pca", "k-means", "conv-autoencoder")


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen, the error of each trial (lower is better) and the time of all."""

    shape: Shape
    trials: tuple[tuple[Shape, float], ...]
    seconds: float


def tune(method: str, segments: list[Segment], sensors: tuple[str, ...], seed: int) -> Tuning:
    """The shape of a rival. ModelError where no trial could be fitted."""
    started = time.perf_counter()
    if method in FIXED:
        return Tuning(Shape(), (), 0.0)
    scaling = fit_scaling(segments, sensors)
    runs = [scaling.standardise(segment) for segment in segments]
    owners, trials, said = [segment.equipment for segment in segments], [], ""
    for shape in WINDOWED if method in WINDOWS else SIZED:
        filled, seen = fill_missing(runs, shape)
        try:
            cross = CrossFit.prepare(filled, seen, owners, BLOCKS, shape, METHODS[method], seed)
            trials.append((shape, _error(cross, method)))
        except ModelError as error:
            said = str(error)
    if not trials:
        raise ModelError(said)
    best = min(trials, key=lambda trial: trial[1])[0]
    return Tuning(best, tuple(trials), time.perf_counter() - started)


def _error(cross: CrossFit, method: str) -> float:
    last = BLOCKS - 1
    core = cross.rival(METHODS[method], last)
    residual = np.concatenate([cross.residuals(core, piece).residual for piece in cross.pieces[last]])
    return float(np.nanmean(residual**2))
