"""Models, bodies and shards without HTTP: random weights with a threshold that some ticks exceed, bodies through the
real decoder."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np

from models.artifact import LoadedModel
from models.contract import MICROSECONDS, Floats, Floats32, Ints
from models.detector import Detector
from models.drift import DriftReference
from models.lmn import LinearMemoryNetwork
from models.manifest import Sensor
from service.ingest.batch import Body, Limits
from service.ingest.json_body import decode
from service.ingest.times import time_texts
from service.limits import ShardLimits
from service.outcome import BodyOutcome
from service.scoring import step
from service.shard import Shard
from service.status import REASON_NAMES, STATUS_NAMES
from tests.builders import random_detector, trained

SECOND = MICROSECONDS
START = 1_790_000_000 * SECOND  # 2026-09-21T14:13:20Z
ANY_TIME = ShardLimits(future=None)


@cache
def model(
    name: str = "pumps",
    seed: int = 0,
    sensors: int = 4,
    constants: int = 0,
    version: int = 1,
    prefix: str = "sensor",
    units: int = 0,
) -> LoadedModel:
    """A model that has learned nothing: seeded weights, warm-up of 3 ticks of 1 s, a gap of 10 s starts it anew; with
    `units`, its functional part reads the memory and is tanh by half."""
    detector = dataclasses.replace(
        random_detector(seed, sensors, 7, constants), sensors=tuple(f"{prefix}-{i}" for i in range(sensors))
    )
    if units:
        detector = dataclasses.replace(detector, network=recurrent(detector.network, seed, units))
    rng = np.random.default_rng(seed)
    drift = DriftReference.fit(rng.normal(size=(200, sensors)), rng.normal(size=(200, 7)))
    manifest = msgspec.structs.replace(
        trained().manifest, name=name, version=version, artifact_id=f"{name}-{version}-{seed}", equipment=(),
        sensors=tuple(Sensor(sensor, "", 0.0, 1.0, False, 0.01) for sensor in detector.sensors),
    )  # fmt: skip
    return LoadedModel(manifest, detector, drift)


def recurrent(network: LinearMemoryNetwork, seed: int, units: int) -> LinearMemoryNetwork:
    """The network with units of its own between input and memory."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> Floats32:
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    p, d = network.memory_size, network.inputs
    return dataclasses.replace(
        network,
        W_hm=weights(p, units) / 2,
        W_xh=weights(units, d),
        W_mh=weights(units, p) / 2,
        b_h=weights(units),
        tanh=np.arange(units) < units // 2,
    )


def shard(
    *models: LoadedModel, limits: ShardLimits = ANY_TIME, resolve: Callable[[str], LoadedModel | None] | None = None
) -> Shard:
    """A shard whose equipment follows the first model, or what `resolve` says."""
    chosen = models[0] if models else model()
    return Shard(resolve or (lambda equipment: chosen), limits)


def normal(detector: Detector, seed: int, ticks: int, missing: float = 0.0) -> Floats:
    """Values (ticks, d) around the level of training."""
    rng = np.random.default_rng(seed)
    x = detector.mean + detector.scale * rng.normal(size=(ticks, len(detector.sensors)))
    x[:, detector.fixed] = detector.mean[detector.fixed]
    x[rng.random(x.shape) < missing] = np.nan
    return x


def seconds(first: int, count: int) -> Ints:
    """Times of readings, one a second, from `first` seconds after START on."""
    return START + SECOND * np.arange(first, first + count)


def cells(row: Sequence[float]) -> list[float | None]:
    """Values as JSON has them."""
    return [None if value != value else float(value) for value in row]


def in_columns(equipment: str, sensors: Sequence[str], times: Ints, values: Floats) -> dict[str, Any]:
    """A body in columns."""
    texts = time_texts(np.asarray(times)) if len(times) else []
    return {"equipment": equipment, "sensors": list(sensors), "times": texts, "values": [cells(row) for row in values]}


def in_rows(readings: Sequence[tuple[str, int, dict[str, float | None]]]) -> dict[str, Any]:
    """A body in rows, of (equipment, time, values)."""
    texts = time_texts(np.array([time for _, time, _ in readings], np.int64)) if readings else []
    return {
        "readings": [
            {"equipment": owner, "time": text, "values": values}
            for (owner, _, values), text in zip(readings, texts, strict=True)
        ]
    }


def body(found: Any, limits: Limits | None = None, source: str = "") -> Body:
    """Decoded as a request would be."""
    return dataclasses.replace(decode(msgspec.json.encode(found), limits or Limits()), source=source)


def post(to: Shard, *bodies: Any, now: int = START) -> list[BodyOutcome]:
    """One micro-batch."""
    return step(to, [body(one) for one in bodies], now).outcomes


def statuses(outcome: BodyOutcome) -> list[str]:
    """In words."""
    return [STATUS_NAMES[code] for code in outcome.status]


def reasons(outcome: BodyOutcome) -> list[str]:
    """In words."""
    return [REASON_NAMES[code] for code in outcome.reason]


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine to its end; one that hangs fails."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())
