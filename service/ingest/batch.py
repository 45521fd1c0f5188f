"""What every format decodes to: readings of one body, flat, in arrays that the shard can use as they are.

Also the limits that every format keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.settings import default
from service.status import Reason

Form = Literal["rows", "columns", "batches"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one body may hold; beyond `readings` it is refused as a whole, beyond the others reading by reading."""

    readings: int = default("body_readings_max")
    sensors: int = default("sensors_max")
    sensor_sets: int = default("body_sensor_sets_max")
    equipment_id_characters: int = default("equipment_id_characters_max")
    sensor_name_characters: int = default("sensor_name_characters_max")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reading that the decoder refused; the other readings of the body live on.

    `row` is its position in the body, `equipment` its id as found ("" where it has none that can be used), `time` its
    event time where it has one that can be read, `field` what is at fault in it, `detail` one sentence: thing, value
    found, value expected."""

    row: int
    equipment: str
    reason: Reason
    detail: str
    time: int | None = None
    field: str = ""


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """Readings of one body that share one tuple of sensors.

    >>> times, values = np.array([0, 60_000_000]), np.array([[1.0], [2.0]])
    >>> batch = ReadingBatch(("flow",), ["pump-7"], [2], times, values, np.arange(2))
    >>> batch.readings
    2
    """

    sensors: tuple[str, ...]  # columns of values, unique
    equipment: list[str]  # one id a run
    counts: list[int]  # rows of each run, in order; their sum is n
    times: NDArray[np.int64]  # (n,) microseconds since 1970 UTC
    values: NDArray[np.float64]  # (n, k), NaN = missing
    rows: NDArray[np.int64]  # (n,) position of each reading in the body
    absent: NDArray[np.bool_] | None = None  # (n, k) sensors that a reading did not come with; None: each with all

    @property
    def readings(self) -> int:
        """How many readings there are: n."""
        return len(self.times)


@dataclass(frozen=True, slots=True)
class Body:
    """One decoded request: `received` readings, each either in one of `batches` or in `refused`.

    `sizes` are the readings of each batch that the sender wrote (columns: one, batches: several), in order, and
    `owners` their equipment ids: the answer has the same shape. Both are empty for rows. `source` is who sent it ("":
    nobody knows)."""

    form: Form
    received: int
    batches: list[ReadingBatch]
    refused: list[Refusal] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    source: str = ""
