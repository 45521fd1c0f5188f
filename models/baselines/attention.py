"""Causal attention over the last L readings predicts the next one (Vaswani et al. 2017; one block, one head, residual
connections, no normalisation). Served with numpy; torch trains it (`sequence_training.py`).

    x_i = z_{t-i} W_e + P_i                                  i = 0..L-1 ticks ago, P_i the place
    a   = softmax over i of (x_0 W_q) . (x_i W_k) / sqrt(m)
    u   = x_0 + (sum over i of a_i x_i W_v) W_p
    v   = u + tanh(u W_1 + b_1) W_2
    z_{t+1} is expected to be v W_o + b_o
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from models.baselines.trained import Weighted
from models.baselines.windows import Windows, only, ticks_of
from models.contract import Array, Floats32, ModelError
from models.lmn import product_by_row

WEIGHTS = ("W_e", "P", "W_q", "W_k", "W_v", "W_p", "W_1", "b_1", "W_2", "W_o", "b_o")


@dataclass(frozen=True)
class CausalAttention(Weighted, Windows):
    """For d sensors, m values a tick and h hidden units: `W_e` (d, m), `P` (L, m), `W_q`, `W_k`, `W_v`, `W_p` (m, m),
    `W_1` (m, h), `b_1` (h,), `W_2` (h, m), `W_o` (m, d), `b_o` (d,)."""

    W_e: Floats32
    P: Floats32
    W_q: Floats32
    W_k: Floats32
    W_v: Floats32
    W_p: Floats32
    W_1: Floats32
    b_1: Floats32
    W_2: Floats32
    W_o: Floats32
    b_o: Floats32
    KIND: ClassVar[str] = "attention"
    NAMES: ClassVar[tuple[str, ...]] = WEIGHTS

    def read_out(self, memory: Array) -> Array:
        """What is expected after each window (n, L d) -> (n, d)."""
        n, ticks, m = len(memory), self.ticks, self.W_e.shape[1]
        tokens = product_by_row(memory.reshape(n * ticks, self.sensors), self.W_e).reshape(n, ticks, m) + self.P
        newest = np.ascontiguousarray(tokens[:, 0])
        flat = tokens.reshape(n * ticks, m)
        keys, values = (product_by_row(flat, weight).reshape(n, ticks, m) for weight in (self.W_k, self.W_v))
        asked = product_by_row(newest, self.W_q)
        likeness = (keys * asked[:, None]).sum(2) / np.float32(np.sqrt(m))
        found = (softmax(likeness)[:, :, None] * values).sum(1)
        u = newest + product_by_row(found, self.W_p)
        v = u + product_by_row(np.tanh(product_by_row(u, self.W_1) + self.b_1), self.W_2)
        return product_by_row(v, self.W_o) + self.b_o

    def compared(self, memory: Array, expected: Array) -> Array:
        return expected

    @classmethod
    def of_weights(cls, weights: dict[str, Any], sensors: int, memory_size: int) -> Self:
        only(weights, WEIGHTS)
        ticks = ticks_of(sensors, memory_size)
        m, h = np.shape(weights["P"])[-1] if np.ndim(weights["P"]) else 0, np.size(weights["b_1"])
        square = (m, m)
        shapes: tuple[tuple[int, ...], ...] = (sensors, m), (ticks, m), square, square, square, square
        shapes += (m, h), (h,), (h, m), (m, sensors), (sensors,)
        for name, shape in zip(WEIGHTS, shapes, strict=True):
            if weights[name].shape != shape:
                raise ModelError(f"tensor {name!r} has shape {weights[name].shape}; expected {shape}")
        return cls(sensors, ticks, **weights)


def softmax(x: Array) -> Array:
    """Over the last axis, without overflow."""
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)
