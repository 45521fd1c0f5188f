"""A disk that fails under a real service: writes and syncs that end with an error, and a disk that is full.

The plant of `tests/crash.py` goes on posting. A service that cannot make a record safe has to end by itself with
status 1; the next one starts on what is there.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.crash import SETTINGS, Plant
from tests.service.running import model_folder
from tests.service.test_serve import TETHERED, process

LOG, DATABASE = "journal/shard-0.sqlite-wal", "journal/shard-0.sqlite"
PACE_SECONDS = 0.004
Disturb = Callable[[int], AbstractContextManager[object]]  # by process id, while the service runs


@dataclass(frozen=True)
class Fault:
    """A system call that fails: each `when` (strace: "7" the seventh of a thread, "3+" from the third on, "2+5" every
    fifth from the second on), of one file in the data folder or of any."""

    call: str
    error: str
    when: str
    file: str = ""
    delay_seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.call} of {self.file or 'any file'}: {self.error}, {self.when}"


def can_inject() -> bool:
    """Whether strace is there and may let system calls of a running process fail."""
    if shutil.which("strace") is None:
        return False
    with subprocess.Popen(["sleep", "60"]) as idle:
        try:
            with injected(idle.pid, Path(), Fault("fsync", "EIO", "1")):
                return True
        except AssertionError:
            return False
        finally:
            idle.kill()


@contextmanager
def injected(pid: int, folder: Path, fault: Fault) -> Iterator[None]:
    """Let system calls of a process fail as long as this lasts."""
    delay = f":delay_enter={int(fault.delay_seconds * 1e6)}" if fault.delay_seconds else ""
    inject = f"inject={fault.call}:error={fault.error}{delay}:when={fault.when}"
    only = ["-P", str(folder / fault.file)] if fault.file else []
    command = ["strace", "-f", "-p", str(pid), *only, "-e", f"trace={fault.call}", "-e", inject]
    with subprocess.Popen(
        [*command, "-o", os.devnull], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as tracer:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        try:
            assert "attached" in line, line
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=20)


@contextmanager
def bounded_files(pid: int, size: int) -> Iterator[None]:
    """Let no file of a process grow beyond `size`: the write that crosses it is short, the next one fails."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    yield


class Disk:
    """A disk of its own in memory, as large as it is told to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    @contextmanager
    def mounted(self, size: int) -> Iterator[bool]:
        """False where that is not permitted."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "limen-test", str(self.folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            yield False
            return
        try:
            yield True
        finally:
            subprocess.run(["umount", str(self.folder)], check=True, capture_output=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """No room at all, as long as this lasts."""
        filler = os.open(self.folder / "filler", os.O_CREAT | os.O_WRONLY)
        try:
            with suppress(OSError):
                while True:
                    os.write(filler, bytes(4096))
            yield
        finally:
            os.close(filler)
            (self.folder / "filler").unlink()

    def resize(self, size: int) -> None:
        """Make it larger or smaller."""
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True, capture_output=True)


class Lives:
    """Services one after the other on one data folder, to which a plant posts all the time."""

    def __init__(self, folder: Path, plant: Plant, settings: dict[str, str] | None = None, before: str = "") -> None:
        self.folder, self.plant, self.program = folder, plant, f"{before}{TETHERED}"
        self.settings = {**SETTINGS, "LIMEN_MODEL": str(model_folder()), **(settings or {})}
        self.said: list[str] = []  # the log of each life

    async def until_it_ends(self, disturb: Disturb, seconds: float = 60) -> None:
        """One life that a failing disk has to end with status 1, while the plant posts."""
        with process(self.folder, said=self.said, program=self.program, **self.settings) as (started, url):
            await self.plant.started(url)
            posting = asyncio.create_task(self.plant.post_all(PACE_SECONDS))
            try:
                with disturb(started.pid):
                    status = await asyncio.to_thread(started.wait, seconds)
            finally:
                self.plant.up.clear()
                posting.cancel()
                await asyncio.gather(posting, return_exceptions=True)
            assert status == 1, f"the service ended with {status}"

    def refused(self) -> str:
        """What a start says that cannot be."""
        own = {"LIMEN_DATA_DIR": str(self.folder), "LIMEN_PORT": "0", "LIMEN_CLOCK": "event"}
        command = [sys.executable, "-m", "service", "serve"]
        done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        return done.stderr

    async def to_the_end(self, disturb: Disturb | None = None) -> None:
        """One life in which the plant posts all that is left, and that ends in order."""
        with process(self.folder, said=self.said, program=self.program, **self.settings) as (started, url):
            await self.plant.started(url)
            if disturb is None:
                await self.plant.post_all(PACE_SECONDS)
            else:
                with disturb(started.pid):
                    await self.plant.post_all(PACE_SECONDS)
            self.plant.up.clear()
            started.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(started.wait, 30) == 0
