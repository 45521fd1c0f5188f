"""A model is switched a thousand times under load: nothing is lost, and every body is answered by one whole version."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from models.artifact import load
from models.backfill import score_series
from models.contract import Floats, Ints
from models.detector import Detector
from tests.builders import process as readings_of
from tests.service.fleet import SECOND, START, in_columns
from tests.service.running import SENSORS, model_folder
from tests.service.test_registry import upload
from tests.storm import MIB, Figures, Served, expected, figures, post, served

pytestmark = pytest.mark.prove

SWITCHES, CLIENTS = 1_000, 4
BODY_READINGS, TICKS = 12, 60_000
RESIDENT_MORE_MAX = 16 * MIB  # between the first hundred switches and the last
ACTIVE = "/v1/models/pumps/active"


@dataclass
class Machine:
    """One machine: its recording, how far it is, and the version and first reading of the memory that it has now."""

    name: str
    time: Ints
    x: Floats
    at: int = 0
    version: int = 0
    start: int = 0
    starts: int = 0  # of its memory

    @classmethod
    def of(cls, number: int) -> Machine:
        return cls(f"m-{number}", START + SECOND * np.arange(TICKS), readings_of(number, TICKS))

    def body(self) -> dict[str, object]:
        part = slice(self.at, self.at + BODY_READINGS)
        return in_columns(self.name, SENSORS, self.time[part], self.x[part])

    def answered(self, found: list[Figures], detectors: dict[int, Detector]) -> None:
        """The answer goes on from what came before, or begins anew with either version: as a whole."""
        assert len(found) == BODY_READINGS
        self.at += BODY_READINGS
        told = without_alarms(found)
        if found[0][0] == "warming":
            self.start, self.starts = self.at - BODY_READINGS, self.starts + 1
            self.version = next((number for number in detectors if told == self._wanted(detectors[number])), 0)
        assert self.version, f"{self.name}, up to {self.at}: {found} is of no version"
        assert told == self._wanted(detectors[self.version]), f"{self.name}, up to {self.at}: {found}"

    def _wanted(self, detector: Detector) -> list[tuple[object, ...]]:
        part = slice(self.start, self.at)
        wanted = score_series(detector, self.name, self.time[part], self.x[part])
        return without_alarms(expected(wanted)[-BODY_READINGS:])


def without_alarms(found: list[Figures]) -> list[tuple[object, ...]]:
    """An alarm outlasts a switch; status, score and p-value do not."""
    return [reading[:3] for reading in found]


async def storm(service: Served, machines: list[Machine], detectors: dict[int, Detector]) -> int:
    """Switch, and post meanwhile; bytes that the process holds more at the end than after a tenth of the switches."""
    done = asyncio.Event()

    async def send(machine: Machine) -> None:
        async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60) as client:
            while not done.is_set():
                answer = await post(client, machine.body())
                machine.answered(figures(answer["batches"][0]), detectors)

    async def switch() -> int:
        try:
            async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60) as client:
                for number in range(SWITCHES):
                    response = await client.put(ACTIVE, json={"version": 1 + number % 2})
                    assert (response.status_code, response.json()["active"]) == (200, 1 + number % 2), response.text
                    if number == SWITCHES // 10:
                        before = service.footprint.resident
            return service.footprint.resident - before
        finally:
            done.set()

    more, *_ = await asyncio.gather(switch(), *map(send, machines))
    return more


def seen(service: Served, machines: list[Machine]) -> list[object]:
    """All that the service says of the machines and of the models."""
    addresses = [f"/v1/equipment/{machine.name}{part}" for machine in machines for part in ("", "/scores")]
    return [service.client.get(address).json() for address in (*addresses, "/v1/models", "/v1/alarms")]


def test_a_thousand_switches_under_load_lose_nothing_and_mix_nothing(tmp_path: Path) -> None:
    detectors = {number: load(model_folder("pumps", number - 1)).detector for number in (1, 2)}
    machines = [Machine.of(number) for number in range(CLIENTS)]
    said: list[str] = []
    with served(tmp_path, said) as service:
        assert service.put_in(upload("pumps", 1)) == 2
        for machine in machines:
            machine.answered(figures(service.post(machine.body())["batches"][0]), detectors)
        assert service.series()
        series = {name for name in service.series() if "request" not in name}
        more = asyncio.run(storm(service, machines, detectors))
        statuses = [f'limen_readings_total{{status="{status}"}}' for status in ("scored", "warming")]
        assert sum(map(service.figure, statuses)) == sum(machine.at for machine in machines)
        assert more < RESIDENT_MORE_MAX
        found = {name.replace('version="2"', 'version="1"') for name in service.series() if "request" not in name}
        assert found == series
        assert min(machine.starts for machine in machines) > 20
        before = seen(service, machines)
        service.process.kill()
    with served(tmp_path, installed=False) as service:
        assert seen(service, machines) == before
        for machine in machines:
            machine.answered(figures(service.post(machine.body())["batches"][0]), detectors)
        service.end()
    assert "Traceback" not in said[0]
