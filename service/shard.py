"""A shard owns the state of many equipments: one writer, deterministic, never reaching into another shard.

The steps of scoring and their order are in `scoring.py`; this class holds what they read and write. Nothing here reads
a clock: the same calls give the same state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifact import LoadedModel
from models.contract import Bools
from models.episodes import EpisodeRule
from models.explain import shares, top_sensors
from models.state import Ticks
from service import pace, phases
from service.admission import Admitted
from service.alarms import SENSORS_NAMED_MAX, Alarm, AlarmBook, Exceedance, Kind, Opening, alarm_id, named
from service.align import NEVER
from service.bank import Bank
from service.columns import Columns, Index
from service.configuration import Configuration
from service.equipment import NO_BANK, EquipmentTable
from service.limits import FOREVER, ShardLimits
from service.records import HeldPoints, ModelReadings, Record
from service.sources import Sources
from service.status import Reason, Status
from service.waiting import WaitingMachines

Resolve = Callable[[str], LoadedModel | None]
Welcome = Callable[[int, LoadedModel], Reason]  # of a run of readings: NONE, or why none of them can be admitted
MISMATCH: Kind = "sampling_mismatch"
OF_MODEL: tuple[Kind, ...] = ("process", MISMATCH)  # alarms that end where a machine leaves its model


@dataclass(slots=True)
class Counters:
    """What has happened since the start."""

    readings: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(Status), np.int64))  # by status
    unknown_values: int = 0  # of sensors that the model does not know
    alarms: Counter[tuple[str, Kind]] = field(default_factory=Counter)  # opened, by model and kind; none historical


@dataclass(slots=True)
class Changes:
    """What a step has changed so far, for its record."""

    alarms: list[Alarm] = field(default_factory=list)  # opened, closed, or historical no more
    registered: list[tuple[int, str]] = field(default_factory=list)
    followed: list[tuple[int, str]] = field(default_factory=list)
    rows: int = 0


class Shard:
    """The state of many equipments; `scoring.step` takes it from one micro-batch to the next.

    `resolve` says which model serves an equipment; call `models_changed` when its answers may differ. `sequence` is the
    number of the next record.
    """

    def __init__(
        self,
        resolve: Resolve,
        limits: ShardLimits | None = None,
        rule: EpisodeRule | None = None,
        number: int = 0,
        sequence: int = 1,
    ) -> None:
        self.resolve = resolve
        self.limits = limits or ShardLimits()
        self.rule = rule or EpisodeRule()
        self.number = number
        self.sequence = sequence
        self.generation = 0
        self.equipment_table = EquipmentTable()
        self.banks: dict[int, Bank] = {}
        self.book = AlarmBook(self.limits.alarms_closed_max)
        self.counters = Counters()
        self.configuration = Configuration()  # as recorded
        self.sources = Sources(self.limits.time_source, self.limits.sources_max)
        self.waiting = WaitingMachines(self.equipment_table, self.limits.window, self.limits.join)
        self.names: list[str] = []  # of sensors, over all models
        self._name_numbers: dict[str, int] = {}
        self._bank_of: dict[str, Bank] = {}
        self._under_way = Changes()  # of the record under way

    @property
    def columns(self) -> Columns:
        """Arrays over equipment slots."""
        return self.equipment_table.columns

    def equipment_ids(self, skip: int = 0, count: int = 100) -> tuple[list[str], int]:
        """A page of the equipment, in order of appearance, and how many there are."""
        return self.equipment_table.ids[skip : skip + count], len(self)

    def __len__(self) -> int:
        return len(self.equipment_table)

    def record(
        self,
        kind: str,
        now: int,
        received_at: int | None,
        readings: Sequence[ModelReadings] = (),
        silenced: Sequence[int] = (),
        detail: Mapping[str, Any] | None = None,
        held: Sequence[HeldPoints] = (),
    ) -> Record:
        """The record of a step that has just been taken: what was admitted, and all that changed."""
        changes, self._under_way = self._under_way, Changes()
        alarms = [copy(alarm) for alarm in changes.alarms]  # later steps go on with them before this one is written
        received_at = now if received_at is None else received_at
        record = Record(
            kind, self.number, self.sequence, received_at, now, readings, alarms, changes.registered,
            changes.followed, silenced, detail or {}, held,
        )  # fmt: skip
        before, self.configuration = self.configuration, self.configuration.after(record)
        if self.configuration.settings.get("clock") != before.settings.get("clock"):
            self.hear_all(now)  # what another clock said means nothing to this one
        self.sequence += 1
        return record

    # -- models ------------------------------------------------------------------------------------------------------

    def models_changed(self) -> None:
        """Assignments may differ from now on: every equipment is looked up anew at its next reading."""
        self.generation += 1

    def place(self, equipment: list[str], welcome: Welcome) -> Index:
        """Slot of each run's equipment, taking in new ones that are `welcome` and following their models; -reason where
        rejected."""
        runs = self.equipment_table.slots(equipment)
        if len(self) == 0:
            unsettled = np.arange(len(runs))
        else:
            unsettled = np.flatnonzero((runs < 0) | (self.columns["generation"][runs] != self.generation))
        for run in unsettled.tolist():
            runs[run] = self._settle(equipment[run], run, welcome)
        return runs

    def _settle(self, equipment: str, run: int, welcome: Welcome) -> int:
        table, columns = self.equipment_table, self.columns
        slot = table.slot(equipment)
        if slot is not None and columns["generation"][slot] == self.generation:
            return slot
        model = self.resolve(equipment)
        if model is None:
            if slot is not None and columns["bank"][slot] != NO_BANK:
                self.leave(slot)
            return -Reason.NO_MODEL
        if slot is None:
            if refusal := welcome(run, model):
                return -refusal
            if len(table) >= self.limits.equipment_max:
                return -Reason.LIMIT
            slot = self.register(equipment)
        self.follow(slot, model)
        columns["generation"][slot] = self.generation
        return slot

    def register(self, equipment: str) -> int:
        """The slot of an equipment that is met for the first time."""
        slot = self.equipment_table.add(equipment)
        self.columns["joined"][slot] = self.waiting.is_joined(equipment)
        self._under_way.registered.append((slot, equipment))
        return slot

    def hear(self, slots: Iterable[int], now: int) -> None:
        """Machines have sent something that waits."""
        for slot in slots:
            self.columns["heard"][slot] = now
            if self.columns["silent"][slot]:
                self._end_silence(slot, now)

    def follow(self, slot: int, model: LoadedModel) -> None:
        """An equipment follows a model from here on: nothing where it does already, else with an empty memory."""
        columns = self.columns
        current = self.banks.get(int(columns["bank"][slot]))
        if current is not None and current.model.artifact_id == model.artifact_id:
            return
        if columns["bank"][slot] != NO_BANK:
            self.leave(slot)
        bank = self.bank(model)
        columns["bank"][slot], columns["row"][slot] = bank.number, bank.take_row()
        columns["centre"][slot] = bank.detector.centre_index(self.equipment_table.ids[slot])
        columns["valued_time"][slot] = NEVER  # the new memory has seen nothing
        self.waiting.follow(slot, bank.detector.sensors)
        self._under_way.followed.append((slot, model.artifact_id))

    def leave(self, slot: int) -> None:
        """An equipment stops following its model: its memory is forgotten, its open alarm ends."""
        columns = self.columns
        bank = self.banks.get(int(columns["bank"][slot]))
        columns["bank"][slot] = NO_BANK
        self._under_way.followed.append((slot, ""))
        phases.store(columns, slot, phases.REST)
        pace.rest(columns, slot)
        for kind in OF_MODEL:
            self._close(self.equipment_table.ids[slot], kind, int(columns["last_time"][slot]))
        if bank is None:  # gone before it could be restored
            return
        bank.give_row(int(columns["row"][slot]))
        if bank.machines == 0:
            del self.banks[bank.number], self._bank_of[bank.model.artifact_id]

    def bank(self, model: LoadedModel) -> Bank:
        """The bank of a model, made at its first use."""
        bank = self._bank_of.get(model.artifact_id)
        if bank is None:
            bank = Bank(model, max(self.banks, default=-1) + 1, self.limits.drift_half_life)
            self.adopt([bank])
        return bank

    def looked_into(self, model: LoadedModel) -> Bank:
        """The bank of a model, for looking only: where there is none yet, one that no machine will be in."""
        return self._bank_of.get(model.artifact_id) or Bank(model, NO_BANK, self.limits.drift_half_life)

    def adopt(self, banks: Iterable[Bank]) -> None:
        """Take in banks, new or from a snapshot."""
        for bank in banks:
            bank.name_numbers = np.array([self._name_number(name) for name in bank.detector.sensors], np.int32)
            self.banks[bank.number] = self._bank_of[bank.model.artifact_id] = bank

    def current_banks(self) -> dict[str, Bank]:
        """By model name, the bank of the version that came last: what metrics show."""
        return {bank.model.name: bank for _, bank in sorted(self.banks.items())}

    def bytes_per_machine(self) -> int:
        """State of one machine in its arrays: the greatest over the models in use."""
        return self.columns.row_bytes + max((bank.columns.row_bytes for bank in self.banks.values()), default=0)

    def _name_number(self, name: str) -> int:
        number = self._name_numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def banks_of(self, numbers: NDArray[np.int32]) -> Iterable[Bank]:
        """The banks that some readings need, in a fixed order."""
        if len(self.banks) == 1:
            return self.banks.values()
        return [self.banks[number] for number in np.unique(numbers).tolist()]

    def centres(self, bank: Bank, slots: Index) -> Index | None:
        """Rows of the model's means for the machines of some readings; None where the model knows no machines."""
        return self.columns["centre"][slots].astype(np.intp) if bank.centred else None

    # -- alarms ------------------------------------------------------------------------------------------------------

    def follow_alarms(
        self,
        bank: Bank,
        admitted: Admitted,
        ticks: Ticks,
        alarm: Bools,
        historical: Bools,
        now: int,
        heard: bool = True,
    ) -> None:
        """Advance the phases of the machines that are not at rest, and keep the book; marks in `alarm` (n,) the
        readings at which an alarm was open, `historical` (n,) are those of long ago. Silence ends `now`, by the clock
        that it began by, where the machines were `heard` and these are no ticks of held values."""
        silent = np.flatnonzero(self.columns["silent"][admitted.machines] & heard)
        for machine in silent.tolist():
            self._end_silence(int(admitted.machines[machine]), now)
        evidence = _evidence(bank, ticks)
        for machine in phases.awake(self.columns, admitted, ticks).tolist():
            equipment = self.equipment_table.ids[admitted.machines[machine]]
            own = self.book.current(equipment, "process")
            for row, phase, transition in phases.walk(self.columns, self.rule, admitted, ticks, machine):
                if transition == "opened":
                    place = self._under_way.rows + row
                    own = self._open(bank, equipment, "process", phase.opened, place, bool(historical[row]))
                    own.opening = Opening(phase.peak, evidence[row].sensors)
                if phase.open:
                    alarm[row] = True
                    if own is not None:
                        own.peak, own.peak_time = phase.peak, phase.peak_time
                        if own.historical and not historical[row]:
                            self._make_current(own)
                        if row in evidence:
                            own.add(evidence[row])
                if transition == "closed":
                    self._close(equipment, "process", phase.last_over)
        self._under_way.rows += len(admitted.rows)

    def follow_pace(self, bank: Bank, admitted: Admitted, historical: Bools) -> None:
        """Open and close the alarms of machines that send at another interval than their model's; before
        `follow_alarms`, by which the rows of the record count on."""
        levels = pace.count(self.columns, admitted, bank.detector.interval, bank.model.manifest.tolerance)
        if levels is None:
            return
        turns = pace.turning(self.columns, admitted, levels)
        for machine in np.flatnonzero(turns | self.columns["mismatched"][admitted.machines]).tolist():
            equipment = self.equipment_table.ids[admitted.machines[machine]]
            own = self.book.current(equipment, MISMATCH)
            if not turns[machine] and not (own and own.historical):
                continue
            for row, mismatched, transition in pace.walk(self.columns, admitted, levels, machine):
                time = int(admitted.time[row])
                if transition == "opened":
                    own = self._open(bank, equipment, MISMATCH, time, self._under_way.rows + row, bool(historical[row]))
                if mismatched and own is not None and own.historical and not historical[row]:
                    self._make_current(own)
                if transition == "closed":
                    self._close(equipment, MISMATCH, time)

    def _open(self, bank: Bank, equipment: str, kind: Kind, start: int, row: int, historical: bool = False) -> Alarm:
        name = alarm_id(self.number, self.sequence, row, kind)
        alarm = Alarm(name, kind, equipment, bank.model.name, bank.model.version, start, historical=historical)
        self.book.open(alarm)
        self._under_way.alarms.append(alarm)
        self.counters.alarms[alarm.model, kind] += not historical
        return alarm

    def _make_current(self, alarm: Alarm) -> None:
        """A historical alarm that is still open counts from here on."""
        alarm.historical = False
        self._under_way.alarms.append(alarm)
        self.counters.alarms[alarm.model, alarm.kind] += 1

    def _close(self, equipment: str, kind: Kind, end: int) -> None:
        alarm = self.book.close(equipment, kind, end)
        if alarm is not None:
            self._under_way.alarms.append(alarm)

    def sweep(self, now: int, received_at: int | None = None, readings: Sequence[ModelReadings] = ()) -> Record | None:
        """Open an alarm of kind silent for each machine that has not been heard for `silent_intervals` intervals of its
        model. The record of that, and of the `readings` that became due; None where there is nothing. The next reading
        of the machine closes it."""
        slots = self._quiet(now)
        self.silence(slots)
        return self.record("event", now, received_at, readings, silenced=slots) if slots or readings else None

    def _quiet(self, now: int) -> list[int]:
        """Machines that fall silent now."""
        columns, count = self.columns, len(self)
        if not self.banks or not count:
            return []
        patience = np.full((max(self.banks) + 2, 2), FOREVER)  # the last is for NO_BANK, which is -1
        for number, bank in self.banks.items():
            patience[number] = [self.limits.patience(bank.model, joined) for joined in (False, True)]
        of_machine = patience[columns["bank"][:count], columns["joined"][:count].astype(np.intp)]
        heard = columns["heard"][:count]
        quiet = (now - heard > of_machine) & (heard != NEVER) & ~columns["silent"][:count]
        slots: list[int] = np.flatnonzero(quiet).tolist()
        return slots

    def silence(self, slots: Sequence[int], since: Sequence[int] | None = None) -> None:
        """Machines have fallen silent: an alarm each, that starts when they were last heard or, in a replay, when it
        did then. Machines whose model is gone have none."""
        since = self.columns["heard"][slots].tolist() if since is None else since
        for row, (slot, start) in enumerate(zip(slots, since, strict=True)):
            bank = self.banks.get(int(self.columns["bank"][slot]))
            if bank is not None:
                self.columns["silent"][slot] = True
                self._open(bank, self.equipment_table.ids[slot], "silent", start, row)

    def _end_silence(self, slot: int, now: int) -> None:
        self.columns["silent"][slot] = False
        self._close(self.equipment_table.ids[slot], "silent", now)

    def silent(self) -> int:
        """Machines that are silent now."""
        return int(self.columns["silent"][: len(self)].sum())

    def hear_all(self, now: int) -> None:
        """After a stop, or by another clock: machines are not silent for the time that nobody listened."""
        heard = self.columns["heard"][: len(self)]
        heard[heard != NEVER] = now


def _evidence(bank: Bank, ticks: Ticks) -> dict[int, Exceedance]:
    """Fresh exceedances by row, with the sensors of the greatest shares among those that were measured."""
    rows = np.flatnonzero(ticks.fresh)
    if not len(rows):
        return {}
    share = np.where(np.isnan(ticks.z[rows]), np.float32(0), shares(ticks.attribution[rows]))
    top = top_sensors(share, SENSORS_NAMED_MAX)
    height = np.take_along_axis(share, top, axis=1)
    names = bank.detector.sensors
    return {
        row: Exceedance(score, named({names[i]: value for i, value in zip(sensors, values, strict=True)}))
        for row, score, sensors, values in zip(
            rows.tolist(), ticks.score[rows].tolist(), top.tolist(), height.tolist(), strict=True
        )
    }
