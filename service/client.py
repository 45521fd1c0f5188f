"""A small HTTP client for `limen replay` and `limen demo`: one keep-alive connection, JSON in and out."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

BUSY_SECONDS_MAX = 60.0  # how long a service that answers 503 is waited for
PAUSE_SECONDS = 1.0  # where it does not say for how long
PAUSE_SECONDS_MAX = 10.0
GATEWAY_STATUSES = (502, 503, 504)  # of a proxy in front of a service
PROBLEM_TYPES = "/docs#"  # how the type of each problem of a service begins


class ServiceError(Exception):
    """The service could not be reached, or refused a request; the text says what to do."""


class Client:
    """Requests to one service at `url`, such as http://127.0.0.1:8000; ValueError where that is no address."""

    def __init__(self, url: str, timeout_seconds: float = 60.0) -> None:
        scheme, host, port, self._prefix = address(url)
        kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=timeout_seconds)
        self.url = url if "//" in url else f"http://{url}"

    def post_readings(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST /v1/readings; waits where the queue of the service is full."""
        content = msgspec.json.encode(body)
        until = time.monotonic() + BUSY_SECONDS_MAX
        while True:
            status, headers, answer = self._request("POST", "/v1/readings", content)
            if status != 503 or time.monotonic() >= until:
                return self._checked(status, answer)
            time.sleep(pause_seconds(headers.get("Retry-After")))

    def get(self, *path: str, **query: str | int) -> dict[str, Any]:
        """GET an address given by its parts."""
        place = "/" + "/".join(quote(part, safe="") for part in path)
        status, _, answer = self._request("GET", place + (f"?{urlencode(query)}" if query else ""))
        return self._checked(status, answer)

    def put(self, *path: str, body: dict[str, Any]) -> dict[str, Any]:
        """PUT to an address given by its parts."""
        place = "/" + "/".join(quote(part, safe="") for part in path)
        status, _, answer = self._request("PUT", place, msgspec.json.encode(body))
        return self._checked(status, answer)

    def models(self) -> list[dict[str, Any]]:
        """What GET /v1/models lists. ServiceError where whoever answers is not Limen."""
        found = self.get("v1", "models").get("models")
        if not isinstance(found, list):
            raise ServiceError(self._stranger())
        return found

    def ready(self) -> bool:
        """Whether the service takes readings now."""
        try:
            return self._request("GET", "/health/ready")[0] == 200
        except ServiceError:
            return False

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _request(
        self, method: str, place: str, content: bytes | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request. A kept connection that the service has closed meanwhile is opened anew, once: readings that it
        had taken after all come back as `duplicate`."""
        headers = {"Content-Type": "application/json"} if content is not None else {}
        for last in (False, True):
            try:
                self._connection.request(method, self._prefix + place, content, headers)
                response = self._connection.getresponse()
                return response.status, response.headers, response.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                self._connection.close()
                if last:
                    raise ServiceError(f"{self.url} closed the connection: {error}") from None
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                raise ServiceError(f"no answer from {self.url}: {error}; is the service running there?") from None
            except BaseException:  # Ctrl-C: the next request must not meet the rest of this one
                self._connection.close()
                raise
        raise AssertionError("unreachable")

    def _checked(self, status: int, answer: bytes) -> dict[str, Any]:
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if status in GATEWAY_STATUSES and not isinstance(found, dict):
            raise ServiceError(f"{self.url} answered {status} in place of Limen; is the service behind it running?")
        if not isinstance(found, dict) or (status >= 400 and not str(found.get("type")).startswith(PROBLEM_TYPES)):
            raise ServiceError(self._stranger())
        if status >= 400:
            raise ServiceError(f"{self.url} answered {status}: {found.get('detail') or found.get('title')}")
        return found

    def _stranger(self) -> str:
        return f"this is not Limen: something else answers at {self.url}; where is the service?"


def address(url: str) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and path prefix of a service; ValueError where `url` is none.

    >>> address("127.0.0.1:8000"), address("https://plant.example/limen/")
    (('http', '127.0.0.1', 8000, ''), ('https', 'plant.example', None, '/limen'))
    """
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in ("http", "https") or not host:
        raise ValueError(f"{url!r} is no address of a service; expected one such as http://127.0.0.1:8000")
    return scheme, host, port, parts.path.rstrip("/")


def pause_seconds(retry_after: str | None) -> float:
    """How long to wait before asking again.

    >>> pause_seconds("2"), pause_seconds(None), pause_seconds("Wed, 21 Oct 2026 07:28:00 GMT"), pause_seconds("3600")
    (2.0, 1.0, 1.0, 10.0)
    """
    try:
        return min(max(float(retry_after or PAUSE_SECONDS), 0.0), PAUSE_SECONDS_MAX)
    except ValueError:
        return PAUSE_SECONDS
