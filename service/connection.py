"""One connection, within its bounds: the bytes and the time of a head, the time of an answer, and how many there are.

uvicorn reads heads of any size for any time, and waits for ever for a peer that does not read. Here:

- what comes between two pieces of progress (a head that is complete, bytes of a body) is at most `head_bytes` long, be
  it a head, the extensions of chunks or trailers; trailers are not kept;
- a head that has begun, and what follows a body that was answered early, is there in `head_seconds`;
- where the peer does not take the next 64 KiB of its answer in `answer_seconds`, the connection is dropped;
- a peer that still sends when it is refused is heard for a moment, so that it sees why (`lingering.py`);
- beyond `connections`, a few more are heard, the newest ones: only probes of health are answered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import PROBLEM_JSON, BadRequest, Crowded, HeadTooLarge, Problem, RequestTimeout
from service.gate import PROBES
from service.lingering import Lingering
from service.respond import send_problem
from service.settings import default

HEARD_MAX = 32  # connections beyond the bound that are heard, for probes


class _Over(Exception):
    """Ends the parsing of a request that is refused."""


@dataclass(slots=True)
class Bounds:
    """The bounds of all connections of a server, and those that are `heard` beyond them, oldest first."""

    connections: int = default("connections_max")
    head_bytes: int = default("head_bytes_max")
    head_seconds: float = default("head_seconds_max")
    answer_seconds: float = default("answer_seconds_max")
    heard: dict[Connection, None] = field(default_factory=dict)


def bounded(bounds: Bounds) -> type[Connection]:
    """The protocol of a server that keeps these bounds."""
    return type("BoundedConnection", (Connection,), {"bounds": bounds})


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, bounded."""

    bounds: Bounds

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._without_progress = 0  # bytes since a head was complete or a body went on
        self._in_head = True
        self._refusal: Problem | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    # -- connection --------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        self._lingering = Lingering(transport, self._peer_sends)
        super().connection_made(self._lingering)  # type: ignore[arg-type]
        self._wait_for_head()
        if len(self.connections) > self.bounds.connections:
            self.app = _only_probes(self.app)
            self.bounds.heard[self] = None
            if len(self.bounds.heard) > HEARD_MAX:
                next(iter(self.bounds.heard)).drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._lingering.end()
        self.bounds.heard.pop(self, None)
        self._got_head()
        self._got_through()
        super().connection_lost(exc)

    def _peer_sends(self) -> bool:
        """Whether it is in the middle of a request."""
        return not self._in_head or self._without_progress > 0

    def drop(self) -> None:
        """End the connection now, whatever waits to be sent."""
        self.bounds.heard.pop(self, None)
        self.transport.abort()

    # -- requests ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse what is over a bound."""
        if self._lingering.lingering:
            self._lingering.leave_out(len(data))
            return
        self._without_progress += len(data)
        super().data_received(data)
        if self._without_progress > self.bounds.head_bytes and not self.transport.is_closing():
            self._refuse(self._too_large())
        elif self._in_head and self._without_progress and self._head_timer is None:
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """A head begins, of which something is there."""
        self._in_head = True
        self._without_progress = self._without_progress or 1
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers, which come later, are left out."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: the request begins, unless it is too long after all."""
        if self._without_progress > self.bounds.head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.bounds.head_bytes:
                self._refusal = self._too_large()
                raise _Over
        self._without_progress = 0
        self._in_head = False
        self._got_head()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """The body goes on."""
        self._without_progress = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is there: what comes next is a head."""
        self._without_progress = 0
        self._in_head = True
        self._got_head()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Answered: a body that still comes is not waited for, and a client that does not read is not either."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._wait_for_peer()
        elif not self._in_head:
            self._wait_for_head()

    # -- what is refused -----------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed."""
        self._refuse(self._refusal or BadRequest("the request cannot be parsed as HTTP/1.1"))

    def _too_large(self) -> Problem:
        limit = self.bounds.head_bytes
        return HeadTooLarge(f"the head of the request has over {limit} bytes; expected at most {limit}")

    def _refuse(self, problem: Problem) -> None:
        """Answer a head that is no request, and close. Within a request, or behind one that is being answered, there
        is no place for an answer."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            content = problem.encoded()
            head = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\nContent-Type: {PROBLEM_JSON}\r\n"
            head += f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
            self.transport.write(head.encode() + content)
        self.transport.close()
        self._wait_for_peer()

    # -- time ----------------------------------------------------------------------------------------------------------

    def _wait_for_head(self) -> None:
        self._got_head()
        self._head_timer = self.loop.call_later(self.bounds.head_seconds, self._no_head)

    def _got_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _no_head(self) -> None:
        self._head_timer = None
        if self._in_head and self._without_progress:
            seconds = self.bounds.head_seconds
            self._refuse(RequestTimeout(f"the head of the request did not arrive within {seconds:g} seconds"))
        else:  # nothing came at all, or the rest of a body that was answered did not end
            self.transport.close()
            self._wait_for_peer()

    def pause_writing(self) -> None:
        """The peer does not take what is sent."""
        super().pause_writing()
        self._wait_for_peer()

    def resume_writing(self) -> None:
        """It took some."""
        self._got_through()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """No further request: close, with little patience for a peer that has not read its last answer."""
        super().timeout_keep_alive_handler()
        self._wait_for_peer()

    def _wait_for_peer(self) -> None:
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(self.bounds.answer_seconds, self.drop)

    def _got_through(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None


def _only_probes(app: ASGIApp) -> Any:
    """The application of a connection beyond the bound: one answer to a probe of health, 503 to anything else."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        if scope["path"] in PROBES:
            await app(scope, receive, closing)
        else:
            await send_problem(closing, Crowded("there are more connections than this service has room for"))

    return answer
