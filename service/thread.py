"""Work in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

Result = TypeVar("Result")


async def in_daemon(work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, done in a thread of its own. Unlike those of `asyncio.to_thread`, it does not hold
    up the end of the process: for work that may be lost, and take long."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(set_it: Callable[[], None]) -> None:
        if not future.done():
            set_it()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            _tell(loop, settle, partial(future.set_exception, error))
        else:
            _tell(loop, settle, partial(future.set_result, result))

    threading.Thread(target=run, daemon=True).start()
    return await future


def _tell(
    loop: asyncio.AbstractEventLoop, settle: Callable[[Callable[[], None]], None], set_it: Callable[[], None]
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
        loop.call_soon_threadsafe(settle, set_it)
