"""What a trained detector costs to run, measured on its own step: one thread."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields

import numpy as np

from models.contract import Floats
from models.detector import Detector
from models.lmn import LinearMemoryNetwork

SINGLE_STEPS, BATCH, BATCH_STEPS = 300, 500, 10


@dataclass(frozen=True, slots=True)
class Costs:
    """`parameters` are numbers in the model; latency is of one reading by itself, `readings_per_second`
    of a core for many machines at once; bytes are what is kept of a machine."""

    parameters: int
    latency_p50_us: float
    latency_p99_us: float
    readings_per_second: float
    bytes_per_machine: int


def costs_of(detector: Detector, x: Floats) -> Costs:
    """Measured on readings `x` (n, d) in physical units."""
    rows, state = np.nan_to_num(x[:SINGLE_STEPS], nan=0.0), detector.init_state(1)
    times = []
    for row in np.resize(rows, (SINGLE_STEPS, x.shape[1])):
        started = time.perf_counter()
        state, _ = detector.step(state, row[None])
        times.append(time.perf_counter() - started)
    many, batch = detector.init_state(BATCH), np.resize(rows, (BATCH, x.shape[1]))
    started = time.perf_counter()
    for _ in range(BATCH_STEPS):
        many, _ = detector.step(many, batch)
    seconds = time.perf_counter() - started
    p50, p99 = np.percentile(times, [50, 99]) * 1e6
    kept = sum(np.asarray(getattr(state, field.name)).nbytes for field in fields(state))
    return Costs(parameters_of(detector), float(p50), float(p99), BATCH * BATCH_STEPS / seconds, kept)


def parameters_of(detector: Detector) -> int:
    """Numbers in the weights of its network and in the covariance of its residuals."""
    network = detector.network
    if isinstance(network, LinearMemoryNetwork):
        found = [getattr(network, field.name) for field in fields(network) if field.name != "tanh"]
    else:
        found = list(network.weights().values())
    return sum(int(weight.size) for weight in (*found, detector.scoring.precision) if weight is not None)
