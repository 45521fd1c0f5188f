import asyncio
import gzip
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from service.body import BLOCK, JSON_TYPES, BodyReader, InFlight, Rest, check_type, declared_length, inflate, is_gzip
from service.errors import BodyTooLarge, NotGzip, RequestTimeout, Unavailable, UnsupportedMediaType

MIB = 1024 * 1024


def received(
    pieces: list[bytes], bytes_max: int, headers: dict[bytes, bytes] | None = None
) -> tuple[bytes, BodyReader]:
    left = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    left.append({"type": "http.request"})

    async def receive() -> Any:
        return left.pop(0)

    reader = BodyReader(InFlight(MIB), bytes_max, 1.0)
    return asyncio.run(reader.read(receive, headers or {})), reader


@pytest.mark.parametrize("pieces", [[], [b"whole"], [b"in ", b"", b"pieces"]])
def test_a_body_is_put_together_and_counted_until_it_is_closed(pieces: list[bytes]) -> None:
    content, reader = received(pieces, 20)
    assert content == b"".join(pieces)
    assert reader.held == reader.in_flight.held == len(content)
    reader.close()
    reader.close()
    assert reader.in_flight.held == 0


def test_a_body_at_its_bound_is_taken_and_one_beyond_is_not() -> None:
    assert received([b"x" * 5, b"x" * 5], 10)[0] == b"x" * 10
    with pytest.raises(BodyTooLarge, match="expected at most 10"):
        received([b"x" * 5, b"x" * 6], 10)
    with pytest.raises(BodyTooLarge, match="the body has 99 bytes"):
        received([], 10, {b"content-length": b"99"})


def test_a_body_that_stops_is_given_up() -> None:
    async def never() -> Any:
        await asyncio.sleep(60)

    with pytest.raises(RequestTimeout, match=r"0\.01 seconds"):
        asyncio.run(BodyReader(InFlight(MIB), 10, 0.01).read(never, {}))


@pytest.mark.parametrize("text", [b"", b"-1", b"x", b"1e3", b"9" * 30, "٣".encode()])
def test_a_length_that_is_none_is_left_to_be_counted(text: bytes) -> None:
    assert declared_length({b"content-length": text}) == 0


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        *((b"application/json", True), (b"Application/JSON; charset=utf-8", True), (b"application/ld+json", True)),
        *((b"text/json", False), (b"", False), (b"application/jsonx", False), (b"a\x00b", False)),
    ],
)
def test_only_json_is_taken_as_json(kind: bytes, good: bool) -> None:
    headers = {b"content-type": kind}
    if good:
        check_type(headers, JSON_TYPES, "application/json")
    else:
        with pytest.raises(UnsupportedMediaType, match="expected application/json"):
            check_type(headers, JSON_TYPES, "application/json")


def test_gzip_and_nothing_are_the_encodings() -> None:
    assert is_gzip({b"content-encoding": b" GZip "})
    assert is_gzip({b"content-encoding": b"x-gzip"})
    assert not is_gzip({})
    assert not is_gzip({b"content-encoding": b"identity"})
    with pytest.raises(UnsupportedMediaType, match="'zstd'"):
        is_gzip({b"content-encoding": b"zstd"})


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    parts=st.lists(st.binary(max_size=40) | st.integers(0, 5).map(lambda n: bytes(n * BLOCK)), min_size=1, max_size=4),
    padding=st.integers(0, 3),
)
def test_members_are_unpacked_one_after_the_other(parts: list[bytes], padding: int) -> None:
    packed = b"".join(gzip.compress(part, 0) + bytes(padding) for part in parts)
    whole = b"".join(parts)
    assert inflate(packed, len(whole)) == whole
    if whole:
        with pytest.raises(BodyTooLarge, match="inflates to over"):
            inflate(packed, len(whole) - 1)


@pytest.mark.parametrize("cut", [1, 5, 9, 15, -1, -8, -9])
def test_a_gzip_body_that_ends_early_is_named(cut: int) -> None:
    with pytest.raises(NotGzip, match="ends early"):
        inflate(gzip.compress(b"x" * 100)[:cut], 1000)


@pytest.mark.parametrize(
    "content", [b"{}", zlib.compress(b"{}"), gzip.compress(b"{}") + b"rest", gzip.compress(b"{}")[:-4] + b"0000"]
)
def test_what_is_not_gzip_is_named(content: bytes) -> None:
    with pytest.raises(NotGzip):
        inflate(content, 1000)


def test_a_bomb_is_refused_without_unpacking_it() -> None:
    bomb = gzip.compress(bytes(64 * MIB))
    nested = gzip.compress(bytes(16 * MIB)) * 8
    tracemalloc.start()
    try:
        for packed in (bomb, nested):
            with pytest.raises(BodyTooLarge):
                inflate(packed, MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * MIB


def test_many_small_members_do_not_cost_a_copy_of_the_rest_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a member is copied by zlib: bounded, or ten thousand members of a large body cost minutes."""
    fed: list[int] = []
    make = zlib.decompressobj

    class Fed:
        def __init__(self, bits: int) -> None:
            self.own = make(bits)

        def decompress(self, content: bytes, size: int) -> bytes:
            fed.append(len(content))
            return self.own.decompress(content, size)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.own, name)

    monkeypatch.setattr("service.body.zlib.decompressobj", Fed)
    packed = gzip.compress(b"x") * 5_000
    assert len(packed) > 5 * BLOCK
    assert inflate(packed, 5_000) == b"x" * 5_000
    assert len(fed) >= 5_000
    assert max(fed) <= BLOCK


def test_a_sender_that_hangs_up_leaves_nothing_in_flight():
    async def receive() -> dict[str, object]:
        return parts.pop(0)

    parts: list[dict[str, object]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    in_flight = InFlight(100)
    reader = BodyReader(in_flight, 10, 1.0)
    with pytest.raises(ClientDisconnect):
        asyncio.run(reader.read(receive, {}))  # type: ignore[arg-type]
    assert in_flight.held == 1
    reader.close()
    assert in_flight.held == 0
    with pytest.raises(Unavailable, match="in flight"):
        in_flight.take(101)


def drained(
    pieces: list[bytes], headers: dict[bytes, bytes], bytes_max: int = 100, asked: int = 0, seconds: float = 1.0
) -> int:
    """Messages that are left after the application has taken `asked` of them and the rest was drained."""
    left: list[dict[str, Any]] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    left.append({"type": "http.request"})

    async def receive() -> Any:
        if not left:
            await asyncio.sleep(60)
        return left.pop(0)

    async def play() -> None:
        rest = Rest(receive, headers)
        for _ in range(asked):
            await rest.receive()
        await rest.drain(bytes_max, seconds)

    asyncio.run(play())
    return len(left)


CHUNKED = {b"transfer-encoding": b"chunked"}


@pytest.mark.parametrize(
    ("pieces", "headers", "asked", "left"),
    [
        ([b"x" * 40] * 2, {b"content-length": b"80"}, 0, 0),
        ([b"x" * 40] * 2, {b"content-length": b"80"}, 1, 0),
        ([b"x" * 40] * 2, {b"content-length": b"80"}, 3, 0),
        ([b"x" * 40] * 2, CHUNKED, 0, 0),
        ([b"x" * 40] * 9, CHUNKED, 0, 7),
        ([b"x" * 40] * 9, {b"content-length": b"360"}, 0, 10),
        ([b"x" * 40] * 2, {b"content-length": b"80", b"expect": b"100-Continue"}, 0, 3),
        ([b"x" * 40] * 2, {b"content-length": b"80", b"expect": b"100-Continue"}, 1, 0),
        ([], {}, 0, 1),
    ],
)
def test_the_rest_of_a_refused_body_is_taken_in_within_its_bounds(
    pieces: list[bytes], headers: dict[bytes, bytes], asked: int, left: int
) -> None:
    assert drained(pieces, headers, asked=asked) == left


def test_the_rest_of_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def play() -> None:
        async def never() -> Any:
            await asyncio.sleep(60)

        await Rest(never, CHUNKED).drain(100, 0.01)

    asyncio.run(asyncio.wait_for(play(), 5))


def test_slow_bodies_give_way_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.body.SLOW_SECONDS", 0.1)

    async def main() -> None:
        in_flight = InFlight(100)

        def reader() -> tuple[BodyReader, asyncio.Queue[Any]]:
            return BodyReader(in_flight, 100, 30.0), asyncio.Queue()

        async def piece(queue: asyncio.Queue[Any], size: int, more: bool = True) -> None:
            await queue.put({"type": "http.request", "body": bytes(size), "more_body": more})
            await asyncio.sleep(0.01)

        (old, old_queue), (second, second_queue), (new, new_queue) = reader(), reader(), reader()
        slow = [
            asyncio.create_task(one.read(queue.get, {b"content-length": b"90"}))
            for one, queue in ((old, old_queue), (second, second_queue))
        ]
        await piece(old_queue, 40)
        await piece(second_queue, 40)
        assert in_flight.held == 80, "what has arrived, not what was announced"
        fast = asyncio.create_task(new.read(new_queue.get, {}))
        await piece(new_queue, 30)
        with pytest.raises(Unavailable, match="in flight"):
            await fast
        new.close()
        await asyncio.sleep(0.15)
        third, third_queue = reader()
        fast = asyncio.create_task(third.read(third_queue.get, {}))
        await piece(third_queue, 30, more=False)
        assert len(await fast) == 30
        with pytest.raises(Unavailable, match="gave way"):
            await slow[0]
        assert not slow[1].done(), "no more than are needed give way"
        assert in_flight.held == 70
        await piece(second_queue, 50, more=False)
        with pytest.raises(Unavailable, match="in flight"):
            await slow[1]
        for one in (old, second, third):
            one.close()
        assert (in_flight.held, in_flight.arriving) == (0, {})

    asyncio.run(main())
