"""Small, seeded models and data for the tests."""

from __future__ import annotations

import numpy as np
import pytest

from models.baselines.methods import METHODS
from models.contract import Floats
from models.detector import Detector, Scoring
from models.fit import Shape
from models.lmn import LinearMemoryNetwork
from models.preprocess import Segment
from models.train import Options, Training, train

SMALL = Shape(memory_size=8, window=4, discount=0.95)


def process(seed: int, rows: int = 600, sensors: int = 4, spread: float = 1.0) -> Floats:
    """A stable linear process around a level of its own: (rows, sensors) in physical units."""
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(np.random.default_rng(99).normal(size=(sensors, sensors)))[0] * 0.7
    z = np.zeros((rows, sensors))
    for t in range(1, rows):
        z[t] = mixing @ z[t - 1] + rng.normal(size=sensors)
    return 100.0 * np.arange(1, sensors + 1) + spread * z


def bent_process(seed: int, rows: int = 1500) -> Floats:
    """A process that no linear model follows, the second of its three sensors by the size of the first: (rows, 3)."""
    rng = np.random.default_rng(seed)
    z = np.zeros((rows, 3))
    for t in range(1, rows):
        z[t] = 0.8 * z[t - 1] + rng.normal(size=3)
        z[t, 1] = 0.3 * z[t - 1, 1] + 1.5 * abs(z[t - 1, 0]) + 0.3 * rng.normal()
    return 50 + z


def names(sensors: int) -> tuple[str, ...]:
    return tuple(f"sensor-{i}" for i in range(sensors))


SLOW = ("rnn", "gru", "lmn-gradient")  # to train; the LSTM stands for them in quick runs
SLOWEST = ("conv-autoencoder", "attention", "external-memory")


def marks(method: str) -> list[pytest.MarkDecorator]:
    """When tests of a method are run."""
    if method in SLOWEST:
        return [pytest.mark.prove_long]
    return [pytest.mark.prove] if method in SLOW else []


RIVALS = [pytest.param(name, id=name, marks=marks(name)) for name in METHODS]


def need(method: str) -> None:
    """Skip the test where torch, which trains this rival, is not installed."""
    if METHODS[method].torch:
        pytest.importorskip("torch")


def trained(
    seed: int = 0,
    rows: int = 600,
    sensors: int = 4,
    shape: Shape = SMALL,
    name: str = "model",
    interval: int = 1_000_000,
) -> Training:
    """A model of `process`, trained for real."""
    segment = Segment("machine", process(seed, rows, sensors))
    return train([segment], names(sensors), interval, Options(shape=shape, name=name))


def random_detector(seed: int = 0, sensors: int = 5, memory_size: int = 7, constants: int = 0) -> Detector:
    """Random but stable weights, with a threshold that some ticks exceed; the last `constants` sensors are constant."""
    rng = np.random.default_rng(seed)
    live = sensors - constants

    def weights(*shape: int) -> Floats:
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    square = rng.normal(size=(live, live))
    knots = np.sort(rng.gamma(4, 0.12, size=500)).astype(np.float32)
    return Detector(
        sensors=names(sensors),
        units=("",) * sensors,
        mean=rng.normal(size=sensors) * 10,
        scale=rng.uniform(0.5, 2, size=sensors),
        constant=np.arange(sensors) >= live,
        resolution=np.full(sensors, 0.01),
        network=LinearMemoryNetwork(
            W_hm=weights(memory_size, live),
            W_mm=(np.linalg.qr(rng.normal(size=(memory_size, memory_size)))[0] * 0.9).astype(np.float32),
            W_mo=weights(live, memory_size),
            b_o=weights(live),
        ),
        scoring=Scoring(
            precision=np.linalg.inv(square @ square.T / live + np.eye(live)).astype(np.float32),
            cap=np.float32(4),
            quantiles=np.array([3, 2, 1.5, 3], np.float32),
            combine=np.float32(1.2),
            knots=knots,
            p_values=((1 + np.arange(500, -1, -1)) / 501).astype(np.float32),
        ),
        warmup=3,
        interval=1_000_000,
        gap_reset=10_000_000,
    )
