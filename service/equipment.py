"""What is known of each equipment, whatever its model: a slot number, times, alarm phase, recent results.

Slots are given out in order of appearance and never move: everything else is an array indexed by slot.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from service.align import NEVER
from service.columns import Columns, Field
from service.pace import PACE_FIELDS
from service.phases import PHASE_FIELDS
from service.ring import RING_FIELDS

NO_BANK = -1

EQUIPMENT_FIELDS = {
    "last_time": Field("int64", (), NEVER),  # event time of the last admitted reading
    "valued_time": Field("int64", (), NEVER),  # event time of the last one with any value
    "unbroken": Field("int64", (), NEVER),  # event time since which no tick was missed
    "heard": Field("int64", (), NEVER),  # what the clock said then (the event clock: the newest event time)
    "bank": Field("int32", (), NO_BANK),  # of the model that it follows
    "row": Field("int32"),  # in that bank
    "centre": Field("int32"),  # row of the model's means for this machine
    "generation": Field("int32", (), -1),  # of the assignments when `bank` was last looked up
    "joined": Field("bool"),  # its sensors come as points, which are joined to ticks
    "waits": Field("bool"),  # some of its ticks are not closed yet
    "silent": Field("bool"),  # an alarm of kind silent is open
    **PACE_FIELDS,
    **PHASE_FIELDS,
    **RING_FIELDS,
}


class EquipmentTable:
    """Equipment ids, their slots, and the arrays of `EQUIPMENT_FIELDS`."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.columns = Columns(EQUIPMENT_FIELDS)
        self._slot_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def slot(self, equipment: str) -> int | None:
        """Slot of an equipment, None where it has never been seen."""
        return self._slot_of.get(equipment)

    def slots(self, equipment: Iterable[str]) -> NDArray[np.intp]:
        """Slots of many, -1 where unknown."""
        get = self._slot_of.get
        return np.array([get(name, -1) for name in equipment], np.intp)

    def add(self, equipment: str) -> int:
        """The slot of a new equipment."""
        slot = self.columns.add()
        self._slot_of[equipment] = slot
        self.ids.append(equipment)
        return slot

    def restore(self, ids: list[str], saved: dict[str, NDArray[np.generic]]) -> None:
        """Take over the equipment of a snapshot."""
        self.ids = list(ids)
        self._slot_of = {name: slot for slot, name in enumerate(ids)}
        self.columns.restore(saved, len(ids))
