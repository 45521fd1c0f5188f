from __future__ import annotations

import time

from service.clock import EventClock, WallClock, make_clock


def test_the_event_clock_follows_the_data_and_never_runs_backwards():
    clock = make_clock("event")
    assert isinstance(clock, EventClock)
    for newest, now in ((5, 5), (3, 5), (9, 9)):
        clock.observe(newest)
        assert clock.now() == now
    assert not clock.judges_future


def test_the_wall_clock_counts_microseconds_and_ignores_the_data():
    clock = make_clock("wall")
    assert isinstance(clock, WallClock)
    clock.observe(1 << 62)
    before = time.time_ns() // 1000
    assert before <= clock.now() <= time.time_ns() // 1000
    assert clock.judges_future
