"""The lives of a service in which all is written that it ever writes, to be recorded under strace.

`python -m tests.power_run FOLDER LIFE MODEL NEXT MISTAKE`. The first starts with a model, readings, checkpoints,
snapshots, removed records, a model that is uploaded and made active, and stops in order; one is killed; one cannot sync
and is killed before it has tidied up; one goes on from there. What was answered is written to a file of its own; so is
every record, for an uninterrupted replay. MISTAKE ("": none) leaves out a sync.
"""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from models import disk
from service import journal, snapshot
from service.lifecycle import Service
from service.records import Record, encode
from service.settings import MODELS
from tests import damage
from tests.crash import Machine
from tests.service.fleet import in_columns
from tests.service.running import SENSORS, run, settings
from tests.service.test_registry import ZIP, zipped

DATA, ANSWERED, RECORDS = "data", "answered", "records"
CHECKPOINT_BYTES = 60_000
MACHINES, TICKS = 5, 1200
FAILING = ("", "", "fdatasync:error=EIO:when=8+", "")  # calls, by life


class Kept(msgspec.Struct, array_like=True):
    """A record as it went to the journal."""

    kind: str
    sequence: int
    received_at: int
    payload: bytes


class Answered(msgspec.Struct, array_like=True):
    """The last record that was answered, and the version of the model that was said to serve."""

    sequence: int
    version: int


class Client:
    """Posts readings one body after the other, and notes what was answered."""

    def __init__(self, folder: Path, life: int) -> None:
        self.machines = [Machine.of(f"m-{number}", 30 + number, TICKS) for number in range(MACHINES)]
        for machine in self.machines:
            machine.at = life * TICKS // len(FAILING)
        self.rng = random.Random(life)
        self.points = 100 * life  # seconds of points of single sensors, which wait
        self.version = 2 if life else 1
        self.note = os.open(folder / ANSWERED, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def post(self, client: httpx.AsyncClient, service: Service, bodies: int, readings_max: int = 12) -> None:
        for _ in range(bodies):
            batches = []
            for machine in self.rng.sample(self.machines, self.rng.randint(1, MACHINES)):
                count = self.rng.randint(1, readings_max)
                part = slice(machine.at, machine.at + count)
                batches.append(in_columns(machine.name, SENSORS, machine.time[part], machine.x[part]))
                machine.at += count
            response = await client.post("/v1/readings", json={"batches": batches})
            assert response.status_code == 200, response.text
            self.answered(service)
            response = await client.post("/v1/readings", json=damage.points(self.points, 2))
            assert response.status_code == 200, response.text
            self.answered(service)
            self.points += 2

    async def activate(self, client: httpx.AsyncClient, service: Service, upload: bytes) -> None:
        response = await client.post("/v1/models", content=upload, headers=ZIP)
        assert response.status_code == 201, response.text
        self.answered(service)
        self.version = response.json()["version"]
        response = await client.put("/v1/models/pumps/active", json={"version": self.version})
        assert response.status_code == 200, response.text
        self.answered(service)

    def answered(self, service: Service) -> None:
        os.write(self.note, msgspec.json.encode(Answered(service.shard.sequence - 1, self.version)) + b"\n")


def live(folder: Path, life: int, model: Path, following: Path) -> None:
    """One of the lives."""
    own = Client(folder, life)

    async def first(client: httpx.AsyncClient, service: Service) -> None:
        await own.post(client, service, 7)
        await service.save()
        await own.post(client, service, 5, 40)
        await own.activate(client, service, zipped(following))
        await own.post(client, service, 6)
        await service.save()
        await own.post(client, service, 4, 40)
        await service.save()

    async def killed(client: httpx.AsyncClient, service: Service) -> None:
        await own.post(client, service, 6)
        await service.save()
        await own.post(client, service, 6)
        os._exit(0)

    async def failing(client: httpx.AsyncClient, service: Service) -> None:
        with pytest.raises(AssertionError, match="could not make these readings safe"):
            await own.post(client, service, 15)
        os._exit(0)

    async def after_it(client: httpx.AsyncClient, service: Service) -> None:
        await own.post(client, service, 5)

    bounds = {"journal_bytes_max": 1, "silent_check_seconds": 86_400, "snapshot_seconds": 86_400}
    given = settings(folder / DATA, model=None if life else model, join=[damage.JOINED], **bounds)
    run(given, (first, killed, failing, after_it)[life])


def keep_records(folder: Path) -> None:
    """Write every record to a file, as it is handed to the journal."""
    file, append = (folder / RECORDS).open("ab", buffering=0), journal.SqliteJournal.append

    def kept(own: journal.SqliteJournal, record: Record) -> int:
        file.write(framed(Kept(record.kind, record.sequence, record.received_at, encode(record))))
        return append(own, record)

    journal.SqliteJournal.append = kept  # type: ignore[method-assign]


def framed(kept: Kept) -> bytes:
    """A record after its length."""
    raw = msgspec.msgpack.encode(kept)
    return len(raw).to_bytes(4, "little") + raw


def forget_commits() -> None:
    """Answer before the record is on disk."""
    configure = journal._configure

    def configured(connection: sqlite3.Connection) -> None:
        configure(connection)
        connection.execute("PRAGMA synchronous = NORMAL")

    journal._configure = configured


def forget_names() -> None:
    """Answer that a model is active before its new index has its name on disk."""
    sync = disk.sync_folder
    disk.sync_folder = lambda folder: None if folder.name == MODELS else sync(folder)


def forget_files() -> None:
    """Rename a file whose content is not on disk."""
    sync = os.fsync
    os.fsync = lambda descriptor: sync(descriptor) if stat.S_ISDIR(os.fstat(descriptor).st_mode) else None  # type: ignore


def forget_snapshots() -> None:
    """Remove records that only a snapshot that is not on disk makes unnecessary."""
    snapshot.write_durably = lambda path, content: path.write_bytes(content)  # type: ignore


def forget_logs() -> None:
    """Go on with a log that may be there only in memory."""
    journal._renew_log = lambda connection: None


MISTAKES = {
    "commits": forget_commits, "names": forget_names, "files": forget_files, "snapshots": forget_snapshots,
    "logs": forget_logs,
}  # fmt: skip

if __name__ == "__main__":
    journal.CHECKPOINT_BYTES = CHECKPOINT_BYTES
    folder, life, model, following, mistake = sys.argv[1:6]
    MISTAKES.get(mistake, lambda: None)()
    keep_records(Path(folder))
    live(Path(folder), int(life), Path(model), Path(following))
