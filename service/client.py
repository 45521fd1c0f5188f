"""A small HTTP client for `limen replay` and `limen demo`: one keep-alive connection, JSON in and out."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

BUSY_SECONDS_MAX = 60.0  # how long a full queue is waited for


class ServiceError(Exception):
    """The service could not be reached, or refused a request; the text says what to do."""


class Client:
    """Requests to one service; `url` such as http://127.0.0.1:8000."""

    def __init__(self, url: str, timeout_seconds: float = 60.0) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServiceError(f"{url!r} is no address of a service; expected one such as http://127.0.0.1:8000")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_seconds)

    def post_readings(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST /v1/readings; waits where the queue of the service is full."""
        content = msgspec.json.encode(body)
        until = time.monotonic() + BUSY_SECONDS_MAX
        while True:
            status, headers, answer = self._request("POST", "/v1/readings", content)
            if status != 503 or time.monotonic() > until:
                return self._checked(status, answer)
            time.sleep(float(headers.get("Retry-After", 1)))

    def get(self, *path: str, **query: str | int) -> dict[str, Any]:
        """GET an address given by its parts."""
        address = "/" + "/".join(quote(part, safe="") for part in path)
        status, _, answer = self._request("GET", address + (f"?{urlencode(query)}" if query else ""))
        return self._checked(status, answer)

    def ready(self) -> bool:
        """Whether the service takes readings now."""
        try:
            return self._request("GET", "/health/ready")[0] == 200
        except ServiceError:
            return False

    def close(self) -> None:
        self._connection.close()

    def _request(
        self, method: str, address: str, content: bytes | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = {"Content-Type": "application/json"} if content is not None else {}
        for last in (False, True):
            try:
                self._connection.request(method, address, content, headers)
                response = self._connection.getresponse()
                return response.status, response.headers, response.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                self._connection.close()
                if last:
                    raise ServiceError(f"{self.url} closed the connection: {error}") from None
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                raise ServiceError(f"no answer from {self.url}: {error}; is the service running there?") from None
        raise AssertionError("unreachable")

    def _checked(self, status: int, answer: bytes) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(answer) if answer else {}
        except ValueError:
            found = {}
        if status >= 400:
            text = found.get("detail") or found.get("title") or answer[:200].decode(errors="replace")
            raise ServiceError(f"{self.url} answered {status}: {text}")
        return found
