"""What a caller can be told, and how it reads: RFC 9457 problem details (`application/problem+json`).

    Problem
    ├── NotJson                 400  the body is not JSON
    ├── NotGzip                 400  Content-Encoding: gzip, and the body is not
    ├── BadRequest              400  a request that HTTP itself does not allow
    ├── HostRefused             400  Host header not in `hosts_allowed`
    ├── NotFound                404
    │   ├── NoRoute             404  no such address
    │   ├── UnknownEquipment    404
    │   ├── UnknownAlarm        404
    │   └── UnknownModel        404
    ├── MethodNotAllowed        405
    ├── RequestTimeout          408  not there in `head_seconds_max`, or its body in `body_seconds_max`
    ├── Conflict                409  that version is there with other content, or a bound of the registry is reached
    ├── BodyTooLarge            413  over a limit of the settings, as sent or inflated
    ├── UnsupportedMediaType    415  Content-Type or Content-Encoding
    ├── HeadTooLarge            431  address and headers over `head_bytes_max`
    ├── Invalid                 422  JSON of the wrong shape; `field` and `row` say where
    │   └── ModelRefused        422  an artifact that cannot be trusted
    ├── InternalError           500  a defect of this program; never caused by input
    └── Unavailable             503  with Retry-After
        ├── QueueFull           503
        ├── DiskFull            503  a model cannot be stored
        ├── LowSpace            503  less than `disk_free_bytes_min` is free
        ├── Crowded             503  more connections than `connections_max`
        ├── Stopping            503  shutting down
        └── NotReady            503  no answer before start-up is complete

Every text says the thing, the value found and the value expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec

PROBLEM_JSON = "application/problem+json"
SHOWN_CHARACTERS_MAX = 80


class Problem(Exception):
    """A refused request. Class attributes say the kind, `detail` this occurrence, `field` and `row` where."""

    status: ClassVar[int] = 400
    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    retry_after_seconds: ClassVar[int | None] = None

    def __init__(self, detail: str, *, field: str | None = None, row: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.row = row
        self.headers: dict[str, str] = {}
        if self.retry_after_seconds is not None:
            self.headers["Retry-After"] = str(self.retry_after_seconds)

    def details(self) -> dict[str, Any]:
        """The members of the problem document.

        >>> BodyTooLarge("the body has 9 bytes; expected at most 8").details()["type"]
        '/docs#body-too-large'
        """
        return problem_details(self.kind, self.title, self.status, self.detail, self.field, self.row)

    def encoded(self) -> bytes:
        """The problem document."""
        return msgspec.json.encode(self.details())


class NotJson(Problem):
    status, kind, title = 400, "not-json", "The body is not JSON"


class NotGzip(Problem):
    status, kind, title = 400, "not-gzip", "The body is not gzip"


class BadRequest(Problem):
    status, kind, title = 400, "bad-request", "The request cannot be understood"


class HostRefused(Problem):
    status, kind, title = 400, "host-refused", "The Host header is not allowed"


class NotFound(Problem):
    status, kind, title = 404, "not-found", "Not found"


class NoRoute(NotFound):
    kind, title = "no-route", "No such address"


class UnknownEquipment(NotFound):
    kind, title = "unknown-equipment", "No such equipment"


class UnknownAlarm(NotFound):
    kind, title = "unknown-alarm", "No such alarm"


class UnknownModel(NotFound):
    kind, title = "unknown-model", "No such model"


class MethodNotAllowed(Problem):
    status, kind, title = 405, "method-not-allowed", "The address does not take this method"


class RequestTimeout(Problem):
    status, kind, title = 408, "request-timeout", "The request did not arrive in time"


class Conflict(Problem):
    status, kind, title = 409, "conflict", "Not possible in the present state"


class BodyTooLarge(Problem):
    status, kind, title = 413, "body-too-large", "The body is over a limit"


class UnsupportedMediaType(Problem):
    status, kind, title = 415, "unsupported-media-type", "The address does not take this content"


class HeadTooLarge(Problem):
    status, kind, title = 431, "head-too-large", "The head of the request is over a limit"


class Invalid(Problem):
    status, kind, title = 422, "invalid", "The request has the wrong shape"


class ModelRefused(Invalid):
    kind, title = "model-refused", "The model cannot be used"


class InternalError(Problem):
    status, kind, title = 500, "internal-error", "A defect of the service"


class Unavailable(Problem):
    status, kind, title = 503, "unavailable", "Not now"
    retry_after_seconds = 1


class QueueFull(Unavailable):
    kind, title = "queue-full", "The queue is full"


class DiskFull(Unavailable):
    kind, title = "disk-full", "The disk is full"
    retry_after_seconds = 60


class LowSpace(Unavailable):
    kind, title = "low-space", "Too little of the disk is free"
    retry_after_seconds = 30


class Crowded(Unavailable):
    kind, title = "crowded", "Too many connections"
    retry_after_seconds = 5


class Stopping(Unavailable):
    kind, title = "stopping", "The service is stopping"
    retry_after_seconds = 5


class NotReady(Unavailable):
    kind, title = "not-ready", "The service is not ready"

    def __init__(self, detail: str, progress: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.progress = progress

    def details(self) -> dict[str, Any]:
        """The members of the problem document, and how far the start is."""
        return super().details() | ({} if self.progress is None else {"progress": dict(self.progress)})


def tree(root: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """All kinds of problem, each before what is under it."""
    for kind in root.__subclasses__():
        yield kind
        yield from tree(kind)


def problem_details(
    kind: str, title: str, status: int, detail: str, field: str | None = None, row: int | None = None
) -> dict[str, Any]:
    """A problem document; `type` leads to its paragraph in the service's own documentation."""
    where = {name: value for name, value in (("field", field), ("row", row)) if value is not None}
    return {"type": f"/docs#{kind}", "title": title, "status": status, "detail": detail, **where}


def from_status(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem for a status that the framework raised by itself."""
    kinds = {404: NoRoute, 405: MethodNotAllowed, 408: RequestTimeout, 413: BodyTooLarge, 415: UnsupportedMediaType}
    kind = kinds.get(status, InternalError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else BadRequest)
    problem = kind(detail)
    problem.headers.update(headers or {})
    return problem


def plain(name: str) -> str:
    """A name found in a request that can be written down: bounded, without control characters or lone surrogates.

    >>> plain("flow"), plain("a\\nb")
    ('flow', "'a\\\\nb'")
    """
    name = name[:SHOWN_CHARACTERS_MAX]
    return name if name.isprintable() else ascii(name)


def shown(value: object) -> str:
    """A value found in a request, short enough for a sentence and without control characters.

    >>> shown("n/a"), shown(True), shown(None), shown([1] * 100)
    ("'n/a'", 'true', 'null', 'an array of 100')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, list | tuple):
        return f"an array of {len(value)}"
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS_MAX:
        return f"{value[:SHOWN_CHARACTERS_MAX]!a}... ({len(value)} characters)"
    if isinstance(value, str):
        return repr(value) if value.isprintable() else ascii(value)
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."
