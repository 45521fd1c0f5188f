"""A real service with a real follower: both are killed again and again, and the history holds every reading once."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from models.contract import MICROSECONDS
from service.followers.history import store_path
from service.followers.store import place_in
from service.journal_reader import JournalFile
from service.settings import JOURNAL
from tests.builders import process as readings_of
from tests.service.fleet import in_columns
from tests.service.running import SENSORS, model_folder
from tests.service.test_serve import process

MIDNIGHT = 1_790_035_200 * MICROSECONDS
COUNT = 40
VARIABLES = {"LIMEN_HISTORY": "true", "LIMEN_HISTORY_DELAY_SECONDS": "60", "LIMEN_MODEL": str(model_folder())}
PATIENCE_SECONDS = 60.0


def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds; fails where it never does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def follower_of(service: int) -> int | None:
    """The process of the follower that a service has started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == service:
                words = path.with_name("cmdline").read_text()
                if "service.followers" in words:
                    return int(path.parent.name)
        except (OSError, ValueError):
            continue
    return None


def post(url: str, equipment: str, first: int) -> None:
    """COUNT readings a second apart, `first` seconds from midnight on."""
    times = MIDNIGHT + (first + np.arange(COUNT)) * MICROSECONDS
    found = in_columns(equipment, SENSORS, times, readings_of(7, COUNT))
    answer = httpx.post(f"{url}/v1/readings", json=found, trust_env=False, timeout=30)
    assert answer.status_code == 200
    assert answer.json()["scored"] + answer.json()["warming"] == COUNT


def lag(url: str, unit: str = "records") -> float:
    """How far the follower is behind."""
    text = httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text
    found = re.search(rf'^limen_follower_lag_{unit}\{{follower="history"\}} (\S+)', text, re.MULTILINE)
    assert found, text
    return float(found[1])


def gone(process_id: int) -> bool:
    """Whether a process has ended, waited for by its parent or not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def killed_twice(data_dir: Path, first: int) -> None:
    """A service that takes readings in while its follower is killed, and then is killed itself."""
    with process(data_dir, **VARIABLES) as (service, url):
        until(lambda: follower_of(service.pid))
        post(url, "a", first)
        victim = follower_of(service.pid)
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        until(lambda: follower_of(service.pid) not in (None, victim))  # started again after a pause
        heir = follower_of(service.pid)
        assert heir is not None
        until(lambda: lag(url) == 0)
        os.kill(service.pid, signal.SIGKILL)
        service.wait(10)
        until(lambda: gone(heir))  # it does not outlive its service


@pytest.mark.prove
def test_a_follower_and_its_service_are_killed_and_every_reading_is_exported_once(tmp_path: Path) -> None:
    for turn in range(3):
        killed_twice(tmp_path, turn * COUNT - 200)
    with process(tmp_path, **VARIABLES) as (service, url):
        post(url, "b", 120)
        until(lambda: list(tmp_path.glob("history/2026-09-21/*.parquet")))
        service.terminate()
        assert service.wait(30) == 0
    assert place_in(store_path(tmp_path, "history")).position > 0
    assert JournalFile(tmp_path / JOURNAL).first_sequence() == 1
    table = pl.concat(pl.read_parquet(path) for path in tmp_path.glob("history/2026-09-21/*.parquet"))
    times = ((table["time"].dt.epoch("us") - MIDNIGHT) // MICROSECONDS).sort().to_list()
    assert times == list(range(-200, -200 + 3 * COUNT))


@pytest.mark.prove
def test_the_lag_of_a_follower_rises_while_it_is_stopped_and_falls_when_it_goes_on(tmp_path: Path) -> None:
    with process(tmp_path, **VARIABLES) as (service, url):
        post(url, "a", 0)
        until(lambda: lag(url) == 0)
        assert lag(url, "seconds") == 0
        follower = follower_of(service.pid)
        assert follower is not None
        os.kill(follower, signal.SIGSTOP)
        try:
            for turn in (1, 2):  # the clock is that of the data
                post(url, "a", turn * COUNT)
                assert (lag(url), lag(url, "seconds")) == (turn, turn * COUNT)
        finally:
            os.kill(follower, signal.SIGCONT)
        until(lambda: lag(url) == 0)
        assert lag(url, "seconds") == 0
