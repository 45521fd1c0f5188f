"""A gateway that was offline for a day sends all of it at once, in large bodies: machines that were read every second
and machines that were read every minute. All of it is scored, and no alarm of it counts."""

from __future__ import annotations

import time as clock
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from models import artifact
from models.artifact import load
from models.backfill import score_series
from models.contract import Floats, Ints
from models.preprocess import Segment
from models.train import Options, train
from tests.builders import SMALL, names
from tests.builders import process as readings_of
from tests.service.fleet import in_columns
from tests.service.running import SENSORS, model_folder
from tests.service.test_registry import zipped
from tests.storm import MIB, Figures, expected, figures, served

pytestmark = pytest.mark.prove

SECOND, DAY = 1_000_000, 86_400
MINUTE_MACHINES = 50
BODY_READINGS = 20_000
RESIDENT_MORE_MAX = 32 * MIB  # between the first quarter of the day and its end
Machines = dict[str, tuple[Ints, Floats]]


@cache
def minutes_folder() -> Path:
    """A model of readings once a minute."""
    segment = Segment("machine", readings_of(1, 600))
    found = train([segment], names(4), 60 * SECOND, Options(shape=SMALL, name="minutes"))
    folder = Path(mkdtemp(prefix="limen-test-")) / "minutes"
    artifact.save(found.manifest, found.detector, found.drift, folder)
    return folder


def recordings(start: int) -> Machines:
    """A day of every machine, with faults and missing cells."""
    steps = {"second-0": 1} | {f"minute-{number:02}": 60 for number in range(MINUTE_MACHINES)}
    made = {}
    for seed, (name, step) in enumerate(steps.items()):
        rng = np.random.default_rng(seed)
        time = start + SECOND * np.arange(0, DAY, step)
        x = readings_of(seed, len(time))
        x[rng.random(x.shape) < 0.02] = np.nan
        x[len(time) // 2 : len(time) // 2 + 20, seed % 4] += 15
        made[name] = time, x
    return made


def bodies(machines: Machines) -> list[dict[str, object]]:
    """The backlog hour by hour, as many hours in a body as go in; of each machine in order."""
    start = min(int(time[0]) for time, _ in machines.values())
    made, batches, readings = [], [], 0
    for hour in range(24):
        low, high = start + hour * 3600 * SECOND, start + (hour + 1) * 3600 * SECOND
        for name, (time, x) in machines.items():
            part = slice(*np.searchsorted(time, (low, high)).tolist())
            batches.append(in_columns(name, SENSORS, time[part], x[part]))
            readings += part.stop - part.start
        if readings >= BODY_READINGS or hour == 23:
            made.append({"batches": batches})
            batches, readings = [], 0
    return made


def test_a_day_of_a_gateway_is_scored_in_order_in_flat_memory(tmp_path: Path) -> None:
    start = (int(clock.time()) - 2 * DAY) // 60 * 60 * SECOND
    machines = recordings(start)
    found: dict[str, list[Figures]] = {name: [] for name in machines}
    said: list[str] = []
    given = {"LIMEN_CLOCK": "wall", "LIMEN_MODEL_PATTERNS": "minute-*=minutes"}
    with served(tmp_path, said, **given) as service:
        service.put_in(zipped(minutes_folder()))
        held = []
        for body in bodies(machines):
            answer = service.post(body)
            for batch in answer["batches"]:
                found[batch["equipment"]] += figures(batch)
                assert all("historical" in flags for flags in batch["flags"])
            assert answer["received"] == answer["scored"] + answer["warming"] + answer["unscored"]
            held.append(service.footprint.resident)
        assert max(held) - held[len(held) // 4] < RESIDENT_MORE_MAX, held
        assert service.client.get("/health/ready").json()["equipment"] == len(machines)
        alarms = {
            flag: service.client.get(f"/v1/alarms?historical={flag}").json()["total"] for flag in ("true", "false")
        }
        assert alarms["true"] > MINUTE_MACHINES
        assert alarms["false"] == 0, "nobody is told of what happened a day ago"
        service.end()
    assert "Traceback" not in said[0]
    detectors = {
        name: load(folder()).detector for name, folder in (("second", model_folder), ("minute", minutes_folder))
    }
    for name, (time, x) in machines.items():
        wanted = score_series(detectors[name.partition("-")[0]], name, time, x)
        assert found[name] == expected(wanted), name
