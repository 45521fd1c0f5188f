"""Dynamic principal component analysis: components of windows of L readings (Ku, Storer, Georgakis 1995).

The residual is what the components leave of the newest reading. It is judged as the residual of every network is, by
the inverse of its covariance; T2 of the window itself is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from models.baselines.pca import components
from models.baselines.windows import Windows, only, single, ticks_of, whole_windows
from models.contract import Array, Bools, Floats, Floats32, ModelError
from models.fit import Shape
from models.lmn import product_by_row


@dataclass(frozen=True)
class DynamicPrincipalComponents(Windows):
    """`projection` (L d, d) takes a window to the newest reading that the components make of it."""

    projection: Floats32
    KIND: ClassVar[str] = "dynamic-pca"

    def compared(self, memory: Array, expected: Array) -> Array:
        return product_by_row(memory, self.projection)

    def weights(self) -> dict[str, Floats32]:
        return {"projection": self.projection}

    @classmethod
    def of_weights(cls, weights: dict[str, Any], sensors: int, memory_size: int) -> Self:
        only(weights, ("projection",))
        return cls(sensors, ticks_of(sensors, memory_size), weights["projection"])

    def check(self) -> None:
        wanted = (self.memory_size, self.sensors)
        if self.projection.shape != wanted:
            raise ModelError(f"tensor 'projection' has shape {self.projection.shape}; expected {wanted}")


def fit(runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int) -> DynamicPrincipalComponents:
    """The components of all windows of `shape.window` readings that hold 90 % of their variance."""
    windows = whole_windows(runs, seen, shape.window)
    values, vectors = np.linalg.eigh(windows.T @ windows / len(windows))
    d = runs[0].shape[1]
    kept = vectors[:, ::-1][:, : components(np.maximum(values[::-1], 0))]
    return DynamicPrincipalComponents(d, shape.window, single(kept @ kept[:d].T))
