"""Ticks that one micro-batch or look closes are bounded; what comes of them is not changed by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import assembly, records, recovery, scoring
from service.assembly import Window
from service.limits import ShardLimits
from service.merging import groups
from service.records import Record
from service.replay import replay, replay_together
from service.shard import Shard
from tests.service import fleet
from tests.service.fleet import SECOND, START, body, in_rows, statuses

MODEL = fleet.model(sensors=3)
SENSORS = MODEL.detector.sensors
WHOLE: dict[str, float | None] = dict.fromkeys(SENSORS, 1.0)
LIMITS = ShardLimits(future=None, window=Window(2 * SECOND), join=("press-*",), join_age=600 * SECOND)
MACHINES = ("press-0", "press-1", "pump")  # the last sends whole readings
Sent = list[tuple[str, int, dict[str, float | None]]]
steps = st.lists(
    st.lists(
        st.tuples(st.sampled_from(MACHINES), st.sampled_from([1, 2, 3, 40]), st.sampled_from([*SENSORS, ""])),
        max_size=6,
    ),
    min_size=1,
    max_size=8,
)


def step(shard: Shard, sent: Sent, now: int) -> Any:
    return scoring.step(shard, [body(in_rows(sent))], now)


def drain(shard: Shard, now: int) -> list[Record]:
    """Looks until nothing is left."""
    looks = [scoring.look(shard, now)]
    while shard.waiting.room.more:
        looks.append(scoring.look(shard, now))
    return [record for record in looks if record is not None]


def closed(of: Sequence[Record]) -> list[int]:
    """How many ticks each record has."""
    return [sum(len(part.time) for part in record.readings) for record in of]


def scored(of: Sequence[Record]) -> dict[int, list[tuple[Any, ...]]]:
    """What was scored of each machine, in order."""
    found: dict[int, list[tuple[Any, ...]]] = {}
    for part in (part.ordered() for record in of for part in record.readings):
        arrays = part.time, part.values, part.status, part.reason, part.score, part.p_value
        for slot, *row in zip(part.slot.tolist(), *(array.tolist() for array in arrays), strict=True):
            found.setdefault(slot, []).append(tuple(map(repr, row)))
    return found


def came_back(machines: int, seconds: int) -> tuple[Shard, list[Record]]:
    """Machines whose sensors come apart, and that come back after a silence."""
    shard = fleet.shard(MODEL, limits=LIMITS)
    found = []
    for second in (0, seconds):
        sent: Sent = [(f"press-{number}", START + second * SECOND, WHOLE) for number in range(machines)]
        found += [step(shard, sent, START + second * SECOND).record, *drain(shard, START + (second + 3) * SECOND)]
    return shard, found


def test_a_fleet_that_comes_back_is_scored_in_records_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = came_back(10, 300)
    monkeypatch.setattr(assembly, "CLOSED_MAX", 500)
    again, parts = came_back(10, 300)
    assert max(closed(whole)) > 2_000
    assert max(closed(parts)) <= 500 + 301
    assert scored(parts) == scored(whole)
    replayed = fleet.shard(MODEL, limits=LIMITS)
    for record in parts:
        written = records.encode(record)
        found = records.decode(record.kind, record.shard, record.sequence, record.received_at, written)
        replay(replayed, found, {MODEL.artifact_id: MODEL}.get)
    for name, array in recovery.capture(again).arrays.items():
        if name != "equipment.generation":
            assert recovery.capture(replayed).arrays[name].tobytes() == array.tobytes(), name


def test_a_machine_of_which_too_many_ticks_wait_has_its_oldest_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assembly, "CLOSED_MAX", 10)
    for forced, ticks in ((1_000_000, 9 * 30), (40, 30 + 30 + 7)):
        monkeypatch.setattr(assembly, "FORCED_MAX", forced)
        limits = ShardLimits(future=None, window=Window(2 * SECOND, 2), join=("press-*",), join_age=600 * SECOND)
        shard = fleet.shard(MODEL, limits=limits)
        step(shard, [("press-0", START, WHOLE)], START)
        stepped = step(shard, [("press-0", START + number * 30 * SECOND, WHOLE) for number in range(1, 12)], START)
        assert len(shard.waiting.machines[0].ticks) == 2
        assert closed([stepped.record]) == [ticks]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(steps, st.integers(1, 30), st.booleans())
def test_what_is_scored_does_not_depend_on_the_bound(sent: list[Any], bound: int, look: bool) -> None:
    """Points in order, with silences between them; looks or none between the bodies."""
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for most in (10**9, bound):
            patch.setattr(assembly, "CLOSED_MAX", most)
            found.append(scored(sent_of(sent, look)))
    assert found[0] == found[1]


def sent_of(bodies: list[Any], look: bool) -> list[Record]:
    """The records of some bodies: of each reading its machine, seconds since the one before, and its sensor."""
    shard, now, made = fleet.shard(MODEL, limits=replace(LIMITS, join_age=60 * SECOND)), START, []
    for number, found in enumerate(bodies):
        readings: Sent = []
        for machine, seconds, sensor in found:
            now += seconds * SECOND - SECOND // 2 * (machine != "pump")
            readings.append((machine, now, {sensor: float(number)} if sensor else WHOLE))
        if readings:
            stepped = step(shard, readings, now)
            assert "late" not in statuses(stepped.outcomes[0])
            made.append(stepped.record)
        if look and (record := scoring.look(shard, now)) is not None:
            made.append(record)
    return made + drain(shard, now + 900 * SECOND)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(steps)
def test_records_of_points_are_replayed_together_as_one_by_one(sent: list[Any]) -> None:
    written = [
        records.decode(one.kind, one.shard, one.sequence, one.received_at, records.encode(one))
        for one in sent_of(sent * 3, look=False)
    ]
    one_by_one, together = fleet.shard(MODEL, limits=LIMITS), fleet.shard(MODEL, limits=LIMITS)
    for record in written:
        replay(one_by_one, record, {MODEL.artifact_id: MODEL}.get)
    for group in groups(written):
        replay_together(together, group, {MODEL.artifact_id: MODEL}.get)
    found, wanted = recovery.capture(together), recovery.capture(one_by_one)
    assert [name for name, array in wanted.arrays.items() if found.arrays[name].tobytes() != array.tobytes()] == []
