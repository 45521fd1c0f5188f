"""The law from outside: a file through HTTP, with a stop and a start in the middle, gives the scores of `limen score`,
every number of them the same to the last bit."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from models.artifact import load
from models.backfill import score_series
from models.contract import Floats, Ints
from service.consumer import BatchReport
from service.ingest.times import time_texts
from service.lifecycle import Service
from tests.builders import process as readings_of
from tests.service.fleet import START, cells, in_columns
from tests.service.running import SENSORS, check_sum, model_folder, run, settings
from tests.service.test_serve import ROOT, process, wait_until_ready

Found = dict[tuple[str, str], tuple[str, float | None, float | None, bool]]
MACHINES = ("machine", "pump 7", "ポンプ8")


def recording() -> dict[str, tuple[Ints, Floats]]:
    """Machines, the first one that of training, with missing cells, an empty tick, a gap and a fault."""
    made = {}
    for number, name in enumerate(MACHINES):
        rng = np.random.default_rng(number)
        x = readings_of(20 + number, 150)
        x[60:75, number] += 20
        x[rng.random(x.shape) < 0.05] = np.nan
        x[90] = np.nan
        steps = np.ones(150, np.int64)
        steps[110] = 3000
        made[name] = START + 1_000_000 * np.cumsum(steps), x
    return made


def scored_by_command(folder: Path, made: dict[str, tuple[Ints, Floats]]) -> Found:
    """What `limen score` writes."""
    source, target = folder / "plant.csv", folder / "scores.csv"
    lines = [
        (time, name, row) for name, (times, x) in made.items() for time, row in zip(time_texts(times), x, strict=True)
    ]
    with source.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "equipment", *SENSORS])
        for time, name, row in sorted(lines, key=lambda line: line[0]):
            writer.writerow([time, name, *("" if cell is None else repr(cell) for cell in cells(row))])
    command = [sys.executable, "-m", "service", "score", str(model_folder()), str(source), "--out", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "COLUMNS": "80"}, capture_output=True)
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (r["equipment"], r["time"]): (r["status"], written(r["score"]), written(r["p_value"]), r["alarm"] == "1")
        for r in rows
    }


def written(text: str) -> float | None:
    """A figure of the command."""
    return float(text) if text else None


def answered(value: float | None) -> float | None:
    """A figure of an answer, which has to be a float32 to the last bit."""
    assert value is None or float(np.float32(value)) == value
    return value


def cut(rng: np.random.Generator, made: dict[str, tuple[Ints, Floats]]) -> list[dict[str, Any]]:
    """Bodies in all forms that hold the recording, each machine in its order."""
    order = rng.permutation(np.repeat(list(made), [len(times) for times, _ in made.values()])).tolist()
    at = dict.fromkeys(made, 0)
    bodies: list[dict[str, Any]] = []
    while order:
        size = int(rng.choice([1, 2, 5, 20, 60]))
        names, order = order[:size], order[size:]
        batches, rows = [], []
        for name in dict.fromkeys(names):
            (times, x), first = made[name], at[name]
            at[name] = last = first + names.count(name)
            shuffled = rng.permutation(len(SENSORS))
            sensors = [SENSORS[i] for i in shuffled]
            batches.append(in_columns(name, sensors, times[first:last], x[first:last][:, shuffled]))
            rows += [
                {"equipment": name, "time": text, "values": dict(zip(sensors, cells(row), strict=True))}
                for text, row in zip(batches[-1]["times"], x[first:last][:, shuffled], strict=True)
            ]
        form = rng.integers(3)
        bodies += [{"readings": rows}] if form == 0 else [{"batches": batches}] if form == 1 else batches
    return bodies


def told(sent: dict[str, Any], answer: dict[str, Any]) -> Found:
    """What was answered, as the command says it."""
    check_sum(answer)
    if "readings" in sent:
        results = answer["results"]
    else:
        results = [
            {
                "equipment": one["equipment"],
                "time": time,
                "status": status,
                "score": score,
                "p_value": p,
                "alarm": alarm,
            }
            for one, back in zip(sent.get("batches", [sent]), answer["batches"], strict=True)
            for time, status, score, p, alarm in zip(
                one["times"], back["status"], back["score"], back["p_value"], back["alarm"], strict=True
            )
        ]
    return {
        (r["equipment"], r["time"]): (
            r["status"],
            answered(r["score"]),
            answered(r["p_value"]),
            r["alarm"],
        )
        for r in results
    }


def test_machines_that_are_posted_at_once_do_not_see_each_other(tmp_path: Path) -> None:
    detector = load(model_folder()).detector
    rng = np.random.default_rng(3)
    sizes: dict[int, int] = {}

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        async def machine(number: int) -> None:
            x, times = readings_of(number, 60), START + 1_000_000 * np.arange(60)
            found: list[float | None] = []
            while len(found) < 60:
                part = slice(len(found), len(found) + int(rng.integers(1, 9)))
                response = await client.post(
                    "/v1/readings", json=in_columns(f"m{number}", SENSORS, times[part], x[part])
                )
                found += response.json()["batches"][0]["score"]
            wanted = score_series(detector, f"m{number}", times, x).score
            np.testing.assert_array_equal(np.array(found, np.float64), wanted.astype(np.float64))

        def note(report: BatchReport) -> None:
            sizes[len(report.bodies)] = sizes.get(len(report.bodies), 0) + 1

        service.consumer.observe = note
        await asyncio.gather(*(machine(number) for number in range(20)))

    run(settings(tmp_path), scenario)
    assert max(sizes) > 1, "no two bodies ever met in a micro-batch"


def test_the_same_file_through_http_gives_the_scores_of_the_command(tmp_path: Path) -> None:
    made = recording()
    wanted = scored_by_command(tmp_path, made)
    assert {status for status, *_ in wanted.values()} == {"scored", "warming", "unscored"}
    assert {alarm for *_, alarm in wanted.values()} == {False, True}
    bodies = cut(np.random.default_rng(7), made)
    half = len(bodies) // 2
    found: Found = {}
    for part, variables in ((bodies[:half], {"LIMEN_MODEL": str(model_folder())}), (bodies[half:], {})):
        with (
            process(tmp_path / "data", **variables) as (started, url),
            httpx.Client(base_url=url, trust_env=False) as client,
        ):
            wait_until_ready(client)
            for body in part:
                response = client.post("/v1/readings", json=body)
                assert response.status_code == 200, response.text
                found |= told(body, response.json())
            started.send_signal(signal.SIGTERM)
            assert started.wait(20) == 0
    assert found == wanted
