"""Changed snapshots whose checksum is right again: a start refuses them in a sentence, or goes on without harm."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save

from models.artifact import LoadedModel
from service import recovery, snapshot, views
from service.assembly import Window
from service.limits import ShardLimits
from service.scoring import look, step
from service.shard import Shard
from service.snapshot import Header, Snapshot, SnapshotError
from service.sources import Shift
from tests.fuzz import Parser, fuzz, in_bytes, in_json, in_values, rounds
from tests.service import fleet
from tests.service.fleet import SECOND, START, in_columns, in_rows, normal, seconds

PUMPS, FANS = fleet.model(), fleet.model("fans", seed=4, sensors=2, prefix="fan", constants=1)
MODELS = {model.artifact_id: model for model in (PUMPS, FANS)}
LIMITS = ShardLimits(window=Window(5 * SECOND), join=("j*",), join_age=3 * SECOND, silent_intervals=50)
SHIFTS: list[Shift] = [("gateway-3", "ab" * 16, -5_000_000), ("10.0.0.7", "cd" * 16, 7)]
TEXTS = ("ids", "alarms", "configuration", "shifts")
NOW = START + 40 * SECOND


def resolve(equipment: str) -> LoadedModel:
    return FANS if equipment.startswith("f") else PUMPS


def empty() -> Shard:
    return Shard(resolve, LIMITS)


def readings(equipment: str, first: int, count: int, by: float = 0.0) -> dict[str, Any]:
    detector = resolve(equipment).detector
    x = normal(detector, 3, 90)[first : first + count] + by
    return in_columns(equipment, detector.sensors, seconds(first, count), x)


def points(equipment: str, first: int, count: int) -> dict[str, Any]:
    """Points of single sensors, off the grid."""
    return in_rows([(equipment, START + first * SECOND + 250_000 * i, {f"sensor-{i % 4}": 1.5}) for i in range(count)])


def lived() -> Shard:
    """Machines of two models, alarms, one that left, one that is silent; late readings and points that wait; shifts."""
    shard = empty()
    bodies = [readings("p1", 0, 40), readings("p2", 0, 30, by=90.0), readings("p3", 0, 2), readings("f1", 0, 20)]
    step(shard, [fleet.body(one) for one in bodies], NOW)
    shard.leave(2)
    shard.sweep(NOW + 60 * SECOND)
    later = [readings("f1", 20, 3), readings("p1", 42, 2), readings("p2", 31, 2, by=90.0), points("j1", 30, 9)]
    step(shard, [fleet.body(one) for one in later], NOW + 60 * SECOND)
    shard.sources.remember(SHIFTS)
    return shard


SOUND = recovery.capture(lived())


def sealed(found: Snapshot, folder: Path) -> Path:
    """A file with the checksum of what it holds, in the place of the sound one."""
    header = msgspec.structs.replace(found.header, sha256=snapshot.checksum(found))
    path = folder / f"snapshot-{SOUND.header.sequence:020d}.safetensors"
    path.write_bytes(save(found.arrays, {snapshot.HEADER_KEY: msgspec.json.encode(header).decode()}))
    return path


def in_snapshot(found: Snapshot, rng: random.Random) -> Snapshot:
    """Change one part: an array, what an array holds as text, or the header."""
    arrays = {name: array.copy() for name, array in found.arrays.items()}
    name = rng.choice(list(arrays))
    match rng.randrange(8):
        case 0:
            return Snapshot(_in_header(found.header, rng), arrays)
        case 1:
            name = rng.choice(TEXTS)
            arrays[name] = snapshot.text(in_json(arrays[name].tobytes(), rng))
        case 2:
            arrays["waiting"] = snapshot.text(_in_waiting(arrays["waiting"].tobytes(), rng))
        case 3:
            _in_shape(arrays, name, rng)
        case _:
            _in_elements(arrays[name], rng)
    return Snapshot(found.header, arrays)


def _in_header(header: Header, rng: random.Random) -> Header:
    """Another one that is a header still."""
    while True:
        try:
            return msgspec.convert(in_values(msgspec.to_builtins(header), rng), Header)
        except msgspec.ValidationError:
            continue


def _in_waiting(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return in_bytes(content, rng)
    return msgspec.msgpack.encode(in_values(msgspec.msgpack.decode(content), rng))


def _in_shape(arrays: dict[str, Any], name: str, rng: random.Random) -> None:
    """Another type, shape or name, or none."""
    array = arrays.pop(name)
    match rng.randrange(4):
        case 0:
            arrays[name] = array.astype(rng.choice(("int8", "int64", "float16", "float64", "uint16")))
        case 1:
            arrays[name] = array.reshape(-1) if array.ndim > 1 else array.reshape(-1, 1)
        case 2:
            arrays[rng.choice((*arrays, "x", f"{name}x"))] = array


def _in_elements(array: Any, rng: random.Random) -> None:
    """Other values at some places: bits, extremes, or those of another place."""
    flat = array.reshape(-1)
    for _ in range(rng.choice((1, 1, 3))):
        if not len(flat):
            return
        place = rng.randrange(len(flat))
        match rng.randrange(3):
            case 0:
                raw = flat.view(np.uint8)
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            case 1:
                extremes = (0, 1, -1, 255, 2**31 - 1, 2**62, -(2**62), np.nan, np.inf, -np.inf, 1e30)
                with np.errstate(all="ignore"):
                    flat[place] = np.array(rng.choice(extremes)).astype(flat.dtype)
            case _:
                flat[place] = flat[rng.randrange(len(flat))]


def go_on(shard: Shard) -> list[Any]:
    """All that a service does with a shard after a start; the outcomes of what is posted."""
    bodies = [readings("p1", 38, 9), readings("p2", 33, 9), readings("f1", 22, 9), readings("new", 0, 5)]
    bodies += [points("j1", 31, 9), readings("p3", 50, 3)]
    stepped = step(shard, [fleet.body(one, source="gateway-3") for one in bodies], NOW + 70 * SECOND)
    look(shard, NOW + 80 * SECOND)
    alarms, total = shard.book.select(count=1000)
    shown: list[Any] = [views.alarm_page(alarms, total, 0), views.equipment_page(shard, 0, 1000)]
    for equipment in list(shard.equipment_table.ids):
        shown += [views.equipment_detail(shard, equipment), views.recent_scores(shard, equipment)]
    msgspec.json.encode(shown)
    for bank in shard.banks.values():
        bank.settled_monitor().input_drift()
    recovery.restore(empty(), recovery.capture(shard), MODELS.get)
    return stepped.outcomes


@rounds(100)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of arithmetic with values that no machine has
def test_any_snapshot_with_a_right_checksum_is_gone_on_from_or_refused(tmp_path: Path, inputs: int) -> None:
    def read(found: Snapshot) -> None:
        path = sealed(found, tmp_path)
        shard = empty()
        try:
            recovery.restore(shard, snapshot.read(path), MODELS.get)
        except SnapshotError:
            assert (len(shard), shard.sequence, shard.banks, shard.waiting.machines) == (0, 1, {}, {})
            raise
        for outcome in go_on(shard):
            assert (outcome.status <= 6).all()

    assert fuzz(Parser(read, (SnapshotError,), (SOUND,), in_snapshot), inputs) > inputs // 3
