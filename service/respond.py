"""Answers of plain ASGI: bytes, and problem documents."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Send

from service.errors import PROBLEM_JSON, Problem


async def send_bytes(
    send: Send, status: int, kind: bytes, content: bytes, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """One answer, whole."""
    head = [(b"content-type", kind), (b"content-length", str(len(content)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": content})


async def send_problem(send: Send, problem: Problem) -> None:
    """A problem document."""
    headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send_bytes(send, problem.status, PROBLEM_JSON.encode(), problem.encoded(), headers)
