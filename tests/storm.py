"""Load makers: clients that post to a real service as plants do on a bad day, and what its process holds meanwhile."""

from __future__ import annotations

import asyncio
import gc
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from models.backfill import Backfill
from tests.service.running import model_folder
from tests.service.test_serve import process, wait_until_ready

JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024
SAMPLE = re.compile(r"^([a-zA-Z_:]\w*(?:\{[^}]*\})?) ", re.MULTILINE)
Answer = dict[str, Any]
Figures = tuple[str, float | None, float | None, bool]  # of one reading: status, score, p-value, whether in alarm


@dataclass(frozen=True)
class Footprint:
    """What a process holds."""

    resident: int  # bytes
    peak: int  # bytes that were resident at most, ever
    threads: int
    descriptors: int


def footprint(pid: int) -> Footprint:
    """What a process holds now."""
    folder = Path(f"/proc/{pid}")
    memory = dict(line.split(":") for line in (folder / "status").read_text().splitlines() if line.startswith("Vm"))
    resident, peak = (int(memory[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return Footprint(resident, peak, len(list((folder / "task").iterdir())), len(list((folder / "fd").iterdir())))


@dataclass(frozen=True)
class Served:
    """A real service in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    client: httpx.Client

    @property
    def footprint(self) -> Footprint:
        return footprint(self.process.pid)

    def series(self) -> set[str]:
        """The names and labels of all series on /metrics."""
        return set(SAMPLE.findall(self.client.get("/metrics").text))

    def figure(self, series: str) -> float:
        """One figure of /metrics."""
        lines = self.client.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith(f"{series} ")).rpartition(" ")[2])

    def post(self, body: Any) -> Answer:
        """The answer to readings, which has to be 200."""
        response = self.client.post("/v1/readings", content=msgspec.json.encode(body), headers=JSON)
        assert response.status_code == 200, response.text
        found: Answer = msgspec.json.decode(response.content)
        return found

    def put_in(self, content: bytes) -> int:
        """Upload a model; the number of its version."""
        response = self.client.post("/v1/models", content=content, headers={"Content-Type": "application/zip"})
        assert response.status_code == 201, response.text
        number: int = response.json()["version"]
        return number

    def end(self) -> None:
        """Stop it; it has to end well."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0


@contextmanager
def served(folder: Path, said: list[str] | None = None, installed: bool = True, **variables: str) -> Iterator[Served]:
    """A service that is ready, with one model put in unless it has its models already; settings as `LIMEN_...`, its log
    into `said`."""
    given = {"LIMEN_MODEL": str(model_folder())} if installed else {}
    with (
        process(folder, said=said, **given, **variables) as (started, url),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        wait_until_ready(client)
        yield Served(started, url, client)


def crowd(url: str, clients: int, work: Callable[[httpx.AsyncClient, int], Awaitable[None]]) -> None:
    """Clients, each with a connection of its own, that all work at the same time."""

    async def one(number: int, start: asyncio.Event) -> None:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            await start.wait()
            await work(client, number)

    async def all_of_them() -> None:
        start = asyncio.Event()
        tasks = [asyncio.create_task(one(number, start)) for number in range(clients)]
        await asyncio.sleep(0)
        start.set()
        await asyncio.gather(*tasks)

    gc.collect()
    asyncio.run(all_of_them())


async def post(client: httpx.AsyncClient, body: Any) -> Answer:
    """The answer to readings, which has to be 200."""
    response = await client.post("/v1/readings", content=msgspec.json.encode(body), headers=JSON)
    assert response.status_code == 200, response.text
    found: Answer = msgspec.json.decode(response.content)
    return found


def figures(batch: Answer) -> list[Figures]:
    """What a batch of columns was answered, reading by reading."""
    return list(zip(batch["status"], batch["score"], batch["p_value"], batch["alarm"], strict=True))


def expected(wanted: Backfill) -> list[Figures]:
    """What the readings of a machine are answered, as JSON has it."""
    scores, p_values = ([None if v != v else v for v in f.tolist()] for f in (wanted.score, wanted.p_value))
    return list(zip(wanted.status, scores, p_values, wanted.alarm.tolist(), strict=True))
