"""Bytes that a disk changed or lost, anywhere in a data folder: a start names them, or they do not matter."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx

from models.contract import ModelError
from service import recovery
from service.journal import SqliteJournal
from service.journal_reader import JournalError, JournalFile
from service.lifecycle import Service
from service.records import RecordError, encode
from service.registry import ActiveIndex, Registry, RegistryError
from service.settings import JOURNAL, SNAPSHOTS
from service.snapshot import Snapshot
from service.verification import verify
from tests.service.running import SENSORS, columns, model_folder, run, settings, time_of
from tests.service.test_registry import ZIP, zipped
from tests.uninterrupted import compare_states

LOG, MARK, INDEX = f"{JOURNAL}-wal", "journal/shard-0.last", "models/index.json"
JOINED = "j-*"  # machines whose sensors come apart
SECTOR_BYTES = 512
REFUSED = (JournalError, RecordError, RegistryError, ModelError)
KINDS = ("bit", "bit", "bit", "empty", "first", "cut")

Kept = list[tuple[int, str, bytes]]  # sequence, kind and payload of records


@dataclass(frozen=True)
class Damage:
    """What happens to a file at a byte: a bit of it is turned, its sector emptied or taken for the first one, or the
    file ends before it."""

    file: str
    kind: str
    place: int
    bit: int = 0

    def __str__(self) -> str:
        return f"{self.file}, byte {self.place}: {self.kind} {self.bit if self.kind == 'bit' else ''}".rstrip()

    def apply(self, folder: Path) -> None:
        """Do it."""
        path = folder / self.file
        content = bytearray(path.read_bytes())
        start = self.place % len(content) // SECTOR_BYTES * SECTOR_BYTES
        sector = slice(start, min(start + SECTOR_BYTES, len(content)))
        if self.kind == "bit":
            content[self.place] ^= 1 << self.bit
        elif self.kind == "cut":
            del content[self.place :]
        else:
            content[sector] = content[: sector.stop - start] if self.kind == "first" else bytes(sector.stop - start)
        path.write_bytes(content)


@cache
def killed() -> Path:
    """The data folder of a service that was killed: two models, two snapshots, records in database and log; points of
    a machine whose sensors come apart wait in all of them."""
    folder = Path(mkdtemp(prefix="limen-test-"))

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        async def post(first: int) -> None:
            for number in range(6):
                answer = await client.post("/v1/readings", json=columns(f"p{number}", first, 7))
                assert answer.status_code == 200
            answer = await client.post("/v1/readings", json=points(first))
            assert answer.json()["held"] > 0

        journal = service.consumer.journal
        assert isinstance(journal, SqliteJournal)
        await post(0)
        await service.save()
        await client.post("/v1/models", content=zipped(model_folder("fans", 1)), headers=ZIP)
        journal._checkpoint()
        await post(7)
        await service.save()
        await post(14)
        journal._checkpoint()
        await post(21)
        shutil.copytree(folder / "data", folder / "killed")

    run(settings(folder / "data", join=[JOINED]), scenario)
    return folder / "killed"


def points(first: int, ticks: int = 7) -> dict[str, Any]:
    """Points of single sensors of one machine: of one to four of them at each second."""
    readings = [
        {"equipment": "j-0", "time": time_of(first + tick), "values": {name: tick + 1.5 * place}}
        for tick in range(ticks)
        for place, name in enumerate(SENSORS[: 1 + tick % 4])
    ]
    return {"readings": readings}


def files() -> list[str]:
    """All files of the data folder that say something."""
    found = [path.relative_to(killed()).as_posix() for path in sorted(killed().rglob("*")) if path.is_file()]
    return [name for name in found if not name.endswith("-shm") and name != "lock"]


def by_chance(file: str, rng: random.Random, count: int, folder: Path | None = None) -> list[Damage]:
    """Damage anywhere in a file, of that folder or of `killed`."""
    size = ((folder or killed()) / file).stat().st_size
    return [Damage(file, rng.choice(KINDS), rng.randrange(size), rng.randrange(8)) for _ in range(count)]


def start(folder: Path) -> tuple[Snapshot, Registry]:
    """A start without anything that listens: the state, and the models."""
    service = Service(settings(folder, model=None, join=[JOINED]))
    service.load()
    assert service._loaded is not None
    registry, shard, _, journal = service._loaded
    journal.close()
    return recovery.capture(shard), registry


def records(folder: Path) -> Kept:
    """All records."""
    found = JournalFile(folder / JOURNAL).read()
    return [(record.sequence, record.kind, encode(record)) for record in found]


@cache
def whole() -> tuple[Snapshot, ActiveIndex, Kept]:
    """State, active models and records of a start without damage."""
    folder = shutil.copytree(killed(), Path(mkdtemp(prefix="limen-test-")) / "data")
    state, registry = start(folder)
    return state, registry.view.index, records(folder)


def what_comes_of(damage: Damage, folder: Path, without_snapshots: bool = False) -> str:
    """A start after some damage: what it says where it refuses, else "". It may go on only with the state and the
    models that there were; where `verify` has nothing to tell, the records are those that there were, too."""
    shutil.copytree(killed(), folder)
    damage.apply(folder)
    if without_snapshots:
        shutil.rmtree(folder / SNAPSHOTS)
    try:
        state, registry = start(folder)
    except REFUSED as error:
        return str(error)
    compare_states(state, whole()[0])
    assert registry.view.index == whole()[1]
    assert set(registry.view.active) == set(whole()[1].active)
    if not verify(folder).damage:
        assert records(folder) == whole()[2]
    return ""
