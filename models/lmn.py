"""The Linear Memory Network: weights, one step, and a whole run.

    h_t = phi(W_xh z_t + W_mh m_{t-1} + b_h)      functional part; phi is the identity or tanh, unit by unit
    m_t = W_hm h_t + W_mm m_{t-1}                 linear memory
    y_t = W_mo m_t + b_o                          prediction of z_{t+1}

where z_t (d,) is a standardised reading, h_t (u,) the functional units, m_t (p,) the memory and y_t (d,) the
prediction. Source: Bacciu, Carta, Sperduti, "Linear Memory Networks", arXiv 1811.03356, equations 3 to 5 (LMN-B).

With W_mh = 0 and the identity as functional part this is the closed-form model that `models/fit.py` trains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.contract import Array, ModelError

OF_UNITS = ("W_mh", "b_h", "tanh")  # weights of a functional part, which W_xh makes
SCAN_BLOCK = 128  # rows that one block of the scan covers


def product_by_row(rows: Array, weights: Array) -> Array:
    """`rows @ weights`, each row on its own: (n, a) x (a, b) -> (n, b).

    A plain matrix product blocks over rows, so that the last bits of a row depend on its neighbours. The stacked form
    multiplies every row separately: bit-identical at every batch size and position.
    """
    return np.matmul(rows[:, None, :], weights)[:, 0, :]


@dataclass(frozen=True, slots=True)
class LinearMemoryNetwork:
    """Weights of one network; `W_xh` (u, d), `W_mh` (u, p) or None for zero, `b_h` (u,), `tanh` (u,) bool,
    `W_hm` (p, u), `W_mm` (p, p), `W_mo` (d, p), `b_o` (d,). `W_xh` None means h_t = z_t (u = d, all linear)."""

    W_hm: Array
    W_mm: Array
    W_mo: Array
    b_o: Array
    W_xh: Array | None = None
    W_mh: Array | None = None
    b_h: Array | None = None
    tanh: NDArray[np.bool_] | None = None

    @property
    def memory_size(self) -> int:
        return len(self.W_mm)

    @property
    def inputs(self) -> int:
        return len(self.b_o)

    @property
    def units(self) -> int:
        return self.inputs if self.W_xh is None else len(self.W_xh)

    def functional(self, z: Array, memory: Array | None) -> Array:
        """h_t of n machines: `z` (n, d), `memory` (n, p), read only where `W_mh` is set -> (n, u)."""
        if self.W_xh is None:
            return z
        h = product_by_row(z, self.W_xh.T)
        if self.W_mh is not None and memory is not None:
            h = h + product_by_row(memory, self.W_mh.T)
        if self.b_h is not None:
            h = h + self.b_h
        if self.tanh is not None:
            h[:, self.tanh] = np.tanh(h[:, self.tanh])
        return h

    def slopes(self) -> Array:
        """dh/dz (u, d) where z and the memory are zero: the mean of normal operation."""
        if self.W_xh is None:
            return np.eye(self.inputs)
        if self.tanh is None:
            return self.W_xh
        bends = np.zeros(len(self.W_xh)) if self.b_h is None else self.b_h
        return self.W_xh * np.where(self.tanh, 1 - np.tanh(bends) ** 2, 1.0)[:, None]

    def step(self, memory: Array, z: Array) -> tuple[Array, Array]:
        """One tick of n machines: `memory` (n, p), `z` (n, d) -> the next memory (n, p) and the prediction (n, d)."""
        h = self.functional(z, memory)
        memory = product_by_row(h, self.W_hm.T) + product_by_row(memory, self.W_mm.T)
        return memory, self.read_out(memory)

    def read_out(self, memory: Array) -> Array:
        """The prediction (n, d) of the next tick from the memory (n, p)."""
        return product_by_row(memory, self.W_mo.T) + self.b_o

    def run(self, z: Array, memory: Array | None = None) -> tuple[Array, Array]:
        """One machine over T ticks: `z` (T, d), the `memory` (p,) before them (default empty) -> memories (T, p) and
        predictions (T, d); equal to the loop over `step` up to rounding."""
        start = np.zeros(self.memory_size, z.dtype) if memory is None else memory
        if self.W_mh is not None:
            return self._loop(z, start)
        memories = linear_scan(self.functional(z, None) @ self.W_hm.T, self.W_mm.T, start)
        return memories, memories @ self.W_mo.T + self.b_o

    def _loop(self, z: Array, memory: Array) -> tuple[Array, Array]:
        memories = np.empty((len(z), self.memory_size), z.dtype)
        predictions = np.empty((len(z), self.inputs), z.dtype)
        row = memory[None]
        for t in range(len(z)):
            row, predictions[t : t + 1] = self.step(row, z[t : t + 1])
            memories[t] = row[0]
        return memories, predictions

    def check(self) -> None:
        """Refuse weights that cannot serve: shapes that do not fit, values that are not finite, an unstable memory."""
        p, d = self.memory_size, self.inputs
        units = d if self.W_xh is None else len(self.W_xh)
        wanted = {
            "W_hm": (p, units),
            "W_mm": (p, p),
            "W_mo": (d, p),
            "b_o": (d,),
            "W_xh": (units, d),
            "W_mh": (units, p),
            "b_h": (units,),
            "tanh": (units,),
        }
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is None:
                continue
            if self.W_xh is None and name in OF_UNITS:
                raise ModelError(f"weight {name} has no use without W_xh; leave it out, or add the units that it is of")
            if value.shape != shape:
                raise ModelError(f"weight {name} has shape {value.shape}; expected {shape}")
            if not np.isfinite(value).all():
                raise ModelError(f"weight {name} holds values that are not finite; train the model again")
        radius = spectral_radius(self.W_mm)
        if radius >= 1:
            raise ModelError(f"the memory is unstable: spectral radius of W_mm is {radius:.6f}; expected below 1")


def spectral_radius(matrix: Array) -> float:
    """Largest absolute eigenvalue; below 1, what a memory holds fades away.

    >>> round(spectral_radius(np.array([[0.5, 1.0], [0.0, 0.25]])), 6)
    0.5
    """
    return float(np.abs(np.linalg.eigvals(matrix.astype(np.float64))).max(initial=0.0))


def linear_scan(inputs: Array, transition: Array, start: Array) -> Array:
    """The recurrence m_t = inputs_t + m_{t-1} T as matrix products: `inputs` (n, p), `transition` T (p, p), `start`
    (p,) -> all m_t (n, p).

    The rows are cut into blocks of `SCAN_BLOCK`; all blocks advance together, a matrix product a position; then the
    memory that enters each block, itself a recurrence with T^SCAN_BLOCK over block ends, is carried through it. Two
    products a row whatever n is (a doubling scan needs log2(n)); no Python loop over rows.
    """
    n, p = inputs.shape
    if n <= SCAN_BLOCK:
        return _scan_short(inputs, transition, start)
    blocks = -(-n // SCAN_BLOCK)
    padded = np.zeros((blocks * SCAN_BLOCK, p), inputs.dtype)
    padded[:n] = inputs
    memories = padded.reshape(blocks, SCAN_BLOCK, p)
    for i in range(1, SCAN_BLOCK):
        memories[:, i] += memories[:, i - 1] @ transition
    entering = np.empty((blocks, p), inputs.dtype)
    entering[0] = start
    across = np.linalg.matrix_power(transition, SCAN_BLOCK)
    entering[1:] = linear_scan(np.ascontiguousarray(memories[:-1, -1]), across, start)
    for i in range(SCAN_BLOCK):
        entering = entering @ transition
        memories[:, i] += entering
    return padded[:n]


def _scan_short(inputs: Array, transition: Array, start: Array) -> Array:
    memories = np.empty_like(inputs)
    memory = start
    for t in range(len(inputs)):
        memories[t] = memory = inputs[t] + memory @ transition
    return memories
