"""Ticks that wait: where the model goes, the clock jumps, time ends, or nobody has anything new to say."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import httpx
import msgspec

from models.artifact import LoadedModel
from service import recovery, scoring, snapshot
from service.assembly import Window
from service.clock import EventClock
from service.commands.journal_inspect import record_line
from service.configuration import Configuration
from service.consumer import BatchReport, Consumer, takes_long
from service.ingest.times import TIME_MAX
from service.journal import Unjournaled
from service.lifecycle import Service, go_on
from service.limits import ShardLimits
from service.replay import replay
from service.shard import Shard
from service.status import Status
from tests.service import fleet, running
from tests.service.fleet import SECOND, START, body, in_rows, play, reasons, statuses
from tests.service.running import columns

MODEL = fleet.model(sensors=3)
SLOW = fleet.model("slow", 1, 3)
SLOW = dataclasses.replace(SLOW, detector=dataclasses.replace(SLOW.detector, interval=3 * SECOND))
SENSORS = MODEL.detector.sensors
WHOLE: dict[str, float | None] = dict.fromkeys(SENSORS, 1.0)
JOINED = ShardLimits(window=Window(2 * SECOND), join=("*",), join_age=60 * SECOND)
REORDERED = ShardLimits(window=Window(5 * SECOND))


def send(shard: Shard, time: int, values: dict[str, float | None], now: int, wall: int | None = None) -> Any:
    """One reading of the machine `press`; what the step came to."""
    return scoring.step(shard, [body(in_rows([("press", time, values)]))], now, wall)


def ticks(record: Any) -> list[int]:
    """Times of what was scored."""
    return [time for part in record.readings for time in part.time.tolist()] if record else []


def test_what_was_scored_by_a_model_that_is_gone_waits_no_more() -> None:
    follows = [MODEL]
    shard = fleet.shard(MODEL, limits=REORDERED)
    send(shard, START, WHOLE, START)
    send(shard, START + 3 * SECOND, WHOLE, START)
    snapshot = recovery.capture(shard)
    due = scoring.look(shard, START + 6 * SECOND)
    assert due is not None
    assert ticks(due) == [START + 3 * SECOND]
    again = fleet.shard(MODEL, limits=REORDERED, resolve=lambda equipment: follows[0])
    recovery.restore(again, snapshot, lambda artifact_id: None)
    replay(again, due, lambda artifact_id: None)
    follows[0] = fleet.model("other", 2, 3)
    send(again, START, WHOLE, START + 7 * SECOND)
    assert ticks(scoring.look(again, START + 7 * SECOND)) == []


def test_a_switch_and_back_leaves_what_it_leaves_in_a_replay() -> None:
    narrow, by_id = fleet.model("narrow", 1, 1), {MODEL.artifact_id: MODEL}
    by_id[narrow.artifact_id] = narrow
    follows = [MODEL]
    shards = [fleet.shard(limits=JOINED, resolve=lambda equipment: follows[0]) for _ in range(2)]
    steps = [send(shards[0], START, WHOLE, START), send(shards[0], START + SECOND, WHOLE, START + SECOND)]
    for model, values in ((narrow, {SENSORS[2]: 1.0}), (MODEL, {SENSORS[0]: 2.0})):
        follows[0] = model
        shards[0].models_changed()
        steps.append(send(shards[0], START + 3 * SECOND, values, START + 2 * SECOND))
        assert scoring.look(shards[0], START + 2 * SECOND) is None
    for step in steps:
        replay(shards[1], step.record, by_id.get)
    found = [recovery.capture(shard).arrays["waiting"].tobytes() for shard in shards]
    assert found[0] == found[1]


def test_what_was_taken_in_is_scored_though_the_wall_clock_was_set_back() -> None:
    shard = fleet.shard(MODEL, limits=REORDERED)
    hour = 3_600 * SECOND
    send(shard, START, WHOLE, START)
    held = send(shard, START + hour, WHOLE, START, START + hour)
    assert statuses(held.outcomes[0]) == ["held"]
    closed = send(shard, START + SECOND, WHOLE, START + 6 * SECOND, START + 6 * SECOND)
    assert ticks(closed.record) == [START + SECOND, START + hour]
    refused = send(shard, START + 2 * hour, WHOLE, START + 6 * SECOND)
    assert (statuses(refused.outcomes[0]), reasons(refused.outcomes[0])) == (["rejected"], ["future"])


def test_whose_sensors_come_apart_is_what_the_settings_say_now() -> None:
    shards = {join: fleet.shard(MODEL, limits=dataclasses.replace(JOINED, join=join)) for join in (("*",), ())}
    half = START + SECOND // 2
    for before, after in ((("*",), ()), ((), ("*",))):
        send(shards[before], START, WHOLE, START)
        send(shards[before], half, {SENSORS[0]: 2.0}, START)
        started = fleet.shard(MODEL, limits=dataclasses.replace(JOINED, join=after))
        recovery.restore(started, recovery.capture(shards[before]), {MODEL.artifact_id: MODEL}.get)
        (points,) = send(started, START + 7 * SECOND // 2, {SENSORS[0]: 3.0}, START).record.held
        assert points.tick.tolist() == [START + 4 * SECOND if after else START + 7 * SECOND // 2]


def test_the_clock_of_the_data_is_moved_by_what_waits() -> None:
    shard = fleet.shard(MODEL, limits=dataclasses.replace(JOINED, future=None))
    record = send(shard, START, {SENSORS[0]: 1.0}, 0).record
    assert record.now == START
    assert scoring.look(shard, record.now) is None
    assert shard.silent() == 0


def test_the_clock_of_the_data_goes_on_after_a_restart_from_what_waits() -> None:
    shard, clock = fleet.shard(MODEL, limits=ShardLimits(future=None, window=Window(5 * SECOND))), EventClock()
    for time in (START, START + 3 * SECOND):
        clock.observe(send(shard, time, WHOLE, clock.now()).record.now)
    again = {}
    for name in ("event", "wall"):
        shard.configuration = Configuration({"clock": name})
        again[name] = EventClock()
        go_on(again[name], shard)
    assert again["event"].now() == clock.now() == START + 3 * SECOND
    assert again["wall"].now() == START, "by another clock, only the times of readings count"


def test_a_point_at_the_end_of_time_has_a_tick_that_can_be_told() -> None:
    shard = fleet.shard(MODEL, limits=dataclasses.replace(JOINED, future=None))
    stepped = send(shard, TIME_MAX, WHOLE, START)
    (points,) = stepped.record.held
    assert points.tick.max() == TIME_MAX


def test_ticks_are_those_of_the_model_that_a_machine_follows_now() -> None:
    follows = [MODEL]
    shard = fleet.shard(limits=JOINED, resolve=lambda equipment: follows[0])
    first = START // (3 * SECOND) * 3 * SECOND + SECOND  # on the grid of the first model alone
    send(shard, first, WHOLE, first)
    follows[0] = SLOW
    shard.models_changed()
    send(shard, first + 11 * SECOND, WHOLE, first + 11 * SECOND)
    closed = ticks(scoring.look(shard, first + 20 * SECOND))
    assert closed == [first + k * SECOND for k in (2, 5, 8, 11, 14)]


def learned(seconds: list[int]) -> LoadedModel:
    """A model whose sensors may hold a value for so long."""
    sensors = tuple(
        msgspec.structs.replace(sensor, hold=hold * SECOND)
        for sensor, hold in zip(MODEL.manifest.sensors, seconds, strict=True)
    )
    return dataclasses.replace(MODEL, manifest=msgspec.structs.replace(MODEL.manifest, sensors=sensors))


def test_a_joined_machine_is_silent_after_what_its_most_talkative_sensor_may_hold() -> None:
    limits = dataclasses.replace(JOINED, join_age=0)
    shard = fleet.shard(learned([0, 120, 600]), limits=limits)
    send(shard, START, WHOLE, START)
    for second, silent in ((6, 0), (120, 0), (121, 1), (600, 1)):
        scoring.look(shard, START + second * SECOND)
        assert shard.silent() == silent
    send(shard, START + 601 * SECOND, {SENSORS[1]: 1.0}, START + 601 * SECOND)
    assert shard.silent() == 0


def test_whole_machines_and_those_that_have_learned_nothing_are_silent_after_their_intervals() -> None:
    for limits, model in ((REORDERED, learned([0, 120, 600])), (dataclasses.replace(JOINED, join_age=0), MODEL)):
        shard = fleet.shard(model, limits=limits)
        send(shard, START, WHOLE, START)
        scoring.look(shard, START + 5 * SECOND)
        assert shard.silent() == 0
        scoring.look(shard, START + 6 * SECOND)
        assert shard.silent() == 1


def test_ticks_that_became_due_are_told_to_the_metrics_whoever_looked() -> None:
    async def scenario() -> None:
        reports: list[BatchReport] = []
        shard = fleet.shard(MODEL, limits=dataclasses.replace(JOINED, future=None))
        clock = EventClock()
        consumer = Consumer(shard, Unjournaled(), clock, observe=reports.append)
        machines = 600  # so many are looked at in a thread
        running = asyncio.create_task(consumer.run())
        await consumer.submit(body(in_rows([(f"press-{i}", START - 1, WHOLE) for i in range(machines)])))
        for seconds in (0, 10):
            clock.observe(START + seconds * SECOND)
            await consumer.sweep()
            await consumer.settled()
        consumer.stop()
        await running
        assert shard.counters.readings[Status.HELD] == machines
        assert [len(ticks(report.record)) for report in reports] == [0, 8 * machines]

    play(scenario)


def test_readings_that_may_wait_take_long_where_they_are_many() -> None:
    many = [body(in_rows([(f"press-{i}", START, WHOLE) for i in range(500)]))]
    assert takes_long(many, waiting=True)
    assert not takes_long(many)
    assert not takes_long([body(in_rows([("press", START, WHOLE)]))], waiting=True)


def test_a_record_tells_of_the_points_that_wait() -> None:
    shard = fleet.shard(MODEL, limits=JOINED)
    told = record_line(send(shard, START, {SENSORS[0]: 1.0, SENSORS[1]: 2.0}, START).record, {})["text"]
    assert told.split("; ")[-1] == "2 points that wait of slot 0"


def test_points_that_wait_count_toward_the_next_snapshot(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        for first in (0, 40):
            assert not snapshot.paths(service.snapshots)
            found = columns("press", first, 40)
            some = {**found, "sensors": found["sensors"][:2], "values": [row[:2] for row in found["values"]]}
            assert (await client.post("/v1/readings", json=some)).json()["held"] == 40
        async with asyncio.timeout(20):
            while not snapshot.paths(service.snapshots):
                await asyncio.sleep(0.01)

    bound = {"snapshot_readings_max": 160, "snapshot_seconds": 3_600.0}
    running.run(running.settings(tmp_path, join="*", reorder_seconds=3_600.0, **bound), scenario)
