"""What of a snapshot does not fit what else it holds is refused in a sentence, whatever its checksum says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from service import recovery, snapshot
from service.snapshot import NewerSnapshot, Snapshot, SnapshotError
from service.waiting_snapshot import DTYPES
from tests.service.test_fuzz_recovery import MODELS, SHIFTS, SOUND, empty

Change = Callable[[Any], Any]


def restored(found: Snapshot) -> None:
    shard = empty()
    try:
        recovery.restore(shard, found, MODELS.get)
    finally:
        assert len(shard) in (0, found.header.equipment)


def changed(name: str, change: Change) -> Snapshot:
    """With another array, or text in an array."""
    array = SOUND.arrays[name]
    if name in ("ids", "alarms", "configuration", "shifts"):
        text = msgspec.json.encode(change(msgspec.json.decode(array.tobytes())))
        return Snapshot(SOUND.header, {**SOUND.arrays, name: snapshot.text(text)})
    if name == "waiting":
        packed = msgspec.msgpack.encode(change(msgspec.msgpack.decode(array.tobytes())))
        return Snapshot(SOUND.header, {**SOUND.arrays, name: snapshot.text(packed)})
    return Snapshot(SOUND.header, {**SOUND.arrays, name: change(array.copy())})


def at(place: Any, value: Any) -> Change:
    """Another value at one place."""

    def put(array: Any) -> Any:
        array[place] = value
        return array

    return put


def alarm(**given: Any) -> Change:
    return lambda found: [{**found[0], **given}, *found[1:]]


def waits(**given: tuple[Any, int]) -> Change:
    """Another number at some place of what waits."""

    def put(found: Any) -> Any:
        names, arrays = found
        for name, (place, value) in given.items():
            array = np.frombuffer(arrays[name], DTYPES[name]).copy()
            array[place] = value
            arrays = {**arrays, name: array.tobytes()}
        return names, arrays

    return put


def test_what_is_changed_here_is_sound() -> None:
    restored(SOUND)


@pytest.mark.parametrize("name", ["row", "bank", "centre"])
@pytest.mark.parametrize("slot", np.flatnonzero(SOUND.arrays["equipment.bank"] >= 0).tolist())
def test_no_machine_gets_the_memory_of_another(name: str, slot: int) -> None:
    for value in {-1, 0, 1, 2, 3} - {int(SOUND.arrays[f"equipment.{name}"][slot])}:
        with pytest.raises(SnapshotError):
            restored(changed(f"equipment.{name}", at(slot, value)))


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("ids", lambda ids: [*ids[:-1], ids[0]], "has equipment 'p1' 2 times"),
        ("equipment.last_time", at(0, 1 << 60), "'last_time' of 'p1' in the snapshot does not fit"),
        ("equipment.last_time", lambda array: array - 1, "'ring_time'|'last_time'|'valued_time'"),
        ("equipment.ring_time", lambda array: array[:, ::-1], "'ring_time' of 'p1' in the snapshot does not fit"),
        ("equipment.ring_status", at((1, 3), 7), "'ring_status' of 'p2'"),
        ("equipment.ring_reason", at((1, 3), 200), "'ring_reason' of 'p2'"),
        ("equipment.ring_count", at(1, -1), "'ring_count' of 'p2'"),
        ("equipment.off_pace", at(1, 65), "'off_pace' of 'p2'"),
        ("equipment.phase_awake", at(1, False), "'phase_awake' of 'p2'"),
        ("equipment.silent", at(1, True), "'silent' of 'p2'"),
        ("equipment.waits", at(1, False), "'waits' of 'p2'"),
        ("equipment.waits", lambda array: np.where(array, 2, 0).astype("u1").view("?"), "neither true nor false"),
        ("alarms", alarm(equipment="q"), "is of an unknown machine: 'q'"),
        ("alarms", alarm(start=10**30), "has impossible times"),
        ("alarms", lambda alarms: [*alarms, alarms[0]], "has alarm '0-2-0s' 2 times"),
        ("waiting", waits(slot=(0, 99)), "for slot 99; it has 5 machines"),
        ("waiting", waits(slot=(slice(None), 1)), "is there twice"),
        ("waiting", waits(time=(0, 0)), "after its last reading"),
        ("shifts", lambda shifts: {SHIFTS[0][0]: {}}, "shifts of source 'gateway-3'"),
        ("shifts", lambda shifts: {"a": {"b": 10**30}}, "shifts of source 'a'"),
        ("bank.0.warm_left", at(0, 1000), "'warm_left' of bank 0"),
        ("bank.0.leading", at(0, 6), "'leading' of bank 0"),
        ("drift.1.waiting_p_value", at(0, -5.0), "have p-values that are none"),
        ("drift.1.cells", lambda array: array.astype("f4"), "'cells' does not fit"),
    ],
)
def test_what_contradicts_itself_is_refused_in_a_sentence(name: str, change: Change, complaint: str) -> None:
    with pytest.raises(SnapshotError, match=complaint):
        restored(changed(name, change))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"sequence": 0}, "has sequence 0; expected 1 to"),
        ({"number": 1 << 40}, "has a bank 1099511627776; expected 0 to"),
        ({"rows": 1 << 40, "fields": ()}, "has 1099511627776 rows; expected at most one for each"),
        ({"free": (7,)}, "has 3 rows, and others that are free"),
        ({"free": (1,)}, "are not those of its 3 machines and 1 that are free"),
        ({"number": 1}, "has bank 1 2 times"),
        ({"artifact_id": "fans-1-4"}, "has model 'fans-1-4' 2 times"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused_in_a_sentence(given: dict[str, Any], complaint: str) -> None:
    header = SOUND.header
    if "sequence" in given:
        header = msgspec.structs.replace(header, **given)
    else:
        first, second = header.banks
        header = msgspec.structs.replace(header, banks=(msgspec.structs.replace(first, **given), second))
    with pytest.raises(SnapshotError, match=complaint):
        restored(Snapshot(header, SOUND.arrays))


def test_an_array_that_is_not_known_is_of_a_newer_program() -> None:
    with pytest.raises(NewerSnapshot, match="unknown array 'modes'"):
        restored(Snapshot(SOUND.header, {**SOUND.arrays, "modes": np.zeros(3)}))


def test_a_snapshot_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    path = snapshot.write(tmp_path, SOUND)
    other = path.rename(tmp_path / f"snapshot-{7:020d}.safetensors")
    with pytest.raises(SnapshotError, match="says in its header that it is snapshot 4; it was renamed"):
        snapshot.read(other)


def test_one_that_is_refused_gives_way_to_the_one_before_it(tmp_path: Path) -> None:
    older = snapshot.write(tmp_path, SOUND)
    header = msgspec.structs.replace(SOUND.header, sequence=SOUND.header.sequence + 1)
    newer = snapshot.write(tmp_path, Snapshot(header, changed("equipment.row", at(0, 2)).arrays))
    shard = empty()
    path, notes = recovery.recover(shard, tmp_path, MODELS.get)
    assert path == older
    assert notes[0].startswith(f"{newer.name} is not used and put aside as refused-{newer.name}: the 3 rows of bank 0")
    assert shard.sequence == SOUND.header.sequence
