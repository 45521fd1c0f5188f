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


def bodies() -> list[dict[str, Any]]:
    """What is posted after the backup: duplicates, a conflict, a late reading, and many that are new."""
    return [
        {"batches": [columns("p1", 145, 15), columns("p2", 140, 20, seed=6), columns("p4", 100, 30)]},
        columns("p2", 155, 3, seed=9),
        columns("p2", 20, 1, seed=6),
        rows("p1", 160, 8),
        faulty("p2", 160, 20),
    ]


async def first_days(client: httpx.AsyncClient, service: Service) -> None:
    """Machines that warm up, one that falls silent, a fault, a gap, a switch of models, snapshots in between."""
    for first in range(0, 60, 20):
        parts = [columns("p1", first, 20), columns("p2", first, 20, seed=6)]
        await _post(client, {"batches": [*parts, columns("p3", first, 20)] if first < 20 else parts})
    await service.consumer.sweep()
    await _post(client, faulty("p2", 60, 20))
    await _post(client, columns("p1", 90, 20))
    await service.save()
    await client.post("/v1/models", content=upload(seed=1), headers={"Content-Type": "application/zip"})
    await client.put("/v1/models/pumps/active", json={"version": 2})
    await _post(client, {"batches": [columns("p1", 110, 20), columns("p2", 100, 20, seed=6)]})


async def _post(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    response = await client.post("/v1/readings", json=body)
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


async def listed(client: httpx.AsyncClient) -> list[Any]:
    """What the service lists."""
    return [(await client.get(address)).json() for address in LISTS]


async def answered(client: httpx.AsyncClient) -> list[Any]:
    """What it answers to the bodies."""
    return [await _post(client, body) for body in bodies()]


def write(folder: Path) -> None:
    """Make the golden files of this version in a folder."""

    async def last_day(client: httpx.AsyncClient, service: Service) -> None:
        await _post(client, {"batches": [columns("p1", 130, 20), columns("p2", 120, 40, seed=6)]})
        await asyncio.to_thread(back_up, data, folder / "backup")
        expected = {"engine": snapshot.engine_id(), "lists": await listed(client), "answers": await answered(client)}
        (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")

    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        run(settings(data, model=model_folder(), snapshots_kept=1), first_days)
        run(settings(data, model=None, silent_intervals=8), last_day)


if __name__ == "__main__":
    own = GOLDEN / version("limen")
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    write(own)
    size = sum(path.stat().st_size for path in own.rglob("*") if path.is_file())
    print(f"{own.relative_to(GOLDEN.parent.parent)}: {size:,} bytes")
