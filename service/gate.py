"""What every request passes: the Host allow-list against foreign web pages, and the clock on the wall of requests."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import HostRefused, shown
from service.metrics import OTHER_ROUTES, READINGS_ROUTE, Metrics
from service.respond import send_problem

PROBES = frozenset({"/health/live", "/health/ready"})  # asked for by address, and telling nothing


class Gate:
    """ASGI middleware: refuses foreign Host headers, counts requests."""

    def __init__(self, app: ASGIApp, hosts_allowed: list[str], metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics
        self.names = frozenset(host for host in hosts_allowed if not host.startswith("*"))
        self.suffixes = tuple(host[1:] for host in hosts_allowed if host.startswith("*."))
        self.any = "*" in hosts_allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["path"]
        try:
            host = host_name(scope)
            if self.allows(host) or path in PROBES:
                await self.app(scope, receive, noting)
            else:
                expected = "a name in LIMEN_HOSTS_ALLOWED"
                await send_problem(noting, HostRefused(f"Host is {shown(host)}; expected {expected}", field="Host"))
        finally:
            route = READINGS_ROUTE if path == READINGS_ROUTE else OTHER_ROUTES
            self.metrics.observe_request(route, status, time.perf_counter() - start)

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
