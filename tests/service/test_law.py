"""The law of serving: what a reading scores does not depend on the bodies, forms, neighbours and stops around it.

One of the two models is the closed-form one, the other reads its memory and has tanh units."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.artifact import LoadedModel
from models.backfill import score_series
from models.contract import Floats, Ints
from service import recovery, snapshot
from service.outcome import BodyOutcome
from service.shard import Shard
from service.status import STATUS_NAMES
from tests.service import fleet
from tests.service.fleet import START, in_columns, in_rows, post

PUMPS = fleet.model("pumps", seed=1, sensors=12, constants=2)
FANS = fleet.model("fans", seed=2, sensors=3, prefix="fan", units=11)
MODELS = {PUMPS.artifact_id: PUMPS, FANS.artifact_id: FANS}
STRANGER = "colour"  # a sensor that no model knows
Recording = dict[str, tuple[Ints, Floats]]
Found = dict[tuple[str, int], tuple[str, float, float, bool]]


def resolve(equipment: str) -> LoadedModel | None:
    return {"p": PUMPS, "f": FANS}.get(equipment[0])


def recording(rng: np.random.Generator, machines: int, ticks: int) -> Recording:
    """Machines of two models, with missing cells, empty ticks, gaps, and bursts over the threshold."""
    made: Recording = {}
    for number in range(machines):
        name = f"{'pf'[number % 2]}-{number}"
        found = resolve(name)
        assert found is not None
        count = int(rng.integers(1, ticks + 1))
        steps = rng.choice([1, 1, 1, 1, 1, 2, 9, 11, 40], size=count) * fleet.SECOND
        x = fleet.normal(found.detector, int(rng.integers(1 << 30)), count, rng.choice([0.0, 0.1, 0.5]))
        burst = rng.random(count) < rng.choice([0.0, 0.2])
        x[burst, 0] += 8 * found.detector.scale[0]
        if found.detector.fixed.size:
            x[rng.random(count) < 0.1, found.detector.fixed[0]] += 1.0
        x[rng.random(count) < 0.05] = np.nan
        made[name] = START + np.cumsum(steps), x
    return made


def expected(made: Recording) -> Found:
    found: Found = {}
    for name, (times, x) in made.items():
        model = resolve(name)
        assert model is not None
        rows = score_series(model.detector, name, times, x)
        parts = zip(times.tolist(), rows.status, rows.score, rows.p_value, rows.alarm, strict=True)
        found |= {(name, time): told for time, *told in parts}  # type: ignore[misc]
    return found


def as_row(rng: np.random.Generator, name: str, time: int, x: Floats) -> tuple[str, int, dict[str, Any]]:
    """A reading with its sensors in any order; missing ones left out or null, but one that is known always there."""
    model = resolve(name)
    assert model is not None
    sensors = model.detector.sensors
    keep = rng.permutation([i for i in range(len(sensors)) if x[i] == x[i] or rng.random() < 0.5] or [0])
    values: dict[str, Any] = dict(zip([sensors[i] for i in keep], fleet.cells(x[keep]), strict=True))
    if rng.random() < 0.1:
        values[STRANGER] = 1.0
    return name, time, values


def as_columns(rng: np.random.Generator, name: str, times: Ints, x: Floats) -> dict[str, Any]:
    """Readings of one machine, its sensors in any order; those that are missing throughout left out at times."""
    model = resolve(name)
    assert model is not None
    absent = np.isnan(x).all(0) & (rng.random(x.shape[1]) < 0.5)
    keep = rng.permutation(np.flatnonzero(~absent)) if not absent.all() else np.array([0])
    return in_columns(name, [model.detector.sensors[i] for i in keep], times, x[:, keep])


def cut(rng: np.random.Generator, made: Recording) -> list[list[dict[str, Any]]]:
    """Micro-batches of bodies that together hold the recording, each machine in its order."""
    order = rng.permutation(np.repeat(list(made), [len(times) for times, _ in made.values()]))
    at, start = dict.fromkeys(made, 0), 0
    bodies: list[dict[str, Any]] = []
    while start < len(order):
        stop = start + int(rng.integers(1, 40))
        names, start = order[start:stop].tolist(), stop
        if rng.random() < 0.5:
            readings: list[tuple[str, int, dict[str, Any]]] = []
            for name in names:
                times, x = made[name]
                if rng.random() < 0.1:  # no sensor that is known: rejected, whatever the neighbours bring along
                    values = {STRANGER: 1.0} if rng.random() < 0.5 else {}
                    readings.append((name, int(times[at[name]]) - 1, values))
                readings.append(as_row(rng, name, int(times[at[name]]), x[at[name]]))
                at[name] += 1
            bodies.append(in_rows(readings))
            continue
        batches = []
        for name in dict.fromkeys(names):
            (times, x), size = made[name], names.count(name)
            part = slice(at[name], at[name] + size)
            at[name] += size
            batches.append(as_columns(rng, name, times[part], x[part]))
        if rng.random() < 0.3:
            batches.insert(int(rng.integers(len(batches) + 1)), in_columns("p-0", ["sensor-0"], times[:0], x[:0]))
        bodies += batches if rng.random() < 0.3 else [{"batches": batches}]
    groups: list[list[dict[str, Any]]] = []
    while bodies:
        size = int(rng.integers(1, 6))
        group, bodies = bodies[:size], bodies[size:]
        if rng.random() < 0.3:
            group.append(in_rows([("x-1", START, {"sensor-0": 1.0}), ("p-0", START, {STRANGER: 1.0})]))
        groups.append(group)
    return groups


def told(group: list[dict[str, Any]], outcomes: list[BodyOutcome]) -> Found:
    """What was answered to the readings of the recording."""
    from service.ingest.times import parse_time

    found: Found = {}
    for sent, outcome in zip(group, outcomes, strict=True):
        assert sum(outcome.counts()) == outcome.received
        if "readings" in sent:
            keys = [(row["equipment"], row["time"]) for row in sent["readings"]]
        else:
            keys = [(one["equipment"], text) for one in sent.get("batches", [sent]) for text in one["times"]]
        rows = zip(outcome.status, outcome.score, outcome.p_value, outcome.alarm, strict=True)
        for (name, text), (status, score, p_value, alarm) in zip(keys, rows, strict=True):
            if STATUS_NAMES[status] != "rejected":
                found[name, parse_time(text)] = STATUS_NAMES[status], score, p_value, alarm
    return found


def restarted(old: Shard) -> Shard:
    """A new shard that goes on from a snapshot of another."""
    new = Shard(resolve, fleet.ANY_TIME)
    with TemporaryDirectory() as folder:
        path = snapshot.write(Path(folder), recovery.capture(old))
        assert recovery.restore(new, snapshot.read(path), MODELS.get) == []
    return new


def same(found: Found, wanted: Found) -> None:
    assert found.keys() == wanted.keys()
    for key in wanted:
        assert found[key][0] == wanted[key][0], key
        np.testing.assert_array_equal(np.array(found[key][1:3]), np.array(wanted[key][1:3]), str(key))
        assert found[key][3] == wanted[key][3], key


@settings(deadline=None, max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 30), machines=st.integers(1, 9), ticks=st.integers(1, 90), stop=st.floats(0, 1))
def test_scores_do_not_depend_on_batching(seed: int, machines: int, ticks: int, stop: float) -> None:
    rng = np.random.default_rng(seed)
    made = recording(rng, machines, ticks)
    groups = cut(rng, made)
    shard, found = Shard(resolve, fleet.ANY_TIME), Found()
    for number, group in enumerate(groups):
        if number == int(stop * len(groups)):
            shard = restarted(shard)
        found |= told(group, post(shard, *group))
    same(found, expected(made))
