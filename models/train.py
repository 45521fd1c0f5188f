"""The whole training path: segments of normal operation -> a calibrated detector, and what a person wants to know.

    scaling -> missing cells filled in -> blocked cross-fitting -> thresholds -> the final model on all rows

It reads top to bottom in `train`. The same rows, options and machine give the same model bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.artifact import LoadedModel
from models.baselines.methods import METHODS, FittedRival, Method
from models.calibrate import LEVEL_SHARE_MAX, Calibration, CrossFit, calibrate, p_value_table, settled
from models.contract import MICROSECONDS, Floats, Floats32, Ints, ModelError
from models.detector import Detector, Scoring
from models.drift import DriftReference
from models.feature_choice import choose_features
from models.filling import fill_missing
from models.fit import Core, Shape, chunks, shrunk_covariance
from models.gaps import gap_reset_ticks
from models.holds import learn_holds
from models.horizons import HorizonErrors, horizon_errors
from models.lmn import LinearMemoryNetwork, spectral_radius
from models.manifest import (
    FORMAT,
    KIND,
    TOLERANCE,
    FitRecord,
    Manifest,
    Sensor,
    basis_id,
    memory_id,
    versions,
)
from models.memory_choice import Candidate, Choices, choose
from models.network import ROWS, Network, Remembered
from models.preprocess import Scaling, Segment, fit_scaling
from models.provenance import calibration_record, fit_record
from models.score import STATISTICS, single_precision
from models.settling import settling_ticks
from models.state import State, Ticks

Progress = Callable[[str, float], None]
DRIFT_ROWS_MAX = 50_000
STABLE_RADIUS_MAX = 0.9995


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen; the defaults serve all data that they were tried on."""

    shape: Shape = field(default_factory=Shape)
    false_alarm_rate: float = 0.01
    blocks: int = 5
    name: str = "model"
    version: int = 1
    tolerance: float = TOLERANCE  # of the interval, as in the manifest
    seed: int = 0  # kept in the manifest; the closed form draws nothing
    method: str = KIND  # in closed form; or one of `METHODS`
    choices: Choices | None = None  # of the shape by the data, in closed form; None: the shape is as given
    features: tuple[int, ...] = (0,)  # tanh features in closed form, 0: none; of several, by the data

    @property
    def rival(self) -> Method | None:
        """None: the LMN. ModelError where there is no such method."""
        if self.method not in (KIND, *METHODS):
            known = ", ".join(map(repr, (KIND, *METHODS)))
            raise ModelError(f"method is {self.method!r}; this program knows {known}")
        return METHODS.get(self.method)


@dataclass(frozen=True, slots=True)
class Training:
    """A trained model and how it came about."""

    manifest: Manifest
    detector: Detector
    drift: DriftReference
    horizons: HorizonErrors | None  # None: of a rival, whose forecasts have no intervals
    calibration: Calibration
    sensors_unsettled: tuple[str, ...]  # whose level wanders between blocks
    missing_cells: int
    candidates: tuple[Candidate, ...]  # for its memory; none: as it was asked for
    feature_candidates: tuple[Candidate, ...]  # for its functional part, likewise
    seconds: float

    @property
    def model(self) -> LoadedModel:
        return LoadedModel(self.manifest, self.detector, self.drift, self.horizons)


def train(
    segments: list[Segment],
    sensors: tuple[str, ...],
    interval: int,
    options: Options,
    units: tuple[str, ...] = (),
    window: tuple[str, str] = ("", ""),
    excluded: int = 0,
    progress: Progress = lambda stage, share: None,
) -> Training:
    """Train on `segments` of normal operation whose columns are `sensors`; `interval` in microseconds between ticks.

    Raises ModelError where the data cannot carry a model, saying what is missing.
    """
    started, rival = time.perf_counter(), options.rival
    if not segments:
        raise ModelError("no rows left to train on; check --rows, --running, --exclude and gaps")
    progress("scaling", 0.0)
    scaling = fit_scaling(segments, sensors)
    runs = [scaling.standardise(s) for s in segments]
    progress("filling in missing cells", 0.05)
    cross, candidates = _cross_fit(runs, [s.equipment for s in segments], options, progress)
    progress("trying features", 0.12)
    growing = options.choices is not None and options.choices.growing
    counts = options.features if rival is None else (0,)
    cross, featured = choose_features(cross, counts, growing, options.seed)
    runs, options = cross.runs, replace(options, shape=cross.shape)
    progress("holding out blocks", 0.15)
    held_out, rate, shares = cross.held_out(), options.false_alarm_rate, cross.level_shares()
    progress("forecasting them", 0.7)
    horizons = horizon_errors(cross) if rival is None else None
    progress("fitting on all rows", 0.8)
    core = cross.core() if rival is None else cross.rival(rival)
    progress("looking at its memories", 0.85)
    inputs, memories = _sampled(core, runs)
    progress("setting thresholds", 0.9)
    covariance = shrunk_covariance if rival is None else rival.covariance
    if isinstance(core, FittedRival):
        warmup = core.network.settling
    else:
        warmup = _warmup(core, memories, calibrate(settled(held_out, options.shape.window), rate, shares))
    calibration = calibrate(settled(held_out, warmup), rate, shares, covariance)
    drift = _drift_reference(inputs, memories, scaling)
    progress("done", 1.0)
    detector = _detector(core, scaling, calibration, warmup, sensors, units or ("",) * len(sensors), interval, options)
    holds = learn_holds(segments, scaling.constant, interval)
    fit = fit_record(segments, options.seed, window, excluded, candidates, featured)
    manifest = _manifest(detector, holds, calibration, fit, options)
    live = np.flatnonzero(~scaling.constant)
    unsettled = live[calibration.level_shares > LEVEL_SHARE_MAX]
    missing = 0 if cross.seen is None else int(sum((~s).sum() for s in cross.seen))
    return Training(
        manifest=manifest,
        detector=detector,
        drift=drift,
        horizons=horizons,
        calibration=calibration,
        sensors_unsettled=tuple(sensors[i] for i in unsettled),
        missing_cells=missing,
        candidates=candidates,
        feature_candidates=featured,
        seconds=time.perf_counter() - started,
    )


def _cross_fit(
    runs: list[Floats], owners: list[str], options: Options, progress: Progress
) -> tuple[CrossFit, tuple[Candidate, ...]]:
    """Blocks of rows (n, live) whose missing cells are filled in, with the shape that was asked for, or else chosen by
    the candidates."""
    rival, choices = options.rival, options.choices and options.choices.within(runs[0].shape[1])
    shape = choices.least if choices else options.shape
    filled, seen = fill_missing(runs, shape)
    lags = choices.lags if choices else 0
    cross = CrossFit.prepare(filled, seen, owners, options.blocks, shape, rival, options.seed, lags)
    if choices is None:
        return cross, ()
    progress("choosing the memory", 0.1)
    candidates = choose(cross, choices)
    chosen = next((c.shape for c in candidates if c.chosen), shape)
    if seen is None or chosen == shape:
        return cross.of_shape(chosen), candidates
    return CrossFit.prepare(*fill_missing(runs, chosen), owners, options.blocks, chosen), candidates


def _sampled(core: Core | FittedRival, runs: list[Floats]) -> tuple[Floats, Floats]:
    """Readings (n, live) and the memories (n, p) after them, at most `DRIFT_ROWS_MAX` spread over the training data."""
    stride = max(1, -(-sum(map(len, runs)) // DRIFT_ROWS_MAX))
    inputs, memories = [], []
    if isinstance(core, FittedRival):
        return _sampled_of_rival(core.network, runs, stride)
    for z in runs:
        entering = np.zeros(len(core.memory.B_))
        for rows in chunks(len(z)):
            memory = core.encode(z[rows], entering)
            entering = memory[-1]
            first = max(core.memory.window - rows.start, 0)
            inputs.append(z[rows][first::stride])
            memories.append(memory[first::stride])
    return np.concatenate(inputs), np.concatenate(memories)


def _sampled_of_rival(network: Network, runs: list[Floats], stride: int) -> tuple[Floats, Floats]:
    inputs, memories = [], []
    for z in runs:
        entering = np.zeros(network.memory_size, np.float32)
        for start in range(0, len(z), ROWS):
            rows = z[start : start + ROWS]
            memory = network.run(rows.astype(np.float32), entering)
            entering, first = memory[-1], max(network.settling - start, 0)
            inputs.append(rows[first::stride])
            memories.append(memory[first::stride])
    return np.concatenate(inputs), np.concatenate(memories)


def _warmup(core: Core, memories: Floats, provisional: Calibration) -> int:
    """Ticks without a score after a start, by thresholds that still count the start itself."""
    moments = memories.T @ memories / max(len(memories), 1)
    thresholds = provisional.quantiles * provisional.combine
    return settling_ticks(core, moments, np.linalg.inv(provisional.covariance), thresholds)


def _drift_reference(inputs: Floats, memories: Floats, scaling: Scaling) -> DriftReference:
    """What readings and memories of normal operation are like; constant sensors are not watched."""
    wide = np.zeros((len(inputs), len(scaling.constant)), np.float32)
    wide[:, ~scaling.constant] = inputs
    return DriftReference.fit(wide, memories.astype(np.float32))


def _detector(
    core: Core | FittedRival,
    scaling: Scaling,
    calibration: Calibration,
    warmup: int,
    sensors: tuple[str, ...],
    units: tuple[str, ...],
    interval: int,
    options: Options,
) -> Detector:
    return Detector(
        sensors=sensors,
        units=units,
        mean=scaling.mean,
        scale=scaling.scale,
        constant=scaling.constant,
        resolution=scaling.resolution,
        network=_network(core),
        scoring=_scoring(calibration),
        warmup=warmup,
        interval=interval,
        gap_reset=gap_reset_ticks(options.shape.window) * interval,
        equipment=scaling.equipment,
        centres=scaling.centres,
    )


def _network(core: Core | FittedRival) -> LinearMemoryNetwork | Network:
    """The weights in float32. ModelError where they cannot serve."""
    if isinstance(core, FittedRival):
        core.network.check()
        return core.network.lmn if isinstance(core.network, Remembered) else core.network
    network = LinearMemoryNetwork(
        W_hm=_single(core.memory.A_),
        W_mm=_single(_stable(core.memory.B_)),
        W_mo=_single(core.readout[:-1].T),
        b_o=_single(core.readout[-1]),
        **_functional(core),
    )
    network.check()
    return network


def _functional(core: Core) -> dict[str, Any]:
    part = {} if core.features is None else core.features.functional_part()
    return {name: weight if name == "tanh" else _single(weight) for name, weight in part.items()}


def _scoring(calibration: Calibration) -> Scoring:
    """The thresholds in float32."""
    knots, p_values = p_value_table(calibration.scores)
    return Scoring(
        precision=single_precision(calibration.covariance),
        cap=np.float32(calibration.cap),
        quantiles=calibration.quantiles.astype(np.float32),
        combine=np.float32(calibration.combine),
        knots=knots.astype(np.float32),
        p_values=p_values.astype(np.float32),
    )


def _single(array: Floats) -> Floats32:
    return np.ascontiguousarray(array, np.float32)


def _stable(transition: Floats) -> Floats:
    """W_mm with its spectral radius below 1: B has norm at most g, and rounding may put it on the edge."""
    radius = spectral_radius(transition)
    return transition if radius < STABLE_RADIUS_MAX else transition * (STABLE_RADIUS_MAX / radius)


def _manifest(
    detector: Detector,
    holds: Ints,
    calibration: Calibration,
    fit: FitRecord,
    options: Options,
) -> Manifest:
    network = detector.network
    columns = zip(
        detector.sensors,
        detector.units,
        detector.mean.tolist(),
        detector.scale.tolist(),
        detector.constant.tolist(),
        detector.resolution.tolist(),
        holds.tolist(),
        strict=True,
    )
    return Manifest(
        format=FORMAT,
        artifact_id="",
        name=options.name,
        version=options.version,
        parent="",
        kind=KIND if isinstance(network, LinearMemoryNetwork) else options.method,
        requires=(),
        basis_id=basis_id(detector),
        memory_id=memory_id(network),
        sensors=tuple(Sensor(*values) for values in columns),
        equipment=detector.equipment,
        interval=detector.interval,
        tolerance=options.tolerance,
        gap_reset=detector.gap_reset,
        warmup_ticks=detector.warmup,
        p=network.memory_size,
        L=options.shape.window,
        g=options.shape.discount,
        statistics=STATISTICS,
        combining_scale=float(detector.scoring.combine),
        winsor_cap=float(detector.scoring.cap),
        calibration=(calibration_record(calibration),),
        fit=fit,
        versions=versions(),
        tensors_sha256="",
    )


class LinearMemoryDetector:
    """The detector contract over `train`: hyper-parameters in, `detector_` out."""

    def __init__(self, sensors: tuple[str, ...], options: Options | None = None, interval: int = MICROSECONDS) -> None:
        self.sensors, self.options, self.interval = sensors, options or Options(), interval

    def fit(self, segments: list[Floats]) -> LinearMemoryDetector:
        """Learn from segments (n, d) of one machine in normal operation, NaN = missing."""
        machine = [Segment("machine", x) for x in segments]
        self.training_ = train(machine, self.sensors, self.interval, self.options)
        self.detector_ = self.training_.detector
        return self

    def init_state(self, machines: int) -> State:
        return self.detector_.init_state(machines)

    def step(self, state: State, x: Floats) -> tuple[State, Ticks]:
        return self.detector_.step(state, x)

    def run(self, x: Floats) -> Ticks:
        return self.detector_.run(x)
