"""Machines that send at another interval than their model's: counted exactly, however cut, and in replays."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artifact import LoadedModel
from models.contract import Ints
from service import recovery, views
from service.alarms import Alarm
from service.limits import ShardLimits
from service.records import Record, decode, encode
from service.replay import replay
from service.scoring import step
from service.shard import Shard
from tests import naive
from tests.service import fleet
from tests.service.fleet import SECOND, START, in_columns, normal
from tests.uninterrupted import compare_states

MODEL, OTHER = fleet.model(), fleet.model("others", seed=2)
MODELS = {model.artifact_id: model for model in (MODEL, OTHER)}
KIND = "sampling_mismatch"
WITHIN, OFF = (0.8, 1.0, 1.25), (0.25, 0.799_999, 1.250_001, 2.0, 60.0)  # intervals


def times_of(steps: list[float] | Ints) -> Ints:
    """Times of readings with some intervals between them."""
    return START + np.cumsum(np.round(np.concatenate([[0.0], steps]) * SECOND)).astype(np.int64)


def wandering(rng: np.random.Generator) -> Ints:
    """Times of a machine that keeps pace and does not, by turns."""
    parts = [np.ones(rng.integers(3))]
    for turn in range(int(rng.integers(6))):
        often, seldom = (WITHIN, OFF) if turn % 2 else (OFF, WITHIN)
        count = int(rng.integers(90))
        parts.append(np.where(rng.random(count) < 0.9, rng.choice(often, count), rng.choice(seldom, count)))
    return times_of(np.concatenate(parts))


def take(shard: Shard, sent: dict[str, Ints], now: int = START) -> Record:
    """One micro-batch with readings of some machines."""
    detector = MODEL.detector
    bodies: list[Any] = [
        in_columns(name, detector.sensors, times, normal(detector, 3, len(times))) for name, times in sent.items()
    ]
    return step(shard, [fleet.body(one) for one in bodies], now).record


def alarms(shard: Shard, equipment: str) -> list[Alarm]:
    """Its alarms of this kind, oldest first."""
    return shard.book.select(equipment=equipment, kind="sampling_mismatch")[0][::-1]


def went_on(records: list[Record], sequence: int = 1, shard: Shard | None = None) -> Shard:
    """A shard that was taken through what was written of some records."""
    again = shard or fleet.shard(MODEL)
    for one in records:
        if one.sequence >= sequence:
            kept = decode(one.kind, one.shard, one.sequence, one.received_at, encode(one))
            replay(again, kept, MODELS.get)
    return again


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 10**6), machines=st.integers(1, 3), cuts=st.lists(st.integers(1, 90), min_size=3, max_size=9)
)
def test_counts_and_alarms_are_those_of_a_plain_loop_however_readings_are_cut(
    seed: int, machines: int, cuts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    sent = {f"m{number}": wandering(rng) for number in range(machines)}
    shard, records, at = fleet.shard(MODEL), [], dict.fromkeys(sent, 0)
    snapshot = None
    for turn in range(500):
        parts = {}
        for number, (name, times) in enumerate(sent.items()):
            parts[name] = times[at[name] : at[name] + cuts[(turn + number) % len(cuts)]]
            at[name] += len(parts[name])
        if not any(map(len, parts.values())):
            break
        records.append(take(shard, {name: part for name, part in parts.items() if len(part)}))
        snapshot = recovery.capture(shard) if turn == 1 else snapshot
    for slot, (name, times) in enumerate(sent.items()):
        count, wanted = naive.off_pace(times.tolist(), SECOND)
        assert int(shard.columns["off_pace"][slot]) == count
        assert [(alarm.start, alarm.end) for alarm in alarms(shard, name)] == wanted
        assert bool(shard.columns["mismatched"][slot]) == bool(wanted and wanted[-1][1] is None)
    compare_states(recovery.capture(went_on(records)), recovery.capture(shard))
    if snapshot is not None:
        restored = fleet.shard(MODEL)
        recovery.restore(restored, snapshot, MODELS.get)
        compare_states(recovery.capture(went_on(records, restored.sequence, restored)), recovery.capture(shard))


@pytest.mark.parametrize("interval", [0.5, 2.0, 60.0])
def test_another_interval_is_reported_after_32_steps(interval: float) -> None:
    shard = fleet.shard(MODEL)
    times = times_of([interval] * 40)
    take(shard, {"p": times[:32]})
    assert alarms(shard, "p") == []
    record = take(shard, {"p": times[32:], "q": times_of([1.0] * 40)})
    (alarm,) = [alarm for alarm in record.alarms if alarm.kind == KIND]
    assert (alarm.equipment, alarm.start, alarm.open) == ("p", times[32], True)
    assert alarm.id == f"0-{record.sequence}-1m", "the first reading of the other machine is row 0"
    assert shard.counters.alarms["pumps", "sampling_mismatch"] == 1
    detail = views.equipment_detail(shard, "p")
    assert detail is not None
    assert (detail.interval_seconds, detail.observed_interval_seconds) == (1.0, interval)


@pytest.mark.parametrize(
    ("tolerance", "interval", "reported"),
    [
        (0.5, 1.25, False),
        (0.5, 1.26, True),
        (1.0, 1.5, False),
        (1.0, 0.66, True),
        (0.1, 1.05, False),
        (0.1, 1.06, True),
    ],
)
def test_the_tolerance_of_the_model_says_which_interval_is_another(
    tolerance: float, interval: float, reported: bool
) -> None:
    manifest = msgspec.structs.replace(MODEL.manifest, tolerance=tolerance)
    shard = fleet.shard(dataclasses.replace(MODEL, manifest=manifest))
    take(shard, {"p": times_of([interval] * 40)})
    assert bool(alarms(shard, "p")) is reported


def test_holes_and_jitter_are_no_other_interval() -> None:
    rng = np.random.default_rng(0)
    ticks = np.flatnonzero(rng.random(20_000) >= 0.15)
    late = np.cumsum(rng.choice([1.0, 1.0, 1.0, 0.7, 1.3], size=9_999))
    shard = fleet.shard(MODEL)
    take(shard, {"holes": START + SECOND * ticks, "jitter": START + np.round(late * SECOND).astype(np.int64)})
    assert alarms(shard, "holes") == alarms(shard, "jitter") == []
    assert shard.columns["off_pace"][:2].max() < 32


def test_a_first_reading_and_a_machine_that_keeps_pace_count_nothing() -> None:
    shard = fleet.shard(MODEL)
    take(shard, {"p": times_of([])})
    take(shard, {"p": times_of([1.0] * 50)[1:]})
    assert shard.columns["off_pace"][0] == 0


def test_a_machine_that_leaves_its_model_is_judged_anew() -> None:
    serving: dict[str, LoadedModel] = {"p": MODEL}
    shard = fleet.shard(resolve=serving.get)
    times = times_of([2.0] * 80)
    records = [take(shard, {"p": times[:40]})]
    serving["p"] = OTHER
    shard.models_changed()
    records.append(take(shard, {"p": times[40:50]}))
    (alarm,) = alarms(shard, "p")
    assert (alarm.model, alarm.end) == ("pumps", times[39])
    assert shard.columns["off_pace"][0] == 10
    records.append(take(shard, {"p": times[50:]}))
    assert [alarm.model for alarm in alarms(shard, "p")] == ["pumps", "others"]
    compare_states(recovery.capture(went_on(records)), recovery.capture(shard))


def test_an_alarm_of_long_ago_counts_once_a_reading_of_today_finds_it_open() -> None:
    shard = fleet.shard(MODEL, limits=ShardLimits())
    times, later = times_of([2.0] * 60), START + 86_400 * SECOND
    take(shard, {"p": times[:40]}, now=later)
    (alarm,) = alarms(shard, "p")
    assert (alarm.historical, shard.counters.alarms["pumps", "sampling_mismatch"]) == (True, 0)
    assert alarm not in take(shard, {"p": times[40:45]}, now=later).alarms
    assert alarm in take(shard, {"p": times[45:50]}, now=START).alarms
    assert (alarm.historical, shard.counters.alarms["pumps", "sampling_mismatch"]) == (False, 1)


def test_alarms_of_two_kinds_that_open_at_one_reading_have_ids_of_their_own() -> None:
    model = fleet.model(seed=1)
    shard = fleet.shard(model)
    far = normal(model.detector, 3, 60)
    far[30:] += 50 * model.detector.scale
    for place, time in enumerate(times_of([2.0] * 59)):
        body = in_columns("p", model.detector.sensors, np.array([time]), far[place : place + 1])
        step(shard, [fleet.body(body)], START)
    found = list(shard.book.newest_first())
    assert {alarm.kind for alarm in found} == {"process", KIND}
    assert len({alarm.id for alarm in found}) == len(found)
