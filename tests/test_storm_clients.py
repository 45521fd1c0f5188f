"""Many clients at once: 64 on one machine, and a million equipment ids that nobody has room for."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest

from models.artifact import load
from models.backfill import score_series
from models.contract import Floats, Ints
from tests.builders import process as readings_of
from tests.service.fleet import START, in_columns
from tests.service.running import SENSORS, STATUSES, check_sum, model_folder
from tests.storm import MIB, Figures, crowd, expected, figures, post, served

pytestmark = pytest.mark.prove

CLIENTS = 64
TICKS = 4000
ADMITTED = ("scored", "warming", "unscored")
RESIDENT_MORE_MAX = 16 * MIB  # that a process may hold after a million ids: buffers of bodies, not ids


def recording() -> tuple[Ints, Floats]:
    """One machine with missing cells, an empty tick now and then, and faults."""
    rng = np.random.default_rng(11)
    x = readings_of(11, TICKS)
    for start in range(100, TICKS - 50, 400):
        x[start : start + 15, 1] += 15
    x[rng.random(x.shape) < 0.03] = np.nan
    x[::97] = np.nan
    return START + 1_000_000 * np.arange(TICKS), x


def test_64_clients_on_one_machine_admit_each_reading_once_and_score_as_one_client_would(tmp_path: Path) -> None:
    """Every client walks the same recording in pieces of its own, at times a piece that was sent before."""
    time, x = recording()
    admitted: dict[int, Figures] = {}
    repeated: list[tuple[int, Figures, str]] = []
    counts: Counter[str] = Counter()
    front = 0

    async def walk(client: httpx.AsyncClient, number: int) -> None:
        nonlocal front
        rng = random.Random(number)
        while front < TICKS:
            first = max(front + rng.randint(-40, 25), 0)
            part = slice(first, min(first + rng.randint(1, 30), TICKS))
            for _ in range(rng.choice((1, 1, 2))):
                answer = await post(client, in_columns("pump", SENSORS, time[part], x[part]))
                front = max(front, part.stop)
                check_sum(answer)
                counts.update({status: answer[status] for status in (*STATUSES, "received")})
                (batch,) = answer["batches"]
                reasons = batch.get("reason") or [""] * len(batch["status"])
                for tick, (found, reason) in enumerate(zip(figures(batch), reasons, strict=True), first):
                    if found[0] in ADMITTED:
                        assert tick not in admitted, f"reading {tick} was admitted twice"
                        admitted[tick] = found
                    elif found[0] == "duplicate":
                        repeated.append((tick, found, reason))

    with served(tmp_path) as service:
        crowd(service.url, CLIENTS, walk)
        seen = {status: service.figure(f'limen_readings_total{{status="{status}"}}') for status in STATUSES}
        service.end()

    assert seen == {status: counts[status] for status in STATUSES}
    assert counts["received"] == sum(counts[status] for status in STATUSES)
    assert sum(counts[status] for status in ADMITTED) == len(admitted)
    assert min(counts[name] for name in ("scored", "warming", "duplicate", "late")) > 0, counts
    order = np.array(sorted(admitted))
    wanted = score_series(load(model_folder()).detector, "pump", time[order], x[order])
    assert [admitted[tick] for tick in order.tolist()] == expected(wanted)
    for tick, found, reason in repeated:
        told = (None, None) if reason == "already_processed" else admitted[tick][1:3]  # older than what is remembered
        assert (tick in admitted, found[1:3]) == (True, told), f"reading {tick} was answered otherwise as a duplicate"
    assert {reason for _, _, reason in repeated} > {"already_processed"}


IDS, IDS_A_BODY = 1_000_000, 10_000
THREADS_MORE_MAX = 32  # of the pool, which grows as it is needed; there are more bodies than that


@pytest.mark.parametrize(
    ("limit", "assigned", "reason"),
    [("3", "fan-*=pumps", "limit"), ("1000000", "x-*=none", "no_model")],
    ids=["no room", "no model"],
)
def test_a_million_unknown_ids_are_refused_in_flat_memory(
    tmp_path: Path, limit: str, assigned: str, reason: str
) -> None:
    sensors = dict.fromkeys(SENSORS, 1.0)
    times = [f"2026-11-24T00:00:{second:02}Z" for second in range(10)]

    def body(first: int, count: int) -> dict[str, object]:
        owners = range(first, first + count)
        return {"readings": [{"equipment": f"x-{i:07}", "time": times[0], "values": sensors} for i in owners]}

    with served(tmp_path, LIMEN_EQUIPMENT_MAX=limit, LIMEN_MODEL_PATTERNS=assigned) as service:
        for number in range(3):
            known = {"equipment": f"fan-{number}", "sensors": SENSORS, "times": times, "values": [[1.0] * 4] * 10}
            assert service.post(known)["rejected"] == 0
        assert service.post(body(2 * IDS, IDS_A_BODY))["rejected"] == IDS_A_BODY
        assert service.series()  # requests to /metrics are series too
        before, series = service.footprint, service.series()
        for first in range(0, IDS, IDS_A_BODY):
            answer = service.post(body(first, IDS_A_BODY))
            assert (answer["received"], answer["rejected"]) == (IDS_A_BODY, IDS_A_BODY)
            assert {result["reason"] for result in answer["results"]} == {reason}
        after = service.footprint
        assert service.series() == series
        assert service.figure("limen_equipment") == 3
        assert service.client.get("/v1/equipment").json()["total"] == 3
        assert after.resident - before.resident < RESIDENT_MORE_MAX, (before, after)
        assert after.threads - before.threads <= THREADS_MORE_MAX, (before, after)
        assert after.descriptors == before.descriptors
        known["times"] = [time.replace("00:00:0", "00:01:0") for time in times]
        assert service.post(known)["rejected"] == 0
        service.end()
