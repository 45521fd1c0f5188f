"""Any one change of the disk fails, or all from it on: what was answered is there, it is told, and the next try works.

Files written, created, resized, synced, renamed and removed are counted and let fail in the C library
(`failing_disk.c`), in a service, its start, a migration, backups, restores, the follower and exports.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from tests import failing_disk
from tests.failing_disk import Failure
from tests.fault_run import Outcome
from tests.faults import Lives
from tests.service.running import model_folder
from tests.test_crash import plant
from tests.uninterrupted import check

CHOSEN = {
    "service": 14, "migration": 4, "backup": 6, "backup as a file": 4, "restore": 6, "follower": 8, "export": 4,
}  # fmt: skip
CHANGES_MIN = {
    "service": 150, "migration": 150, "backup": 80, "backup as a file": 80, "restore": 40, "follower": 100,
    "export": 25,
}  # fmt: skip
KINDS = [(number, lasts) for lasts in (False, True) for number in (errno.EIO, errno.ENOSPC)]
STARTS, UNDER_LOAD = (2, 9, 19, 33), (90, 400)

needs_compiler = pytest.mark.skipif(failing_disk.library() is None, reason="no C compiler: no disk that fails")


class Playing(Protocol):
    """One more time, with a failure."""

    def __call__(self, failure: Failure) -> Outcome: ...


@contextmanager
def playing(name: str, home: Path) -> Iterator[tuple[int, Playing]]:
    """How many changes a run makes, and what plays it with a failure."""
    command = [sys.executable, "-m", "tests.fault_run", name, str(home)]
    given = {"env": failing_disk.preloaded(), "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True, **given) as player:  # type: ignore[call-overload]

        def play(failure: Failure) -> Outcome:
            player.stdin.write(f"{msgspec.json.encode(failure).decode()}\n")
            player.stdin.flush()
            return msgspec.json.decode(player.stdout.readline(), type=Outcome)

        yield int(player.stdout.readline()), play
        player.stdin.close()


def check_each(name: str, home: Path, count: int | None = None) -> None:
    """Let changes of a run fail, in turn each way: that many, spread over all of them, or every one."""
    rng = random.Random(f"{name} {count}")
    with playing(name, home) as (changes, play):
        assert changes >= CHANGES_MIN.get(name, 1)
        bounds = [changes * part // (count or changes) for part in range((count or changes) + 1)]
        came = 0  # the last ones may not: a reader in another thread changes a few things, too
        for part, (first, end) in enumerate(pairwise(bounds)):
            failure = Failure(rng.randrange(first, end) + 1, *KINDS[part % len(KINDS)])
            outcome = play(failure)
            came += bool(outcome.failed)
            assert not outcome.trouble, f"{failure}, {outcome.failed}: {outcome.told}\n{outcome.trouble}"
        assert came >= 0.9 * (len(bounds) - 1)


@pytest.mark.prove
@needs_compiler
@pytest.mark.parametrize("name", CHOSEN)
def test_some_of_all_changes_of_the_disk_fail_and_nothing_is_lost(tmp_path: Path, name: str) -> None:
    check_each(name, tmp_path / "home", CHOSEN[name])


@pytest.mark.prove
@needs_compiler
def test_an_answer_in_spite_of_a_failed_write_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"was answered and is not there any more|only .* was answered after"):
        check_each("careless", tmp_path / "home", CHOSEN["service"])


@pytest.mark.prove_long
@needs_compiler
@pytest.mark.parametrize("name", CHOSEN)
def test_every_change_of_the_disk_fails_and_nothing_is_lost(tmp_path: Path, name: str) -> None:
    check_each(name, tmp_path / "home")


@pytest.mark.prove
@needs_compiler
def test_a_service_whose_disk_fails_from_its_start_on_says_so_and_the_next_one_goes_on(tmp_path: Path) -> None:
    folder, found = tmp_path / "data", plant(7, ticks=300)
    lives = Lives(folder, found)
    sound = dict(lives.settings)

    async def play() -> None:
        for number, at in enumerate(UNDER_LOAD):
            lives.settings = {**sound, **failing_disk.from_the_start(folder, failure(number, at))}
            await lives.until_it_ends(lambda pid: nullcontext())
            lives.settings = sound
        await lives.to_the_end()

    for number, at in enumerate(STARTS):
        said = refused(folder, failure(number, at))
        assert "Traceback" not in said
        assert said.rstrip().rpartition("\n")[2].startswith("limen: error: ")
    asyncio.run(play())
    for said in lives.said[:-1]:
        assert "the service cannot go on: [Errno" in said
        assert "Traceback" not in said
    check(found, folder)


def failure(number: int, at: int) -> Failure:
    """All changes from that one on fail."""
    return Failure(at, (errno.EIO, errno.ENOSPC)[number % 2], lasts=True)


def refused(folder: Path, failure: Failure) -> str:
    """What a start says on such a disk, which cannot be."""
    own = {"LIMEN_DATA_DIR": str(folder), "LIMEN_PORT": "0", "LIMEN_CLOCK": "event", "LIMEN_MODEL": str(model_folder())}
    environment = {**os.environ, **own, **failing_disk.from_the_start(folder, failure)}
    command = [sys.executable, "-m", "service", "serve"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stderr
