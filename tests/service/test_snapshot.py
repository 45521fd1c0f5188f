from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from service import recovery, snapshot
from service.columns import Columns, Field
from service.snapshot import Snapshot, SnapshotError
from tests.service import fleet
from tests.service.fleet import in_columns, normal, post, seconds

MODEL = fleet.model()


def captured(sequence: int = 1) -> Snapshot:
    shard = fleet.shard(MODEL)
    shard.sequence = sequence
    for name in ("p", "ポンプ"):
        post(shard, in_columns(name, MODEL.detector.sensors, seconds(0, 9), normal(MODEL.detector, 3, 9)))
    return recovery.capture(shard)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    kept = captured()
    found = snapshot.read(snapshot.write(tmp_path / "deep" / "er", kept))
    assert msgspec.structs.replace(found.header, sha256="") == kept.header
    assert found.header.sequence == 3
    assert found.header.engine == snapshot.engine_id()
    assert found.arrays.keys() == kept.arrays.keys()
    for name, array in kept.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype


def test_the_newest_are_kept_and_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".snapshot-00000000000000000001.safetensors.partial").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("of somebody")
    for sequence in (1, 5, 9, 13):
        snapshot.write(tmp_path, captured(sequence), kept=2)
    assert files(tmp_path) == [
        "notes.txt",
        "snapshot-00000000000000000011.safetensors",
        "snapshot-00000000000000000015.safetensors",
    ]
    assert [path.name[-14:-12] for path in snapshot.paths(tmp_path)] == ["15", "11"]


def test_the_same_state_again_takes_the_place_of_the_same_file(tmp_path: Path) -> None:
    snapshot.write(tmp_path, captured(1))
    snapshot.write(tmp_path, captured(1))
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("kept", [1, 2])
def test_what_was_just_written_stays_even_beside_one_with_a_higher_number(tmp_path: Path, kept: int) -> None:
    (tmp_path / f"snapshot-{99:020d}.safetensors").write_bytes(b"damaged")
    path = snapshot.write(tmp_path, captured(1), kept)
    assert snapshot.read(path).header.sequence == 3


def test_a_crash_before_the_rename_leaves_the_last_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = snapshot.write(tmp_path, captured(1))
    before = path.read_bytes()

    def crash(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("replace", "rename"):
        monkeypatch.setattr(f"os.{name}", crash)
        monkeypatch.setattr(Path, name, crash)
    for sequence in (1, 5):
        with pytest.raises(OSError, match="No space"):
            snapshot.write(tmp_path, captured(sequence))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "what could not be written makes room again"
    snapshot.write(tmp_path, captured(9))
    assert not [name for name in files(tmp_path) if name.startswith(".")]


def test_what_a_crash_left_is_removed_at_the_start_and_before_a_snapshot_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = tmp_path / f".snapshot-{3:020d}.safetensors.partial"
    partial.write_bytes(b"half")
    assert recovery.recover(fleet.shard(MODEL), tmp_path, lambda _: MODEL) == (None, [])
    assert not partial.exists()
    partial.write_bytes(b"half")

    def write(path: Path, content: bytes) -> None:
        assert not partial.exists(), "there may be no room for both"

    monkeypatch.setattr(snapshot, "write_durably", write)
    snapshot.write(tmp_path, captured(9))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "tail"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = snapshot.write(tmp_path, captured())
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1000] ^= 1
    path.write_bytes(
        {
            "cut": whole[: len(whole) // 2],
            "flip": bytes(flipped),
            "empty": b"",
            "text": b"{}" * 50,
            "tail": whole + b"x",
        }[damage]
    )
    with pytest.raises(SnapshotError, match=r"snapshot-.*(damaged|checksum)"):
        snapshot.read(path)


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="cannot be read"):
        snapshot.read(tmp_path / "snapshot-1.safetensors")
    with pytest.raises(SnapshotError, match="cannot be read"):
        snapshot.read(tmp_path)


def rewritten(tmp_path: Path, change: dict[str, object]) -> Path:
    """A snapshot whose header was written by another program."""
    from safetensors.numpy import save

    kept = captured()
    bare = {**msgspec.to_builtins(kept.header), **change}
    text = msgspec.json.encode(bare).decode() if change else ""
    path = tmp_path / f"snapshot-{7:020d}.safetensors"
    path.write_bytes(save(dict(kept.arrays), {snapshot.HEADER_KEY: text} if text else {"other": "x"}))
    return path


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 2}, "has format 2; this program reads format 1"),
        ({"format": None}, "has format null"),
        ({"surprise": 1}, "has a header that this program does not know"),
        ({"banks": [{"number": 0}]}, "has a header that this program does not know"),
        ({"equipment": 3}, "does not match its checksum"),
        ({}, "snapshot-"),
    ],
)
def test_a_header_of_another_program_is_refused(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    with pytest.raises(SnapshotError, match=complaint):
        snapshot.read(rewritten(tmp_path, change))


FIELDS = {"time": Field("int64", (), -1), "ring": Field("float32", (3,), np.nan)}


def written(fields: dict[str, Field]) -> tuple[tuple[snapshot.FieldRecord, ...], snapshot.Arrays]:
    columns = Columns(fields)
    columns.add(2)
    return snapshot.describe(columns), {f"x.{name}": array for name, array in columns.saved().items()}


def test_a_field_that_an_older_program_did_not_write_is_left_to_its_default() -> None:
    records, arrays = written({"time": FIELDS["time"]})
    assert list(snapshot.take(arrays, "x.", records, FIELDS, 2)) == ["time"]


@pytest.mark.parametrize(
    ("fields", "rows", "complaint"),
    [
        ({**FIELDS, "new": Field("bool")}, 2, "unknown field 'new'"),
        ({"time": Field("int32")}, 2, r"field 'time' of the snapshot is int32 \(2,\); expected int64"),
        ({"ring": Field("float32", (4,))}, 2, r"field 'ring' of the snapshot is float32 \(2, 4\)"),
        (FIELDS, 3, "expected int64 \\(3,\\)"),
    ],
)
def test_fields_of_another_kind_are_refused(fields: dict[str, Field], rows: int, complaint: str) -> None:
    records, arrays = written(fields)
    with pytest.raises(SnapshotError, match=complaint):
        snapshot.take(arrays, "x.", records, FIELDS, rows)


def test_a_field_that_was_announced_and_is_not_there_is_refused() -> None:
    records, arrays = written(FIELDS)
    del arrays["x.ring"]
    with pytest.raises(SnapshotError, match="'ring' of the snapshot is absent"):
        snapshot.take(arrays, "x.", records, FIELDS, 2)


def test_the_checksum_covers_names_types_shapes_and_header() -> None:
    kept = captured()
    name = "equipment.last_time"
    array = kept.arrays[name]
    changes = [
        dataclasses.replace(kept, header=msgspec.structs.replace(kept.header, sequence=9)),
        dataclasses.replace(kept, arrays={**kept.arrays, name: array.view(np.uint64)}),
        dataclasses.replace(kept, arrays={**kept.arrays, name: array[:, None]}),
        dataclasses.replace(kept, arrays={**kept.arrays, name: array + 1}),
        dataclasses.replace(kept, arrays={**kept.arrays, "more": array}),
    ]
    sums = {snapshot.checksum(one) for one in [kept, *changes]}
    assert len(sums) == 1 + len(changes)


def test_a_refused_file_is_put_aside_or_left_where_that_fails(tmp_path: Path) -> None:
    path = snapshot.write(tmp_path, captured())
    assert snapshot.put_aside(path) == tmp_path / f"refused-{path.name}"
    assert snapshot.paths(tmp_path) == []
    assert snapshot.put_aside(path) == path
