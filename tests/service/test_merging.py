from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service import recovery
from service.merging import MERGED_READINGS_MAX, groups, plain
from service.records import Record, decode, encode
from service.replay import replay, replay_together
from service.scoring import step
from service.shard import Shard
from tests.builders import process
from tests.service import fleet
from tests.service.fleet import SECOND, START, in_columns, normal
from tests.service.test_recovery import MODELS, resolve, sent

MACHINES = ("p1", "p2", "f1", "f2", "t1", "t2")


def written(record: Record) -> Record:
    """As the journal gives it back."""
    return decode(record.kind, record.shard, record.sequence, record.received_at, encode(record))


def recording(equipment: str, rng: np.random.Generator, ticks: int) -> tuple[Any, Any]:
    """Times and values of one machine: missing ticks and values, a gap, and a fault."""
    detector = resolve(equipment).detector
    x = process(7, ticks) if equipment[0] == "t" else normal(detector, int(rng.integers(100)), ticks)
    x[60:75, 0] += 60 * detector.scale[..., 0].max()
    x[rng.random(x.shape) < 0.05] = np.nan
    steps = np.where(rng.random(ticks) < 0.1, 3, 1)
    steps[100] = 3000
    return START + SECOND * np.cumsum(steps), x


def lived(seed: int) -> list[Record]:
    """Records of small bodies of six machines of three models, and of looks for silence."""
    rng = np.random.default_rng(seed)
    recordings = {name: recording(name, rng, 140) for name in MACHINES}
    shard, at, kept = Shard(resolve, fleet.ANY_TIME), dict.fromkeys(MACHINES, 0), []
    for turn in range(250):
        bodies = []
        for name in rng.choice(MACHINES, int(rng.integers(1, 4)), replace=False).tolist():
            first, at[name] = at[name], min(at[name] + int(rng.integers(1, 4)), 140)
            times, x = (array[first : at[name]] for array in recordings[name])
            if len(times):
                bodies.append(fleet.body(in_columns(name, resolve(name).detector.sensors, times, x)))
        if bodies:
            kept.append(step(shard, bodies, START + turn * SECOND).record)
        if turn % 50 == 49:
            swept = shard.sweep(START + (turn + 4) * SECOND)
            kept += [swept] if swept else []
    return [written(record) for record in kept]


@pytest.mark.parametrize("seed", range(3))
def test_records_replayed_together_leave_the_state_of_one_by_one(seed: int) -> None:
    records = lived(seed)
    one, other = (Shard(resolve, fleet.ANY_TIME) for _ in range(2))
    for record in records:
        replay(one, record, MODELS.get)
    found = list(groups(records))
    for group in found:
        replay_together(other, group, MODELS.get)
    assert [record for group in found for record in group] == records
    assert len(found) < len(records) / 2, "little was merged"
    assert {alarm.kind for alarm in one.book.newest_first()} >= {"process"}
    assert list(other.book.newest_first()) == list(one.book.newest_first())
    expected, actual = recovery.capture(one), recovery.capture(other)
    assert actual.header == expected.header
    assert actual.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(actual.arrays[name], array, name)


def records_of(count: int, readings: int) -> list[Record]:
    shard = Shard(resolve, fleet.ANY_TIME)
    return [step(shard, [fleet.body(sent("p1", readings * k, readings))], START).record for k in range(count)]


def test_what_changed_more_than_readings_stands_alone() -> None:
    first, second, third = records_of(3, 1)
    assert first.registered, "the machine is met in it"
    assert [plain(record) for record in (first, second, third)] == [False, True, True]
    assert list(groups([first, second, third])) == [[first], [second, third]]
    changed = replace(second, silenced=[0])
    assert list(groups([first, changed, third])) == [[first], [changed], [third]]
    assert list(groups([second, replace(third, kind="event")])) == [[second], [replace(third, kind="event")]]
    assert list(groups([second, replace(third, sequence=9)])) == [[second], [replace(third, sequence=9)]]


def test_what_is_merged_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.merging.MERGED_READINGS_MAX", 7)
    records = [replace(record, alarms=[]) for record in records_of(9, 2)[1:]]
    assert [len(group) for group in groups(records)] == [3, 3, 2]
    assert MERGED_READINGS_MAX > 7


def test_records_of_a_model_that_is_gone_are_replayed_one_by_one() -> None:
    records = records_of(5, 2)
    one, other = (Shard(resolve, fleet.ANY_TIME) for _ in range(2))
    for record in records:
        replay(one, record, {}.get)
    for group in groups(records):
        replay_together(other, group, {}.get)
    assert other.sequence == one.sequence
    for name in ("last_time", "heard", "ring_count"):
        np.testing.assert_array_equal(other.columns[name][:1], one.columns[name][:1])
