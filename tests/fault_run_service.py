"""A service that starts, takes readings and a model, saves, and stops, on a disk that fails somewhere in between."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec

from service import journal, journal_reader, recovery
from service.errors import Unavailable
from service.journal import SqliteJournal
from service.journal_reader import JournalFile
from service.lifecycle import Service
from service.limits import ShardLimits
from service.records import Record, encode
from service.registry import Registry
from service.replay import replay
from service.settings import JOURNAL, Settings
from service.shard import Shard
from service.snapshot import Snapshot
from service.verification import verify
from tests import damage, power_run
from tests.fault_run import DISK
from tests.service.running import columns, model_folder, run
from tests.service.test_registry import ZIP, zipped
from tests.test_power_loss import records_of
from tests.uninterrupted import compare_states

MACHINES, FIRST, COUNT = 6, 28, 3  # that post, the first reading that was not posted before, readings of each body
BODIES = 5
DATA, ANSWERS, AGAIN, MIGRATIONS = f"{DISK}/data", "answers", "answers-again", "migrations"
NEXT, NEW = "next", "new"  # folders of models
LEFTOVERS = ("models/.*", "snapshots/.*")
GIVEN: dict[str, Any] = {
    "clock": "event", "join": [damage.JOINED], "journal_bytes_max": 1, "silent_check_seconds": 86_400,
    "snapshot_seconds": 86_400,
}  # fmt: skip
LIMITS = ShardLimits(future=None, join=(damage.JOINED,))


class Said(msgspec.Struct, array_like=True):
    """An answer that came, and the last record there was then."""

    what: str
    sequence: int
    answer: Any


class Stopped(Exception):
    """The service takes nothing any more."""


class Client:
    """Posts body after body, and notes what was answered."""

    def __init__(self, client: httpx.AsyncClient, service: Service, note: Path) -> None:
        self.client, self.service = client, service
        self.note = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def post(self, number: int) -> None:
        """The body of that number, until it can be taken no more."""
        first = FIRST + number * COUNT
        body = {"batches": [columns(f"p{machine}", first, COUNT) for machine in range(MACHINES)]}
        await self._done(f"body {number}", await self.client.post("/v1/readings", json=body), 200)
        points = damage.points(first, COUNT)
        await self._done(f"points {number}", await self.client.post("/v1/readings", json=points), 200)

    async def upload(self, what: str, content: bytes) -> int:
        """A model, sent again where it could not be stored; the version that it got."""
        response = await self.client.post("/v1/models", content=content, headers=ZIP)
        if response.status_code == 503:
            response = await self.client.post("/v1/models", content=content, headers=ZIP)
        await self._done(what, response, 201)
        version: int = response.json()["version"]
        return version

    async def switch(self, version: int) -> None:
        """Let another version serve."""
        response = await self.client.put("/v1/models/pumps/active", json={"version": version})
        await self._done("switch", response, 200)

    async def _done(self, what: str, response: httpx.Response, wanted: int) -> None:
        if response.status_code == wanted:
            said = Said(what, self.service.shard.sequence - 1, response.json())
            os.write(self.note, msgspec.json.encode(said) + b"\n")
            return
        found = f"{what} was answered with {response.status_code}: {response.text}"
        assert response.status_code == 503, found
        assert response.json()["detail"], found
        raise Stopped(what)


class Living:
    """Replay, snapshot, records, a model that is uploaded and serves, the log that is moved, and a stop."""

    def prepare(self, place: Path) -> None:
        shutil.copytree(damage.killed(), place / DATA)
        shutil.copytree(model_folder("pumps", 1), place / NEXT)
        shutil.copytree(model_folder("valves", 2), place / NEW)
        before = [
            power_run.Kept(one.kind, one.sequence, one.received_at, encode(one))
            for one in JournalFile(place / DATA / JOURNAL).read()
        ]
        (place / power_run.RECORDS).write_bytes(b"".join(map(power_run.framed, before)))

    def play(self, place: Path) -> None:
        self.live(place, ANSWERS)

    def live(self, place: Path, answers: str) -> None:
        """One life."""
        power_run.keep_records(place)

        async def life(client: httpx.AsyncClient, service: Service) -> None:
            own = Client(client, service, place / answers)
            with suppress(Stopped, Unavailable):
                await _lived(own, service, zipped(place / NEXT), zipped(place / NEW))

        run(Settings(data_dir=place / DATA, **GIVEN), life)

    def check(self, place: Path, sound: Path, told: str) -> None:
        answered = said_in(place / ANSWERS)
        wanted = said_in(sound / ANSWERS)
        for what, said in answered.items():
            same = said.answer == wanted[what].answer or what.startswith("points")  # a look may close a tick before
            assert same, f"{what} was answered otherwise than on a sound disk"
        safe = max((said.sequence for said in answered.values()), default=0)
        check_state(place, safe, "switch" in answered)
        self.live(place, AGAIN)
        again = said_in(place / AGAIN)
        assert again.keys() == wanted.keys(), f"only {list(again)} was answered after the restart"
        for number in range(BODIES):
            check_again(again[f"body {number}"].answer, answered.get(f"body {number}"))
        check_state(place, max(said.sequence for said in again.values()), switched=True)
        report = verify(place / DATA)
        assert not report.damage, report.damage


class Migrating(Living):
    """The same, with a journal that has to be brought to a newer schema first."""

    def prepare(self, place: Path) -> None:
        super().prepare(place)
        (place / MIGRATIONS).mkdir()
        (place / MIGRATIONS / "0002.sql").write_text("CREATE TABLE note (text TEXT NOT NULL) STRICT;")

    def play(self, place: Path) -> None:
        migrate(place)
        super().play(place)

    def check(self, place: Path, sound: Path, told: str) -> None:
        migrate(place)
        super().check(place, sound, told)


class Careless(Living):
    """A service that answers whatever the disk said, which has to be found."""

    def live(self, place: Path, answers: str) -> None:
        commit = SqliteJournal._commit

        def careless(own: SqliteJournal, pending: list[Record]) -> int:
            with suppress(OSError):
                return commit(own, pending)
            return 0

        SqliteJournal._commit = careless  # type: ignore[method-assign]
        super().live(place, answers)


def migrate(place: Path) -> None:
    """From now on this process knows a newer schema."""
    journal.MIGRATIONS = place / MIGRATIONS
    journal.SCHEMA = journal_reader.SCHEMA = 2


async def _lived(own: Client, service: Service, following: bytes, new: bytes) -> None:
    await own.post(0)
    await _save(service)
    await own.post(1)
    await own.upload("new model", new)
    await own.switch(await own.upload("next version", following))
    await own.post(2)
    assert isinstance(service.consumer.journal, SqliteJournal)
    await asyncio.to_thread(service.consumer.journal._checkpoint)
    await own.post(3)
    await _save(service)
    await own.post(4)


async def _save(service: Service) -> None:
    """A snapshot now and then: one that fails is told."""
    with suppress(OSError):
        await service.save()


def said_in(note: Path) -> dict[str, Said]:
    """What was answered."""
    lines = note.read_bytes().splitlines() if note.exists() else []
    return {said.what: said for said in (msgspec.json.decode(line, type=Said) for line in lines)}


def check_state(place: Path, safe: int, switched: bool) -> None:
    """A start: all that was answered is there, and the state is that of an uninterrupted run."""
    state, registry = started(place / DATA)
    assert state.header.sequence > safe, f"record {safe} was answered and is not there any more"
    assert not switched or registry.view.index.active["pumps"] == 2, "the model that was said to serve does not"
    gone = [note for note in registry.notes if "gone" in note or "damaged" in note]
    assert not gone, gone
    records = {one.sequence: one for one in records_of(place / power_run.RECORDS)}
    compare_states(state, uninterrupted(registry, records, state.header.sequence))
    left = [path for pattern in LEFTOVERS for path in (place / DATA).glob(pattern)]
    assert not left, f"a start leaves {left}"


def check_again(answer: dict[str, Any], before: Said | None) -> None:
    """All is taken; what was answered before is a duplicate with the same results."""
    assert answer["rejected"] == answer["late"] == 0, answer
    if before is None:
        return
    assert answer["duplicate"] == answer["received"], answer
    for batch, earlier in zip(answer["batches"], before.answer["batches"], strict=True):
        for name in ("score", "p_value", "alarm"):
            assert batch[name] == earlier[name], f"{name} of {earlier['equipment']} is another one after the restart"


def started(folder: Path) -> tuple[Snapshot, Registry]:
    """A start without anything that listens."""
    service = Service(Settings(data_dir=folder, **GIVEN))
    service.load()
    assert service._loaded is not None
    registry, shard, _, opened = service._loaded
    opened.close()
    return recovery.capture(shard), registry


def uninterrupted(registry: Registry, records: dict[int, Record], until: int) -> Snapshot:
    """The state before a record."""
    shard = Shard(registry.resolve, LIMITS)
    for sequence in range(1, until):
        replay(shard, records[sequence], registry.model_of)
    return recovery.capture(shard)
