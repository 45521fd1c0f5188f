"""What trained rivals have in common: weights under names, and a step from tick to tick."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from models.contract import Array, Floats32, ModelError


class Weighted:
    """Weights are attributes, named in NAMES."""

    NAMES: ClassVar[tuple[str, ...]]

    def weights(self) -> dict[str, Floats32]:
        return {name: getattr(self, name) for name in self.NAMES}

    def check(self) -> None:
        """ModelError where one holds what is no number."""
        for name in self.NAMES:
            if not np.isfinite(getattr(self, name)).all():
                raise ModelError(f"weight {name} holds values that are not finite; train the model again")


class Stepped(ABC):
    """A predictor whose memory goes on by `step` alone."""

    @property
    @abstractmethod
    def memory_size(self) -> int: ...

    @abstractmethod
    def step(self, memory: Array, z: Array) -> tuple[Array, Array]: ...

    def run(self, z: Array, memory: Array) -> Array:
        after, row = np.empty((len(z), self.memory_size), np.float32), memory[None]
        for tick in range(len(z)):
            row, _ = self.step(row, z[tick : tick + 1])
            after[tick] = row[0]
        return after

    def compared(self, memory: Array, expected: Array) -> Array:
        return expected
