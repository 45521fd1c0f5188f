"""Which machines have something that waits, and whose sensors come apart."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from service.assembly import Room, Waiting, Window
from service.equipment import EquipmentTable


class WaitingMachines:
    """What waits of the machines of a shard, by slot; sensors of equipment whose name fits a pattern of `join` come
    apart."""

    def __init__(self, table: EquipmentTable, window: Window, join: Sequence[str] = ()) -> None:
        self.table, self.window, self.join = table, window, tuple(join)
        self.machines: dict[int, Waiting] = {}
        self.room = Room()  # of the micro-batch or look under way

    @property
    def possible(self) -> bool:
        """Whether readings may have to wait."""
        return bool(self.window.reorder or self.join or self.machines)

    def is_joined(self, equipment: str) -> bool:
        """Whether the sensors of an equipment come apart."""
        return any(fnmatchcase(equipment, pattern) for pattern in self.join)

    def restore(self, machines: dict[int, Waiting]) -> None:
        """Take over what waits in a snapshot; whose sensors come apart is looked up anew."""
        self.machines = machines
        joined = self.table.columns["joined"][: len(self.table)]
        if self.join or joined.any():
            joined[:] = [self.is_joined(name) for name in self.table.ids]

    def of(self, slot: int, sensors: tuple[str, ...]) -> Waiting:
        """What waits of a machine whose model has these sensors."""
        machine = self.machines.get(slot)
        if machine is None:
            machine = self.machines[slot] = Waiting(sensors, False)
        machine.joined = bool(self.table.columns["joined"][slot])
        machine.follow(sensors)
        return machine

    def follow(self, slot: int, sensors: tuple[str, ...]) -> None:
        """A machine follows a model with these sensors: what waits goes with it."""
        if slot in self.machines:
            self.machines[slot].follow(sensors)

    def ticks(self, slot: int) -> int:
        """How many ticks of a machine wait."""
        machine = self.machines.get(slot)
        return len(machine.ticks) if machine else 0

    def settle(self, slot: int) -> None:
        """Note whether a machine has ticks that wait; one of which nothing is kept is forgotten."""
        machine = self.machines.get(slot)
        self.table.columns["waits"][slot] = bool(machine and machine.ticks)
        if machine and machine.empty:
            del self.machines[slot]
