from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from service.thread import in_daemon

ENDING = """
import asyncio, time
from service.thread import in_daemon

async def main():
    asyncio.create_task(in_daemon(lambda: time.sleep(60)))
    await asyncio.sleep(0.1)

asyncio.run(main())
"""


def test_work_comes_back_with_its_result_or_its_error() -> None:
    assert asyncio.run(in_daemon(lambda: 7)) == 7
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_daemon(lambda: 1 // 0))


def test_work_that_is_not_waited_for_does_no_harm() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_daemon(lambda: time.sleep(0.1)), 0.01)
        await asyncio.sleep(0.2)

    asyncio.run(main())


def test_work_under_way_does_not_hold_up_the_end_of_the_process() -> None:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", ENDING], check=True, timeout=30)
    assert time.monotonic() - began < 20
