"""POST /v1/readings: the one route where every microsecond counts, so it is plain ASGI.

read (bounded) -> inflate -> decode -> queue, scored with all that waits -> encode

Large bodies are inflated and decoded in threads, no more than `APART_MAX` at a time: what they become is much larger
than they are.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from service.answer import encode
from service.body import JSON_TYPES, BodyReader, Headers, check_type, inflate, is_gzip
from service.errors import Problem
from service.ingest.json_body import decode
from service.lifecycle import Service
from service.respond import send_bytes, send_problem
from service.sources import source_of

APART_MAX = 2


class ReadingsRoute:
    """The ASGI application behind POST /v1/readings."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._apart = asyncio.Semaphore(APART_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        settings = self.service.settings
        reader = BodyReader(self.service.in_flight, settings.body_bytes_max, settings.body_seconds_max)
        try:
            self.service.check_ready()
            headers = dict(scope["headers"])
            content = await self._answer(headers, source_of(headers, scope.get("client")), receive, reader)
        except Problem as problem:
            await send_problem(send, problem)
        except ClientDisconnect:
            return
        else:
            await send_bytes(send, 200, b"application/json", content)
        finally:
            reader.close()

    async def _answer(self, headers: Headers, source: str, receive: Receive, reader: BodyReader) -> bytes:
        settings = self.service.settings
        check_type(headers, JSON_TYPES, "application/json")
        packed = is_gzip(headers)
        content = await reader.read(receive, headers)
        apart = packed or len(content) >= settings.thread_bytes_min
        if not apart:
            body = replace(decode(content, self.service.limits), source=source)
            outcome = await self.service.consumer.submit(body)
            return encode(body, outcome, settings.errors_per_body_max, settings.warnings_per_body_max)
        async with self._apart:
            if packed:
                content = await asyncio.to_thread(inflate, content, settings.inflated_bytes_max)
                reader.hold(len(content))
            body = replace(await asyncio.to_thread(decode, content, self.service.limits), source=source)
        del content  # what waits is what it says
        outcome = await self.service.consumer.submit(body)
        return await asyncio.to_thread(
            encode, body, outcome, settings.errors_per_body_max, settings.warnings_per_body_max
        )
