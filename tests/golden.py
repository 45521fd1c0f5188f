"""Golden files: what a released version has written, and what it answered next.

    tests/golden/<version>/backup           a backup of a service that has lived through a bit of everything
    tests/golden/<version>/expected.json    what it listed then, and what it answered to the bodies after that

`python -m tests.golden` writes those of this version anew, which is right only until it is released: from then on
`tests/test_golden.py` holds that every later version reads them and goes on as the old one did.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from service import snapshot
from service.backup import back_up
from service.lifecycle import Service
from service.settings import Settings
from service.sources import SOURCE_HEADER
from tests.service.running import columns, model_folder, rows, run, settings
from tests.service.test_registry import upload

GOLDEN = Path(__file__).parent / "golden"
LISTS = ("/v1/alarms?limit=1000", "/v1/equipment?limit=1000", "/v1/models")


def faulty(equipment: str, first: int, count: int) -> dict[str, Any]:
    """Readings with a sensor that is far off, and some that are missing."""
    body = columns(equipment, first, count, seed=7)
    for tick, values in enumerate(body["values"]):
        values[2] += 50.0
        if tick % 3 == 0:
            values[1] = None
    return body


def halves(equipment: str, first: int, count: int, whole: int) -> dict[str, Any]:
    """Readings in rows, of which all but `whole` lack two sensors: for a machine whose sensors come apart."""
    found = rows(equipment, first, count)
    for reading in found["readings"][whole:]:
        reading["values"] = dict(list(reading["values"].items())[:2])
    return found


def long_ago(first: int, count: int) -> dict[str, Any]:
    """Readings of another year, in alarm at the end."""
    body = faulty("h1", first, count)
    return {**body, "times": [time.replace("2026", "2020") for time in body["times"]]}


def bodies() -> list[dict[str, Any]]:
    """What is posted after the backup: duplicates, a conflict, a late reading, some that others waited for, and many
    that are new."""
    return [
        columns("w1", 12, 3),
        rows("j1", 6, 4),
        long_ago(10, 3),
        {"batches": [columns("p1", 93, 15), columns("p2", 74, 8, seed=6), columns("p4", 80, 10)]},
        columns("p2", 76, 3, seed=9),
        columns("p2", 20, 1, seed=6),
        rows("p1", 108, 6),
        faulty("p2", 82, 12),
    ]


async def first_days(client: httpx.AsyncClient, service: Service) -> None:
    """Machines that warm up, one that falls silent, a fault, a gap, a switch of models, snapshots in between."""
    for first in range(0, 36, 12):
        parts = [columns("p1", first, 12), columns("p2", first, 12, seed=6)]
        await _post(client, {"batches": [*parts, columns("p3", first, 8)] if first < 12 else parts})
    await service.consumer.sweep()
    await _post(client, faulty("p2", 36, 12))
    await _post(client, columns("p1", 60, 12))
    await service.save()
    await client.post("/v1/models", content=upload(seed=1), headers={"Content-Type": "application/zip"})
    await client.put("/v1/models/pumps/active", json={"version": 2})
    await _post(client, {"batches": [columns("p1", 72, 16), columns("p2", 50, 16, seed=6)]})


async def backlog(client: httpx.AsyncClient, service: Service) -> None:
    """Readings of long ago, from a source whose clock is measured."""
    await _post(client, columns("h1", 0, 8) | {"times": long_ago(0, 8)["times"]}, "gateway-3")
    await _post(client, long_ago(8, 6), "gateway-3")


async def waiting_days(client: httpx.AsyncClient, service: Service) -> None:
    """Readings that wait for others which are late, and points of single sensors."""
    await _post(client, {"batches": [columns("w1", 0, 12), columns("w1", 15, 2)]})
    await _post(client, halves("j1", 0, 8, 6))


async def _post(client: httpx.AsyncClient, body: dict[str, Any], source: str = "") -> dict[str, Any]:
    headers = {SOURCE_HEADER: source} if source else {}
    response = await client.post("/v1/readings", json=body, headers=headers)
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


async def listed(client: httpx.AsyncClient) -> list[Any]:
    """What the service lists."""
    return [(await client.get(address)).json() for address in LISTS]


async def answered(client: httpx.AsyncClient) -> list[Any]:
    """What it answers to the bodies."""
    return [await _post(client, body) for body in bodies()]


def waiting(data_dir: Path) -> Settings:
    """Settings with which readings wait, for so long that only what comes decides."""
    return settings(
        data_dir, model=None, snapshots_kept=1, silent_intervals=8, silent_check_seconds=300.0, reorder_seconds=1000.0,
        join=["j*"],
    )  # fmt: skip


def write(folder: Path) -> None:
    """Make the golden files of this version in a folder."""

    async def last_day(client: httpx.AsyncClient, service: Service) -> None:
        await _post(client, {"batches": [columns("p1", 88, 10), columns("p2", 66, 16, seed=6)]})
        await _post(client, columns("w1", 19, 2))
        await asyncio.to_thread(back_up, data, folder / "backup")
        expected = {"engine": snapshot.engine_id(), "lists": await listed(client), "answers": await answered(client)}
        (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")

    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        run(settings(data, model=model_folder(), snapshots_kept=1, silent_intervals=20), first_days)
        offset = settings(data, model=None, snapshots_kept=1, clock="wall", time_source={"gateway-*": "offset"})
        run(offset, backlog)
        run(waiting(data), waiting_days)
        run(waiting(data), last_day)


if __name__ == "__main__":
    own = GOLDEN / version("limen")
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    write(own)
    size = sum(path.stat().st_size for path in own.rglob("*") if path.is_file())
    print(f"{own.relative_to(GOLDEN.parent.parent)}: {size:,} bytes")
