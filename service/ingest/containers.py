"""How many objects and arrays a body holds, counted in its bytes before any of them is made.

Sixteen megabytes of `[],[],...` pack into as many kilobytes and unpack into hundreds of megabytes.
"""

from __future__ import annotations

import re

import numpy as np

from service.errors import BodyTooLarge
from service.ingest.batch import Limits

PER_READING = 5  # a batch of one reading: itself, sensors, times, values, and its row of values
AROUND = 16
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_QUOTE, _BRACKET, _BRACE = b'"[{'


def check_containers(content: bytes, limits: Limits) -> None:
    """BodyTooLarge where a body holds more objects and arrays than so many readings can need."""
    most = AROUND + PER_READING * limits.readings
    if content.count(b"[") + content.count(b"{") <= most:
        return
    found = containers(content)
    if found > most:
        needed = f"which {limits.readings} readings need at most"
        raise BodyTooLarge(f"the body holds {found} objects and arrays; expected {most} or fewer, {needed}")


def containers(content: bytes) -> int:
    """Objects and arrays that begin in some JSON; those in strings do not count.

    >>> containers(b'{"a[[": [1, {"b\\\\\\\\": "[\\\\"["}]}')
    3
    """
    if b"\\" in content:
        content = _ESCAPED.sub(b"", content)
    text = np.frombuffer(content, np.uint8)
    outside = np.cumsum(text == _QUOTE, dtype=np.uint8) & 1 == 0
    return int(np.count_nonzero(((text == _BRACKET) | (text == _BRACE)) & outside))
