"""Readings that wait survive kills too: late ones and points of single sensors, while a service is killed at random
moments."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.closed_ticks import check
from tests.crash import crash_loop
from tests.disorder import SETTINGS, DisorderedPlant, Sender, slow_model
from tests.planted_waiting import PLANTED_WAITING, program
from tests.service.test_serve import TETHERED


def plant(seed: int, ticks: int, whole: int = 10, joined: int = 6) -> DisorderedPlant:
    machines = [Sender.of(f"w-{number}", 100 * seed + number, ticks) for number in range(whole)]
    machines += [Sender.of(f"j-{number}", 100 * seed + whole + number, ticks // 2) for number in range(joined)]
    return DisorderedPlant(machines, seed)


def killed(
    folder: Path, found: DisorderedPlant, kills: int, program: str = TETHERED, snapshot_readings: int = 300
) -> int:
    own = {"LIMEN_MODEL": slow_model(), "LIMEN_SNAPSHOT_READINGS_MAX": str(snapshot_readings)}
    times = asyncio.run(crash_loop(folder, found, kills, settings={**SETTINGS, **own}, program=program))
    check(found, folder)
    return times


@pytest.mark.prove
def test_kills_lose_nothing_that_waits_and_score_no_tick_twice(tmp_path: Path) -> None:
    assert killed(tmp_path, plant(1, 300), 6) == 6


@pytest.mark.prove_long
@pytest.mark.parametrize("seed", range(4))
def test_many_kills_lose_nothing_that_waits_and_score_no_tick_twice(tmp_path: Path, seed: int) -> None:
    assert killed(tmp_path, plant(10 + seed, 1500), 50) == 50


LOST = r"[wj]-\d+ has \d+ ticks that wait after the restart; expected \d+"
FOUND = {
    "waiting_not_in_snapshots": LOST,
    "held_points_not_recorded": LOST,
    "closed_ticks_wait_again": LOST,
    "closed_ticks_scored_again": r"[wj]-\d+, tick \d+ at \S+ is in the journal 2 times; expected once",
}


@pytest.mark.prove
@pytest.mark.parametrize("planted", sorted(PLANTED_WAITING))
def test_a_planted_mistake_is_found(tmp_path: Path, planted: str) -> None:
    """Where snapshots lack something, they are made often; where a replay is wrong, everything is replayed, once."""
    kills, snapshot_readings = (4, 50) if "snapshots" in planted else (1, 1_000_000)
    with pytest.raises(AssertionError, match=FOUND[planted]):
        killed(tmp_path, plant(3, 100, 6, 4), kills, program(planted), snapshot_readings)
