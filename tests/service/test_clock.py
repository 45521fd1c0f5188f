from __future__ import annotations

import dataclasses
import time

import pytest

from service.clock import EventClock, SteadyClock, WallClock, make_clock

SECOND = 1_000_000_000
WALL = 1_790_000_000 * SECOND


@dataclasses.dataclass
class Computer:
    """Its clock may be set; time passes all the same."""

    wall: int = WALL
    passed: int = 77 * SECOND

    def wait(self, seconds: float) -> None:
        self.wall, self.passed = self.wall + int(seconds * SECOND), self.passed + int(seconds * SECOND)

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.passed)


def test_the_event_clock_follows_the_data_and_never_runs_backwards():
    clock = make_clock("event")
    assert isinstance(clock, EventClock)
    for newest, now in ((5, 5), (3, 5), (9, 9)):
        clock.observe(newest)
        assert clock.now() == now
    assert not clock.judges_future


def test_the_wall_clock_counts_microseconds_and_ignores_the_data():
    clock = make_clock("wall")
    assert isinstance(clock, SteadyClock)
    clock.observe(1 << 62)
    assert abs(clock.now() - time.time_ns() // 1000) < 60_000_000
    assert clock.judges_future
    assert WallClock(lambda: WALL).now() == WALL // 1000


@pytest.mark.parametrize(("step", "told"), [(3600, "forward by 3600.0 s"), (-86_400, "back by 86400.0 s")])
def test_where_the_computers_clock_is_set_time_goes_on_and_the_log_says_so_once(step, told, caplog):
    computer = Computer()
    clock = computer.clock()
    computer.wait(10)
    assert clock.now() == (WALL + 10 * SECOND) // 1000
    computer.wall += step * SECOND
    for seconds in (20, 30, 40):
        computer.wait(10)
        assert clock.now() == (WALL + seconds * SECOND) // 1000
    (line,) = caplog.messages
    assert told in line


def test_a_clock_that_is_kept_right_little_by_little_is_not_told(caplog):
    computer = Computer()
    clock = computer.clock()
    for _ in range(100):
        computer.wait(10)
        computer.wall += SECOND // 2
        clock.now()
    assert clock.now() == (WALL + 1000 * SECOND) // 1000
    assert caplog.messages == []


def test_a_computer_that_starts_in_the_past_goes_on_from_the_newest_record(caplog):
    computer = Computer(wall=0)
    clock = computer.clock()
    clock.go_on_from(WALL // 1000)
    computer.wait(5)
    assert clock.now() == (WALL + 5 * SECOND) // 1000
    clock.go_on_from(WALL // 1000)
    assert clock.now() == (WALL + 5 * SECOND) // 1000, "never back"
    (line,) = caplog.messages
    assert "1790000000.0 s behind the newest record" in line
