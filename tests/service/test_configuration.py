"""What the journal says of models and settings, and what a start makes of it after a crash in between."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import httpx
import pytest

from service.configuration import ActiveModel, Configuration, changes, summary
from service.consumer import Consumer
from service.journal_reader import JournalFile
from service.lifecycle import Service
from service.records import KINDS, Record, RecordError
from service.settings import CHANGE_SCORES, Settings, that_change_scores
from tests.service.running import columns, run, settings
from tests.service.test_app import is_problem
from tests.service.test_lifecycle import FullDisk
from tests.service.test_registry import upload
from tests.service.test_serve import PROGRAM, process, wait_until_ready

ONE, TWO = ActiveModel(1, "a" * 64), ActiveModel(2, "b" * 64)
ZIP = {"Content-Type": "application/zip"}
FIRST = Configuration({"clock": "wall", "model_patterns": {"a-*": "a", "*": "b"}}, {"pumps": ONE}, "pumps")


def led(before: Configuration, now: Configuration) -> Configuration:
    """What the records of the changes lead to."""
    for number, (kind, detail) in enumerate(changes(before, now)):
        before = before.after(Record(kind, 0, number, 0, 0, detail=detail))
    return before


@pytest.mark.parametrize(
    ("now", "kinds"),
    [
        (FIRST, []),
        (Configuration(FIRST.settings, {"pumps": TWO}, "pumps"), ["activate"]),
        (Configuration(FIRST.settings, {"pumps": ONE, "fans": TWO}, "pumps"), ["activate"]),
        (Configuration(FIRST.settings, {}, ""), ["activate"]),
        (Configuration(FIRST.settings, {"pumps": ONE}, "fans"), ["activate"]),
        (Configuration({"clock": "event"}, {"pumps": TWO, "fans": ONE}, "fans"), ["settings", "activate", "activate"]),
        (
            Configuration({"clock": "wall", "model_patterns": {"*": "b", "a-*": "a"}}, FIRST.models, "pumps"),
            ["settings"],
        ),
    ],
)
def test_records_lead_from_what_was_recorded_to_what_is_true(now: Configuration, kinds: list[str]) -> None:
    for before in (FIRST, Configuration()):
        after = led(before, now)
        assert (after.models, after.default) == (now.models, now.default)
        assert json.dumps(after.settings) == json.dumps(now.settings), "in the same order, too"
    assert [kind for kind, _ in changes(FIRST, now)] == kinds
    assert set(kinds) <= set(KINDS)


def test_the_records_in_words() -> None:
    now = Configuration({"clock": "event", "model_patterns": {}}, {"pumps": TWO, "fans": ONE}, "pumps")
    assert [summary(kind, detail) for kind, detail in changes(FIRST, now)] == [
        'clock wall -> event, model_patterns {"a-*":"a","*":"b"} -> none',
        "model fans version 1 serves; before it, none",
        "model pumps version 2 serves; before it, version 1",
    ]


@pytest.mark.parametrize("kind", ["settings", "activate"])
def test_a_detail_that_is_not_of_this_program_is_refused(kind: str) -> None:
    with pytest.raises(RecordError, match=f"record 7 of kind {kind} cannot be read: "):
        Configuration().after(Record(kind, 0, 7, 0, 0, detail={"name": 3}))


def test_the_settings_that_change_scores_are_settings() -> None:
    assert set(CHANGE_SCORES) <= set(Settings.model_fields)
    assert set(that_change_scores(Settings())) == set(CHANGE_SCORES)


# -- in a service ------------------------------------------------------------------------------------------------------


def recorded(folder: Path) -> list[str]:
    """Kinds of the records of a journal, and what those on models and settings say."""
    found = JournalFile(folder / "journal" / "shard-0.sqlite").read()
    return [record.kind if record.kind == "readings" else summary(record.kind, record.detail) for record in found]


def test_switches_stand_between_the_readings_that_they_part(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 5))
        assert (await client.post("/v1/models", content=upload(seed=1), headers=ZIP)).status_code == 201
        await client.post("/v1/readings", json=columns("p1", 5, 5))
        assert (await client.put("/v1/models/pumps/active", json={"version": 2})).status_code == 200
        answer = (await client.post("/v1/readings", json=columns("p1", 10, 1))).json()
        assert answer["batches"][0]["status"] == ["warming"], "the new version knows nothing of the machine"
        assert (await client.post("/v1/models", content=upload("fans"), headers=ZIP)).status_code == 201

    run(settings(tmp_path), scenario)
    first, *rest = recorded(tmp_path)
    assert first.startswith("clock event, engine ")
    assert rest == [
        "model pumps version 1 serves; before it, none",
        "readings",
        "readings",
        "model pumps version 2 serves; before it, version 1",
        "readings",
        "model fans version 1 serves; before it, none",
    ]


def test_a_start_records_what_has_changed_and_nothing_else(tmp_path: Path) -> None:
    async def nothing(client: httpx.AsyncClient, service: Service) -> None:
        return

    for given in ({}, {}, {"silent_intervals": 8, "page_max": 7}, {"silent_intervals": 8}):
        run(settings(tmp_path, **given), nothing)
    assert recorded(tmp_path)[1:] == [
        "model pumps version 1 serves; before it, none",
        "silent_intervals 5 -> 8",
    ]


def test_what_was_recorded_is_known_where_its_records_are_gone(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await service.save()
        service.consumer.journal.prune(service.shard.sequence)

    run(settings(tmp_path), scenario)
    run(settings(tmp_path, silent_intervals=8), scenario)

    async def nothing(client: httpx.AsyncClient, service: Service) -> None:
        assert service.shard.configuration.settings["silent_intervals"] == 8

    run(settings(tmp_path, silent_intervals=8), nothing)
    assert recorded(tmp_path) == []


def test_a_switch_that_cannot_be_made_safe_is_not_answered_and_ends_the_process(tmp_path: Path) -> None:
    ended: list[bool] = []

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        service.on_failure = lambda: ended.append(True)
        await client.post("/v1/models", content=upload(seed=1), headers=ZIP)
        service.consumer.journal = FullDisk(service.shard.sequence)
        is_problem(await client.put("/v1/models/pumps/active", json={"version": 2}), 503, "unavailable")
        assert service.registry.view.active["pumps"].version == 1, "nobody sees what is not safe"
        is_problem(await client.post("/v1/readings", json=columns("p1", 0, 5)), 503, "unavailable")

    run(settings(tmp_path), scenario)
    assert ended == [True]


def test_a_start_that_cannot_record_its_settings_serves_nothing_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "_opened_journal", lambda self: FullDisk())

    ended: list[bool] = []

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        is_problem(await client.get("/health/ready"), 503, "unavailable")
        is_problem(await client.post("/v1/readings", json=columns("p1", 0, 5)), 503, "unavailable")

    run(settings(tmp_path), scenario, on_failure=lambda: ended.append(True))
    assert ended == [True]
    assert not list((tmp_path / "snapshots").glob("*"))


def test_readings_wait_for_a_switch_and_see_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is scored after the record of a switch is scored by the new version, whatever comes at the same time."""
    steps: list[int] = []
    step = Consumer._in_turn

    async def watched(self: Consumer, *given: object) -> object:
        steps.append(self.shard.configuration.models["pumps"].version)
        return await step(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Consumer, "_in_turn", watched)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/models", content=upload(seed=1), headers=ZIP)
        for first in range(0, 60, 2):
            version = 1 + (first // 2) % 2
            posts = [client.post("/v1/readings", json=columns(name, first, 2)) for name in ("p1", "p2")]
            switch = client.put("/v1/models/pumps/active", json={"version": version})
            await asyncio.gather(posts[0], switch, posts[1])

    run(settings(tmp_path), scenario)
    serving, versions = 0, []
    for record in JournalFile(tmp_path / "journal" / "shard-0.sqlite").read():
        if record.kind == "activate":
            serving = record.detail["now"]["version"]
        for part in record.readings:
            versions.append((serving, part.artifact_id))
    assert len(set(versions)) == 2, "each version scores what comes after its record, and nothing else"
    assert set(steps) == {1, 2}


# -- killed in between -------------------------------------------------------------------------------------------------


def killed_at(place: str) -> str:
    """A service that dies at a switch of models: `before` its record is written, or `after`, before it is answered."""
    return f"""
from service.commands.tether import hold; hold()
import os, signal
from service.journal import SqliteJournal
append, sync, switched = SqliteJournal.append, SqliteJournal.sync, []
def watched(self, record):
    if record.kind == "activate" and record.detail["before"]:
        switched.append(record)
        if {place!r} == "before":
            os.kill(os.getpid(), signal.SIGKILL)
    return append(self, record)
async def dies(self):
    await sync(self)
    if switched:
        os.kill(os.getpid(), signal.SIGKILL)
SqliteJournal.append, SqliteJournal.sync = watched, dies
{PROGRAM}
"""


@pytest.mark.prove
@pytest.mark.parametrize("place", ["before", "after", "without the index"])
def test_killed_at_a_switch_the_journal_and_what_serves_agree_after_the_start(tmp_path: Path, place: str) -> None:
    (tmp_path / "models").mkdir()
    index = tmp_path / "models" / "index.json"
    dying = process(tmp_path, program=killed_at(place))
    with dying as (started, url), httpx.Client(base_url=url, trust_env=False) as client:
        wait_until_ready(client)
        for seed in (0, 1):
            assert client.post("/v1/models", content=upload(seed=seed), headers=ZIP).status_code == 201
        assert client.post("/v1/readings", json=columns("p1", 0, 20)).status_code == 200
        old = index.read_bytes()
        with pytest.raises(httpx.TransportError):
            client.put("/v1/models/pumps/active", json={"version": 2})
        assert started.wait(10) == -signal.SIGKILL
    expected = 1 if place == "without the index" else 2
    if place == "without the index":
        index.write_bytes(old)
    with process(tmp_path) as (started, url), httpx.Client(base_url=url, trust_env=False) as client:
        wait_until_ready(client)
        assert client.get("/v1/models").json()["models"][0]["active"] == expected
        more = client.post("/v1/readings", json=columns("p1", 18, 4)).json()["batches"][0]["status"]
        assert more[:2] == ["duplicate"] * 2
        assert (more[2] == "warming") is (expected == 2), "the memory starts anew with the new version"
        started.send_signal(signal.SIGTERM)
        assert started.wait(20) == 0
    switches = [text for text in recorded(tmp_path) if text.startswith("model")]
    assert switches[0] == "model pumps version 1 serves; before it, none"
    assert switches[-1].startswith(f"model pumps version {expected} serves")
    assert len(switches) == {"before": 2, "after": 2, "without the index": 3}[place], switches
