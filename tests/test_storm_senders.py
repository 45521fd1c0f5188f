"""Slow senders, hundreds at once: heads and bodies that come byte by byte, and clients that do not read. The others are
served meanwhile, nobody holds more than the bounds, and all of it ends in its time."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.service.running import columns, time_of
from tests.storm import MIB, post, served

pytestmark = pytest.mark.prove

SLOW, UNREAD = 100, 30  # senders of each kind, and clients that do not read
SECONDS = "3"  # that a head, a body and an answer may take
DRIP_SECONDS = 0.1
HEAD = b"POST /v1/readings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = HEAD + b"Content-Length: 100000\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
KINDS = {"head": (HEAD, b"X"), "body": (BODY, b" "), "chunks": (CHUNKED, b"1\r\n \r\n")}
IN_FLIGHT = 192 * MIB  # bodies, and answers that nobody reads
RESIDENT_MORE_MAX = IN_FLIGHT + 64 * MIB  # at its highest: connections and decoded bodies too


def long_answer() -> bytes:
    """A small request whose answer is longer than what sockets hold."""
    readings = 100_000
    times, values = [time_of(0)] * readings, [[1.0]] * readings
    body = {"equipment": "unread", "sensors": ["unknown"], "times": times, "values": values}
    content = gzip.compress(json.dumps(body).encode())
    return HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(content) + content


async def drip(port: int, kind: str, ended: Counter[str]) -> None:
    """Send the beginning, and then a little at a time for as long as somebody listens."""
    start, piece = KINDS[kind]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.create_task(reader.read())
    try:
        writer.write(start)
        while not answer.done():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)
    except ConnectionError:
        pass
    try:
        status = (await answer).split(b" ", 2)[1:2]
    except ConnectionError:
        status = []
    ended[f"{kind} {status[0].decode() if status else 'dropped'}"] += 1
    writer.close()


async def never_read(port: int, request: bytes, ended: Counter[str]) -> None:
    """Ask for a long answer, and take nothing of it until the service gives up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(request)
    await writer.drain()
    for _ in range(600):
        await asyncio.sleep(DRIP_SECONDS)
        try:
            writer.write(b"\r\n")
            await writer.drain()
        except ConnectionError:
            break
    else:
        raise AssertionError("a client that does not read was not dropped")
    ended["unread dropped"] += 1
    writer.close()


async def others(url: str, slow: asyncio.Task[None]) -> list[float]:
    """Post one reading after the other while the slow ones are at it; the seconds that each answer took."""
    loop, took = asyncio.get_running_loop(), []
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        while not slow.done():
            began = loop.time()
            answer = await post(client, columns(f"m-{len(took) // 150}", len(took) % 150, 1))
            took.append(loop.time() - began)
            assert answer["warming"] + answer["scored"] == 1, answer
            await asyncio.sleep(0.01)
    return took


def test_others_are_served_while_hundreds_send_slowly_or_do_not_read(tmp_path: Path) -> None:
    ended: Counter[str] = Counter()
    bounds = {f"LIMEN_{name}_SECONDS_MAX": SECONDS for name in ("HEAD", "BODY", "ANSWER")}

    async def slow(port: int) -> None:
        kinds = [drip(port, kind, ended) for kind in KINDS for _ in range(SLOW)]
        request = long_answer()
        await asyncio.gather(*kinds, *(never_read(port, request, ended) for _ in range(UNREAD)))

    async def storm(url: str) -> list[float]:
        task = asyncio.create_task(slow(httpx.URL(url).port or 0))
        took = await others(url, task)
        await task
        return took

    bounds |= {"LIMEN_IN_FLIGHT_BYTES_MAX": str(IN_FLIGHT), "LIMEN_QUEUE_READINGS_MAX": "4000000"}
    said: list[str] = []
    with served(tmp_path, said, **bounds) as service:
        service.post(columns("first", 0, 30))
        before = service.footprint
        took = asyncio.run(storm(service.url))
        after = service.footprint
        assert after.peak - before.resident < RESIDENT_MORE_MAX, (before, after)
        assert service.post(columns("last", 0, 30))["rejected"] == 0
        service.end()
    assert ended == {"head 408": SLOW, "body 408": SLOW, "chunks 408": SLOW, "unread dropped": UNREAD}
    assert len(took) >= 3, "the others were not served meanwhile"
    assert "Traceback" not in said[0]
