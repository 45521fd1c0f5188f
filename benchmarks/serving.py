"""Throughput, latency and memory of a real server, beside a plain FastAPI + LSTM service, in one run.

usage: python benchmarks/serving.py [--seconds 6] [--machines 10000] [--no-reference] [--json FILE]

The server is a process of its own, pinned to one core; the load comes from this process, on another one, over HTTP on
loopback, from bodies made before the clock starts. 32 sensors, memory size 64. Figures are readings a second and
latency of requests; the open-loop part offers single readings at a fixed rate whether or not answers come back, so that
waiting counts. Needs two cores; the reference needs torch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

SENSORS, MEMORY, WINDOW = 32, 64, 15
NAMES = [f"sensor-{i:02d}" for i in range(SENSORS)]
START = datetime(2026, 1, 1, tzinfo=UTC)
MIXED, ROWS = "columns, 10 machines x 10", "rows of 100"
ROOT = Path(__file__).resolve().parents[1]


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


def make_model(folder: Path) -> None:
    """Train a model of 32 sensors with a memory of 64."""
    from models import artifact
    from models.fit import Shape
    from models.preprocess import Segment
    from models.train import Options, train

    options = Options(shape=Shape(MEMORY, WINDOW), name="bench")
    training = train([Segment("machine", readings(0, 8000))], tuple(NAMES), 1_000_000, options)
    artifact.save(training.manifest, training.detector, training.drift, folder)


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


async def closed_loop(
    port: int, bodies: Iterator[bytes], readings: int, in_flight: int, seconds: float, service: str, load: str
) -> Figures:
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
    elapsed = time.perf_counter() - started
    p50, p99 = np.quantile(taken, [0.5, 0.99]) * 1e3
    rate = (len(taken) - refused) * readings / elapsed
    return Figures(service, f"{load}, {in_flight} in flight", rate, p50, p99, len(taken), refused)


async def open_loop(port: int, bodies: Iterator[bytes], rate: int, seconds: float, service: str) -> Figures:
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
    p50, p99 = np.quantile(taken, [0.5, 0.99]) * 1e3
    return Figures(service, f"single readings offered at {rate}/s", len(taken) / elapsed, p50, p99, len(taken), refused)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(command: list[str], port: int, core: int) -> subprocess.Popen[bytes]:
    """Start a server pinned to `core` and wait until it listens."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, {core}), stdout=subprocess.DEVNULL
    )
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"the server ended with exit status {process.returncode}") from None
            time.sleep(0.1)
    raise SystemExit("the server did not listen within a minute")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def resident(process: subprocess.Popen[bytes]) -> int:
    """Bytes of RAM of a process."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


async def register(port: int, values: Values, machines: int) -> None:
    """One body of 100 readings for every 100 machines: all of them known, none still warming up."""
    connection = Connection(port)
    await connection.open()
    bodies = columns_bodies(values, machines, 1)
    for _ in range((WINDOW + 1) * machines // 100):
        status, answer = await connection.post(next(bodies))
        if status != 200:
            raise SystemExit(f"the server answered {status}: {answer[:300]!r}")
    connection.close()


def measure_limen(options: argparse.Namespace, folder: Path) -> tuple[list[Figures], dict[str, float]]:
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--model", str(folder / "model"), "--data-dir"]
    command += [str(folder / "data"), "--port", str(port), "--clock", "event"]
    process = start(command, port, core=0)
    values, storm, m, s = Values(), Values(faulty=True), options.machines, options.seconds
    try:
        empty = resident(process)
        asyncio.run(register(port, values, m))
        per_machine = (resident(process) - empty) / m
        storm.tick = values.tick
        loads = [
            ("columns, 100 machines x 1", lambda: columns_bodies(values, m, 1), 64),
            (MIXED, lambda: columns_bodies(values, m, 10), 64),
            (MIXED, lambda: columns_bodies(values, m, 10), 8),
            ("columns, 1 machine x 100", lambda: columns_bodies(values, m, 100), 64),
            ("columns, 1 machine x 100", lambda: columns_bodies(values, m, 100), 8),
            (ROWS, lambda: rows_bodies(values, m, 100), 64),
            ("rows of 100, every machine in alarm", lambda: rows_bodies(storm, m, 100), 64),
        ]
        figures = [asyncio.run(open_loop(port, rows_bodies(values, m, 1), 1000, s, "limen"))]
        figures += [
            asyncio.run(closed_loop(port, bodies(), 100, flight, s, "limen", load)) for load, bodies, flight in loads
        ]
        return figures, {"ram_per_machine": per_machine, "state_per_machine": float(state_bytes(folder / "model"))}
    finally:
        stop(process)


def state_bytes(model: Path) -> int:
    """Bytes of the arrays that hold one machine: memory, statistics, alarm, and the ring of its last results."""
    from models.artifact import load
    from service.shard import Shard

    loaded = load(model)
    shard = Shard(lambda equipment: loaded)
    shard.bank(loaded)
    return shard.bytes_per_machine()


def measure_reference(options: argparse.Namespace) -> list[Figures]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.reference_service:app", "--port", str(port)]
    process = start([*command, "--log-level", "warning", "--no-access-log"], port, core=0)
    values, m, s = Values(), options.machines, options.seconds
    try:
        return [
            asyncio.run(closed_loop(port, rows_bodies(values, m, 100), 100, 64, s, "reference", ROWS)),
            asyncio.run(open_loop(port, rows_bodies(values, m, 1), 200, s, "reference")),
        ]
    finally:
        stop(process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each load")
    parser.add_argument("--machines", type=int, default=10_000)
    parser.add_argument("--no-reference", action="store_true", help="leave the reference out")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder) / "model")
        figures, memory = measure_limen(options, Path(folder))
    reference = [] if options.no_reference else measure_reference(options)
    table = Table(title=f"{SENSORS} sensors, {options.machines:,} machines, server on one core")
    for heading in ("service", "load", "readings/s", "p50 ms", "p99 ms", "requests", "refused"):
        table.add_column(heading, justify="left" if heading in ("service", "load") else "right")
    for f in figures + reference:
        table.add_row(
            f.service,
            f.load,
            f"{f.readings_per_second:,.0f}",
            f"{f.p50_ms:.2f}",
            f"{f.p99_ms:.2f}",
            str(f.requests),
            str(f.refused),
        )
    console = Console(width=120)
    console.print(table)
    console.print(f"State of a machine: {memory['state_per_machine']:,.0f} bytes (memory, statistics, last results)")
    console.print(
        f"RAM that the process grew by: {memory['ram_per_machine']:,.0f} bytes a machine (with its id, and reserve)"
    )
    for figure in figures:
        if reference and figure.load in (f"{MIXED}, 64 in flight", f"{ROWS}, 64 in flight"):
            ratio = figure.readings_per_second / reference[0].readings_per_second
            console.print(f"Limen, {figure.load}, beside the reference, {reference[0].load}: {ratio:.1f} times")
    if options.json:
        options.json.write_text(json.dumps({"loads": [asdict(f) for f in figures + reference], **memory}, indent=1))


if __name__ == "__main__":
    main()
