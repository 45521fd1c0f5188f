"""Convolutional autoencoder of the last L readings: what it cannot give back of the newest one is its error. Served
with numpy; torch trains it (`sequence_training.py`).

    c_i = tanh(sum over j = -1, 0, 1 of W_1[j] z_{i+j} + b_1)      for each of L ticks i, beyond the ends zero
    e   = tanh(W_2 (c_1, ..., c_L) + b_2)                          the code
    g   = tanh(W_3 e + b_3), cut into L ticks of channels
    r_i = sum over j of W_4[j] g_{i+j} + b_4                       the readings given back
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from models.baselines.trained import Weighted
from models.baselines.windows import Windows, only, ticks_of
from models.contract import Array, Floats32, ModelError
from models.lmn import product_by_row

WEIGHTS = ("W_1", "b_1", "W_2", "b_2", "W_3", "b_3", "W_4", "b_4")
KERNEL = 3


@dataclass(frozen=True)
class ConvolutionalAutoencoder(Weighted, Windows):
    """For d sensors, c channels and a code of e values: `W_1` (3 d, c), `b_1` (c,), `W_2` (L c, e), `b_2` (e,), `W_3`
    (e, L c), `b_3` (L c,), `W_4` (3 c, d), `b_4` (d,)."""

    W_1: Floats32
    b_1: Floats32
    W_2: Floats32
    b_2: Floats32
    W_3: Floats32
    b_3: Floats32
    W_4: Floats32
    b_4: Floats32
    KIND: ClassVar[str] = "conv-autoencoder"
    NAMES: ClassVar[tuple[str, ...]] = WEIGHTS

    def compared(self, memory: Array, expected: Array) -> Array:
        """What it gives back of the newest reading of each window (n, L d) -> (n, d)."""
        n, ticks, c = len(memory), self.ticks, len(self.b_1)
        window = memory.reshape(n, ticks, self.sensors)
        channels = np.tanh(product_by_row(neighbours(window).reshape(n * ticks, -1), self.W_1) + self.b_1)
        code = np.tanh(product_by_row(channels.reshape(n, ticks * c), self.W_2) + self.b_2)
        back = np.tanh(product_by_row(code, self.W_3) + self.b_3).reshape(n, ticks, c)
        newest = np.ascontiguousarray(neighbours(back)[:, 0])
        return product_by_row(newest, self.W_4) + self.b_4

    @classmethod
    def of_weights(cls, weights: dict[str, Any], sensors: int, memory_size: int) -> Self:
        only(weights, WEIGHTS)
        ticks = ticks_of(sensors, memory_size)
        c, e = (np.size(weights[name]) for name in ("b_1", "b_2"))
        shapes = (KERNEL * sensors, c), (c,), (ticks * c, e), (e,), (e, ticks * c), (ticks * c,), (KERNEL * c, sensors)
        for name, shape in zip(WEIGHTS, (*shapes, (sensors,)), strict=True):
            if weights[name].shape != shape:
                raise ModelError(f"tensor {name!r} has shape {weights[name].shape}; expected {shape}")
        return cls(sensors, ticks, **weights)


def neighbours(ticks: Array) -> Array:
    """(n, L, c) -> (n, L, 3 c): each tick between the one that is newer and the one that is older, zero beyond."""
    wide = np.pad(ticks, ((0, 0), (1, 1), (0, 0)))
    return np.concatenate([wide[:, :-2], wide[:, 1:-1], wide[:, 2:]], 2)
