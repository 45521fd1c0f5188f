"""A request body, taken in piece by piece within its bounds: bytes, time, and what all requests hold together.

A request that is refused before its body is there would end with a reset connection for a sender that writes all of it
before it reads: what is left is taken in and thrown away first, within bounds of its own (`Rest`).
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from service.errors import BodyTooLarge, NotGzip, RequestTimeout, Unavailable, UnsupportedMediaType, shown

JSON_TYPES = (b"application/json",)
GZIP = 16 + zlib.MAX_WBITS
SLOW_SECONDS = 2.0  # after which a body that still arrives gives way to others where there is no room
BLOCK = 16 * 1024  # unpacked at once: what follows a member of it is copied
PADDING = re.compile(b"\0*")
Headers = Mapping[bytes, bytes]


@dataclass(slots=True)
class InFlight:
    """Bytes of the bodies that are being read, decoded or answered, and of long answers until they are taken."""

    bytes_max: int
    held: int = 0
    answers: int = 0  # among those held
    arriving: dict[BodyReader, float] = field(default_factory=dict)  # since when, oldest first

    def take(self, count: int, taker: BodyReader | None = None) -> None:
        """Hold more bytes; Unavailable where there is no room, and no body that arrives slowly to make some."""
        if self.held + count > self.bytes_max:
            self._make_room(count, taker)
        self.held += count

    def _make_room(self, count: int, taker: BodyReader | None) -> None:
        """The bodies that have been arriving for longest, and for long, give way: few slow senders would keep all
        others out."""
        for reader, since in list(self.arriving.items()):
            slow = asyncio.get_running_loop().time() - since > SLOW_SECONDS
            if self.held + count <= self.bytes_max or not slow or reader is taker:
                break
            reader.give_way()
        if self.held + count > self.bytes_max:
            raise Unavailable(self.complaint())

    @property
    def full(self) -> bool:
        """Whether answers that nobody has read yet leave no room for anything."""
        return self.answers >= self.bytes_max

    def hold_answer(self, count: int) -> None:
        """Hold a long answer, which nobody can be refused any more, or with a negative count let go of it."""
        self.answers += count
        self.held += count

    def complaint(self) -> str:
        """Why there is no room."""
        return f"{self.held} bytes of requests are in flight; expected at most {self.bytes_max}"

    def give(self, count: int) -> None:
        """Let go of bytes."""
        self.held -= count


class BodyReader:
    """The body of one request. `held` bytes count as in flight until `close`."""

    def __init__(self, in_flight: InFlight, bytes_max: int, seconds_max: float) -> None:
        self.in_flight, self.bytes_max, self.seconds_max = in_flight, bytes_max, seconds_max
        self.held = 0
        self._gave_way = False
        self._time: asyncio.Timeout | None = None

    async def read(self, receive: Receive, headers: Headers) -> bytes:
        """The body as sent. BodyTooLarge, RequestTimeout, Unavailable; ClientDisconnect where nobody is there."""
        self._check(declared_length(headers))
        self.in_flight.arriving[self] = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self.seconds_max) as self._time:
                return await self._read(receive)
        except TimeoutError:
            if self._gave_way:
                raise Unavailable("the body arrived slowly and gave way to others; send it again") from None
            raise RequestTimeout(f"the body did not arrive within {self.seconds_max:g} seconds") from None
        finally:
            self.in_flight.arriving.pop(self, None)

    def give_way(self) -> None:
        """Stop reading, and let go of what has arrived."""
        self.in_flight.arriving.pop(self, None)
        self._gave_way = True
        self.close()
        if self._time is not None:
            self._time.reschedule(asyncio.get_running_loop().time())

    async def _read(self, receive: Receive) -> bytes:
        pieces: list[bytes] = []
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect()
            piece = message.get("body", b"")
            self.hold(len(piece))
            self._check(self.held)
            pieces.append(piece)
            more = message.get("more_body", False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def hold(self, count: int) -> None:
        """Count bytes as in flight."""
        self.in_flight.take(count, self)
        self.held += count

    def close(self) -> None:
        """The request is answered."""
        self.in_flight.give(self.held)
        self.held = 0

    def _check(self, count: int) -> None:
        if count > self.bytes_max:
            raise BodyTooLarge(f"the body has {count} bytes or more; expected at most {self.bytes_max}")


class Rest:
    """What has not come yet of the body of one request."""

    def __init__(self, receive: Receive, headers: Headers) -> None:
        self._receive = receive
        self._length = declared_length(headers)
        self._open = self._length > 0 or b"transfer-encoding" in headers
        self._waits = headers.get(b"expect", b"").lower() == b"100-continue"  # and sends nothing until it is asked to
        self._taken = 0

    async def receive(self) -> Message:
        """The next message, as the application asks for it."""
        self._waits = False
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        self._open = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def drain(self, bytes_max: int, seconds_max: float) -> None:
        """Throw away what still comes, up to `bytes_max` of the whole body; nothing of a body that is longer or that
        waits to be asked for."""
        if not self._open or self._waits or self._length > bytes_max:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                while self._open and self._taken <= bytes_max:
                    await self.receive()


def declared_length(headers: Headers) -> int:
    """What Content-Length says; 0 where it is not there or no number."""
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() and len(text) < 19 else 0


def check_type(headers: Headers, allowed: tuple[bytes, ...], expected: str) -> None:
    """UnsupportedMediaType unless the Content-Type is one of `allowed` or, for JSON, ends in `+json`."""
    found = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if found in allowed or (JSON_TYPES[0] in allowed and found.endswith(b"+json")):
        return
    text = shown(found.decode("latin-1")) if found else "missing"
    raise UnsupportedMediaType(f"Content-Type is {text}; expected {expected}", field="Content-Type")


def is_gzip(headers: Headers) -> bool:
    """Whether the body is packed; UnsupportedMediaType where it is packed otherwise than by gzip."""
    found = headers.get(b"content-encoding", b"").strip().lower()
    if found in (b"gzip", b"x-gzip"):
        return True
    if found in (b"", b"identity"):
        return False
    text = shown(found.decode("latin-1"))
    raise UnsupportedMediaType(f"Content-Encoding is {text}; expected gzip or none", field="Content-Encoding")


def inflate(content: bytes, bytes_max: int) -> bytes:
    """Unpack gzip, one member or several. BodyTooLarge beyond `bytes_max`, however small it came; NotGzip.

    >>> import gzip
    >>> inflate(gzip.compress(b"{}"), 2)
    b'{}'
    """
    pieces: list[bytes] = []
    at, left = 0, bytes_max
    while at < len(content):
        member = zlib.decompressobj(GZIP)
        while not member.eof:
            block = content[at : at + BLOCK]
            if not block:
                raise NotGzip("the gzip body ends early; expected its end")
            try:
                piece = member.decompress(block, left + 1)
            except zlib.error as error:
                raise NotGzip(f"the body cannot be unpacked: {error}; expected gzip") from None
            left -= len(piece)
            if left < 0:
                raise BodyTooLarge(f"the body inflates to over {bytes_max} bytes; expected at most {bytes_max}")
            pieces.append(piece)
            at += len(block) - len(member.unused_data)
        padding = PADDING.match(content, at)
        at = padding.end() if padding else at
    return b"".join(pieces)
