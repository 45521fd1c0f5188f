"""Recurrent networks that predict the next reading: RNN (Elman 1990), GRU (Cho et al. 2014), LSTM (Hochreiter and
Schmidhuber 1997; with a forget gate, Gers et al. 2000). Served with numpy; torch trains them (`recurrent_training.py`).

    RNN    h' = tanh(a + b)
    GRU    r, u = sigmoid(a + b), n = tanh(a + r b), h' = (1 - u) n + u h
    LSTM   i, f, o = sigmoid(a + b), n = tanh(a + b), c' = f c + i n, h' = o tanh(c')

with a = z W_x + b_x and b = h W_h + b_h, a part of each a gate, in the order of torch; z_{t+1} is expected to be
h W_o + b_o.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from models.baselines.trained import Stepped
from models.baselines.windows import only
from models.contract import Array, Floats32, ModelError
from models.lmn import product_by_row

WEIGHTS = ("W_x", "W_h", "b_x", "b_h", "W_o", "b_o")


@dataclass(frozen=True)
class Recurrent(Stepped):
    """`W_x` (d, g u), `W_h` (u, g u), `b_x`, `b_h` (g u,), `W_o` (u, d), `b_o` (d,), for u units of g gates; `settling`
    is known where it was trained."""

    W_x: Floats32
    W_h: Floats32
    b_x: Floats32
    b_h: Floats32
    W_o: Floats32
    b_o: Floats32
    settling: int = 0
    KIND: ClassVar[str]
    GATES: ClassVar[int]
    PARTS: ClassVar[int] = 1  # of the memory, u values each

    @property
    def units(self) -> int:
        return len(self.W_h)

    @property
    def memory_size(self) -> int:
        return self.units * self.PARTS

    @property
    def inputs(self) -> int:
        return len(self.b_o)

    def read_out(self, memory: Array) -> Array:
        hidden = np.ascontiguousarray(memory[:, : self.units])
        return product_by_row(hidden, self.W_o) + self.b_o

    def step(self, memory: Array, z: Array) -> tuple[Array, Array]:
        hidden = np.ascontiguousarray(memory[:, : self.units])
        a = product_by_row(z, self.W_x) + self.b_x
        b = product_by_row(hidden, self.W_h) + self.b_h
        shape = (len(z), self.GATES, self.units)
        memory = self.advance(memory, a.reshape(shape), b.reshape(shape))
        return memory, self.read_out(memory)

    @abstractmethod
    def advance(self, memory: Array, a: Array, b: Array) -> Array:
        """The next memory (n, p) of gates `a`, `b` (n, g, u)."""

    def weights(self) -> dict[str, Floats32]:
        return {name: getattr(self, name) for name in WEIGHTS}

    @classmethod
    def of_weights(cls, weights: dict[str, Any], sensors: int, memory_size: int) -> Self:
        only(weights, WEIGHTS)
        network = cls(**weights)
        units = memory_size // cls.PARTS
        wanted = cls.shapes(sensors, units)
        for name, shape in wanted.items():
            if weights[name].shape != shape:
                raise ModelError(f"tensor {name!r} has shape {weights[name].shape}; expected {shape}")
        if memory_size != units * cls.PARTS or units < 1:
            raise ModelError(f"a memory of {memory_size} values; expected a multiple of {cls.PARTS}")
        return network

    @classmethod
    def shapes(cls, sensors: int, units: int) -> dict[str, tuple[int, ...]]:
        """Of the weights."""
        gates = cls.GATES * units
        sizes = ((sensors, gates), (units, gates), (gates,), (gates,), (units, sensors), (sensors,))
        return dict(zip(WEIGHTS, sizes, strict=True))

    def check(self) -> None:
        for field in fields(self):
            if field.name in WEIGHTS and not np.isfinite(getattr(self, field.name)).all():
                raise ModelError(f"weight {field.name} holds values that are not finite; train the model again")


@dataclass(frozen=True)
class SimpleRecurrent(Recurrent):
    """RNN."""

    KIND: ClassVar[str] = "rnn"
    GATES: ClassVar[int] = 1

    def advance(self, memory: Array, a: Array, b: Array) -> Array:
        return np.tanh(a[:, 0] + b[:, 0])


@dataclass(frozen=True)
class GatedRecurrent(Recurrent):
    """GRU."""

    KIND: ClassVar[str] = "gru"
    GATES: ClassVar[int] = 3

    def advance(self, memory: Array, a: Array, b: Array) -> Array:
        reset, keep = sigmoid(a[:, 0] + b[:, 0]), sigmoid(a[:, 1] + b[:, 1])
        new = np.tanh(a[:, 2] + reset * b[:, 2])
        return (1 - keep) * new + keep * memory


@dataclass(frozen=True)
class LongShortTerm(Recurrent):
    """LSTM; its memory is the hidden units, then the cells."""

    KIND: ClassVar[str] = "lstm"
    GATES: ClassVar[int] = 4
    PARTS: ClassVar[int] = 2

    def advance(self, memory: Array, a: Array, b: Array) -> Array:
        whole = a + b
        enter, keep, out = (sigmoid(whole[:, gate]) for gate in (0, 1, 3))
        cells = keep * memory[:, self.units :] + enter * np.tanh(whole[:, 2])
        return np.concatenate([out * np.tanh(cells), cells], 1)


def sigmoid(x: Array) -> Array:
    """Without overflow.

    >>> sigmoid(np.array([-1e9, 0.0, 1e9])).tolist()
    [0.0, 0.5, 1.0]
    """
    return (np.tanh(x / 2) + 1) / 2
