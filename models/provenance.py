"""What the manifest of a trained model says of its thresholds, of the rows it was fitted on, and of its choices."""

from __future__ import annotations

import hashlib

import numpy as np

from models.calibrate import Calibration
from models.manifest import QUANTILE_LEVELS, CalibrationRecord, CandidateRecord, FitRecord
from models.memory_choice import Candidate
from models.preprocess import Segment


def calibration_record(calibration: Calibration) -> CalibrationRecord:
    """Thresholds of all machines, and what held-out rows kept."""
    heights = np.quantile(calibration.scores, QUANTILE_LEVELS).tolist()
    return CalibrationRecord(
        group="fleet",
        budget=calibration.budget,
        kept=calibration.kept,
        n=calibration.rows,
        block_length=calibration.rows // len(calibration.block_kept),
        interval=(float(calibration.block_kept.min()), float(calibration.block_kept.max())),
        quantiles=tuple(zip(QUANTILE_LEVELS, heights, strict=True)),
        supported=calibration.supported,
        provisional=calibration.provisional,
        block_kept=tuple(calibration.block_kept.tolist()),
        block_thresholds=tuple(calibration.block_thresholds.tolist()),
        spread=calibration.spread,
        tail="empirical",
    )


def fit_record(
    segments: list[Segment],
    seed: int,
    window: tuple[str, str],
    excluded: int,
    memories: tuple[Candidate, ...],
    features: tuple[Candidate, ...],
) -> FitRecord:
    """The rows that a model was fitted on, and what it was chosen from."""
    digest = hashlib.sha256()
    for s in segments:
        digest.update(s.equipment.encode() + np.ascontiguousarray(s.x).tobytes())
    return FitRecord(
        rows=sum(s.rows for s in segments),
        segments=len(segments),
        window=window,
        seed=seed,
        data_hash=digest.hexdigest()[:32],
        excluded=excluded,
        memory_candidates=tuple(map(_candidate, memories)),
        feature_candidates=tuple(map(_candidate, features)),
    )


def _candidate(tried: Candidate) -> CandidateRecord:
    shape = tried.shape
    return CandidateRecord(
        shape.memory_size, shape.window, shape.discount, tried.error, tried.standard_error, tried.chosen, tried.features
    )
