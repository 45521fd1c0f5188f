"""A controller beside an external memory that it addresses by content, in the manner of the Differentiable Neural
Computer (Graves et al. 2016), without its usage and order of writing: N rows of w values. Served with numpy; torch
trains it (`sequence_training.py`).

    h' = tanh(z W_x + h W_h + r W_r + b)                      r what was read last
    (k_w, e, a, g, s_w, k_r, s_r) = h' W_i + b_i              keys, erase, add, gate and strengths, squashed
    p_w = softmax over rows of s_w cos(M + M_0, k_w)          M_0 is learned, and makes empty rows differ
    M'  = f M + g p_w (a - e (M + M_0))                       row by row; f = FADE, so that no row stays for good
    p_r = softmax over rows of s_r cos(M' + M_0, k_r),  r' = sum over rows of p_r (M' + M_0)
    z_{t+1} is expected to be (h', r') W_o + b_o
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from models.baselines.attention import softmax
from models.baselines.recurrent import sigmoid
from models.baselines.trained import Stepped, Weighted
from models.baselines.windows import only
from models.contract import Array, Floats32, ModelError
from models.lmn import product_by_row

WEIGHTS = ("W_x", "W_h", "W_r", "b", "W_i", "b_i", "M_0", "W_o", "b_o")
SMALL, FADE = np.float32(1e-6), np.float32(0.9)


@dataclass(frozen=True)
class ExternalMemory(Weighted, Stepped):
    """For d sensors, u units, N rows of w: `W_x` (d, u), `W_h` (u, u), `W_r` (w, u), `b` (u,), `W_i` (u, 4 w + 3),
    `b_i` (4 w + 3,), `M_0` (N, w), `W_o` (u + w, d), `b_o` (d,). Its memory is h, r, then M row by row."""

    W_x: Floats32
    W_h: Floats32
    W_r: Floats32
    b: Floats32
    W_i: Floats32
    b_i: Floats32
    M_0: Floats32
    W_o: Floats32
    b_o: Floats32
    settling: int = 0
    KIND: ClassVar[str] = "external-memory"
    NAMES: ClassVar[tuple[str, ...]] = WEIGHTS

    @property
    def units(self) -> int:
        return len(self.b)

    @property
    def width(self) -> int:
        return self.M_0.shape[1]

    @property
    def memory_size(self) -> int:
        return self.units + self.width + self.M_0.size

    @property
    def inputs(self) -> int:
        return len(self.b_o)

    def read_out(self, memory: Array) -> Array:
        seen = np.ascontiguousarray(memory[:, : self.units + self.width])
        return product_by_row(seen, self.W_o) + self.b_o

    def step(self, memory: Array, z: Array) -> tuple[Array, Array]:
        n, u, w = len(z), self.units, self.width
        hidden, read = (np.ascontiguousarray(part) for part in (memory[:, :u], memory[:, u : u + w]))
        rows = memory[:, u + w :].reshape(n, *self.M_0.shape)
        hidden = np.tanh(
            product_by_row(z, self.W_x) + product_by_row(hidden, self.W_h) + product_by_row(read, self.W_r) + self.b
        )
        said = product_by_row(hidden, self.W_i) + self.b_i
        erase, add = sigmoid(said[:, w : 2 * w]), np.tanh(said[:, 2 * w : 3 * w])
        gate = sigmoid(said[:, 4 * w])
        put = self.place(rows + self.M_0, said[:, :w], said[:, 4 * w + 1]) * gate[:, None]
        rows = FADE * rows + put[:, :, None] * (add[:, None] - erase[:, None] * (rows + self.M_0))
        found = rows + self.M_0
        taken = self.place(found, said[:, 3 * w : 4 * w], said[:, 4 * w + 2])
        read = (taken[:, :, None] * found).sum(1)
        memory = np.concatenate([hidden, read, rows.reshape(n, -1)], 1)
        return memory, self.read_out(memory)

    def place(self, rows: Array, key: Array, strength: Array) -> Array:
        """Weights of the rows (n, N, w) by their likeness to a key (n, w)."""
        dots = (rows * key[:, None]).sum(2)
        sizes = np.sqrt((rows**2).sum(2)) * np.sqrt((key**2).sum(1))[:, None] + SMALL
        return softmax((1 + np.logaddexp(np.float32(0), strength))[:, None] * dots / sizes)

    @classmethod
    def of_weights(cls, weights: dict[str, Any], sensors: int, memory_size: int) -> Self:
        only(weights, WEIGHTS)
        u = np.size(weights["b"])
        N, w = weights["M_0"].shape if np.ndim(weights["M_0"]) == 2 else (0, 0)
        asked = 4 * w + 3
        shapes = (sensors, u), (u, u), (w, u), (u,), (u, asked), (asked,), (N, w), (u + w, sensors), (sensors,)
        for name, shape in zip(WEIGHTS, shapes, strict=True):
            if weights[name].shape != shape:
                raise ModelError(f"tensor {name!r} has shape {weights[name].shape}; expected {shape}")
        if memory_size != u + w + N * w:
            raise ModelError(f"a memory of {memory_size} values; expected {u + w + N * w}")
        return cls(**weights)
