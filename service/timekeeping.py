"""What the service takes for now, what waits for it to go on, and how the clock of the data is told to.

With `--clock event` time is what the data says: where the data ends, the last ticks would wait for ever for something
later to come. Whoever sent them says that nothing will: the clock goes on, and they are scored.
"""

from __future__ import annotations

import msgspec

from service.clock import Clock, EventClock
from service.entry import all_due
from service.errors import Conflict, Invalid, shown
from service.ingest.json_rows import parse
from service.ingest.times import TimeRefused, parse_time, time_text
from service.shard import Shard


class ClockView(msgspec.Struct):
    """What the service takes for now: by the clock of the wall, or of the data (`event`). `held` ticks wait; all of
    them are scored when it has come to `due`, null where none waits."""

    clock: str
    time: str
    held: int
    due: str | None


def clock_view(clock: Clock, shard: Shard) -> ClockView:
    """The clock, and what waits for it."""
    held = sum(len(machine.ticks) for machine in shard.waiting.machines.values())
    due = all_due(shard)
    return ClockView(clock.name, time_text(clock.now()), held, None if due is None else time_text(due))


def set_forward(clock: Clock, content: bytes) -> None:
    """Let the clock of the data go on to what a body says; it never runs backwards. Conflict where the clock is another
    one, Invalid where the body is not understood."""
    time = _time(content)
    if not isinstance(clock, EventClock):
        raise Conflict("the clock is that of the wall and cannot be set; expected limen serve --clock event")
    clock.observe(time)


def _time(content: bytes) -> int:
    found = parse(content)
    if not isinstance(found, dict) or set(found) != {"time"}:
        raise Invalid(f'the body is {shown(found)}; expected {{"time": "2026-11-24T00:00:00Z"}}', field="time")
    try:
        return parse_time(found["time"])
    except TimeRefused as error:
        raise Invalid(f"time {error}", field="time") from None
