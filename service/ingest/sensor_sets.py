"""Readings that each name their own sensors -> few batches, each with one tuple of sensors.

A sender that leaves out what it has not got makes nearly every reading a set of its own; a batch each would be slow.
Sets that overlap share a batch, with NaN where a reading does not have the sensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.ingest.batch import Limits, ReadingBatch, Refusal
from service.status import Reason

SEPARATE_MAX = 8  # so many sets keep a batch each
PADDING_MAX = 3  # cells of a shared batch for each cell that came


@dataclass(slots=True)
class _Shared:
    """Readings whose sets overlap."""

    sensors: dict[str, None]
    members: list[int]
    cells: int

    def takes(self, sensors: tuple[str, ...], members: int, limits: Limits) -> bool:
        """Whether half of `sensors` are here already, and the padding stays bounded."""
        known = sum(name in self.sensors for name in sensors)
        width = len(self.sensors) + len(sensors) - known
        cells = self.cells + members * len(sensors)
        fits = width <= limits.sensors and (len(self.members) + members) * width <= PADDING_MAX * cells
        return fits and 2 * known >= len(sensors)

    def add(self, sensors: tuple[str, ...], members: list[int]) -> None:
        """Take in readings of one more set."""
        self.sensors.update(dict.fromkeys(sensors))
        self.members += members
        self.cells += len(members) * len(sensors)


def batches_by_sensors(
    equipment: list[str],
    times: NDArray[np.int64],
    keys: Sequence[tuple[str, ...]],
    values: Sequence[dict[str, float | None]],
    rows: NDArray[np.int64],
    limits: Limits,
) -> tuple[list[ReadingBatch], list[Refusal]]:
    """Readings (n) in order, `values` by sensor and `keys` their sensors -> batches, and refusals where there are too
    many different sets."""
    sets: dict[tuple[str, ...], list[int]] = {}
    for index, sensors in enumerate(keys):
        sets.setdefault(sensors, []).append(index)
    if len(sets) == 1:
        (sensors,) = sets
        table = np.array([list(cells.values()) for cells in values], np.float64).reshape(len(values), len(sensors))
        return [ReadingBatch(sensors, equipment, [1] * len(values), times, table, rows)], []
    groups = [_Shared(dict.fromkeys(sensors), members, 0) for sensors, members in sets.items()]
    if len(groups) > SEPARATE_MAX:
        groups = _merge(sets, limits)
    batches = [_batch(group, equipment, times, keys, values, rows) for group in groups[: limits.sensor_sets]]
    detail = f"one body holds over {limits.sensor_sets} different sets of sensors; send them in several bodies"
    refused = [
        Refusal(int(rows[i]), equipment[i], Reason.LIMIT, f"row {rows[i]}: {detail}", int(times[i]), "values")
        for group in groups[limits.sensor_sets :]
        for i in group.members
    ]
    return batches, refused


def _merge(sets: dict[tuple[str, ...], list[int]], limits: Limits) -> list[_Shared]:
    """Each set goes to the first group that takes it."""
    groups: list[_Shared] = []
    for sensors, members in sets.items():
        for group in groups[:SEPARATE_MAX]:
            if group.takes(sensors, len(members), limits):
                group.add(sensors, members)
                break
        else:
            groups.append(_Shared(dict.fromkeys(sensors), list(members), len(members) * len(sensors)))
    for group in groups:
        group.members.sort()
    return groups


def _batch(
    group: _Shared,
    equipment: list[str],
    times: NDArray[np.int64],
    keys: Sequence[tuple[str, ...]],
    values: Sequence[dict[str, float | None]],
    rows: NDArray[np.int64],
) -> ReadingBatch:
    members, sensors = group.members, tuple(group.sensors)
    table = np.array([[values[i].get(name) for name in sensors] for i in members], np.float64)
    absent = None
    if any(len(keys[i]) < len(sensors) for i in members):
        absent = np.array([[name not in values[i] for name in sensors] for i in members])
    return ReadingBatch(
        sensors,
        [equipment[i] for i in members],
        [1] * len(members),
        times[members],
        table.reshape(len(members), len(sensors)),
        rows[members],
        absent,
    )
