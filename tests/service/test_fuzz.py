"""Changed inputs for what the service reads: bodies, gzip, times, uploads, snapshots, records, settings."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from models.artifact import TENSORS
from models.manifest import MANIFEST
from service import records, recovery, snapshot
from service.archive import unpack
from service.body import inflate
from service.errors import Problem
from service.ingest import json_rows
from service.ingest.batch import Limits
from service.ingest.json_body import decode
from service.ingest.times import TimeRefused, parse_times
from service.pairs import pairs_from
from service.records import Record, RecordError
from service.scoring import look, step
from service.settings import SettingsError, load
from service.snapshot import SnapshotError
from service.sources import shifts_in, told
from tests.fuzz import Parser, fuzz, in_bytes, in_json, in_values, rounds
from tests.service import fleet
from tests.service import test_fuzz_recovery as recovery_seed
from tests.service.fleet import START, body, in_columns, in_rows, normal, seconds
from tests.service.running import model_folder

MODEL = fleet.model()
X = normal(MODEL.detector, 3, 8)
SENSORS = MODEL.detector.sensors
COLUMNS = in_columns("ポンプ 7", SENSORS, seconds(0, 8), X)
ROWS = in_rows([("p\t\u00e9", START + i, {"sensor-0": 1.5, "sensor-1": None}) for i in range(6)])
BODIES = [msgspec.json.encode(one) for one in (ROWS, COLUMNS, {"batches": [COLUMNS, {**COLUMNS, "equipment": "q"}]})]
TIMES = (
    ["2026-11-24T00:00:00Z"] * 6,
    ["2026-11-24 00:00:00.123456+09:00", "20261124T000000Z"],
    ["2026-W48-2T00:00Z"],
)


@rounds(400)
def test_any_body_is_read_or_refused_and_both_ways_agree(inputs: int) -> None:
    limits = Limits(readings=1000, sensors=50, sensor_sets=4)

    def read(content: bytes) -> None:
        found = decode(content, limits)
        slowly = json_rows.decode(content, limits)
        assert (found.received, found.form) == (slowly.received, slowly.form)
        assert sum(batch.readings for batch in found.batches) + len(found.refused) == found.received

    assert fuzz(Parser(read, (Problem,), BODIES, in_json), inputs) > inputs // 10


@rounds(300)
def test_whatever_is_read_can_be_scored(inputs: int) -> None:
    shard = fleet.shard(MODEL)

    def read(content: bytes) -> None:
        found = decode(content, Limits(readings=1000))
        (outcome,) = fleet.step(shard, [found], START).outcomes
        assert len(outcome.status) == found.received

    fuzz(Parser(read, (Problem,), BODIES, in_json), inputs)


@rounds(300)
def test_any_gzip_is_unpacked_or_refused(inputs: int) -> None:
    once, twice = gzip.compress(BODIES[1], mtime=0), gzip.compress(b"a" * 100, mtime=0) * 2 + b"\0" * 40
    parser = Parser(lambda content: inflate(content, 20_000), (Problem,), (once, twice), in_bytes)
    assert fuzz(parser, inputs) > inputs // 10


@rounds(400)
def test_any_times_are_read_or_refused(inputs: int) -> None:
    def change(texts: list[str], rng: random.Random) -> list[str]:
        at, changed = rng.randrange(len(texts)), list(texts)
        changed[at] = in_bytes(changed[at].encode(), rng).decode("utf-8", "surrogateescape")
        return changed

    def read(texts: list[str]) -> None:
        found = parse_times(texts)
        np.testing.assert_array_equal(found, [int(parse_times([text])[0]) for text in texts])

    assert fuzz(Parser(read, (TimeRefused,), TIMES, change), inputs) > inputs // 10


def zipped(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in (MANIFEST, TENSORS):
            archive.writestr(name, (model_folder() / name).read_bytes()[:2000])
    return buffer.getvalue()


@rounds(300)
def test_any_upload_is_unpacked_or_refused(inputs: int) -> None:
    def change(content: bytes, rng: random.Random) -> bytes:
        """Mostly in the directory, which is at the end."""
        at = len(content) - rng.choice((300, 150, 22, len(content)))
        return content[:at] + in_bytes(content[at:], rng)

    sound = (zipped(zipfile.ZIP_STORED), zipped(zipfile.ZIP_DEFLATED))
    parser = Parser(lambda content: unpack(content, 1_000_000), (Problem,), sound, change)
    assert fuzz(parser, inputs) > inputs // 10


def shard_in_use() -> Any:
    """A shard with two machines, one of them in alarm, and the last record of it."""
    shard = fleet.shard(MODEL)
    found = in_columns("p", SENSORS, seconds(0, 8), X + 50)
    return shard, fleet.step(shard, [body(found), body(COLUMNS)], START).record


def records_of_all_kinds() -> list[Record]:
    """Records of readings with new machines and alarms, with points that wait, and with what bodies were shifted by;
    one of ticks that became due, and one of a switch of models."""
    _, first = shard_in_use()
    shard = recovery_seed.lived()
    held = step(shard, [body(recovery_seed.points("j1", 40, 9)), body(recovery_seed.readings("p1", 50, 2))], START)
    due = look(shard, START + 10**9)
    assert held.record.held
    assert due is not None
    shifts = dataclasses.replace(held.record, detail=told(recovery_seed.SHIFTS) or {})
    switch = dataclasses.replace(first, kind="activate", readings=(), detail={"name": "pumps", "default": "pumps"})
    return [first, held.record, due, shifts, switch]


@rounds(300)
def test_any_record_is_read_or_refused(inputs: int) -> None:
    sound = [records.encode(record) for record in records_of_all_kinds()]

    def change(payload: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return in_bytes(payload, rng)
        return msgspec.msgpack.encode(in_values(msgspec.msgpack.decode(payload), rng))

    def read(payload: bytes) -> None:
        record = records.decode("readings", 0, 1, 0, payload)
        shifts_in(record)
        assert records.encode(records.decode("readings", 0, 1, 0, records.encode(record))) == records.encode(record)

    assert fuzz(Parser(read, (RecordError,), sound, change), inputs) > inputs // 10


@rounds(200)
def test_any_snapshot_is_read_or_refused(tmp_path: Path, inputs: int) -> None:
    shard, _ = shard_in_use()
    path = snapshot.write(tmp_path, recovery.capture(shard))

    def read(content: bytes) -> None:
        path.write_bytes(content)
        snapshot.read(path)

    assert fuzz(Parser(read, (SnapshotError,), (path.read_bytes(),), in_bytes), inputs) > inputs // 2


SETTINGS = (
    b'host = "0.0.0.0"\nport = 80\nhosts_allowed = ["a", "*.b"]\njournal = true\nsnapshot_seconds = 12.5\n',
    b'model_patterns = "pump-*=pumps,fan-*=fans"\nmodel_assignments = {pump-7 = "old"}\nequipment_max = 5\n',
)


@rounds(200)
def test_any_settings_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: int) -> None:
    for name in [name for name in os.environ if name.startswith("LIMEN_")]:
        monkeypatch.delenv(name)

    def read(content: bytes) -> None:
        (tmp_path / "limen.toml").write_bytes(content)
        load(tmp_path / "limen.toml")

    assert fuzz(Parser(read, (SettingsError,), SETTINGS, in_bytes), inputs) > inputs // 10


@rounds(300)
def test_any_pairs_are_read_or_refused(inputs: int) -> None:
    sound = (b"pump-*=pumps, fan-*=fans", b'{"a=1": "b", "c": "d"}')
    parser = Parser(lambda content: pairs_from(content.decode("utf-8", "replace")), (ValueError,), sound, in_bytes)
    fuzz(parser, inputs)
