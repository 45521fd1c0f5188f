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
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from http_load import (
    NAMES,
    SENSORS,
    Connection,
    Figures,
    Sample,
    Values,
    closed_loop,
    columns_bodies,
    figures_of,
    open_loop,
    readings,
    rows_bodies,
)
from rich.console import Console
from rich.table import Table

MEMORY, WINDOW = 64, 15
MIXED, ROWS = "columns, 10 machines x 10, 64 in flight", "rows of 100, 64 in flight"
OFFERED = 1000  # single readings a second
ROOT = Path(__file__).resolve().parents[1]


def make_model(folder: Path) -> None:
    """Train a model of 32 sensors with a memory of 64."""
    from models import artifact
    from models.fit import Shape
    from models.preprocess import Segment
    from models.train import Options, train

    options = Options(shape=Shape(MEMORY, WINDOW), name="bench")
    training = train([Segment("machine", readings(0, 8000))], tuple(NAMES), 1_000_000, options)
    artifact.save(training.manifest, training.detector, training.drift, folder)


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
