"""What waits goes into a snapshot and back, and is refused where it is not what was written."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from service.assembly import Waiting
from service.waiting_snapshot import DTYPES, restored, saved
from tests.service.fleet import SECOND, START


def some() -> dict[int, Waiting]:
    """A machine with closed ticks and one that waits, one of other sensors, and one of which nothing was closed."""
    joined, other, whole = Waiting(("a", "b"), True), Waiting(("c",), True), Waiting(("a", "b"), False)
    joined.put(START, START - 5, np.array([1.0, np.nan]), np.array([True, True]), 7)
    joined.close_until(START)
    joined.put(START + SECOND, START + 3, np.array([2.0, 0.0]), np.array([True, False]), 8)
    other.put(START, START, np.array([3.0]), np.array([True]), 7)
    other.close_until(START)
    for tick in (START + SECOND, START):
        whole.put(tick, tick, np.array([3.0, 4.0]), np.array([True, True]), 9)
    return {5: other, 4: joined, 9: whole}


def test_what_waits_comes_back_as_it_was() -> None:
    content = saved(some())
    back = restored(content)
    assert saved(back) == content
    assert restored(saved({})) == {}
    assert list(back) == [4, 5, 9]
    assert list(back[9].ticks) == [START, START + SECOND]
    late = back[4].late(START, START - 5, np.array([1.0, np.nan]), np.array([True, True]))
    assert late.name == "DUPLICATE"
    back[4].put(START + SECOND, START + 4, np.array([5.0, 0.0]), np.array([True, False]), 8)  # it can be written to


@pytest.mark.parametrize("name", DTYPES)
def test_an_array_that_is_too_short_is_refused(name: str) -> None:
    def cut(names: Any, arrays: dict[str, bytes]) -> Any:
        return names, arrays | {name: arrays[name][: -np.dtype(DTYPES[name]).itemsize]}

    with pytest.raises(ValueError, match=r"expected|machines$"):
        restored(changed(cut))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("slot", 5, "slot is there twice"),
        ("sensors", 9, "cannot be"),
        ("ticks", -1, "cannot be"),
        ("joined", 2, "cannot be"),
        ("marked", 2, "cannot be"),
        ("time", START, "tick of slot 9 is there twice"),
    ],
)
def test_what_contradicts_itself_is_refused(name: str, value: int, why: str) -> None:
    def other(names: Any, arrays: dict[str, bytes]) -> Any:
        found = np.frombuffer(arrays[name], DTYPES[name]).copy()
        found[[0, -1]] = value
        return names, arrays | {name: found.tobytes()}

    with pytest.raises(ValueError, match=why):
        restored(changed(other))


def test_an_array_that_is_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected slot, sensors"):
        restored(changed(lambda names, arrays: (names, {"slot": arrays["slot"]})))


def changed(change: Any) -> bytes:
    names, arrays = msgspec.msgpack.decode(saved(some()))
    return msgspec.msgpack.encode(change(names, arrays))
