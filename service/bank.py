"""The states of all machines that follow one model, and the one call that steps them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifact import LoadedModel
from models.contract import Floats, Floats32
from models.drift import DriftMonitor
from models.state import State, Ticks
from service.admission import Admitted, Pace
from service.columns import Columns, Field, Index
from service.merging import Parts
from service.micro_batch import MicroBatch
from service.ring import digest_key, mark_field

DRIFT_READINGS_MIN = 64  # that the drift monitor takes at once
WAITING = ("waiting_z", "waiting_p_value", "waiting_memory")  # readings for the drift monitor, in a snapshot
MAPPED_NAMES_MAX = 100_000  # sensors in all tuples whose mapping is remembered


@dataclass(frozen=True, slots=True)
class Mapping:
    """Columns of a body -> sensors of the model: model sensor `sensors[i]` is column `columns[i]` of the body."""

    sensors: Index
    columns: Index
    complete: bool  # every sensor of the model is there
    straight: bool  # and in the same order, with nothing else
    unknown: Index  # columns of sensors that the model does not know

    @classmethod
    def between(cls, model: tuple[str, ...], body: tuple[str, ...]) -> Mapping:
        """From the sensors of a body to those of the model."""
        place = {name: column for column, name in enumerate(body)}
        sensors = np.array([i for i, name in enumerate(model) if name in place], np.intp)
        columns = np.array([place[name] for name in model if name in place], np.intp)
        known = set(model)
        unknown = np.array([column for column, name in enumerate(body) if name not in known], np.intp)
        return cls(sensors, columns, len(sensors) == len(model), model == body, unknown)


class Bank:
    """Rows of state, one a machine, of one model (artifact)."""

    def __init__(self, model: LoadedModel, number: int, drift_half_life: float) -> None:
        self.model = model
        self.detector = model.detector
        self.number = number
        self.keys = np.array([digest_key(name) for name in self.detector.sensors], np.uint64)
        self.pace = Pace(self.detector.gap_reset, self.detector.interval)
        self.centred = len(self.detector.equipment) > 0
        self.columns = Columns(state_fields(model))
        self.free: list[int] = []
        self._monitor = DriftMonitor(model.drift, half_life=drift_half_life)
        self._unwatched: list[tuple[Floats32, Floats32, Floats32]] = []
        self._unwatched_readings = 0
        self.name_numbers = np.empty(0, np.int32)  # (d,) of its sensors in `Shard.names`
        self._mappings: dict[tuple[str, ...], Mapping] = {}
        self._mapped_names = 0

    @property
    def machines(self) -> int:
        return self.columns.used - len(self.free)

    def take_row(self) -> int:
        """A row of state for one more machine: empty memory, warming."""
        if self.free:
            row = self.free.pop()
            self.columns.clear(row)
            return row
        return self.columns.add()

    def give_row(self, row: int) -> None:
        """A machine has left: its row may be used again."""
        self.free.append(row)

    def mapping(self, sensors: tuple[str, ...]) -> Mapping:
        """How the columns of a body meet the sensors of the model."""
        found = self._mappings.get(sensors)
        if found is None:
            self._mapped_names += len(sensors)
            if self._mapped_names > MAPPED_NAMES_MAX:
                self._mappings.clear()
                self._mapped_names = len(sensors)
            found = self._mappings[sensors] = Mapping.between(self.detector.sensors, sensors)
        return found

    def blind(self, batch: MicroBatch, flat: Index) -> NDArray[np.bool_] | None:
        """Which of the readings `flat` came with no sensor that the model knows; None where all have one."""
        without = None
        for sensors, part in batch.parts.items():
            mapping = self.mapping(sensors)
            if part.absent or not len(mapping.columns):
                without = np.zeros(batch.readings, np.bool_) if without is None else without
                without[part.without(mapping.columns)] = True
        return None if without is None or not without[flat].any() else without[flat]

    def unknown(self, batch: MicroBatch, flat: Index) -> Iterator[tuple[int, list[str], int]]:
        """Sensors of the readings `flat` that the model does not know: for each block of a body that has some, the
        number of the body, their names, and how many values they came with."""
        mine: NDArray[np.bool_] | None = None
        for sensors, part in batch.parts.items():
            columns = self.mapping(sensors).unknown
            if not len(columns):
                continue
            if mine is None:
                mine = np.zeros(batch.readings, np.bool_)
                mine[flat] = True
            for block, (lo, hi) in enumerate(part.flat):
                absent = part.absent.get(block)
                here = int(np.count_nonzero(mine[lo:hi]))
                count = np.full(len(columns), here)
                if absent is not None:
                    count -= np.count_nonzero(absent[mine[lo:hi]][:, columns], axis=0)
                if count.any():
                    yield part.bodies[block], [sensors[i] for i in columns[count > 0].tolist()], int(count.sum())

    def given(self, batch: MicroBatch, flat: Index) -> NDArray[np.bool_] | None:
        """(n, d) sensors of the model that the readings `flat` came with, if only to say that they have no value; None
        where all came with all."""
        parts = [(self.mapping(sensors), part) for sensors, part in batch.parts.items()]
        if all(mapping.complete and not part.absent for mapping, part in parts):
            return None
        given = np.zeros((batch.readings, len(self.detector.sensors)), np.bool_)
        for mapping, part in parts:
            for block, (lo, hi) in enumerate(part.flat):
                absent = part.absent.get(block)
                given[lo:hi, mapping.sensors] = True if absent is None else ~absent[:, mapping.columns]
        return given[flat]

    def collect(self, batch: MicroBatch, flat: Index) -> Floats:
        """(n, d) values of the sensors of the model for the readings `flat`, NaN where a body does not have one."""
        if len(batch.parts) == 1 and len(flat) == batch.readings and batch.arrival is None:
            ((sensors, part),) = batch.parts.items()
            mapping = self.mapping(sensors)
            if mapping.complete:
                values = part.values()
                return values if mapping.straight else values.take(mapping.columns, axis=1)
        x = np.full((len(flat), len(self.detector.sensors)), np.nan)
        local = np.full(batch.readings, -1, np.intp)
        local[flat] = np.arange(len(flat))
        for sensors, part in batch.parts.items():
            mapping = self.mapping(sensors)
            rows = local[part.indices()]
            mine = np.flatnonzero(rows >= 0)
            if len(mine) and len(mapping.sensors):
                x[np.ix_(rows[mine], mapping.sensors)] = part.values()[np.ix_(mine, mapping.columns)]
        return x

    def state(self, rows: Index | slice) -> State:
        """The states of some machines, by their rows."""
        return State(*(self.columns[f.name][rows] for f in fields(State)))

    def step(
        self, rows: Index, x: Floats, admitted: Admitted, centre: Index | None, parts: Parts | None = None
    ) -> Ticks:
        """Advance the machines in state `rows` (m,) by their readings `x` (n, d), in wave order. `parts` are the
        micro-batches that these once were."""
        state, ticks = self.detector.advance(
            self.state(rows), x, admitted.sizes, admitted.reset, centre, admitted.skipped
        )
        for f in fields(State):
            self.columns[f.name][rows] = getattr(state, f.name)
        if parts is None:
            self._watch(ticks.z, ticks.p_value, ticks.memory)
        else:
            z, p_value, memory = (array[parts.rows] for array in (ticks.z, ticks.p_value, ticks.memory))
            for start, end in pairwise(parts.bounds):
                self._watch(z[start:end], p_value[start:end], memory[start:end])
        return ticks

    def _watch(self, z: Floats32, p_value: Floats32, memory: Floats32) -> None:
        """Hand readings to the drift monitor, small batches together."""
        self._unwatched.append((z, p_value, memory))
        self._unwatched_readings += len(z)
        if self._unwatched_readings >= DRIFT_READINGS_MIN:
            self._monitor.update(*self._waiting())
            self._unwatched, self._unwatched_readings = [], 0

    def _waiting(self) -> tuple[Floats32, Floats32, Floats32]:
        """Readings that the drift monitor has not taken yet: z (n, d), p-value (n,), memory (n, p)."""
        if len(self._unwatched) == 1:
            return self._unwatched[0]
        d, p = len(self._monitor.reference.cells), len(self._monitor.reference.mean)
        none = (np.empty((0, d), np.float32), np.empty(0, np.float32), np.empty((0, p), np.float32))
        z, p_value, memory = (np.concatenate(parts) for parts in zip(none, *self._unwatched, strict=True))
        return z, p_value, memory

    def settled_monitor(self) -> DriftMonitor:
        """A drift monitor with every reading so far in it. The bank's own waits until there are enough: what it holds
        does not depend on who looks."""
        monitor = self._monitor.copy()
        monitor.update(*self._waiting())
        return monitor

    def drift_state(self) -> dict[str, NDArray[Any]]:
        """The drift monitor and the readings that wait for it, for a snapshot."""
        return self._monitor.state() | dict(zip(WAITING, self._waiting(), strict=True))

    def restore_drift(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from a snapshot; ValueError where it is of another model."""
        self._monitor.load(state)
        own = self._waiting()
        z, p_value, memory = (state.get(name, array) for name, array in zip(WAITING, own, strict=True))
        found = [(array.dtype.name, array.shape) for array in (z, p_value, memory)]
        if found != [(array.dtype.name, z.shape[:1] + array.shape[1:]) for array in own]:
            raise ValueError(f"readings that wait for the drift monitor are {found}")
        if ((p_value < 0) | (p_value > 1)).any():
            raise ValueError("readings that wait for the drift monitor have p-values that are none")
        self._unwatched, self._unwatched_readings = [(z, p_value, memory)], len(z)


def state_fields(model: LoadedModel) -> dict[str, Field]:
    """Arrays of a bank: those of the detector's state, a new row as in `init_state`, and the marks of the ring."""
    empty = model.detector.init_state(1)
    first = {f.name: getattr(empty, f.name)[0] for f in fields(State)}
    state = {name: Field(value.dtype.name, value.shape, value) for name, value in first.items()}
    return {**state, "marks": mark_field(len(model.detector.sensors))}
