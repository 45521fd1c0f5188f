"""A plant that posts to a real service which is killed again and again: what was answered must stay true.

Each client owns some machines and posts their readings in order. When the service dies it keeps its last body, waits
for the next start and posts it again: what the service had already taken comes back as `duplicate` with the result of
then. A witness reads meanwhile. After each restart nothing that was answered or seen may be missing, and nothing that
was never posted may be there; `tests/uninterrupted.py` compares the whole at the end.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from models.contract import Floats, Ints
from service.ingest.times import time_texts
from tests.builders import process as readings_of
from tests.service.fleet import START, in_columns
from tests.service.running import SENSORS, model_folder
from tests.service.test_serve import TETHERED, process
from tests.witness import Witness, last_times

BODY_READINGS_MAX = 20  # fewer than the ring of results, so that a body that was taken comes back as a whole
SETTINGS = {
    "LIMEN_SNAPSHOT_SECONDS": "6",
    "LIMEN_SNAPSHOT_READINGS_MAX": "2500",
    "LIMEN_SILENT_CHECK_SECONDS": "5",
}
NEWS_SECONDS_MAX = 1.0
STATUSES = {"scored", "warming", "unscored", "duplicate"}

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

    def __post_init__(self) -> None:
        self.texts = time_texts(self.time)
        self.place = {text: tick for tick, text in enumerate(self.texts)}

    @property
    def readings(self) -> int:
        return len(self.time)

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
        for place, (status, *_) in enumerate(found, self.at):
            assert status in STATUSES, f"{self.name}, reading {place} was answered as {status}"
        self.answers += found
        self.at, self.pending = self.at + self.count, None

    def kept(self, last_time: str | None) -> int:
        """How many readings a service has whose last one is of `last_time`: all that were answered, and of the body
        that was not either all or nothing."""
        found = self.place[last_time] + 1 if last_time else 0
        assert found >= self.at, f"{self.name}, reading {found} was answered and is not there any more"
        allowed = (self.at, self.at + (self.count if self.pending else 0))
        assert found in allowed, f"{self.name} has {found} readings after the restart; expected one of {allowed}"
        return found


@dataclass
class Plant:
    """Clients, the address that they post to now, and who reads meanwhile."""

    machines: list[Machine]
    seed: int
    clients: int = 8
    url: str | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)
    witness: Witness = field(default_factory=Witness)
    kept: int = 0  # readings that the service had when it started last

    @property
    def readings(self) -> int:
        return sum(machine.readings for machine in self.machines)

    @property
    def answered(self) -> int:
        return sum(machine.at for machine in self.machines)

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
                body = self.body(chosen, rng)
                try:
                    response = await client.post(f"{self.url}/v1/readings", json=body)
                except httpx.TransportError:
                    await asyncio.sleep(0.01)
                    continue
                if response.status_code == 503:
                    await asyncio.sleep(0.02)
                    continue
                assert response.status_code == 200, response.text
                self.take(chosen, response.json())
                await asyncio.sleep(pace_seconds)

    def body(self, chosen: list[Machine], rng: random.Random) -> dict[str, Any]:
        """What some machines send together."""
        return {"batches": [machine.body(rng) for machine in chosen]}

    def take(self, chosen: list[Machine], answer: dict[str, Any]) -> None:
        """What was answered to it."""
        for machine, batch in zip(chosen, answer["batches"], strict=True):
            machine.answered(batch)

    async def count_kept(self, client: httpx.AsyncClient, last: dict[str, str]) -> int:
        """How many readings a service has; `last` are the times of the last one of each machine."""
        return sum(machine.kept(last.get(machine.name)) for machine in self.machines)

    async def started(self, url: str) -> None:
        """A service is up and nobody has posted yet: what was answered, seen or counted before is there."""
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            await _until_ready(client)
            last = await last_times(client)
            before, self.kept = self.kept, await self.count_kept(client, last)
            await self.witness.compare(client, last, self.kept - before)
        self.url = url
        self.up.set()


async def crash_loop(
    folder: Path,
    plant: Plant,
    kills: int,
    pace_seconds: float = 0.004,
    settings: dict[str, str] | None = None,
    program: str = TETHERED,
    linger_seconds: float = 0.02,
) -> int:
    """Post everything to a service that is killed `kills` times, each after a random number of answered readings: by
    turns as soon as something new can be seen, and up to `linger_seconds` later. Returns how many times it was."""
    rng = random.Random(plant.seed)
    total = plant.readings
    moments = sorted(rng.sample(range(total // 50, total * 9 // 10), kills))  # in readings that are answered
    posting = asyncio.create_task(plant.post_all(pace_seconds))
    variables = {**SETTINGS, "LIMEN_MODEL": str(model_folder()), **(settings or {})}
    names = [machine.name for machine in plant.machines]
    try:
        for killed, moment in enumerate([*moments, total]):
            said: list[str] = []
            with process(folder, said=said, program=program, **variables) as (started, url):
                await plant.started(url)
                seeing = asyncio.create_task(plant.witness.watch(url, names, f"{plant.seed} {killed}"))
                try:
                    await _until_answered(plant, moment, started, said, posting, seeing)
                    if moment < total:
                        await _linger(plant, url, rng.uniform(0, linger_seconds) if killed % 2 else None)
                    await _end(plant, started, signal.SIGKILL if moment < total else signal.SIGTERM)
                    await seeing
                finally:
                    seeing.cancel()
                    await asyncio.gather(seeing, return_exceptions=True)
        return killed
    finally:
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)


async def _linger(plant: Plant, url: str, seconds: float | None) -> None:
    """Wait before a kill; None: until there is something new to be seen."""
    if seconds is not None:
        await asyncio.sleep(seconds)
        return
    with suppress(TimeoutError, httpx.TransportError):
        await asyncio.wait_for(plant.witness.see_news(url), NEWS_SECONDS_MAX)


async def _end(plant: Plant, started: subprocess.Popen[str], by: signal.Signals) -> None:
    """Kill the service, or stop it in order, which has to end with status 0."""
    started.send_signal(by)
    plant.up.clear()
    status = await asyncio.to_thread(started.wait, 30)
    assert status == (0 if by == signal.SIGTERM else -by)


async def _until_answered(
    plant: Plant,
    readings: int,
    started: subprocess.Popen[str],
    said: list[str],
    posting: asyncio.Task[None],
    seeing: asyncio.Task[None],
) -> None:
    """Wait until so many readings are answered; what broke the clients, the witness or the service is raised."""
    while plant.answered < readings:
        done, _ = await asyncio.wait([posting, seeing], timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
        if started.poll() is not None:
            raise AssertionError(f"the service ended by itself: {await asyncio.to_thread(_last_line, said)}")
        for task in done:
            task.result()


def _last_line(said: list[str]) -> str:
    """The last line of the log of a service that has ended, as soon as it is read."""
    for _ in range(500):
        if said:
            return said[0].strip().rpartition("\n")[2]
        time.sleep(0.01)
    return "nothing was said"


async def _until_ready(client: httpx.AsyncClient) -> None:
    for _ in range(1000):
        try:
            if (await client.get("/health/ready")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.02)
    raise AssertionError("the service did not become ready")
