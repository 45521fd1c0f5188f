"""Bad bytes for every parser: valid ones, changed at random places by a seeded generator.

Whatever comes, a parser gives a result or an error of its own kind, in a sentence, in bounded time and memory.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

SECONDS_MAX = 20.0  # that one input may take: thousands of times what it takes
RESIDENT_MORE_MAX = 400 * 1024 * 1024  # bytes
SENTENCE_CHARACTERS_MAX = 2_000  # unless a parser may quote whole names of a person's own files
PIECES = (
    b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b'"', b"\\", b"\\u0000", b"{", b"[", b"]}", b",", b";", b"\n", b"\r\n",
    b"\t", b"=", b"-", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 40, b"0x10", b"1_000",
    b"\xe3\x83\x9d",
    b"2026-11-24T00:00:00Z", b"9999-12-31T23:59:59.999999999-23:59", b"0001-01-01", b"PK\x03\x04", b"\x1f\x8b",
    b"[" * 3000,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**63, 2**64 - 1, 1.5, -1e308, 1e308, 5e-324, "", "a", "\0", "ポ", "x" * 5000,
    "../../x", [], {}, [[]], [None], {"a": 1}, "2026-11-24T00:00:00Z", "F64", "nan",
)  # fmt: skip


@dataclass(frozen=True)
class Parser:
    """What reads some input, the kinds of error that it may end with, and inputs that are sound."""

    read: Callable[[Any], object]
    errors: tuple[type[Exception], ...]
    sound: Sequence[Any]
    change: Callable[[Any, random.Random], Any]
    sentence_characters_max: int = SENTENCE_CHARACTERS_MAX


def rounds(few: int) -> pytest.MarkDecorator:
    """A test with so many inputs, with thirty times as many in `make prove`, and with a thousand times in the long
    run."""
    more = [pytest.param(30 * few, marks=pytest.mark.prove), pytest.param(1000 * few, marks=pytest.mark.prove_long)]
    return pytest.mark.parametrize("inputs", [few, *more])


def fuzz(parser: Parser, inputs: int, seed: int = 0) -> int:
    """Read so many changed inputs; how many of them were refused."""
    rng, refused = random.Random(seed), 0
    for content in parser.sound:
        parser.read(content)
    before = _resident_peak()
    for number in range(inputs):
        content = parser.change(rng.choice(parser.sound), rng)
        refused += _survives(parser, content, number)
    more = _resident_peak() - before
    assert more < RESIDENT_MORE_MAX, f"the process holds {more} bytes more"
    return refused


def _survives(parser: Parser, content: Any, number: int) -> bool:
    """Read one input; whether it was refused."""
    began = time.monotonic()
    try:
        parser.read(content)
        refused = False
    except parser.errors as error:
        sentence, refused = str(error), True
        assert 0 < len(sentence) < parser.sentence_characters_max, f"input {number}: {sentence[:3000]}"
    except BaseException as error:
        raise AssertionError(f"input {number}, {_shown(content)}: {type(error).__name__}: {error}") from error
    seconds = time.monotonic() - began
    assert seconds < SECONDS_MAX, f"input {number}, {_shown(content)}: {seconds:.1f} seconds"
    return refused


def _shown(content: Any) -> str:
    text = repr(content)
    return text if len(text) < 3000 else f"{text[:1500]} ... {text[-1500:]}"


def _resident_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_bytes(content: bytes, rng: random.Random) -> bytes:
    """Change some bytes: flip, cut out, put in, repeat, end early."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(changed) + 1)
        to = min(at + rng.choice((1, 1, 2, 4, 8, 64, 1000)), len(changed))
        match rng.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del changed[at:to]
            case 3:
                changed[at:at] = rng.choice(PIECES)
            case 4:
                changed[at:to] = rng.choice(PIECES)
            case 5:
                changed[at:at] = changed[at:to] * rng.choice((1, 1, 2, 20))
            case 6 if rng.random() < 0.3:
                del changed[at:]
    return bytes(changed)


def in_values(found: Any, rng: random.Random) -> Any:
    """Change some values of decoded JSON: another one in its place, one more, one less, one again."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = _changed(found, rng)
    return found


def in_json(content: bytes, rng: random.Random) -> bytes:
    """Change the bytes of some JSON, or its values."""
    return (
        in_bytes(content, rng)
        if rng.random() < 0.5
        else msgspec.json.encode(in_values(msgspec.json.decode(content), rng))
    )


def _changed(found: Any, rng: random.Random) -> Any:
    """A copy with one change at some depth."""
    if not isinstance(found, dict | list) or not found or rng.random() < 0.1:
        return rng.choice(VALUES)
    items = dict(found) if isinstance(found, dict) else dict(enumerate(found))
    key = rng.choice(list(items))
    match rng.randrange(8):
        case 0:
            del items[key]
        case 1:
            items[rng.choice(("", "x", "readings", "times", "\0")) if isinstance(found, dict) else len(items)] = items[
                key
            ]
        case _:
            items[key] = _changed(items[key], rng)
    return items if isinstance(found, dict) else list(items.values())
