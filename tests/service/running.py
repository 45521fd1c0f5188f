"""A real service in this process, spoken to over ASGI: models trained for real, no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx

from models import artifact
from service.app import create_app
from service.lifecycle import Service
from service.settings import Settings
from tests.builders import names, process, trained

START = 1_790_000_000  # seconds since 1970: 2026-09-21T14:13:20Z
SENSORS = names(4)
WARMUP = trained().detector.warmup  # ticks of a machine without a score
Scenario = Callable[[httpx.AsyncClient, Service], Awaitable[None]]


@cache
def model_folder(name: str = "pumps", seed: int = 0, interval: int = 1_000_000) -> Path:
    """An artifact on disk, trained once in a run of the tests."""
    training = trained(seed=seed, name=name, interval=interval)
    folder = Path(mkdtemp(prefix="limen-test-")) / name
    artifact.save(training.manifest, training.detector, training.drift, folder, training.horizons)
    return folder


def settings(data_dir: Path, **given: Any) -> Settings:
    """Settings of a service with one model, whose clock is that of the data."""
    return Settings(**{"data_dir": data_dir, "clock": "event", "model": model_folder(), **given})


def run(given: Settings, scenario: Scenario, on_failure: Callable[[], None] = lambda: None) -> None:
    """Start a service, play the scenario, stop the service."""

    async def play() -> None:
        service = Service(given, on_failure=on_failure)
        app = create_app(given, service)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            await service.started()
            await scenario(client, service)

    asyncio.run(play())


def time_of(second: int) -> str:
    """RFC 3339 text of a second after START."""
    import datetime

    return datetime.datetime.fromtimestamp(START + second, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rows(equipment: str, first: int, count: int, seed: int = 5) -> dict[str, Any]:
    """A body in rows: readings `first` to `first + count` of one machine."""
    table = process(seed, 200)[first : first + count].tolist()
    readings = [
        {"equipment": equipment, "time": time_of(first + i), "values": dict(zip(SENSORS, row, strict=True))}
        for i, row in enumerate(table)
    ]
    return {"readings": readings}


def columns(equipment: str, first: int, count: int, seed: int = 5) -> dict[str, Any]:
    """The same readings in columns."""
    table = process(seed, 200)[first : first + count].tolist()
    times = [time_of(first + i) for i in range(count)]
    return {"equipment": equipment, "sensors": list(SENSORS), "times": times, "values": table}


STATUSES = ("scored", "warming", "held", "unscored", "duplicate", "late", "rejected")


def check_sum(answer: dict[str, Any]) -> None:
    """The seven statuses sum to `received`."""
    assert sum(answer[status] for status in STATUSES) == answer["received"]
