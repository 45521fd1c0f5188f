"""What the benchmark of serving sends, and how: bodies, connections, loops that wait for answers or do not."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

SENSORS = 32
NAMES = [f"sensor-{i:02d}" for i in range(SENSORS)]
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one load."""

    service: str
    load: str
    readings_per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    refused: int


def readings(seed: int, rows: int) -> np.ndarray:
    """Readings of normal operation (rows, sensors): correlated, seeded."""
    mixing = np.random.default_rng(0).normal(size=(SENSORS, SENSORS)) / 6
    return np.random.default_rng([1, seed]).normal(size=(rows, SENSORS)) @ mixing + 20


class Values:
    """Readings to send: drawn once, used in turn, so that making a body costs little. `faulty` ones hold every machine
    in alarm."""

    def __init__(self, faulty: bool = False) -> None:
        drawn = readings(1, 2000) + 3.0 * faulty
        self.rows = [[round(v, 4) for v in row] for row in drawn.tolist()]
        self.tick: dict[int, int] = {}

    def next(self, machine: int, count: int) -> tuple[list[str], list[list[float]]]:
        """The next `count` times and readings of one machine."""
        first = self.tick.get(machine, 0)
        self.tick[machine] = first + count
        times = [(START + timedelta(seconds=first + k)).strftime("%Y-%m-%dT%H:%M:%SZ") for k in range(count)]
        return times, [self.rows[(machine * 7 + first + k) % 2000] for k in range(count)]


def columns_bodies(values: Values, machines: int, of_each: int) -> Iterator[bytes]:
    """Bodies of 100 readings in columns: 100 / `of_each` machines with `of_each` readings each."""
    machine = 0
    while True:
        batches = []
        for _ in range(100 // of_each):
            times, rows = values.next(machine, of_each)
            batches.append({"equipment": f"pump-{machine:05d}", "sensors": NAMES, "times": times, "values": rows})
            machine = (machine + 1) % machines
        yield msgspec.json.encode({"batches": batches} if len(batches) > 1 else batches[0])


def rows_bodies(values: Values, machines: int, size: int) -> Iterator[bytes]:
    """Bodies of `size` readings in rows, each of another machine."""
    machine = 0
    while True:
        readings = []
        for _ in range(size):
            times, rows = values.next(machine, 1)
            row = dict(zip(NAMES, rows[0], strict=True))
            readings.append({"equipment": f"pump-{machine:05d}", "time": times[0], "values": row})
            machine = (machine + 1) % machines
        yield msgspec.json.encode({"readings": readings})


class Connection:
    """One keep-alive HTTP/1.1 connection with one request at a time: as little client as can be."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)

    async def post(self, body: bytes) -> tuple[int, bytes]:
        head = (
            f"POST /v1/readings HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n", 1)[0])
        return int(answer[9:12]), await self.reader.readexactly(length)

    def close(self) -> None:
        self.writer.close()


@dataclass(frozen=True, slots=True)
class Sample:
    """One stretch of a load: seconds that each request took, how many were refused, and seconds in all."""

    taken: list[float]
    refused: int
    elapsed: float


def figures_of(service: str, load: str, readings: int, samples: list[Sample]) -> Figures:
    """Several stretches of one load together, of `readings` readings a request."""
    taken, refused = [t for sample in samples for t in sample.taken], sum(sample.refused for sample in samples)
    p50, p99 = np.quantile(taken, [0.5, 0.99]) * 1e3
    rate = (len(taken) - refused) * readings / sum(sample.elapsed for sample in samples)
    return Figures(service, load, rate, p50, p99, len(taken), refused)


async def closed_loop(port: int, bodies: Iterator[bytes], readings: int, in_flight: int, seconds: float) -> Sample:
    """`in_flight` clients, each sending its next body when the answer to the last one is there."""
    prepared = [next(bodies) for _ in range(int(seconds * 250_000 / max(readings, 12)))]
    supply = iter(prepared)
    taken: list[float] = []
    refused = 0

    async def client() -> None:
        nonlocal refused
        connection = Connection(port)
        await connection.open()
        while time.perf_counter() < until and (body := next(supply, None)) is not None:
            sent = time.perf_counter()
            status, _ = await connection.post(body)
            taken.append(time.perf_counter() - sent)
            refused += status != 200
        connection.close()

    started = time.perf_counter()
    until = started + seconds
    await asyncio.gather(*(client() for _ in range(in_flight)))
    return Sample(taken, refused, time.perf_counter() - started)


async def open_loop(port: int, bodies: Iterator[bytes], rate: int, seconds: float) -> Sample:
    """Single readings offered at `rate` a second, at random moments; latency counts from the moment offered."""
    rng = random.Random(2)
    moments, moment = [], 0.0
    while moment < seconds:
        moment += rng.expovariate(rate)
        moments.append(moment)
    prepared = [next(bodies) for _ in moments]
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(64):
        connection = Connection(port)
        await connection.open()
        free.put_nowait(connection)
    taken: list[float] = []
    refused = 0

    async def request(body: bytes, offered: float) -> None:
        nonlocal refused
        connection = await free.get()
        status, _ = await connection.post(body)
        taken.append(time.perf_counter() - offered)
        refused += status != 200
        free.put_nowait(connection)

    started, tasks = time.perf_counter(), []
    for moment, body in zip(moments, prepared, strict=True):
        delay = started + moment - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        tasks.append(asyncio.create_task(request(body, started + moment)))
    await asyncio.gather(*tasks)
    elapsed = time.perf_counter() - started
    while not free.empty():
        free.get_nowait().close()
    return Sample(taken, refused, elapsed)
