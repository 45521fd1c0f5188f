"""Networks whose memory is the last L readings, the newest first: what PCA, dynamic PCA and k-means have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.contract import Array, Bools, Floats32, ModelError
from models.network import refuse_greater


@dataclass(frozen=True)
class Windows:
    """Of `sensors` d and `ticks` L: the memory has L d values. Until told otherwise, a sensor stays where it is."""

    sensors: int
    ticks: int

    @property
    def memory_size(self) -> int:
        return self.sensors * self.ticks

    @property
    def inputs(self) -> int:
        return self.sensors

    @property
    def settling(self) -> int:
        return self.ticks

    def read_out(self, memory: Array) -> Array:
        """The last reading: (n, L d) -> (n, d)."""
        return np.ascontiguousarray(memory[:, : self.sensors])

    def step(self, memory: Array, z: Array) -> tuple[Array, Array]:
        """The readings (n, d) in front, the oldest let go."""
        memory = np.concatenate([z, memory[:, : self.memory_size - self.sensors]], 1)
        return memory, self.read_out(memory)

    def run(self, z: Array, memory: Array) -> Array:
        """The windows that end at each of T readings: (T, d) -> (T, L d)."""
        past = memory.reshape(self.ticks, self.sensors)[::-1]
        whole = np.concatenate([past, z])[1:]
        slices = np.lib.stride_tricks.sliding_window_view(whole, self.ticks, axis=0)  # (T, d, L), the oldest first
        return np.ascontiguousarray(slices[:, :, ::-1].transpose(0, 2, 1)).reshape(len(z), -1)


def whole_windows(runs: list[Array], seen: list[Bools] | None, ticks: int) -> Array:
    """All windows (n, L d) of separate runs (T, d) that lie within a run; those with any cell that was not measured
    are left out, unless that leaves too few."""
    refuse_greater(ticks * runs[0].shape[1])
    found, measured = [], []
    for index, z in enumerate(runs):
        if len(z) >= ticks:
            windows = Windows(z.shape[1], ticks)
            empty = np.zeros(windows.memory_size)
            found.append(windows.run(z, empty)[ticks - 1 :])
            cells = np.ones(z.shape) if seen is None else seen[index].astype(float)
            measured.append(windows.run(cells, empty)[ticks - 1 :].all(1))
    rows = np.concatenate(found)
    whole = np.concatenate(measured)
    return rows[whole] if whole.sum() > rows.shape[1] else rows


def single(weights: Array) -> Floats32:
    return np.ascontiguousarray(weights, np.float32)


def ticks_of(sensors: int, memory_size: int) -> int:
    """L of a memory of L d values. ModelError where it is of no whole number of ticks."""
    if memory_size % sensors:
        raise ModelError(f"a memory of {memory_size} values holds no whole number of readings of {sensors} sensors")
    return memory_size // sensors


def only(weights: dict[str, Array], names: Sequence[str]) -> None:
    """ModelError where the weights are not those named."""
    for name in names:
        if name not in weights:
            raise ModelError(f"there is no tensor {name!r}")
    if unknown := sorted(weights.keys() - set(names)):
        raise ModelError(f"tensor {unknown[0]!r} is unknown")
