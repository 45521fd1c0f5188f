"""Whether the parts of a snapshot fit each other. Its checksum says that it is what was written, not that a start can
go on from it: what is refused here would stop the service later, or give one machine the memory of another.

The values of states, scores and alarms are the snapshot's own: nothing else could tell what they should be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.contract import Bools
from models.detector import Detector
from models.score import STATISTICS
from service.alarms import KINDS, Alarm, Kind
from service.align import NEVER
from service.assembly import Waiting
from service.columns import Columns
from service.equipment import EQUIPMENT_FIELDS
from service.errors import shown
from service.ingest.times import TIME_MAX, TIME_MIN
from service.pace import COUNT_MAX
from service.ring import RING_RESULTS
from service.snapshot import Arrays, BankRecord, Header, NewerSnapshot, SnapshotError
from service.status import Reason, Status

SEQUENCE_MAX = (1 << 63) - 1  # that the journal can hold
BANK_NUMBERS_MAX = 1 << 20  # one more with each model that is met
SHIFT_MAX = TIME_MAX - TIME_MIN
PARTS = ("ids", "alarms", "configuration", "shifts", "waiting")
DRIFT = ("cells", "p_cells", "memory", "weight", "waiting_z", "waiting_p_value", "waiting_memory")
TIMES = ("last_time", "valued_time", "unbroken", "heard")
TIMES_OF_RESULTS = ("ring_time", "phase_opened", "phase_last_over", "phase_peak_time")
BOUNDS = {  # of codes and counts
    "ring_status": len(Status) - 1,
    "ring_reason": len(Reason) - 1,
    "ring_count": 1 << 62,
    "off_pace": COUNT_MAX,
    "phase_bits": (1 << 63) - 1,
    "phase_quiet": (1 << 63) - 1,
}
SAID_BY: dict[Kind, str] = {
    "process": "phase_open",
    "silent": "silent",
    "sampling_mismatch": "mismatched",
}  # what says that one is open


def check_header(header: Header, arrays: Arrays) -> None:
    """The header by itself, and no array that it does not know."""
    if not 1 <= header.sequence <= SEQUENCE_MAX:
        raise SnapshotError(f"the snapshot has sequence {header.sequence}; expected 1 to {SEQUENCE_MAX}")
    known = {*PARTS, *(f"equipment.{record.name}" for record in header.fields)}
    for bank in header.banks:
        _check_record(bank, header)
        known |= {f"bank.{bank.number}.{record.name}" for record in bank.fields}
        known |= {f"drift.{bank.number}.{name}" for name in DRIFT}
    _once("bank", (bank.number for bank in header.banks))
    _once("model", (bank.artifact_id for bank in header.banks))
    for name in sorted(arrays.keys() - known):
        raise NewerSnapshot(f"the snapshot holds an unknown array {shown(name)}; a newer program wrote it")


def _check_record(bank: BankRecord, header: Header) -> None:
    if not 0 <= bank.number < BANK_NUMBERS_MAX:
        raise SnapshotError(f"the snapshot has a bank {bank.number}; expected 0 to {BANK_NUMBERS_MAX - 1}")
    if not 0 <= bank.rows <= header.equipment:
        which = f"bank {bank.number} of the snapshot has {bank.rows} rows"
        raise SnapshotError(f"{which}; expected at most one for each of its {header.equipment} machines")
    if not all(0 <= row < bank.rows for row in bank.free):
        raise SnapshotError(f"bank {bank.number} of the snapshot has {bank.rows} rows, and others that are free")


def _once(what: str, found: Iterable[Hashable]) -> None:
    """Each thing is there once."""
    for value, count in Counter(found).items():
        if count > 1:
            raise SnapshotError(f"the snapshot has {what} {shown(value)} {count} times")


class Machines:
    """The machines of a snapshot by their `ids`, and the arrays over them that were `taken` from it."""

    def __init__(self, ids: Sequence[str], taken: Arrays) -> None:
        self.ids, self.taken = ids, taken
        self.slot_of = {name: slot for slot, name in enumerate(ids)}

    def __getitem__(self, name: str) -> NDArray[Any]:
        field = EQUIPMENT_FIELDS[name]
        found = self.taken.get(name)
        return np.full((len(self.ids), *field.shape), field.default, field.dtype) if found is None else found

    def check(self, waiting: Mapping[int, Waiting], alarms: Sequence[Alarm]) -> None:
        """Each machine by itself, what waits of it, and its alarms."""
        _once("equipment", self.ids)
        self._check_times()
        self._check_rings()
        self._check_waiting(waiting)
        self._check_alarms(alarms)

    def _check_times(self) -> None:
        for name in TIMES:
            self._refuse((self[name] != NEVER) & _no_time(self[name]), name)
        for name in TIMES_OF_RESULTS:
            self._refuse(_no_time(self[name]), name)
        for name, greatest in BOUNDS.items():
            self._refuse((self[name] < 0) | (self[name] > greatest), name)
        for name in ("valued_time", "unbroken"):
            self._refuse(self[name] > self["last_time"], name)
        self._refuse(self["phase_awake"] != (self["phase_open"] | (self["phase_bits"] != 0)), "phase_awake")

    def _check_rings(self) -> None:
        """Results are in order of time, and the last one is of the last reading."""
        count, last = self["ring_count"], self["last_time"]
        places = (count[:, None] + np.arange(RING_RESULTS)) % RING_RESULTS  # oldest first
        time = np.take_along_axis(self["ring_time"], places, axis=1)
        there = np.arange(RING_RESULTS) >= RING_RESULTS - count[:, None]
        self._refuse((np.diff(time, axis=1) <= 0) & there[:, :-1], "ring_time")
        self._refuse(np.where(count > 0, time[:, -1], NEVER) != last, "last_time")

    def check_rows(self, bank: BankRecord) -> None:
        """Every row of a bank is that of one machine, or free."""
        own = self["row"][self["bank"] == bank.number]
        rows = np.sort(np.concatenate([own, np.array(bank.free, np.int32)]))
        if not np.array_equal(rows, np.arange(bank.rows)):
            which = f"the {bank.rows} rows of bank {bank.number} of the snapshot"
            raise SnapshotError(f"{which} are not those of its {len(own)} machines and {len(bank.free)} that are free")

    def check_centres(self, bank: BankRecord, detector: Detector) -> None:
        """Every machine of a bank has the mean that its model has for it."""
        slots = np.flatnonzero(self["bank"] == bank.number)
        centres = np.zeros(len(self.ids), np.int32)
        if detector.equipment:
            centres[slots] = [detector.centre_index(self.ids[slot]) for slot in slots.tolist()]
        wrong = np.zeros(len(self.ids), np.bool_)
        wrong[slots] = self["centre"][slots] != centres[slots]
        self._refuse(wrong, "centre")

    def _check_waiting(self, waiting: Mapping[int, Waiting]) -> None:
        """What waits is of machines that are known, and comes after what they were scored by."""
        waits = np.zeros(len(self.ids), np.bool_)
        for slot, machine in waiting.items():
            if not 0 <= slot < len(self.ids):
                raise SnapshotError(f"something waits in the snapshot for slot {slot}; it has {len(self.ids)} machines")
            waits[slot] = bool(machine.ticks)
            _check_points(self.ids[slot], machine, int(self["last_time"][slot]))
        self._refuse(self["waits"] != waits, "waits")

    def _check_alarms(self, alarms: Sequence[Alarm]) -> None:
        """Alarms are of machines that are known, which know of those that are open."""
        _once("alarm", (alarm.id for alarm in alarms))
        found: dict[Kind, Bools] = {kind: np.zeros(len(self.ids), np.bool_) for kind in KINDS}
        for alarm in alarms:
            slot = self.slot_of.get(alarm.equipment)
            if slot is None or (alarm.open and found[alarm.kind][slot]):
                why = "is of an unknown machine" if slot is None else "is the second that is open of its kind"
                raise SnapshotError(f"alarm {shown(alarm.id)} of the snapshot {why}: {shown(alarm.equipment)}")
            found[alarm.kind][slot] |= alarm.open
            times = [time for time in (alarm.start, alarm.end, alarm.peak_time) if time is not None]
            if not TIME_MIN <= min(times) <= max(times) <= TIME_MAX or alarm.start > (alarm.end or alarm.start):
                raise SnapshotError(f"alarm {shown(alarm.id)} of the snapshot has impossible times")
        for kind, name in SAID_BY.items():
            self._refuse(self[name] != found[kind], name)

    def _refuse(self, wrong: Bools, name: str) -> None:
        """SnapshotError that names the first machine where `name` is `wrong` (n,) or, of results, (n, k)."""
        if wrong.any():
            machine = shown(self.ids[int(np.argwhere(wrong)[0, 0])])
            raise SnapshotError(f"{name!r} of {machine} in the snapshot does not fit what else it says of that machine")


def _no_time(values: NDArray[np.int64]) -> Bools:
    found: Bools = (values < TIME_MIN) | (values > TIME_MAX)
    return found


def _check_points(equipment: str, machine: Waiting, last: int) -> None:
    """The points of one machine: of times that there are, in ticks that are not closed yet."""
    stamps = np.concatenate([machine.stamp, *(tick.stamp for tick in machine.ticks.values())])
    values = np.concatenate([machine.value, *(tick.value for tick in machine.ticks.values())])
    sound = not (_no_time(stamps) & (stamps != NEVER)).any() and not np.isinf(values).any()
    if not sound or not all(max(last + 1, TIME_MIN) <= time <= TIME_MAX for time in machine.ticks):
        raise SnapshotError(f"what waits of {shown(equipment)} in the snapshot does not come after its last reading")


def check_states(bank: BankRecord, columns: Columns, detector: Detector) -> None:
    """The states of a bank, as far as something is counted by them."""
    bounds = {"warm_left": detector.warmup, "leading": len(STATISTICS), "skipped": (1 << 31) - 1}
    for name, greatest in bounds.items():
        values = columns[name][: bank.rows]
        if ((values < 0) | (values > greatest)).any():
            raise SnapshotError(f"{name!r} of bank {bank.number} of the snapshot is not between 0 and {greatest}")


def check_shifts(shifts: Mapping[str, Mapping[str, int]]) -> None:
    """What bodies were shifted by: within all time, and something of each source."""
    for source, own in shifts.items():
        if not own or not all(-SHIFT_MAX <= shift <= SHIFT_MAX for shift in own.values()):
            raise SnapshotError(f"the shifts of source {shown(source)} in the snapshot are none that there can be")
