"""Steady load for long: faults, late and repeated readings, machines up to the bound and beyond it, snapshots, switches
of the model and scrapes. What the process holds stays what it was."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.builders import process as readings_of
from tests.service.fleet import SECOND, START, in_columns
from tests.service.running import SENSORS, STATUSES, check_sum
from tests.service.test_registry import upload
from tests.storm import MIB, SAMPLE, Footprint, Served, footprint, post, served

CLIENTS, PAUSE_SECONDS = 8, 0.05
MACHINES, MACHINES_MAX = 260, 240  # that post, and that there is room for
READINGS, BATCHES = 5, 4  # of a batch, of a body
SAMPLE_SECONDS, SWITCH_SECONDS = 1.0, 3.0
SETTLED = 1 / 3  # of the run, after which everything has been met
JOURNAL_BYTES = 6_000_000
SETTINGS = {
    "LIMEN_EQUIPMENT_MAX": str(MACHINES_MAX),
    "LIMEN_SNAPSHOT_SECONDS": "5",
    "LIMEN_SILENT_CHECK_SECONDS": "1",
    "LIMEN_ALARMS_CLOSED_MAX": "200",
    "LIMEN_JOURNAL_BYTES_MAX": str(JOURNAL_BYTES),
}
GROWTH_MAX = 12 * MIB  # of resident memory from SETTLED to the end, by a straight line through all samples
JOURNAL_MORE_MAX = 4_000_000  # bytes that come between two snapshots, when what is too much is removed
DESCRIPTORS_MORE_MAX = 6  # files that are open for a moment: a snapshot, a model
THREADS_MORE_MAX = 2


@dataclass
class Load:
    """Clients that post, each for machines of its own, and what they were answered."""

    seconds: float
    table: Any = field(default_factory=lambda: readings_of(17, 5_000))
    at: Counter[int] = field(default_factory=Counter)  # readings sent by machine
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[float, Footprint, int, int]] = field(default_factory=list)  # time, held, series, journal

    def batch(self, machine: int, rng: random.Random) -> dict[str, Any]:
        """The next readings of a machine; at times a fault, at times what was sent before, at times older ones."""
        kind, first = rng.random(), self.at[machine]
        if kind < 0.1 and first >= READINGS:
            first -= READINGS  # again
        elif kind < 0.15 and first >= 50 * READINGS:
            first = -READINGS  # late: before all that it ever sent
        else:
            self.at[machine] += READINGS
        ticks = np.arange(first, first + READINGS)
        x = self.table[(ticks + 37 * machine) % len(self.table)]
        if (first // 60 + machine) % 29 == 0:
            x = x + 20.0
        return in_columns(f"m-{machine:03}", SENSORS, START + SECOND * ticks, x)

    async def send(self, url: str, number: int) -> None:
        """One client, to the end; it meets its machines one after the other."""
        rng, loop = random.Random(number), asyncio.get_running_loop()
        own, began = range(number, MACHINES, CLIENTS), loop.time()
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            while (share := (loop.time() - began) / self.seconds) < 1:
                met = own[: max(BATCHES, int(len(own) * share / (SETTLED / 2)))]
                chosen = rng.sample(met, BATCHES)
                answer = await post(client, {"batches": [self.batch(machine, rng) for machine in chosen]})
                check_sum(answer)
                self.counts.update({status: answer[status] for status in STATUSES})
                await asyncio.sleep(PAUSE_SECONDS)

    async def switch(self, client: httpx.AsyncClient) -> None:
        """The other version, again and again."""
        for number in range(int(self.seconds / SWITCH_SECONDS)):
            response = await client.put("/v1/models/pumps/active", json={"version": 1 + number % 2})
            assert response.status_code == 200, response.text
            await asyncio.sleep(SWITCH_SECONDS)

    async def look(self, client: httpx.AsyncClient, pid: int, journal: Path) -> None:
        """Scrape, and note what the process holds."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (now := loop.time() - began) < self.seconds:
            series = len(set(SAMPLE.findall((await client.get("/metrics")).text)))
            self.samples.append((now, footprint(pid), series, journal_bytes(journal)))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def run(self, service: Served, journal: Path) -> None:
        """Everything at the same time."""
        async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60) as client:
            others = (self.switch(client), self.look(client, service.process.pid, journal))
            await asyncio.gather(*others, *(self.send(service.url, number) for number in range(CLIENTS)))


def journal_bytes(path: Path) -> int:
    """Bytes of all records; what was freed is used again."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
        return int((pages - free) * size)


def soak(folder: Path, seconds: float) -> None:
    load, said = Load(seconds), list[str]()
    with served(folder, said, **SETTINGS) as service:
        assert service.put_in(upload("pumps", 1)) == 2
        asyncio.run(load.run(service, folder / "journal" / "shard-0.sqlite"))
        told = {status: service.figure(f'limen_readings_total{{status="{status}"}}') for status in STATUSES}
        machines = service.figure("limen_equipment")
        first = json.loads(service.client.get("/v1/alarms").text)["total"]
        service.end()
    settled = [sample for sample in load.samples if sample[0] > seconds * SETTLED]
    moments, held, series, journal = zip(*settled, strict=True)
    growth = np.polyfit(moments, [one.resident for one in held], 1)[0] * (moments[-1] - moments[0])
    threads, descriptors = [one.threads for one in held], [one.descriptors for one in held]
    print(
        f"{sum(load.counts.values())} readings in {seconds:g} s; resident {held[0].resident / MIB:.1f} to "
        f"{held[-1].resident / MIB:.1f} MiB, growth {growth / MIB:.2f} MiB; threads {min(threads)} to {max(threads)}; "
        f"descriptors {min(descriptors)} to {max(descriptors)}; series {series[0]}; journal up to {max(journal)} bytes"
    )
    assert told == {status: load.counts[status] for status in STATUSES}
    assert min(load.counts[name] for name in ("scored", "warming", "duplicate", "late", "rejected")) > 0, load.counts
    assert machines == MACHINES_MAX
    assert first > 0, "no fault became an alarm"
    assert growth < GROWTH_MAX
    assert max(threads) - min(threads) <= THREADS_MORE_MAX, threads
    assert max(descriptors) - min(descriptors) <= DESCRIPTORS_MORE_MAX, descriptors
    assert len(set(series)) == 1, series
    assert max(journal) < JOURNAL_BYTES + JOURNAL_MORE_MAX
    assert len(list((folder / "snapshots").glob("snapshot-*.safetensors"))) == 2
    warnings = [line for line in said[0].splitlines() if json.loads(line)["level"] not in ("info", "debug")]
    assert not warnings


@pytest.mark.prove
def test_two_minutes_of_everything_change_nothing_that_the_process_holds(tmp_path: Path) -> None:
    soak(tmp_path, 120)


@pytest.mark.prove_long
def test_twenty_minutes_of_everything_change_nothing_that_the_process_holds(tmp_path: Path) -> None:
    soak(tmp_path, 1200)
