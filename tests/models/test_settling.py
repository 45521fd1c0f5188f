from __future__ import annotations

import numpy as np
import pytest

from models.contract import Floats
from models.fit import Core, Shape
from models.laes import LinearAutoencoder
from models.preprocess import Segment
from models.settling import SHARE_MAX, WINDOWS_MAX, settling_ticks
from models.train import Options, Training, train
from tests.builders import names


def core(seed: int, p: int = 6, window: int = 4) -> tuple[Core, Floats]:
    """A memory with a random read-out, and memories of normal operation."""
    rng = np.random.default_rng(seed)
    h = np.cumsum(rng.normal(size=(400, 2)), axis=0) / 10
    memory = LinearAutoencoder(p, window).fit([h])
    return Core(memory, rng.normal(size=(p + 1, 2))), memory.encode(h)[50:]


@pytest.mark.parametrize("seed", range(4))
def test_an_empty_start_hardly_shows_from_then_on_and_did_before(seed: int) -> None:
    """Against the definition: the same readings, from an empty memory and from one that always listened."""
    made, memories = core(seed)
    thresholds = np.array([2.0, 1.5, 1.2, 6.0])
    ticks = settling_ticks(made, memories.T @ memories / len(memories), np.eye(2), thresholds)
    off, error = memories, []
    for _ in range(ticks + 1):
        error.append(((off @ made.readout[:-1]) ** 2).mean())
        off = off @ made.memory.B_.T
    allowed = SHARE_MAX * 6.0 / 15
    assert error[ticks] <= allowed
    assert ticks == made.memory.window or error[ticks - 1] > allowed


def test_a_memory_that_never_settles_is_not_waited_for_for_ever() -> None:
    made, memories = core(0)
    made.memory.B_ = np.eye(6)
    moments = memories.T @ memories
    assert settling_ticks(made, moments, np.eye(2), np.full(4, 1e-6)) == WINDOWS_MAX * made.memory.window


def slow_machine(seed: int, rows: int = 3000) -> Floats:
    """Two quick sensors, and a temperature that stands far from its mean for a long time."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.normal(size=rows // 500), 500)
    slow = np.zeros(rows)
    for t in range(rows):
        slow[t] = 0.99 * slow[t - 1] + 0.01 * level[t] if t else level[0]
    return np.column_stack([rng.normal(size=(rows, 2)), 50 + 10 * slow + 0.05 * rng.normal(size=rows)])


def trained(shape: Shape) -> Training:
    return train([Segment("m", slow_machine(0))], names(3), 1_000_000, Options(shape))


def test_a_machine_with_slow_sensors_raises_no_alarm_because_it_was_started() -> None:
    training = trained(Shape(12, 10, 0.95))
    detector = training.detector
    assert detector.warmup > 10
    over = 0
    for start in range(0, 2900, 97):
        score = detector.run(slow_machine(0)[start : start + detector.warmup + 20]).score
        over += int((score[detector.warmup :] >= 1).sum())
    assert over <= 0.02 * 20 * 30  # the share of ticks that is over the threshold anyway
    assert training.manifest.warmup_ticks == detector.warmup
