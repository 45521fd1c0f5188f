"""Changed requests over a real socket: odd methods, names and values of headers, lengths, chunks. Whatever comes, the
answer is none of an error of the service's own, each connection ends, and the service goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import uvicorn

from service.app import create_app
from service.connection import Bounds, bounded
from service.lifecycle import Service
from tests.fuzz import Parser, fuzz, in_bytes, rounds
from tests.service.running import columns, settings

TOGETHER = 100  # requests, each on its own connection
SECONDS = 0.3
SECONDS_MAX = 10.0  # until a connection has ended, whatever was sent
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z]")
BODY = msgspec.json.encode(columns("p1", 0, 2))
CHUNKS = b"%x\r\n%s\r\n%x;a=b\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n" % (10, BODY[:10], len(BODY) - 10, BODY[10:])


def request(line: bytes, *headers: bytes, content: bytes = b"") -> bytes:
    """A request as it is sent."""
    return b"\r\n".join(
        [line + b" HTTP/1.1", b"Host: localhost", b"Content-Type: application/json", *headers, b"", content]
    )


SOUND = (
    request(b"GET /health/live", b"Connection: close"),
    request(b"GET /v1/equipment?limit=10&offset=0", b"Accept: */*", b"Connection: close"),
    request(b"GET /v1/equipment/p%201/scores?limit=3", b"Connection: close"),
    request(b"POST /v1/readings", b"Content-Length: %d" % len(BODY), b"Connection: close", content=BODY),
    request(b"POST /v1/readings", b"Transfer-Encoding: chunked", b"Connection: close", content=CHUNKS),
    request(b"POST /v1/readings", b"Content-Length: %d" % len(BODY), b"Limen-Source: gateway-3", content=BODY)
    + request(b"GET /metrics", b"Connection: close"),
    request(b"PUT /v1/models/pumps/active", b"Content-Length: 13", b"Connection: close", content=b'{"version":1}'),
    request(
        b"POST /v1/readings", b"Expect: 100-continue", b"Content-Encoding: gzip", b"Content-Length: 2", content=b"{}"
    ),
    request(b"GET /docs", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
)
METHODS = (b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE", b"DELETE", b"PATCH", b"PRI", b"get", b"X" * 300, b"G\xe9T", b"")
ADDRESSES = (
    b"*", b"//", b"/..//v1/readings", b"http://other/v1/alarms", b"/v1/alarms?limit=-1", b"/v1/equipment/%00%ff/scores",
    b"/v1/readings?" + b"a" * 70_000, b"/%2e%2e/%2e%2e/etc", b"localhost:80", "/ポンプ".encode(), b"/v1/alarms#x",
)  # fmt: skip
HEADERS = (
    b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 1e3", b"Content-Length: 5, 5",
    b"Content-Length: 0\r\nContent-Length: 7", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked\r\nContent-Length: 3", b"Host: other", b"Host:", b"Host: [::1", b"Expect: 200-ok",
    b": no name", b"No Colon", b"A\0B: c", b"X: \xff\xfe\r\n folded", b"Content-Type: \xff", b"Content-Encoding: br",
    b"Content-Encoding: gzip", b"Limen-Source: \xff", b"X-Forwarded-For: \0", b"Upgrade: h2c", b"Range: bytes=0-",
    b"Accept-Encoding: \xff", b"X: " + b"b" * 70_000, b"Connection: keep-alive, Upgrade",
)  # fmt: skip
SIZES = (b"-1", b"0x5", b"FFFFFFFFFFFFFFFFF", b"", b" 5", b"5 ", b"5;" + b"x" * 9000, b"g", b"1\n", b"00000000005")


def in_request(content: bytes, rng: random.Random) -> bytes:
    """Change the bytes of a request; or its method, its address, one of its headers, the size of a chunk."""
    head, _, body = content.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    method, _, rest = line.partition(b" ")
    match rng.randrange(7):
        case 0 | 1:
            return in_bytes(content, rng)
        case 2:
            line = rng.choice(METHODS) + b" " + rest
        case 3:
            line = method + b" " + rng.choice(ADDRESSES) + b" HTTP/1.1"
        case 4:
            line = line[: -len(b"1.1")] + rng.choice((b"1.0", b"0.9", b"2.0", b"9.9", b"1.10", b""))
        case 5:
            headers.insert(rng.randrange(len(headers) + 1), rng.choice(HEADERS))
        case 6:
            body = re.sub(rb"^[0-9a-f]+(;a=b)?\r\n", rng.choice(SIZES) + b"\r\n", body, count=1)
    return b"\r\n".join([line, *headers, b"", body])


def in_requests(contents: list[bytes], rng: random.Random) -> list[bytes]:
    """So many changed requests."""
    return [in_request(rng.choice(contents), rng) for _ in range(TOGETHER)]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """That of a service whose bounds of time are short."""
    failures: list[str] = []
    given = settings(tmp_path / "data", body_seconds_max=SECONDS)
    service = Service(given, on_failure=lambda: failures.append("the service has ended"))
    bounds = Bounds(head_seconds=SECONDS, answer_seconds=SECONDS)
    config = uvicorn.Config(
        create_app(given, service), http=bounded(bounds), port=0, log_config=None, ws="none", timeout_keep_alive=1
    )
    ready = threading.Event()
    service.on_ready = ready.set
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert ready.wait(30)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
    assert not failures


async def exchange(port: int, content: bytes) -> bytes:
    """What comes back until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = b""
    async with asyncio.timeout(SECONDS_MAX):
        with contextlib.suppress(ConnectionError):
            writer.write(content)
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                found += piece
    writer.transport.abort()
    return found


async def exchanged(port: int, contents: list[bytes]) -> list[bytes]:
    return await asyncio.gather(*(exchange(port, content) for content in contents))


@rounds(1)
def test_any_request_is_answered_or_refused_and_the_service_goes_on(
    port: int, caplog: pytest.LogCaptureFixture, inputs: int
) -> None:
    statuses: set[int] = set()

    def read(contents: list[bytes]) -> None:
        for content, answer in zip(contents, asyncio.run(exchanged(port, contents)), strict=True):
            assert not answer or STATUS.match(answer), f"{content[:3000]!r}: {answer[:300]!r}"
            found = {int(status) for status in STATUS.findall(answer)}
            assert max(found, default=0) < 500, f"{content[:3000]!r}: {answer[:3000]!r}"
            statuses.update(found)
        alive, posted = asyncio.run(exchanged(port, [SOUND[0], SOUND[3]]))
        assert alive.startswith(b"HTTP/1.1 200 OK")
        assert json.loads(posted.partition(b"\r\n\r\n")[2])["received"] == 2, posted
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    fuzz(Parser(read, (), [list(SOUND)], in_requests), inputs)
    assert {200, 400, 404, 405, 431} <= statuses
