from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from service.connection import HEARD_MAX, Bounds, bounded

SECONDS = 0.3
LONG = bytes(16 * 1024 * 1024)
HEAD = b"POST /v1/readings HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
Dial = Callable[[], Awaitable["Peer"]]


class Peer:
    """The client's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, content: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(content)
            await self.writer.drain()

    async def pour(self, piece: bytes, bytes_max: int) -> int:
        """Send the same again and again until the other side ends it; the bytes that went out."""
        sent = 0
        try:
            while sent < bytes_max:
                self.writer.write(piece)
                await self.writer.drain()
                sent += len(piece)
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        return sent

    async def answer(self, seconds: float = 10) -> bytes:
        """What comes until the other side closes."""
        found = b""
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionError):
                while piece := await self.reader.read(65536):
                    found += piece
        return found


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body of a POST and says how long it was; GET /long answers with more than sockets hold."""
    size = 0
    while scope["method"] == "POST":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    content = LONG if scope["path"] == "/long" else str(size).encode()
    length = (b"content-length", str(len(content)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    for start in range(0, len(content), 65536):
        await send(
            {
                "type": "http.response.body",
                "body": content[start : start + 65536],
                "more_body": start + 65536 < len(content),
            }
        )


def play(scenario: Callable[[Dial, uvicorn.Server], Awaitable[None]], **given: Any) -> None:
    """A server with these bounds, and the scenario with a way to connect to it."""
    bounds = Bounds(**{"head_seconds": SECONDS, "answer_seconds": SECONDS, "head_bytes": 4096, **given})

    async def run() -> None:
        config = uvicorn.Config(app, http=bounded(bounds), port=0, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        peers: list[Peer] = []

        async def dial() -> Peer:
            peers.append(Peer(*await asyncio.open_connection("127.0.0.1", port, limit=4096)))
            return peers[-1]

        try:
            await scenario(dial, server)
        finally:
            for peer in peers:
                peer.writer.transport.abort()
            server.should_exit = True
            await serving

    asyncio.run(run())


def test_a_request_in_pieces_is_answered_and_the_connection_goes_on() -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        peer = await dial()
        for piece in (HEAD, b"Content-Le", b"ngth: 100000\r\n\r\n", bytes(50_000), bytes(50_000)):
            await peer.send(piece)
            await asyncio.sleep(0.02)
        assert (await peer.reader.readuntil(b"100000")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(2 * SECONDS)
        await peer.send(HEAD + b"Content-Length: 3\r\nConnection: close\r\n\r\nabc")
        assert (await peer.answer()).endswith(b"\r\n\r\n3")

    play(scenario)


def test_many_small_chunks_are_a_body_like_any_other() -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        peer = await dial()
        await peer.send(CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"1\r\n \r\n" * 50_000)
        await peer.send(b"0\r\nX-Sum: 1\r\n\r\n")
        assert (await peer.answer()).endswith(b"\r\n\r\n50000")

    play(scenario)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (HEAD, b"a:b\r\n" * 800),
        (HEAD + b"X-A: ", b"a" * 4000),
        (b"GET /", b"a" * 4000),
        (b"", b"\r\n" * 2000),
    ],
    ids=["short headers", "one long header", "an address", "line breaks"],
)
def test_a_head_without_an_end_is_refused(start: bytes, piece: bytes) -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        peer = await dial()
        await peer.send(start)
        answered = asyncio.create_task(peer.answer())
        assert await peer.pour(piece, 64 * 1024 * 1024) < 16 * 1024 * 1024
        found = await answered
        assert not found or (found.startswith(b"HTTP/1.1 431 ") and b"head-too-large" in found)

    play(scenario, head_seconds=30.0)


def test_a_head_over_the_bound_that_comes_at_once_is_refused_with_a_problem_and_one_below_is_not() -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        for size, status in ((3_000, b"200"), (5_000, b"431")):
            peer = await dial()
            await peer.send(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: " + b"x" * size + b"\r\n\r\n"
            )
            assert (await peer.answer()).startswith(b"HTTP/1.1 " + status)
        peer = await dial()
        await peer.send(HEAD + b"Content-Length: 50000\r\nConnection: close\r\n\r\n" + bytes(50_000))
        assert (await peer.answer()).endswith(b"50000"), "a body is no head"

    play(scenario)


def test_what_is_no_http_is_refused_with_a_problem() -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        peer = await dial()
        await peer.send(b"hello\r\n\r\n")
        found = await peer.answer()
        assert found.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"bad-request" in found

    play(scenario)


@pytest.mark.parametrize(
    ("start", "piece"),
    [(b"2\r\n{}\r\n0\r\n", b"X-A: " + b"a" * 4000 + b"\r\n"), (b"2;a=", b"b" * 4000)],
    ids=["trailers", "the extension of a chunk"],
)
def test_what_surrounds_a_body_is_bounded(start: bytes, piece: bytes) -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        peer = await dial()
        await peer.send(CHUNKED + start)
        assert await peer.pour(piece, 64 * 1024 * 1024) < 16 * 1024 * 1024
        await peer.answer()

    play(scenario)


@pytest.mark.parametrize(
    ("start", "drip", "status"),
    [(b"", b"", b""), (HEAD, b"", b"HTTP/1.1 408 "), (HEAD, b"X: 1\r\n", b"HTTP/1.1 408 "), (b"\r\n", b"\r\n", b"H")],
    ids=["nothing", "half", "drop by drop", "line breaks"],
)
def test_a_head_that_does_not_arrive_is_given_up(start: bytes, drip: bytes, status: bytes) -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        peer = await dial()
        await peer.send(start)
        answered = asyncio.create_task(peer.answer())
        while drip and not answered.done():
            await peer.send(drip)
            await asyncio.sleep(SECONDS / 10)
        assert (await answered).startswith(status)

    play(scenario)


def test_a_second_head_is_waited_for_no_longer_than_the_first() -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        peer = await dial()
        await peer.send(HEAD + b"Content-Length: 3\r\n\r\nabc" + HEAD)
        assert b"HTTP/1.1 408 " in await peer.answer()

    play(scenario)


def test_a_body_that_goes_on_after_its_answer_is_not_waited_for() -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        peer = await dial()
        await peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        answered = asyncio.create_task(peer.answer())
        while not answered.done():
            await peer.send(b"x")
            await asyncio.sleep(SECONDS / 10)
        assert (await answered).startswith(b"HTTP/1.1 200")

    play(scenario)


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"])
def test_a_peer_that_does_not_read_its_answer_is_dropped(last: bytes) -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        peer = await dial()
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await peer.send(b"GET /long HTTP/1.1\r\nHost: localhost\r\n" + last + b"\r\n")
        for _ in range(200):
            await asyncio.sleep(SECONDS / 10)
            if not server.server_state.connections and not server.server_state.tasks:
                return
        raise AssertionError("the connection is still there")

    play(scenario)


def test_a_peer_that_reads_slowly_gets_all_of_it() -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        peer = await dial()
        await peer.send(b"GET /long HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        size = 0
        while piece := await peer.reader.read(1024 * 1024):
            size += len(piece)
            if size < 10 * 4096:
                await asyncio.sleep(SECONDS / 2)
        assert size > len(LONG)

    play(scenario)


def test_beyond_the_most_connections_only_probes_are_answered_and_the_oldest_give_way() -> None:
    async def scenario(dial: Dial, server: uvicorn.Server) -> None:
        first = [await dial() for _ in range(3)]
        await asyncio.sleep(0.05)
        idle = [await dial() for _ in range(2 * HEARD_MAX)]
        refused, probe = await dial(), await dial()
        await refused.send(HEAD + b"Content-Length: 3\r\n\r\nabc")
        found = await refused.answer()
        assert found.startswith(b"HTTP/1.1 503 ")
        assert b"crowded" in found
        await probe.send(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await probe.answer()).startswith(b"HTTP/1.1 200")
        assert len(server.server_state.connections) <= 3 + HEARD_MAX
        assert await idle[0].answer() == b""
        await first[0].send(HEAD + b"Content-Length: 3\r\nConnection: close\r\n\r\nabc")
        assert (await first[0].answer()).endswith(b"3")

    play(scenario, connections=3, head_seconds=30.0)
