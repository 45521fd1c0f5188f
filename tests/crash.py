"""A plant that posts to a real service which is killed again and again: what was answered must stay true.

Each client owns some machines and posts their readings in order. When the service dies it keeps its last body, waits
for the next start and posts it again: what the service had already taken comes back as `duplicate` with the result of
then. At the end every answer ever given is compared with `models/backfill.py` over the whole recording.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from models.artifact import load
from models.backfill import score_series
from models.contract import Floats, Ints
from tests.builders import process as readings_of
from tests.service.fleet import START, in_columns
from tests.service.running import SENSORS, model_folder
from tests.service.test_serve import process

DIED = (httpx.TransportError,)
BODY_READINGS_MAX = 20  # fewer than the ring of results, so that a body that was taken comes back as a whole
SETTINGS = {
    "LIMEN_SNAPSHOT_SECONDS": "6",
    "LIMEN_SNAPSHOT_READINGS_MAX": "1500",
    "LIMEN_SILENT_CHECK_SECONDS": "5",
}

Answer = tuple[str, float | None, float | None, bool]


@dataclass
class Machine:
    """One machine: its whole recording, how far it is, and what was answered to each reading."""

    name: str
    time: Ints
    x: Floats
    at: int = 0
    pending: dict[str, Any] | None = None
    count: int = 0  # readings of the pending body
    answers: list[Answer] = field(default_factory=list)

    @classmethod
    def of(cls, name: str, seed: int, ticks: int) -> Machine:
        """A recording with missing cells, a gap and faults."""
        rng = np.random.default_rng(seed)
        x = readings_of(seed, ticks)
        for start in range(40, ticks - 20, 150):
            x[start : start + 12, seed % 4] += 15
        x[rng.random(x.shape) < 0.03] = np.nan
        steps = np.ones(ticks, np.int64)
        steps[ticks // 3] = 2000
        return cls(name, START + 1_000_000 * np.cumsum(steps), x)

    @property
    def done(self) -> bool:
        return self.at >= len(self.time) and self.pending is None

    def body(self, rng: random.Random) -> dict[str, Any]:
        """The body that is not answered yet, or the next one."""
        if self.pending is None:
            self.count = min(rng.randint(1, BODY_READINGS_MAX), len(self.time) - self.at)
            part = slice(self.at, self.at + self.count)
            self.pending = in_columns(self.name, SENSORS, self.time[part], self.x[part])
        return self.pending

    def answered(self, batch: dict[str, Any]) -> None:
        """All of the pending body was answered with 200."""
        rows = zip(batch["status"], batch["score"], batch["p_value"], batch["alarm"], strict=True)
        found = list(rows)
        assert len(found) == self.count
        assert {status for status, *_ in found} <= {"scored", "warming", "unscored", "duplicate"}, found
        self.answers += found
        self.at, self.pending = self.at + self.count, None


@dataclass
class Plant:
    """Clients, the address that they post to now (None while the service is down), and alarms that were seen."""

    machines: list[Machine]
    seed: int
    clients: int = 8
    url: str | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)
    alarms: dict[str, str] = field(default_factory=dict)  # id to start

    async def post_all(self, pace_seconds: float) -> None:
        """Every reading of every machine, whatever happens to the service."""
        parts = [self.machines[number :: self.clients] for number in range(self.clients)]
        await asyncio.gather(*(self._client(part, number, pace_seconds) for number, part in enumerate(parts)))

    async def _client(self, machines: list[Machine], number: int, pace_seconds: float) -> None:
        rng = random.Random(f"{self.seed} {number}")
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            while left := [machine for machine in machines if not machine.done]:
                await self.up.wait()
                chosen = rng.sample(left, rng.randint(1, len(left)))
                batches = [machine.body(rng) for machine in chosen]
                try:
                    response = await client.post(f"{self.url}/v1/readings", json={"batches": batches})
                except DIED:
                    await asyncio.sleep(0.01)
                    continue
                if response.status_code == 503:
                    await asyncio.sleep(0.02)
                    continue
                assert response.status_code == 200, response.text
                for machine, batch in zip(chosen, response.json()["batches"], strict=True):
                    machine.answered(batch)
                await asyncio.sleep(pace_seconds)

    async def see_alarms(self, client: httpx.AsyncClient) -> None:
        """Alarms that anybody could see stay, with their ids and starts."""
        response = await client.get(f"{self.url}/v1/alarms", params={"limit": 1000})
        found = {alarm["id"]: alarm["start"] for alarm in response.json()["alarms"]}
        for name, start in self.alarms.items():
            assert found.get(name) == start, f"alarm {name} was seen and is not there any more, or is another one"
        self.alarms = found


def check(plant: Plant) -> None:
    """Every answer is what an uninterrupted run gives, bit for bit; a duplicate repeats it."""
    detector = load(model_folder()).detector
    for machine in plant.machines:
        assert len(machine.answers) == len(machine.time)
        wanted = score_series(detector, machine.name, machine.time, machine.x)
        expected = zip(
            wanted.status, wanted.score.tolist(), wanted.p_value.tolist(), wanted.alarm.tolist(), strict=True
        )
        for tick, (answer, (status, score, p_value, alarm)) in enumerate(zip(machine.answers, expected, strict=True)):
            place = f"{machine.name}, reading {tick}: {answer}"
            assert answer[0] in (status, "duplicate"), place
            assert answer[1] == (None if score != score else score), place
            assert answer[2] == (None if p_value != p_value else p_value), place
            assert answer[3] == alarm, place


async def crash_loop(
    folder: Path, plant: Plant, kills: int, pace_seconds: float = 0.004, settings: dict[str, str] | None = None
) -> int:
    """Post everything to a service that is killed `kills` times, at random numbers of answered readings."""
    rng = random.Random(plant.seed)
    total = sum(len(machine.time) for machine in plant.machines)
    moments = sorted(rng.sample(range(total // 50, total * 9 // 10), kills))  # in readings that are answered
    posting = asyncio.create_task(plant.post_all(pace_seconds))
    variables = {**SETTINGS, "LIMEN_MODEL": str(model_folder()), **(settings or {})}
    killed = 0
    try:
        while True:
            with process(folder, **variables) as (started, url):
                async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
                    await _until_ready(client, url)
                    plant.url = url
                    await plant.see_alarms(client)
                    plant.up.set()
                    if killed >= kills:
                        await posting
                        started.send_signal(signal.SIGTERM)
                        assert await asyncio.to_thread(started.wait, 30) == 0
                        return killed
                    await _until_answered(plant, posting, moments[killed], lambda: plant.see_alarms(client))
                    await asyncio.sleep(rng.uniform(0, 0.02))
                    plant.up.clear()
                    os.kill(started.pid, signal.SIGKILL)
                    await asyncio.to_thread(started.wait, 10)
                    killed += 1
    finally:
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)


async def _until_answered(
    plant: Plant, posting: asyncio.Task[None], readings: int, look: Callable[[], Awaitable[None]]
) -> None:
    """Wait until so many readings are answered, and look at times; what broke the clients is raised."""
    while sum(machine.at for machine in plant.machines) < readings:
        done, _ = await asyncio.wait([posting], timeout=0.02)
        if done:
            posting.result()
            raise AssertionError("everything was posted before the service was killed")
        await look()


async def _until_ready(client: httpx.AsyncClient, url: str) -> None:
    for _ in range(1000):
        try:
            if (await client.get(f"{url}/health/ready")).status_code == 200:
                return
        except DIED:
            pass
        await asyncio.sleep(0.02)
    raise AssertionError("the service did not become ready")
