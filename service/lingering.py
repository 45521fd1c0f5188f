"""A transport that lets a peer which still sends see its answer.

Where a connection is closed with bytes unread, the other side is told that it was reset, and may lose the answer that
says why. So its own side is closed first, and what still comes is heard and left out, for a while and up to a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

SECONDS = 2.0  # that a peer is heard
BYTES_MAX = 1024 * 1024


class Lingering:
    """The transport of a connection, in which `close` waits for a peer of which `sends` says that it still sends."""

    def __init__(self, transport: asyncio.Transport, sends: Callable[[], bool]) -> None:
        self._transport, self._sends = transport, sends
        self.lingering = False
        self._left_out = 0
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing more is answered."""
        return self.lingering or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send, unless nothing more is answered."""
        if not self.lingering:
            self._transport.write(data)

    def close(self) -> None:
        """Close when what was written is sent, and the peer has seen it; now where this was said before."""
        real = self._transport
        if self.lingering or real.is_closing() or not self._sends() or not real.can_write_eof():
            self.end()
            return
        self.lingering = True
        with suppress(OSError):  # the peer is gone
            real.write_eof()
        real.resume_reading()
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self.end)

    def leave_out(self, count: int) -> None:
        """Bytes came of a peer that was answered."""
        self._left_out += count
        if self._left_out > BYTES_MAX:
            self.end()

    def end(self) -> None:
        """Close without waiting for the peer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.close()

    def abort(self) -> None:
        """Close without waiting for anything."""
        self.end()
        self._transport.abort()
