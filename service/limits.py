"""Bounds and choices of a shard, as the settings have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.artifact import LoadedModel
from models.contract import MICROSECONDS
from models.drift import HALF_LIFE
from service.assembly import Window
from service.clock import TimeSource
from service.settings import default

FOREVER = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """Bounds and choices of a shard; `future` None: the clock follows the readings, none is in the future, and none is
    `historical`."""

    equipment_max: int = default("equipment_max")
    future: int | None = int(default("future_seconds_max") * MICROSECONDS)
    historical: int = int(default("historical_seconds") * MICROSECONDS)
    time_source: Mapping[str, TimeSource] = field(default_factory=dict)
    sources_max: int = default("sources_max")
    silent_intervals: int = default("silent_intervals")
    alarms_closed_max: int = default("alarms_closed_max")
    warnings_max: int = default("warnings_per_body_max")
    window: Window = field(default_factory=Window)
    join: tuple[str, ...] = ()  # name patterns of equipment whose sensors come apart
    join_age: int = 0  # how long a value is held, in microseconds; 0: as the model has learned
    drift_half_life: float = HALF_LIFE

    def holds(self, model: LoadedModel) -> NDArray[np.int64]:
        """How long the values of a model's sensors (d,) are held, in microseconds; 0: for good."""
        return np.full(len(model.detector.sensors), self.join_age) if self.join_age else model.holds

    def patience(self, model: LoadedModel, joined: bool) -> int:
        """How long a machine may send nothing until it is silent, in microseconds: `silent_intervals` or, where its
        sensors are joined, as long as a value of the most talkative one may stand."""
        intervals = model.detector.interval * self.silent_intervals
        holds = self.holds(model)
        learned = holds[holds > 0]
        return min(max(intervals, int(learned.min(initial=FOREVER)) if joined and len(learned) else 0), FOREVER)
