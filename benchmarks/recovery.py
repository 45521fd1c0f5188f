"""How long a start takes after a crash: imports, snapshot, replay of the journal, and the memory it needs.

usage: python benchmarks/recovery.py [--machines 10000 100000] [--replayed N] [--body 100] [--joined] [--json FILE]

For each number of machines: a data folder is made as a service would leave it that is killed at the worst moment (a
snapshot, and after it `--replayed` readings in the journal, by default as many as the settings allow), then a real
`limen serve` is started on it, and `/health/ready` is asked until it answers 200. 10 sensors, default shape; each
record of the journal holds `--body` machines with one reading each. `--joined`: their sensors are joined from points.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from service import recovery, scoring, snapshot
from service.ingest.batch import Body, Limits
from service.ingest.json_body import decode
from service.ingest.times import time_texts
from service.journal import SqliteJournal
from service.limits import ShardLimits
from service.registry import Registry
from service.settings import JOURNAL, MODELS, SNAPSHOTS, default
from service.shard import Shard

SENSORS = 10
NAMES = [f"sensor-{i}" for i in range(SENSORS)]
START, SECOND = 1_767_225_600_000_000, 1_000_000
SYNCED = 50  # records in one transaction while the folder is made
POLL_SECONDS = 0.01
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one start, in seconds and bytes."""

    machines: int
    records: int
    readings: int
    imports: float
    models_and_snapshot: float
    replay: float
    ready: float
    snapshot_bytes: int
    peak_bytes: int
    resident_bytes: int


def readings(seed: int, rows: int) -> np.ndarray:
    """Readings of normal operation (rows, sensors): correlated, seeded."""
    mixing = np.random.default_rng(0).normal(size=(SENSORS, SENSORS)) / 3
    return np.round(np.random.default_rng([1, seed]).normal(size=(rows, SENSORS)) @ mixing + 20, 4)


def make_model(folder: Path) -> None:
    """Train a model of 10 sensors with the default shape."""
    from models import artifact
    from models.preprocess import Segment
    from models.train import Options, train

    training = train([Segment("machine", readings(0, 4000))], tuple(NAMES), SECOND, Options(name="bench"))
    artifact.save(training.manifest, training.detector, training.drift, folder)


def bodies(machines: int, of_body: int) -> Iterator[Body]:
    """Bodies of `of_body` machines in turn, one reading each."""
    rows, tick, limits = readings(2, 997).tolist(), 0, Limits()
    while True:
        (text,) = time_texts(np.array([START + tick * SECOND]))
        for first in range(0, machines, of_body):
            batches = [
                {
                    "equipment": f"pump-{m:06d}",
                    "sensors": NAMES,
                    "times": [text],
                    "values": [rows[(7 * m + tick) % 997]],
                }
                for m in range(first, min(first + of_body, machines))
            ]
            yield decode(msgspec.json.encode({"batches": batches}), limits)
        tick += 1


async def make_folder(
    folder: Path, model: Path, machines: int, replayed: int, of_body: int, join: tuple[str, ...]
) -> int:
    """A data folder with a snapshot and a journal that goes on after it; how many records that are."""
    registry = Registry(folder / MODELS)
    registry.show(registry.installation(model))
    shard = Shard(registry.resolve, ShardLimits(future=None, join=join))
    journal = SqliteJournal(folder / JOURNAL, engine=snapshot.engine_id())
    for body in bodies(machines, 1000):  # met, and in the snapshot
        journal.append(scoring.step(shard, [body], START).record)
        if len(shard) == machines:
            break
    await journal.sync()
    snapshot.write(folder / SNAPSHOTS, recovery.capture(shard))
    first, done = shard.sequence, 0
    for body in bodies(machines, of_body):
        if body.batches[0].times[0] == START:
            continue
        if done >= replayed:
            break
        journal.append(scoring.step(shard, [body], START + SECOND).record)
        done += body.received
        if shard.sequence % SYNCED == 0:
            await journal.sync()
    await journal.sync()
    journal.close()
    return shard.sequence - first


def start(folder: Path, port: int, join: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], dict[str, float]]:
    """Start a service on a data folder; seconds from then until it listens, replays and is ready."""
    command = [sys.executable, "-m", "service", "serve", "--data-dir", str(folder), "--port", str(port)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "LIMEN_JOIN": ",".join(join)}
    began, seen = time.perf_counter(), {}
    process = subprocess.Popen([*command, "--clock", "event"], env=environment, stderr=subprocess.DEVNULL)
    while "ready" not in seen:
        if process.poll() is not None:
            raise SystemExit(f"the service ended with exit status {process.returncode}")
        phase = ask(port)
        if phase:
            seen.setdefault("listening", time.perf_counter() - began)
            seen.setdefault(phase, time.perf_counter() - began)
        time.sleep(POLL_SECONDS)
    return process, seen


def ask(port: int) -> str:
    """The phase that /health/ready tells; "" where nobody listens."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health/ready", timeout=20):
            return "ready"
    except urllib.error.HTTPError as error:
        with error:
            return str(json.load(error)["progress"]["phase"])
    except OSError:
        return ""


def memory(process: subprocess.Popen[bytes], name: str) -> int:
    """Bytes of one line of a process's status: VmRSS or VmHWM."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def measure(machines: int, replayed: int, of_body: int, model: Path, join: tuple[str, ...]) -> Figures:
    """Make a folder, start on it, end it."""
    from benchmarks.serving import free_port

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = asyncio.run(make_folder(folder, model, machines, replayed, of_body, join))
        process, seen = start(folder, free_port(), join)
        try:
            replay = seen.get("replay", seen["ready"])
            (path,) = snapshot.paths(folder / SNAPSHOTS)
            return Figures(
                machines, records, replayed, seen["listening"], replay - seen["listening"], seen["ready"] - replay,
                seen["ready"], path.stat().st_size, memory(process, "VmHWM"), memory(process, "VmRSS"),
            )  # fmt: skip
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--replayed", type=int, default=default("snapshot_readings_max"), help="readings after it")
    parser.add_argument("--body", type=int, default=100, help="readings in one record of the journal")
    parser.add_argument("--joined", action="store_true", help="the sensors of all machines come as points")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        make_model(Path(name) / "model")
        model, join = Path(name) / "model", ("*",) if options.joined else ()
        figures = [measure(m, options.replayed, options.body, model, join) for m in options.machines]
    table = Table(title=f"from exec to /health/ready, {SENSORS} sensors, {options.body} readings a record")
    for heading in ("machines", "replayed", "imports s", "snapshot s", "replay s", "ready s", "snapshot", "peak RAM"):
        table.add_column(heading, justify="right")
    for f in figures:
        seconds = [f"{value:.2f}" for value in (f.imports, f.models_and_snapshot, f.replay, f.ready)]
        sizes = [f"{value / 1e6:,.0f} MB" for value in (f.snapshot_bytes, f.peak_bytes)]
        table.add_row(f"{f.machines:,}", f"{f.readings:,}", *seconds, *sizes)
    Console(width=120).print(table)
    if options.json:
        options.json.write_text(json.dumps([asdict(f) for f in figures], indent=1))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
