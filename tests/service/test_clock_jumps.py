"""Clocks that jump: that of the computer, of a sender, and of a box that starts in the past."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.clock import WallClock
from service.consumer import BatchReport, Consumer
from service.journal import Unjournaled
from service.lifecycle import Service
from service.limits import ShardLimits
from service.outcome import BodyOutcome
from service.status import Flag
from tests.service import fleet
from tests.service.fleet import SECOND, in_columns, normal, play, reasons, statuses
from tests.service.running import columns, run, settings
from tests.service.test_clock import WALL, Computer

MODEL = fleet.model()
X = normal(MODEL.detector, 3, 200)
START, HOUR = WALL // 1000, 3_600


class Plant:
    """One machine that posts a reading a second by its own clock, and the consumer of a computer whose clock may be
    set."""

    def __init__(self) -> None:
        self.computer, self.reports = Computer(), list[BatchReport]()
        self.shard = fleet.shard(MODEL, limits=ShardLimits())
        self.consumer = Consumer(
            self.shard,
            Unjournaled(),
            self.computer.clock(),
            observe=self.reports.append,
            wall=WallClock(lambda: self.computer.wall),
        )
        self.sent = 0

    async def post(self, count: int, ahead: int = 0) -> BodyOutcome:
        """The next readings, a second each; the sender's clock is `ahead` by some seconds."""
        self.computer.wait(count)
        times = START + SECOND * (np.arange(self.sent, self.sent + count) + ahead)
        x = X[self.sent : self.sent + count]
        self.sent += count
        return await self.consumer.submit(fleet.body(in_columns("p", MODEL.detector.sensors, times, x)))

    async def fallen_silent(self) -> int:
        await self.consumer.sweep()
        return self.shard.silent()


def played(scenario: Callable[[Plant], Awaitable[None]]) -> None:
    async def whole() -> None:
        plant = Plant()
        running = asyncio.create_task(plant.consumer.run())
        await plant.post(10)
        await scenario(plant)
        plant.consumer.stop()
        await running

    play(whole)


@pytest.mark.parametrize("jump", [24 * HOUR, -24 * HOUR, HOUR // 6 + 60, -2])
def test_where_the_computers_clock_jumps_nothing_is_silent_refused_or_of_long_ago(jump: int) -> None:
    async def scenario(plant: Plant) -> None:
        plant.computer.wall += jump * 1_000_000_000
        assert await plant.fallen_silent() == 0
        for _ in range(5):
            outcome = await plant.post(2)
            assert statuses(outcome) == ["scored"] * 2
            assert not outcome.flags.any()
            assert await plant.fallen_silent() == 0
        plant.computer.wait(6)
        assert await plant.fallen_silent() == 1, "five intervals in which nothing came are silence all the same"
        record = plant.reports[-1].record
        assert record.received_at == plant.reports[-1].now == (WALL // 1000) + (20 + jump) * SECOND, "by the wall"
        assert record.now == START + 20 * SECOND

    played(scenario)


def test_what_a_sender_whose_clock_jumps_ahead_sends_is_refused_and_moves_nothing() -> None:
    async def scenario(plant: Plant) -> None:
        outcome = await plant.post(2, ahead=24 * HOUR)
        assert reasons(outcome) == ["future"] * 2
        assert plant.shard.columns["last_time"][0] == START + 9 * SECOND
        assert plant.shard.columns["heard"][0] == START + 10 * SECOND
        assert statuses(await plant.post(2)) == ["scored"] * 2, "it was set right"

    played(scenario)


def test_what_a_sender_whose_clock_jumps_back_sends_is_late_until_it_is_right_again() -> None:
    async def scenario(plant: Plant) -> None:
        assert statuses(await plant.post(2, ahead=-HOUR)) == ["late"] * 2
        assert plant.shard.columns["last_time"][0] == START + 9 * SECOND
        assert statuses(await plant.post(2)) == ["scored"] * 2

    played(scenario)


def test_a_sender_that_was_ahead_and_is_set_right_is_heard_again_after_as_long_as_it_was_ahead() -> None:
    async def scenario(plant: Plant) -> None:
        outcome = await plant.post(3, ahead=5)
        assert set(statuses(outcome)) <= {"scored", "warming"}
        assert statuses(await plant.post(7)) == ["late"] * 2 + ["rejected"] * 3 + ["scored"] * 2

    played(scenario)


def test_old_readings_are_historical_by_whichever_clock_makes_them_younger() -> None:
    async def scenario(plant: Plant) -> None:
        plant.computer.wait(2 * HOUR)
        outcome = await plant.post(1)
        assert outcome.flags.tolist() == [Flag.HISTORICAL]
        plant.computer.wall -= 2 * HOUR * 1_000_000_000
        assert (await plant.post(1)).flags.tolist() == [0]

    played(scenario)


@pytest.mark.parametrize(("clock", "ahead"), [("wall", True), ("event", False)])
def test_a_start_goes_on_from_the_time_of_the_newest_record_of_that_clock(
    clock: str, ahead: bool, tmp_path: Path
) -> None:
    later = time.time_ns() // 1000 + 2 * HOUR * SECOND

    async def first(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p", 0, 5))
        service.shard.columns["heard"][0] = later  # as if the computer's clock were behind at the next start

    async def second(client: httpx.AsyncClient, service: Service) -> None:
        assert (service.clock.now() >= later) is ahead
        assert service.shard.columns["heard"][0] <= service.clock.now()

    far = {"future_seconds_max": 366 * 86_400.0}
    run(settings(tmp_path, clock=clock, **far), first)
    run(settings(tmp_path, clock="wall", model=None, **far), second)


def test_what_was_heard_by_the_computers_clock_does_not_move_that_of_the_data(tmp_path: Path) -> None:
    found: list[int] = []

    async def post(client: httpx.AsyncClient, service: Service, equipment: str, first: int) -> None:
        body = columns(equipment, first, 5)
        body["times"] = [time.replace("2026", "2020") for time in body["times"]]
        assert (await client.post("/v1/readings", json=body)).json()["warming"] == 5
        found.append(service.consumer.clock.now())

    async def look(client: httpx.AsyncClient, service: Service) -> None:
        found.append(service.consumer.clock.now())
        assert service.shard.silent() == 0

    run(settings(tmp_path), partial(post, equipment="p1", first=0))
    run(settings(tmp_path, clock="wall"), look)
    run(settings(tmp_path), partial(post, equipment="p2", first=20))
    run(settings(tmp_path), look)
    before, wall, after, again = found
    assert before < after == again < wall
