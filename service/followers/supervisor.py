"""Starts the followers that the settings ask for, each in a process of its own, again where one has ended, and ends
them with the service."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process

from service.commands.child import environment
from service.followers.history import store_path
from service.followers.store import Place, place_in
from service.settings import Settings

PAUSE_SECONDS = (1.0, 60.0)  # before one that ended is started again: at first, and at most
END_SECONDS_MAX = 10.0
STEADY_SECONDS = 60.0  # after which the pause is the first one again

log = logging.getLogger("limen")


class Supervisor:
    """The followers of one service."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names = ("history",) if settings.history else ()

    def places(self) -> dict[str, Place]:
        """How far each follower is, as its store says."""
        return {name: place_in(store_path(self.settings.data_dir, name)) for name in self.names}

    async def keep(self, name: str, stopping: asyncio.Event) -> None:
        """Keep one follower running until the service stops."""
        pause, longest = PAUSE_SECONDS
        while not stopping.is_set():
            began = asyncio.get_running_loop().time()
            try:
                process = await self._started(name)
            except OSError as error:  # no reading waits for a follower
                log.error("follower %s cannot be started: %s", name, error)
                await _wait(stopping, longest)
                continue
            if await _ended_by_itself(process, stopping):
                if asyncio.get_running_loop().time() - began > STEADY_SECONDS:
                    pause = PAUSE_SECONDS[0]
                log.error(
                    "follower %s has ended with status %s; it is started again in %g s", name, process.returncode, pause
                )
                await _wait(stopping, pause)
                pause = min(2 * pause, longest)
            else:
                await _end(process)

    async def _started(self, name: str) -> Process:
        command = [sys.executable, "-P", "-m", "service.followers", name, self.settings.model_dump_json()]
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, env=environment(), start_new_session=True)
        log.info("follower %s is process %d", name, process.pid)
        return process


async def _ended_by_itself(process: Process, stopping: asyncio.Event) -> bool:
    waits = [asyncio.ensure_future(process.wait()), asyncio.ensure_future(stopping.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return process.returncode is not None


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


async def _end(process: Process) -> None:
    """SIGTERM, and where that is not heard, SIGKILL: a follower goes on where it was."""
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), END_SECONDS_MAX)
    except TimeoutError:
        process.kill()
        await process.wait()
