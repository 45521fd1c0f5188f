"""Throughput, latency and memory of a real server, beside a plain FastAPI + LSTM service, in one run.

usage: python benchmarks/serving.py [--seconds 6] [--machines 10000] [--no-reference] [--json FILE]

The server is a process of its own, pinned to one core; the load comes from this process, on another one, over HTTP on
loopback, from bodies made before the clock starts. 32 sensors, memory size 64. Figures are readings a second and
latency of requests; the open-loop part offers single readings at a fixed rate whether or not answers come back, so that
waiting counts. Each load goes in turns to a server with its journal and to one without, on the same core, so that what
the journal costs is seen in the same run. Needs two cores; the reference needs torch.
"""

from __future__ import annotations

import argparse
import asyncio
import http
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
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
MIXED, ROWS = "columns, 10 machines x 10, 64 in flight", "rows of 100, 64 in flight"
OFFERED = 1000  # single readings a second
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(command: list[str], port: int, core: int, **settings: str) -> subprocess.Popen[bytes]:
    """Start a server pinned to `core` and wait until it is ready (another one: until it answers)."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | settings
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    process = subprocess.Popen(
        command, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, {core}), stdout=subprocess.DEVNULL
    )
    for _ in range(600):
        try:
            opener.open(f"http://127.0.0.1:{port}/health/ready", timeout=1).close()
            return process
        except OSError as error:
            if getattr(error, "code", None) == http.HTTPStatus.NOT_FOUND:
                return process  # the reference, which has no such address
            if process.poll() is not None:
                raise SystemExit(f"the server ended with exit status {process.returncode}") from None
            time.sleep(0.1)
    raise SystemExit("the server was not ready within a minute")


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


@dataclass(slots=True)
class Server:
    """A server under load; what it is sent."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    values: Values
    storm: Values
    samples: dict[str, list[Sample]]

    @classmethod
    def started(cls, name: str, folder: Path, **settings: str) -> Server:
        port = free_port()
        command = [sys.executable, "-m", "service", "serve", "--model", str(folder / "model"), "--data-dir"]
        command += [str(folder / name), "--port", str(port), "--clock", "event"]
        values, storm = Values(), Values(faulty=True)
        storm.tick = values.tick
        return cls(name, start(command, port, 0, **settings), port, values, storm, {})

    def run(self, load: Load, machines: int, seconds: float) -> None:
        """One stretch of a load."""
        bodies = load.bodies(self.storm if load.faulty else self.values, machines)
        if load.in_flight:
            sample = asyncio.run(closed_loop(self.port, bodies, load.readings, load.in_flight, seconds))
        else:
            sample = asyncio.run(open_loop(self.port, bodies, OFFERED, seconds))
        self.samples.setdefault(load.name, []).append(sample)


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of `readings` readings; `in_flight` 0: offered at a fixed rate."""

    name: str
    bodies: Callable[[Values, int], Iterator[bytes]]
    readings: int = 100
    in_flight: int = 64
    faulty: bool = False


LOADS = [
    Load(f"single readings offered at {OFFERED}/s", lambda v, m: rows_bodies(v, m, 1), 1, 0),
    Load("columns, 100 machines x 1, 64 in flight", lambda v, m: columns_bodies(v, m, 1)),
    Load(MIXED, lambda v, m: columns_bodies(v, m, 10)),
    Load("columns, 10 machines x 10, 8 in flight", lambda v, m: columns_bodies(v, m, 10), in_flight=8),
    Load("columns, 1 machine x 100, 64 in flight", lambda v, m: columns_bodies(v, m, 100)),
    Load("columns, 1 machine x 100, 8 in flight", lambda v, m: columns_bodies(v, m, 100), in_flight=8),
    Load(ROWS, lambda v, m: rows_bodies(v, m, 100)),
    Load("rows of 100, every machine in alarm, 64 in flight", lambda v, m: rows_bodies(v, m, 100), faulty=True),
]


def measure_limen(options: argparse.Namespace, folder: Path) -> tuple[list[Figures], dict[str, float]]:
    """The service with its journal, and beside it, in turns, one without."""
    with_journal = Server.started("limen", folder, LIMEN_JOURNAL_BYTES_MAX="1000000000")
    servers = [with_journal, Server.started("without journal", folder, LIMEN_JOURNAL="false")]
    try:
        empty = resident(with_journal.process)
        for server in servers:
            asyncio.run(register(server.port, server.values, options.machines))
        memory = {
            "ram_per_machine": (resident(with_journal.process) - empty) / options.machines,
            "state_per_machine": float(state_bytes(folder / "model")),
        }
        for load in LOADS:
            for server in [*servers, *reversed(servers)]:  # what drifts on the machine counts for both
                server.run(load, options.machines, options.seconds / 2)
    finally:
        for server in servers:
            stop(server.process)
    figures = [
        figures_of(server.name, load.name, load.readings, server.samples[load.name])
        for load in LOADS
        for server in servers
    ]
    journal = sum(path.stat().st_size for path in (folder / "limen" / "journal").iterdir())
    readings = (WINDOW + 1) * options.machines + sum(
        f.requests * load.readings for load, f in zip(LOADS, figures[::2], strict=True)
    )
    return figures, memory | {"journal_per_reading": journal / readings}


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
        full = asyncio.run(closed_loop(port, rows_bodies(values, m, 100), 100, 64, s))
        single = asyncio.run(open_loop(port, rows_bodies(values, m, 1), 200, s))
        return [
            figures_of("reference", ROWS, 100, [full]),
            figures_of("reference", "single readings offered at 200/s", 1, [single]),
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
    console.print(f"The journal takes {memory['journal_per_reading']:,.0f} bytes of disk a reading")
    for figure, bare in zip(figures[::2], figures[1::2], strict=True):
        cost = 1 - figure.readings_per_second / bare.readings_per_second
        console.print(f"The journal costs {cost:4.0%} of {figure.load}")
        if reference and figure.load in (MIXED, ROWS):
            ratio = figure.readings_per_second / reference[0].readings_per_second
            console.print(f"Limen, {figure.load}, beside the reference, {reference[0].load}: {ratio:.1f} times")
    if options.json:
        options.json.write_text(json.dumps({"loads": [asdict(f) for f in figures + reference], **memory}, indent=1))


if __name__ == "__main__":
    main()
