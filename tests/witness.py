"""Who reads while a service is killed: what anybody could see before a kill must be there after the restart.

A witness asks the GET routes all the time and keeps what they told. Nothing may be shown before it is on disk, so
`compare` finds all of it in the service that starts next, before anybody posts again.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field
from typing import Any

import httpx

Result = tuple[str, float | None, float | None]  # status, score, p-value
FIXED = ("kind", "equipment", "model", "version", "start", "opening")  # of an alarm, from its first moment on
ADMITTED = ("scored", "warming", "unscored")
PAGE = 1000


@dataclass
class Witness:
    """What was seen: results by machine and time, alarms by id, readings counted since the last start."""

    results: dict[tuple[str, str], Result] = field(default_factory=dict)
    alarming: dict[tuple[str, str], bool] = field(default_factory=dict)
    alarms: dict[str, dict[str, Any]] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)  # time of the last reading of a machine
    counted: int = 0

    async def watch(self, url: str, machines: list[str], seed: str, pause_seconds: float = 0.01) -> None:
        """Look again and again, until the service dies."""
        rng = random.Random(seed)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            while True:
                look = rng.choice([self._machines, self._alarms, self._metrics, self._scores, self._scores])
                try:
                    await look(client, rng.choice(machines))
                except httpx.TransportError:
                    return
                await asyncio.sleep(pause_seconds)

    async def see_news(self, url: str) -> None:
        """Look at the list of machines until one has a new result."""
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            await self._machines(client, "")
            seen = len(self.results)
            while len(self.results) == seen:
                await self._machines(client, "")

    async def _machines(self, client: httpx.AsyncClient, _: str) -> None:
        response = await client.get("/v1/equipment", params={"limit": PAGE})
        for entry in _entries(response, "equipment"):
            if entry["last_time"]:  # else all that it has sent waits
                self._see(entry["equipment"], entry["last_time"], entry)

    async def _scores(self, client: httpx.AsyncClient, machine: str) -> None:
        response = await client.get(f"/v1/equipment/{machine}/scores")
        for entry in _entries(response, "scores"):
            self._see(machine, entry["time"], entry)
            self.alarming[machine, entry["time"]] = entry["alarm"]

    def _see(self, machine: str, time: str, entry: dict[str, Any]) -> None:
        result = (entry["status"], entry["score"], entry["p_value"])
        before = self.results.setdefault((machine, time), result)
        assert before == result, f"{machine} at {time} was seen as {before} and is now {result}"
        self.newest[machine] = max(self.newest.get(machine, ""), time)

    async def _alarms(self, client: httpx.AsyncClient, _: str) -> None:
        response = await client.get("/v1/alarms", params={"limit": 100})
        self.alarms |= {alarm["id"]: alarm for alarm in _entries(response, "alarms")}

    async def _metrics(self, client: httpx.AsyncClient, _: str) -> None:
        text = (await client.get("/metrics")).text  # an error where the service is ending
        found = re.findall(r'^limen_readings_total\{status="(\w+)"\} (\S+)$', text, re.MULTILINE)
        self.counted = max(self.counted, sum(int(float(count)) for status, count in found if status in ADMITTED))

    async def compare(self, client: httpx.AsyncClient, last: dict[str, str], added: int) -> None:
        """After a restart: everything seen is there. `last` are the times of the last reading of each machine, `added`
        the readings that the life before has left."""
        assert self.counted <= added, f"{self.counted} readings were counted; {added} are there"
        self.counted = 0
        for machine, time in self.newest.items():
            assert last.get(machine, "") >= time, f"a result of {machine} at {time} was seen and is not there any more"
        alarms = {alarm["id"]: alarm for alarm in await pages(client, "/v1/alarms", "alarms")}
        for name, seen in self.alarms.items():
            assert name in alarms, f"alarm {name} of {seen['equipment']} was seen and is not there any more"
            same = FIXED if seen["open"] else tuple(seen)
            for key in same:
                assert alarms[name][key] == seen[key], (
                    f"alarm {name}: {key} was seen as {seen[key]} and is now {alarms[name][key]}"
                )
        self.alarms = alarms
        for machine in last:
            await self._scores(client, machine)
            newest = self.newest.get(machine, "")
            assert newest == last[machine], (
                f"the scores of {machine} end at {newest}; its last reading is of {last[machine]}"
            )


async def last_times(client: httpx.AsyncClient) -> dict[str, str]:
    """Time of the last reading of each machine; "" where none is known."""
    entries = await pages(client, "/v1/equipment", "equipment")
    return {entry["equipment"]: entry["last_time"] or "" for entry in entries}


def _entries(response: httpx.Response, key: str) -> list[dict[str, Any]]:
    """What a route lists; nothing where the machine is not there yet or the service is ending."""
    assert response.status_code in (200, 404, 503), response.text
    return response.json()[key] if response.status_code == 200 else []


async def pages(client: httpx.AsyncClient, address: str, key: str) -> list[dict[str, Any]]:
    """All entries of a list to which nobody adds meanwhile."""
    entries: list[dict[str, Any]] = []
    while True:
        response = await client.get(address, params={"limit": PAGE, "offset": len(entries)})
        assert response.status_code == 200, response.text
        found = response.json()
        entries += found[key]
        if len(entries) >= found["total"] or not found[key]:
            return entries
