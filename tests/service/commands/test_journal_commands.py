"""`limen journal verify` and `inspect`, on the folder of a service that has stopped and of one that runs."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import snapshot
from service.lifecycle import Service
from service.settings import JOURNAL
from tests.service.commandline import limen, process, refused
from tests.service.running import WARMUP, columns, run, settings, time_of


async def lived(client: httpx.AsyncClient, service: Service) -> None:
    """Some readings of two machines, snapshots in between."""
    for first in range(0, 60, 20):
        await client.post("/v1/readings", json={"batches": [columns("p1", first, 20), columns("p2", first, 20)]})
        await service.save()
    await client.post("/v1/readings", json=columns("p1", 60, 10))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    run(settings(folder), lived)
    return folder


@pytest.fixture
def folder(once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(once, tmp_path / "data")


def edit(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / JOURNAL)
    with connection:
        connection.execute(statement)
    connection.close()


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_whole_folder_is_whole(folder: Path) -> None:
    done = limen("journal", "verify", folder)
    assert done.status == 0, done
    assert done.out.splitlines()[-1] == "everything is whole"
    assert "records 1 to 6, 130 readings: whole" in done.out
    assert done.out.count("2 machines: whole") == 2
    assert "model pumps version 1, which is active: whole" in done.out
    found = json.loads(limen("journal", "verify", folder, "--json").out)
    assert (found["whole"], found["records"], found["readings"], found["last"]) == (True, 6, 130, 6)


def newest(folder: Path) -> Path:
    return snapshot.paths(folder / "snapshots")[0]


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a flipped bit of a record": (
        lambda folder: edit(folder, "UPDATE record SET payload = zeroblob(9) WHERE sequence = 4"),
        "record 4 does not match its checksum; it is damaged",
    ),
    "records that are gone": (
        lambda folder: edit(folder, "DELETE FROM record WHERE sequence IN (3, 4)"),
        "records 3 to 4 are missing; the next one there is 5",
    ),
    "the end is gone": (
        lambda folder: edit(folder, "DELETE FROM record WHERE sequence >= 5"),
        "the newest snapshot holds records up to 6, the journal up to 4: its end is missing",
    ),
    "the beginning is gone and there is no snapshot": (
        lambda folder: (edit(folder, "DELETE FROM record WHERE sequence <= 2"), shutil.rmtree(folder / "snapshots")),
        "records 1 to 2 are neither in a snapshot nor in the journal",
    ),
    "a kind of a newer program": (
        lambda folder: edit(folder, "UPDATE record SET kind = 'verdict' WHERE sequence = 4"),
        "record 4 does not match its checksum",
    ),
    "a page of the database": (lambda folder: (folder / JOURNAL).write_bytes(b"x" * 9000), "cannot be used"),
    "a snapshot": (lambda folder: flip(newest(folder), -9), "does not match its checksum; it is damaged"),
    "half a snapshot": (lambda folder: newest(folder).write_bytes(b"half"), "cannot be read"),
    "a model": (lambda folder: flip(folder / "models/pumps/1/model.safetensors", -9), "which is active, is damaged"),
    "a model that is gone": (
        lambda folder: shutil.rmtree(folder / "models/pumps"),
        "model pumps version 1 is active and not there",
    ),
    "the index": (lambda folder: (folder / "models/index.json").write_text("{"), "index.json cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(folder: Path, damage: str) -> None:
    hurt, expected = DAMAGES[damage]
    hurt(folder)
    done = limen("journal", "verify", folder)
    assert done.status == 1
    (line,) = [line for line in done.out.splitlines() if expected in line]
    assert "DAMAGED" in line
    assert "put them back from a backup" in done.out
    assert json.loads(limen("journal", "verify", folder, "--json").out)["whole"] is False


def test_everything_damaged_is_found_not_only_the_first(folder: Path) -> None:
    edit(folder, "UPDATE record SET received_at = 1 WHERE sequence IN (2, 4)")
    flip(newest(folder), -9)
    done = limen("journal", "verify", folder)
    assert all(word in done.out for word in ("record 2", "record 4", newest(folder).name)), done.out
    assert done.out.splitlines()[-1].startswith("3 damaged")


def test_what_a_start_put_aside_is_told_and_is_no_damage(folder: Path) -> None:
    snapshot.put_aside(newest(folder))
    done = limen("journal", "verify", folder)
    assert done.status == 0
    assert "was put aside by a start that could not use it" in done.out


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_a_folder_that_is_none_is_refused(tmp_path: Path, command: str) -> None:
    refused(limen("journal", command, tmp_path), str(tmp_path))


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_nothing_is_written(folder: Path, command: str) -> None:
    def state() -> dict[str, tuple[int, int]]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files if "-shm" not in path.name}

    before = state()
    assert limen("journal", command, folder).status == 0
    assert {name: found for name, found in state().items() if not name.endswith("-wal")} == before


def test_the_folder_of_a_running_service_is_read(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await lived(client, service)
        done = process("journal", "verify", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "records 1 to 6" in done.stdout
        assert "6" in process("journal", "inspect", tmp_path).stdout
        assert (await client.post("/v1/readings", json=columns("p1", 70, 5))).status_code == 200

    run(settings(tmp_path), scenario)


# -- inspect -----------------------------------------------------------------------------------------------------------


def test_a_journal_in_all(folder: Path) -> None:
    found = json.loads(limen("journal", "inspect", folder, "--json").out)
    assert (found["records"], found["damaged"], found["sequences"]) == (6, 0, [1, 6])
    assert found["kinds"] == {"settings": 1, "activate": 1, "readings": 4}
    assert (found["readings"], found["machines"]) == (130, 2)
    assert found["times"] == [time_of(0), time_of(69)]
    assert found["bytes_per_reading"] == round(found["record_bytes"] / 130, 1)
    assert list(found["engines"]) == [snapshot.engine_id()]
    told = limen("journal", "inspect", folder).out
    assert "readings           130" in told
    assert f"times              {time_of(0)} to {time_of(69)}" in told


def test_records_one_by_one(folder: Path) -> None:
    lines = limen("journal", "inspect", folder, "--from", 2, "--to", 3).out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("activate model pumps version 1 serves; before it, none")
    counts = f"{2 * WARMUP} warming, {40 - 2 * WARMUP} scored"
    assert lines[1].endswith(f"readings new: p1, p2; 40 readings of p1, p2: {counts}")
    (only,) = limen("journal", "inspect", folder, "--kind", "settings", "--json").out.splitlines()
    assert json.loads(only)["kind"] == "settings"


def test_records_by_the_time_that_they_came_in(folder: Path) -> None:
    def records(*words: object) -> list[dict[str, Any]]:
        done = limen("journal", "inspect", folder, "--json", *words)
        return [json.loads(line) for line in done.out.splitlines()]

    every = records("--from", 1)
    moment = every[3]["received"]
    earlier = [line for line in every if line["received"] < moment]
    assert earlier
    assert records("--to", moment) == earlier
    assert records("--from", moment) == every[len(earlier) :]
    assert records("--from", moment, "--to", 4) == every[len(earlier) : 4]
    refused(limen("journal", "inspect", folder, "--from", "now"), "--from is 'now'; expected a time with a zone")


def test_the_readings_of_a_machine_with_what_changed_its_scores(folder: Path) -> None:
    lines = [
        json.loads(line) for line in limen("journal", "inspect", folder, "--equipment", "p1", "--json").out.splitlines()
    ]
    readings = [line for line in lines if "status" in line]
    assert [line["time"] for line in readings] == [time_of(second) for second in range(70)]
    assert [line["status"] for line in readings] == ["warming"] * WARMUP + ["scored"] * (70 - WARMUP)
    assert {line["equipment"] for line in readings} == {"p1"}
    assert [line.get("kind") for line in lines[:3]] == ["settings", "activate", "readings"]
    assert lines[2]["text"].startswith("follows model ")


def test_a_machine_whose_record_is_gone_is_known_by_the_snapshot(folder: Path) -> None:
    edit(folder, "DELETE FROM record WHERE sequence <= 3")
    assert len(limen("journal", "inspect", folder, "--equipment", "p2").out.splitlines()) == 40


def test_a_damaged_record_is_shown_among_the_others(folder: Path) -> None:
    edit(folder, "UPDATE record SET payload = zeroblob(9) WHERE sequence = 4")
    lines = limen("journal", "inspect", folder, "--from", 3).out.splitlines()
    assert "record 4 does not match its checksum" in lines[1]
    assert len(lines) == 4
    assert json.loads(limen("journal", "inspect", folder, "--json").out)["damaged"] == 1


@pytest.mark.parametrize(
    ("words", "expected"), [(("--equipment", "p9"), "p9"), (("--kind", "loud"), "expected readings")]
)
def test_what_is_not_there_is_named(folder: Path, words: tuple[str, str], expected: str) -> None:
    done = limen("journal", "inspect", folder, *words)
    assert done.status == 1
    assert expected in done.err
