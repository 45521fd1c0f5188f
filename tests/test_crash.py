"""Nothing acknowledged is lost: a real service under load is killed at random moments, and every answer stays true."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.crash import Machine, Plant, crash_loop
from tests.uninterrupted import check


def plant(seed: int, machines: int = 24, ticks: int = 600) -> Plant:
    return Plant([Machine.of(f"m-{number}", 100 * seed + number, ticks) for number in range(machines)], seed)


def killed(folder: Path, seed: int, kills: int, ticks: int) -> int:
    found = plant(seed, ticks=ticks)
    times = asyncio.run(crash_loop(folder, found, kills))
    check(found, folder)
    return times


@pytest.mark.prove
def test_ten_kills_under_load_lose_nothing_and_change_no_score(tmp_path: Path) -> None:
    assert killed(tmp_path, 1, 10, 1500) == 10


@pytest.mark.prove_long
@pytest.mark.parametrize("seed", range(20))
def test_a_thousand_kills_under_load_lose_nothing_and_change_no_score(tmp_path: Path, seed: int) -> None:
    assert killed(tmp_path, 10 + seed, 50, 5000) == 50
