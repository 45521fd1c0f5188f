"""What every request passes: the Host allow-list against foreign web pages, the clock on the wall of requests, and the
count of what waits to be sent. The rest of a body that is refused is taken in first.

A long answer is handed over piece by piece, each as the peer takes the one before: until then it is in flight."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.body import InFlight, Rest
from service.errors import HostRefused, Unavailable, shown
from service.metrics import Metrics, route_of
from service.respond import send_problem
from service.settings import default

REFUSED = 400  # statuses from here on
TIMED_OUT = 408  # what did not come in time is not waited for again
PIECE = 64 * 1024  # bytes of an answer that are handed over at once
PROBES = frozenset({"/health/live", "/health/ready"})  # asked for by address, and telling nothing


class Gate:
    """ASGI middleware: refuses foreign Host headers, counts requests and the bytes of long answers."""

    def __init__(
        self,
        app: ASGIApp,
        hosts_allowed: list[str],
        metrics: Metrics,
        in_flight: InFlight,
        rest_bytes: Callable[[str], int] = lambda path: 2 * int(default("body_bytes_max")),
        rest_seconds: float = default("body_seconds_max"),
    ) -> None:
        self.app = app
        self.rest_bytes, self.rest_seconds = rest_bytes, rest_seconds  # of a body that is refused, by address
        self.metrics = metrics
        self.in_flight = in_flight
        self.names = frozenset(host for host in hosts_allowed if not host.startswith("*"))
        self.suffixes = tuple(host[1:] for host in hosts_allowed if host.startswith("*."))
        self.any = "*" in hosts_allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        status, path = 500, scope["path"]
        rest = Rest(receive, dict(scope["headers"]))

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= REFUSED and status != TIMED_OUT:
                    await rest.drain(self.rest_bytes(path), self.rest_seconds)
            elif len(message.get("body", b"")) > PIECE:
                await self.send_long(send, message)
                return
            await send(message)

        try:
            host = host_name(scope)
            if not self.allows(host) and path not in PROBES:
                expected = "a name in LIMEN_HOSTS_ALLOWED"
                await send_problem(noting, HostRefused(f"Host is {shown(host)}; expected {expected}", field="Host"))
            elif self.in_flight.full and path not in PROBES:
                await send_problem(noting, Unavailable(self.in_flight.complaint()))
            else:
                await self.app(scope, rest.receive, noting)
        finally:
            self.metrics.observe_request(route_of(path), status, time.perf_counter() - start)

    async def send_long(self, send: Send, message: Message) -> None:
        """Hand over a long part of an answer in pieces; it is in flight until the last is taken. There is no room that
        could be refused: it is there already."""
        body = memoryview(message["body"])
        self.in_flight.hold_answer(len(body))
        try:
            for start in range(0, len(body), PIECE):
                more = start + PIECE < len(body) or message.get("more_body", False)
                await send({**message, "body": body[start : start + PIECE], "more_body": more})
        finally:
            self.in_flight.hold_answer(-len(body))

    def allows(self, host: str) -> bool:
        """Whether a request may name that host."""
        return self.any or host in self.names or (bool(self.suffixes) and host.endswith(self.suffixes))


def host_name(scope: Scope) -> str:
    """The Host header without port, in lower case; "" where there is none.

    >>> host_name({"headers": [(b"host", b"LocalHost:8000")]}), host_name({"headers": [(b"host", b"[::1]:8000")]})
    ('localhost', '::1')
    """
    for name, value in scope["headers"]:
        if name == b"host":
            text: str = value.decode("latin-1").lower()
            return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    return ""
