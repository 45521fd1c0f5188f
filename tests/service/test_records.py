"""Records: written and read back, refused where they are damaged, and replayed into the same state, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import records, recovery, scoring
from service.records import ARRAYS, ModelReadings, Record, RecordError
from service.replay import replay
from service.shard import Shard
from tests.service import fleet
from tests.service.test_law import MODELS, Found, cut, expected, recording, resolve, same, told


def stepped(shard: Shard, group: list[dict[str, Any]], now: int) -> tuple[Found, Record]:
    """One micro-batch: what was answered, and its record."""
    done = scoring.step(shard, [fleet.body(one) for one in group], now)
    return told(group, done.outcomes), done.record


def again(record: Record) -> Record:
    """A record as the journal gives it back."""
    return records.decode(record.kind, record.shard, record.sequence, record.received_at, records.encode(record))


def state(shard: Shard) -> dict[str, Any]:
    """Everything a shard keeps but its drift monitors, whose sums depend on how readings are grouped."""
    captured = recovery.capture(shard)
    arrays = {name: array.tobytes() for name, array in captured.arrays.items() if not name.startswith("drift.")}
    generations = "equipment.generation"  # of the assignments of this process
    return {"header": captured.header, **{name: held for name, held in arrays.items() if name != generations}}


@settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 30),
    machines=st.integers(1, 9),
    ticks=st.integers(1, 60),
    stop=st.floats(0, 1),
    saved=st.floats(0, 1),
)
def test_a_replay_gives_the_state_that_was_lost_bit_for_bit(
    seed: int, machines: int, ticks: int, stop: float, saved: float
) -> None:
    rng = np.random.default_rng(seed)
    made = recording(rng, machines, ticks)
    groups = cut(rng, made)
    crash, snapshot_at = int(stop * len(groups)), int(stop * saved * len(groups))
    shard, found, journal, snapshot = Shard(resolve, fleet.ANY_TIME), Found(), [], None
    for number, group in enumerate(groups):
        now = fleet.START + number * fleet.SECOND
        if number == snapshot_at:
            snapshot = recovery.capture(shard)
        if number == crash and snapshot is not None:
            lost, shard = shard, Shard(resolve, fleet.ANY_TIME)
            recovery.restore(shard, snapshot, MODELS.get)
            for record in journal[snapshot.header.sequence - 1 :]:
                replay(shard, again(record), MODELS.get)
            assert state(shard) == state(lost)
        answered, record = stepped(shard, group, now)
        found |= answered
        journal.append(record)
        if number % 7 == 3 and (silence := shard.sweep(now + 60 * fleet.SECOND)) is not None:
            journal.append(silence)
    same(found, expected(made))


def some_record() -> Record:
    shard = Shard(resolve, fleet.ANY_TIME)
    group = cut(np.random.default_rng(5), recording(np.random.default_rng(4), 4, 30))[0]
    return stepped(shard, group, fleet.START)[1]


def test_a_record_comes_back_as_it_was_by_machine_and_time() -> None:
    record = some_record()
    back = again(record)
    assert (back.kind, back.sequence, back.now) == ("readings", 1, record.now)
    assert [tuple(one) for one in back.registered] == list(record.registered)
    assert [tuple(one) for one in back.followed] == list(record.followed)
    for one, two in zip(record.readings, back.readings, strict=True):
        assert one.artifact_id == two.artifact_id
        order = np.lexsort((one.time, one.slot))
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(two, name), getattr(one, name)[order])
        assert (np.diff(two.slot) >= 0).all()


def test_records_are_replayed_in_their_order_only() -> None:
    record = again(some_record())
    shard = Shard(resolve, fleet.ANY_TIME)
    replay(shard, record, MODELS.get)
    with pytest.raises(ValueError, match="record 1 is replayed after 1"):
        replay(shard, record, MODELS.get)


def test_machines_of_a_model_that_is_gone_have_no_memory_after_a_replay() -> None:
    record = again(some_record())
    shard = Shard(resolve, fleet.ANY_TIME)
    replay(shard, record, lambda artifact_id: None)
    assert shard.banks == {}
    assert len(shard) == len(record.registered)
    assert shard.sequence == 2


@pytest.mark.parametrize("place", [0, 1, 5, 40, 100, -1])
def test_a_payload_that_was_changed_is_refused_or_found_out_by_its_checksum(place: int) -> None:
    payload = records.encode(some_record())
    changed = bytearray(payload)
    changed[place] ^= 0x10
    sums = [records.checksum("readings", 1, 0, 1, 5, "engine", bytes(one)) for one in (payload, changed)]
    assert sums[0] != sums[1]


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\x91\x01", b"\xc1", b"\x96\x00\x90\x90\x90\x91\x93\xa1a\x05\x90\x90"]
)
def test_what_is_no_payload_is_refused_with_the_record(content: bytes) -> None:
    with pytest.raises(RecordError, match="record 7 cannot be read"):
        records.decode("readings", 0, 7, 0, content)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(RecordError, match="record 7 is of kind 'verdict'; this program knows readings, event"):
        records.decode("verdict", 0, 7, 0, records.encode(some_record()))


@pytest.mark.parametrize("change", ["kind", "version", "shard", "sequence", "received_at", "engine"])
def test_the_checksum_covers_the_key(change: str) -> None:
    key: dict[str, Any] = {
        "kind": "readings", "version": 1, "shard": 0, "sequence": 1, "received_at": 2, "engine": "e", "payload": b"p"
    }  # fmt: skip
    other = {**key, change: key[change] + ("x" if isinstance(key[change], str) else 1)}
    assert records.checksum(**key) != records.checksum(**other)


def test_readings_in_order_are_not_copied() -> None:
    one = ModelReadings(
        "a", np.array([0, 1]), np.array([5, 5]), np.zeros((2, 1)),
        *(np.zeros(2, dtype) for dtype in ("u1", "u1", "u2", "f4", "f4")),
    )  # fmt: skip
    assert one.ordered() is one
