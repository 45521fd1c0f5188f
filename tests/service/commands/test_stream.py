from __future__ import annotations

import json
from dataclasses import dataclass, field

import msgspec
import numpy as np

from service.commands.stream import CELLS_MAX, READINGS_MAX, WAIT_SECONDS_MAX, Machine, Stream, due

SECOND = 1_000_000


def machine(name: str, seconds: list[float], sensors: int = 2) -> Machine:
    """A machine whose values say which it is and when."""
    time = np.array([round(second * SECOND) for second in seconds], np.int64)
    return Machine(name, time, np.stack([time / SECOND] * sensors, axis=1).reshape(len(time), sensors))


@dataclass
class Slow:
    """A clock on which only sleep takes time."""

    at: float = 100.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


def test_readings_of_all_machines_go_out_in_order_of_time() -> None:
    stream = Stream(("a", "b"), [machine("one", [0, 10, 20]), machine("two", [5, 15])])
    assert stream.time.tolist() == [0, 5 * SECOND, 10 * SECOND, 15 * SECOND, 20 * SECOND]
    bodies = [stream.body(slice(place, place + 1)) for place in range(5)]
    assert [body["batches"][0]["equipment"] for body in bodies] == ["one", "two", "one", "two", "one"]


def test_a_body_has_one_batch_a_machine_with_its_readings_in_order() -> None:
    stream = Stream(("a", "b"), [machine("one", [0, 10, 20]), machine("two", [5, 15])])
    assert stream.body(slice(1, 5)) == {
        "batches": [
            {"equipment": "two", "sensors": ("a", "b"), "times": ["1970-01-01T00:00:05Z", "1970-01-01T00:00:15Z"],
             "values": [[5.0, 5.0], [15.0, 15.0]]},
            {"equipment": "one", "sensors": ("a", "b"), "times": ["1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z"],
             "values": [[10.0, 10.0], [20.0, 20.0]]},
        ]
    }  # fmt: skip


def test_missing_cells_are_sent_as_null() -> None:
    values = np.array([[1.0, np.nan]])
    stream = Stream(("a", "b"), [Machine("one", np.array([0]), values)])
    sent = json.loads(msgspec.json.encode(stream.body(slice(0, 1))))
    assert sent["batches"][0]["values"] == [[1.0, None]]


def test_bodies_are_bounded_in_readings_and_in_cells() -> None:
    few, many = machine("one", [0], sensors=2), machine("one", [0], sensors=10_000)
    assert Stream(("s",) * 2, [few]).body_readings == READINGS_MAX
    assert Stream(("s",) * 10_000, [many]).body_readings == CELLS_MAX // 10_000
    assert Stream(("s",) * (2 * CELLS_MAX), [few]).body_readings == 1


def test_as_fast_as_it_goes_nothing_is_waited_for_and_nothing_left_out() -> None:
    stream, wall = Stream(("a", "b"), [machine("one", list(range(5000)))]), Slow()
    parts = list(due(stream, 0, wall))
    assert wall.slept == []
    assert [place for part in parts for place in range(part.start, part.stop)] == list(range(5000))
    assert max(part.stop - part.start for part in parts) == READINGS_MAX


def test_at_real_speed_no_reading_is_sent_before_it_is_due_and_each_once() -> None:
    stream, wall = Stream(("a", "b"), [machine("one", [0, 1, 2, 7]), machine("two", [0, 1.5, 7])]), Slow()
    sent = []
    for part in due(stream, 1, wall):
        for place in range(part.start, part.stop):
            sent.append(place)
            assert stream.time[place] / SECOND <= wall.at - 100 + 1e-6
            assert wall.at - 100 - stream.time[place] / SECOND <= WAIT_SECONDS_MAX
    assert sent == list(range(7))
    assert wall.at - 100 >= 7


def test_sixty_times_real_speed_takes_a_sixtieth() -> None:
    stream, wall = Stream(("a", "b"), [machine("one", list(range(0, 601, 10)))]), Slow()
    assert sum(part.stop - part.start for part in due(stream, 60, wall)) == 61
    np.testing.assert_allclose(wall.at - 100, 10, atol=0.5)


def test_over_a_gap_the_caller_has_its_turn_now_and_then() -> None:
    stream, wall = Stream(("a", "b"), [machine("one", [0, 60])]), Slow()
    empty = [part for part in due(stream, 1, wall) if part.start == part.stop]
    assert len(empty) >= 60 / WAIT_SECONDS_MAX - 2
    assert max(wall.slept) <= WAIT_SECONDS_MAX


def test_who_is_late_sends_more_at_once_without_a_pause() -> None:
    stream, wall = Stream(("a", "b"), [machine("one", list(range(10_000)))]), Slow()
    parts = due(stream, 1, wall)
    assert next(parts) == slice(0, 1)
    next(parts)
    wall.at += 9_000
    wall.slept.clear()
    sizes = [part.stop - part.start for part in (next(parts) for _ in range(4))]
    assert sizes == [READINGS_MAX] * 4
    assert len(wall.slept) <= 1


def test_a_stream_of_nothing_is_over_at_once() -> None:
    stream = Stream(("a",), [])
    assert len(stream) == 0
    assert list(due(stream, 1, Slow())) == []
