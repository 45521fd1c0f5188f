"""What the detector asks of a network that is not the LMN, and how such a network is followed tick by tick.

A network has a flat float32 memory per machine. It says what it expects of the next tick, takes the tick in, and says
what the tick is *compared* with: a predictor with what it expected, a reconstructor with what it makes of its memory
once the tick is in it. Scaling, missing cells, gaps, statistics, thresholds and contributions are the detector's, the
same for all, so that a comparison is one of networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import numpy as np

from models.contract import Array, Bools, Floats32, Ints, ModelError
from models.lmn import LinearMemoryNetwork
from models.waves import Waves

Z_MAX = 1e6  # beyond it arithmetic would overflow and stay in the memory for good
MEMORY_MAX = 2048  # values: the check of the stability of an LMN takes five seconds
ROWS = 4096  # whose memories are held at once

Completion = Callable[[Floats32, Bools, Ints | None], Floats32]  # errors with the missing ones estimated


class Network(Protocol):
    """A rival of the LMN: weights (float32), and what they make of a tick; every row on its own, bit for bit."""

    KIND: ClassVar[str]

    @property
    def memory_size(self) -> int:
        """p, values that are kept of a machine."""
        ...

    @property
    def inputs(self) -> int:
        """d, sensors."""
        ...

    @property
    def settling(self) -> int:
        """Ticks until nothing is left of an empty start."""
        ...

    def read_out(self, memory: Array) -> Array:
        """What is expected of the next tick: (n, p) -> (n, d)."""
        ...

    def step(self, memory: Array, z: Array) -> tuple[Array, Array]:
        """One tick of n machines: `memory` (n, p), `z` (n, d) -> the next memory (n, p) and what is expected next."""
        ...

    def run(self, z: Array, memory: Array) -> Array:
        """One machine over T ticks: `z` (T, d), the `memory` (p,) before them -> memories (T, p)."""
        ...

    def compared(self, memory: Array, expected: Array) -> Array:
        """What a tick is compared with: `memory` (n, p) after it, what was `expected` (n, d) of it -> (n, d)."""
        ...

    def weights(self) -> dict[str, Floats32]:
        """For the artifact, by name."""
        ...

    @classmethod
    def of_weights(cls, weights: dict[str, Any], sensors: int, memory_size: int) -> Network:
        """From the artifact. ModelError where a tensor is missing, unknown or of the wrong shape."""
        ...

    def check(self) -> None:
        """ModelError where the weights cannot serve."""
        ...


@dataclass(frozen=True, slots=True)
class Remembered:
    """An LMN as a network like any other, to be calibrated as they are; what is saved and served is `lmn`."""

    KIND: ClassVar[str] = "lmn"
    lmn: LinearMemoryNetwork
    settling: int

    @property
    def memory_size(self) -> int:
        return self.lmn.memory_size

    @property
    def inputs(self) -> int:
        return self.lmn.inputs

    def read_out(self, memory: Array) -> Array:
        return self.lmn.read_out(memory)

    def step(self, memory: Array, z: Array) -> tuple[Array, Array]:
        return self.lmn.step(memory, z)

    def run(self, z: Array, memory: Array) -> Array:
        return self.lmn.run(z, memory)[0]

    def compared(self, memory: Array, expected: Array) -> Array:
        return expected

    def weights(self) -> dict[str, Floats32]:
        found = {name: getattr(self.lmn, name) for name in (field.name for field in fields(self.lmn))}
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def of_weights(cls, weights: dict[str, Any], sensors: int, memory_size: int) -> Remembered:
        return cls(LinearMemoryNetwork(**weights), 0)

    def check(self) -> None:
        self.lmn.check()


def refuse_greater(memory_size: int) -> None:
    """ModelError where a memory would be greater than any that is served."""
    if memory_size > MEMORY_MAX:
        raise ModelError(
            f"the memory would have {memory_size} values; expected at most {MEMORY_MAX}: choose a smaller --window for "
            "models of windows, a smaller --memory-size for recurrent ones"
        )


def without_torch(method: str) -> ModelError:
    """The error where a method cannot be trained."""
    return ModelError(
        f"method {method!r} is trained with torch, which is not installed: pip install 'limen[train]'; serving does "
        "without"
    )


def residuals(network: Network, z: Array) -> Array:
    """Of one run (T, d) from an empty memory; missing values enter as zero, their residual is NaN."""
    filled, found = np.nan_to_num(z).astype(np.float32), np.empty_like(z)
    memory = np.zeros((1, network.memory_size), np.float32)
    for start in range(0, len(z), ROWS):
        rows = slice(start, start + ROWS)
        after = network.run(filled[rows], memory[0])
        expected = network.read_out(np.vstack([memory, after[:-1]]))
        found[rows] = z[rows] - network.compared(after, expected)
        memory = after[-1:]
    return found


def at_start(network: LinearMemoryNetwork | Network) -> Array:
    """(d,) what is expected by an empty memory."""
    if isinstance(network, LinearMemoryNetwork):
        return network.b_o
    return network.read_out(np.zeros((1, network.memory_size), np.float32))[0]


def follow(
    network: Network, memory: Floats32, z: Floats32, missing: Bools, plan: Waves, complete: Completion
) -> tuple[Floats32, Floats32, Floats32]:
    """Memory after each row, what is expected there, and the residual of each row: from the `memory` (n, p) of the
    machines and their ticks `z` (rows, live) in wave order; estimates of `missing` values are written into `z`."""
    after = np.empty((len(z), network.memory_size), np.float32)
    ahead, residual = np.empty_like(z), np.empty_like(z)
    for lo, hi in plan.edges:
        before = memory[: hi - lo].copy()
        if plan.reset is not None:
            before[plan.reset[lo:hi]] = 0
        skipped = None if plan.skipped is None else plan.skipped[lo:hi]
        if skipped is not None:
            coast(network, before, skipped)
        expected = np.clip(network.read_out(before), -Z_MAX, Z_MAX)
        holes = np.flatnonzero(missing[lo:hi].any(1))
        left_out, rows = missing[lo + holes], lo + holes
        if holes.size:
            error = np.where(left_out, np.float32(0), z[rows] - expected[holes])
            guess = expected[holes] + complete(error, left_out, None)
            z[rows] = np.where(left_out, np.clip(guess, -Z_MAX, Z_MAX), z[rows])
        after[lo:hi], ahead[lo:hi] = network.step(before, z[lo:hi])
        residual[lo:hi] = z[lo:hi] - network.compared(after[lo:hi], expected)
        if holes.size:
            error = np.where(left_out, np.float32(0), residual[rows])
            residual[rows] = np.where(left_out, complete(error, left_out, None), residual[rows])
        memory = after[lo:hi]
    return after, ahead, residual


def coast(network: Network, memory: Floats32, ticks: Ints) -> None:
    """Take memories (n, p) over `ticks` (n,) without any value, in place: each takes its own prediction for granted."""
    for tick in range(int(ticks.max(initial=0))):
        rows = np.flatnonzero(ticks > tick)
        expected = np.clip(network.read_out(memory[rows]), -Z_MAX, Z_MAX)
        memory[rows] = network.step(memory[rows], expected)[0]
