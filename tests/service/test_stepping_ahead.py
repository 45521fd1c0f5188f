"""What is stepped while the disk still works on what came before."""

from __future__ import annotations

import asyncio

import pytest

from service.consumer import AHEAD_READINGS_MIN
from service.errors import Unavailable
from tests.service.consuming import Bench, idle, played
from tests.service.fleet import statuses


@played
async def test_much_that_waits_is_stepped_while_the_disk_works_and_answered_after_its_own_sync() -> None:
    bench = Bench()
    first = bench.post("p", 0, 1)
    await bench.disk.syncing.wait()
    few = bench.post("q", 0, 1)
    await idle()
    assert len(bench.disk.appended) == 1, "little that waits is left to grow"
    many = [bench.post(f"m{i}", 0, 50) for i in range(AHEAD_READINGS_MIN // 50)]
    await idle()
    assert len(bench.disk.appended) == 2
    assert len(bench.shard) == 2 + len(many)
    assert not any(post.done() for post in (first, few, *many))
    bench.disk.free.set()
    bench.disk.free.clear()  # who waits now goes on, and nobody after
    assert statuses(await first) == ["warming"]
    await idle()
    assert not any(post.done() for post in (few, *many)), "their own record is not safe yet"
    bench.disk.free.set()
    await asyncio.gather(few, *many)
    assert [len(report.bodies) for report in bench.reports] == [1, 1 + len(many)]
    await bench.end()


@played
async def test_nothing_is_stepped_ahead_of_who_waits_to_look() -> None:
    bench = Bench()
    first = bench.post("p", 0, 1)
    await bench.disk.syncing.wait()
    seen: list[int] = []

    async def look() -> None:
        await bench.consumer.settled()
        seen.append(len(bench.shard))

    looking = asyncio.create_task(look())
    await idle()
    many = [bench.post(f"m{i}", 0, 50) for i in range(AHEAD_READINGS_MIN // 50)]
    await idle()
    assert len(bench.disk.appended) == 1
    bench.disk.free.set()
    await asyncio.gather(first, looking, *many)
    assert seen == [1]
    await bench.end()


@played
async def test_a_sync_that_fails_takes_with_it_what_was_stepped_ahead() -> None:
    bench = Bench()
    first = bench.post("p", 0, 1)
    await bench.disk.syncing.wait()
    many = [bench.post(f"m{i}", 0, 50) for i in range(AHEAD_READINGS_MIN // 50)]
    await idle()
    assert len(bench.disk.appended) == 2
    bench.disk.fails = "sync"
    bench.disk.free.set()
    for post in (first, *many):
        with pytest.raises(Unavailable):
            await post
    with pytest.raises(OSError, match="Input/output"):
        await bench.running
    assert bench.reports == []


@played
async def test_a_record_that_waits_for_the_disk_does_not_change_with_its_alarms() -> None:
    bench = Bench()
    bench.disk.free.set()
    await bench.post("p", 0, 1)
    await bench.post("q", 30, 1)
    await bench.consumer.sweep()
    (opened,) = bench.disk.appended[-1].alarms
    await bench.post("p", 31, 1)
    (closed,) = bench.disk.appended[-1].alarms
    assert (opened.id, opened.open, closed.open) == (closed.id, True, False)
    await bench.end()
