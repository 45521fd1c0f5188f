from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from service.clock import SteadyClock, WallClock
from service.consumer import (
    THREAD_CELLS_MIN,
    THREAD_WAVES_MIN,
    QueueLimits,
    takes_long,
)
from service.errors import QueueFull, Stopping, Unavailable
from service.ingest.batch import Body
from tests.service.consuming import Bench, idle, played
from tests.service.fleet import SECOND, START, body, in_columns, in_rows, play, seconds, statuses


@played
async def test_what_waits_while_the_disk_works_becomes_one_micro_batch() -> None:
    bench = Bench()
    first = bench.post("p", 0, 2)
    await bench.disk.syncing.wait()
    others = [bench.post(f"m{i}", 0, 3) for i in range(5)]
    await idle()
    assert not first.done(), "nothing is answered before it is safe"
    assert bench.consumer.queued_readings == 15
    bench.disk.free.set()
    for task in [first, *others]:
        assert statuses(await task)[0] == "warming"
    assert [len(report.bodies) for report in bench.reports] == [1, 5]
    assert bench.consumer.queued_readings == 0
    await bench.end()


@played
async def test_a_micro_batch_is_bounded_and_keeps_the_order_of_arrival() -> None:
    bench = Bench(QueueLimits(1000, 10))
    posts = [bench.post("p", 0, 1)]
    await bench.disk.syncing.wait()
    posts += [bench.post("p", 1, 6), bench.post("p", 7, 4), bench.post("q", 0, 12), bench.post("p", 11, 1)]
    await idle()
    bench.disk.free.set()
    outcomes = await asyncio.gather(*posts)
    assert [len(report.bodies) for report in bench.reports] == [1, 2, 1, 1]
    assert [status for i in (0, 1, 2, 4) for status in statuses(outcomes[i])] == ["warming"] * 3 + ["scored"] * 9
    await bench.end()


@played
async def test_a_full_queue_refuses_and_takes_again_when_there_is_room() -> None:
    bench = Bench(QueueLimits(10, 5))
    first = bench.post("p", 0, 1)
    await bench.disk.syncing.wait()
    fits = [bench.post("q", 0, 6), bench.post("r", 0, 4)]
    await idle()
    with pytest.raises(QueueFull, match="10 readings wait to be scored; expected at most 10"):
        await bench.post("s", 0, 1)
    bench.disk.free.set()
    await asyncio.gather(first, *fits)
    assert statuses(await bench.post("s", 0, 1)) == ["warming"]
    await bench.end()


@played
async def test_a_body_beyond_the_bound_is_taken_where_nobody_else_waits() -> None:
    bench = Bench(QueueLimits(3, 3))
    bench.disk.free.set()
    assert len(statuses(await bench.post("p", 0, 8))) == 8
    await bench.end()


@played
async def test_stopping_answers_what_waits_and_takes_no_more() -> None:
    bench = Bench()
    posts = [bench.post("p", 0, 1)]
    await bench.disk.syncing.wait()
    posts.append(bench.post("q", 0, 1))
    await idle()
    bench.consumer.stop()
    with pytest.raises(Stopping):
        await bench.post("r", 0, 1)
    bench.disk.free.set()
    assert [statuses(await post) for post in posts] == [["warming"]] * 2
    await bench.running
    assert bench.consumer.failure is None


@pytest.mark.parametrize("fails", ["append", "sync"])
def test_a_disk_that_fails_answers_nobody_and_ends_it(fails: str) -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.disk.free.set()
        await bench.post("p", 0, 5)
        bench.disk.fails = fails
        bench.disk.free.clear()
        bench.disk.syncing.clear()
        under_way = bench.post("p", 5, 1)
        if fails == "sync":
            await bench.disk.syncing.wait()
        waiting = bench.post("q", 0, 1)
        await asyncio.sleep(0)
        bench.disk.free.set()
        for post in (under_way, waiting, bench.post("r", 0, 1)):
            with pytest.raises(Unavailable):
                await post
        with pytest.raises(OSError, match="Errno"):
            await bench.running
        with pytest.raises(Unavailable):
            await bench.consumer.settled()
        with pytest.raises(Unavailable):
            await bench.consumer.sweep()
        assert len(bench.reports) == 1

    play(scenario)


@played
async def test_what_fails_after_a_look_for_silence_answers_nobody_either() -> None:
    bench = Bench()
    bench.disk.free.set()
    await bench.post("p", 0, 5)
    bench.consumer.clock.observe(START + 1000 * SECOND)
    bench.disk.fails = "sync"
    bench.disk.free.clear()
    bench.disk.syncing.clear()
    sweeping = asyncio.create_task(bench.consumer.sweep())
    await bench.disk.syncing.wait()
    waiting = bench.post("p", 5, 1)
    await idle()
    bench.disk.free.set()
    with pytest.raises(OSError, match="Input/output"):
        await sweeping
    bench.disk.fails = ""
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(OSError, match="Input/output"):
        await bench.running
    assert len(bench.disk.appended) == 2


@played
async def test_a_request_that_went_away_is_scored_all_the_same() -> None:
    bench = Bench()
    first = bench.post("p", 0, 1)
    await bench.disk.syncing.wait()
    gone, stays = bench.post("p", 1, 4), bench.post("p", 5, 1)
    await idle()
    gone.cancel()
    first.cancel()
    bench.disk.free.set()
    assert statuses(await stays) == ["scored"]
    assert gone.cancelled()
    assert bench.shard.columns["ring_count"][0] == 6
    await bench.end()


@played
async def test_between_step_and_sync_nobody_looks() -> None:
    bench = Bench()
    post = bench.post("p", 0, 1)
    await bench.disk.syncing.wait()
    looking = asyncio.create_task(bench.consumer.settled())
    await idle()
    assert not looking.done()
    assert len(bench.shard) == 1, "the shard is ahead of what is safe"
    bench.disk.free.set()
    await asyncio.gather(post, looking)
    await bench.end()


@played
async def test_whoever_waited_to_look_sees_no_later_step() -> None:
    bench = Bench()
    first = bench.post("p", 0, 1)
    await bench.disk.syncing.wait()
    seen: list[int] = []

    async def look() -> None:
        await bench.consumer.settled()
        seen.append(len(bench.shard))

    looking = asyncio.create_task(look())
    second = bench.post("q", 0, 1)
    await idle()
    bench.disk.free.set()
    await asyncio.gather(first, second, looking)
    assert seen == [1]
    await bench.end()


@played
async def test_silence_is_found_and_made_safe() -> None:
    bench = Bench()
    bench.disk.free.set()
    await bench.consumer.sweep()
    await bench.post("p", 0, 1)
    await bench.post("q", 30, 1)
    await bench.consumer.sweep()
    await bench.consumer.sweep()
    assert [record.kind for record in bench.disk.appended] == ["readings", "readings", "event"]
    assert [alarm.equipment for alarm in bench.disk.appended[-1].alarms] == ["p"]
    await bench.end()


@played
async def test_the_clock_of_the_data_is_told_the_newest_time_and_never_runs_back() -> None:
    bench = Bench()
    bench.disk.free.set()
    await bench.post("p", 20, 3)
    await bench.post("q", 0, 2)
    await bench.consumer.submit(body({"readings": []}))
    assert [report.now for report in bench.reports] == [START + 22 * SECOND] * 3
    await bench.end()


@played
async def test_the_wall_clock_is_not_told() -> None:
    bench = Bench(clock=SteadyClock())
    bench.disk.free.set()
    before = WallClock().now()
    await bench.post("p", 0, 1)
    assert before <= bench.reports[0].now <= WallClock().now()
    await bench.end()


def test_many_values_or_many_readings_of_one_machine_take_long() -> None:
    def of(*counts: int, sensors: int = 1) -> Body:
        names, rows = [f"sensor-{i}" for i in range(sensors)], [np.ones((count, sensors)) for count in counts]
        batches = [in_columns(f"m{i}", names, seconds(0, len(x)), x) for i, x in enumerate(rows)]
        return body({"batches": batches})

    one_by_one = in_rows([("m0", START + i, {"a": 1.0}) for i in range(THREAD_WAVES_MIN)])
    assert takes_long([of(THREAD_WAVES_MIN)])
    assert takes_long([of(THREAD_WAVES_MIN - 1), of(1)])
    assert takes_long([body(one_by_one)])
    assert not takes_long([of(THREAD_WAVES_MIN - 1, THREAD_WAVES_MIN - 1), of(0)])
    assert takes_long([of(*[100] * 10, sensors=THREAD_CELLS_MIN // 1000)])
    assert not takes_long([])


@played
async def test_a_defect_of_the_shard_ends_it_too() -> None:
    bench = Bench()
    bench.disk.free.set()

    def broken(*given: Any) -> Any:
        raise ZeroDivisionError("a defect")

    bench.shard.place = broken  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="a defect"):
        await bench.post("p", 0, 1)
    with pytest.raises(ZeroDivisionError):
        await bench.running
    assert isinstance(bench.consumer.failure, ZeroDivisionError)


@played
async def test_records_say_when_they_came_in_by_the_wall_whatever_the_clock_says() -> None:
    bench = Bench()
    bench.disk.free.set()
    before = WallClock().now()
    await bench.post("p1", 0, 2)
    await bench.consumer.tell([("settings", {"settings": {}, "changed": {}})])
    for record in bench.disk.appended:
        assert before <= record.received_at <= WallClock().now()
        assert record.now == START + SECOND, "the newest reading"
    assert [record.kind for record in bench.disk.appended] == ["readings", "settings"]
    await bench.end()
    with pytest.raises(Stopping):
        await bench.consumer.tell([("settings", {})])
