"""By how much the times of bodies are shifted, said plainly: one body of one source after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SECOND = 1_000_000
REMEMBERED = 32  # bodies of a source
WINDOW, TOLERANCE = 300 * SECOND, SECOND


@dataclass
class PlainClock:
    """The clock of a source: how far it is known to be ahead (`held`), and the greatest that was believed in each
    window of time in which something came."""

    held: int
    last: int | None = None
    windows: list[tuple[int, int]] = field(default_factory=list)

    def observe(self, ahead: int, now: int) -> None:
        """The newest time of a body was ahead of ours by so much."""
        number = now // WINDOW
        if self.windows and self.windows[-1][0] != number:
            last = [greatest for _, greatest in self.windows[-2:]]
            if len(last) == 2 and max(last) - min(last) <= TOLERANCE and max(last) < self.held - TOLERANCE:
                self.held = max(last)
        believed = ahead if self.last is None else min(ahead, self.last)  # what two bodies say, one after the other
        self.last = ahead
        if self.windows and self.windows[-1][0] == number:
            self.windows[-1] = number, max(self.windows[-1][1], believed)
        else:
            self.windows.append((number, believed))
        if believed > self.held + TOLERANCE:
            self.held = believed


@dataclass
class PlainSources:
    """All sources, and by how much the last bodies of each were shifted."""

    kinds: Mapping[str, str]
    sources_max: int
    clocks: dict[str, PlainClock] = field(default_factory=dict)
    shifts: dict[str, dict[str, int]] = field(default_factory=dict)

    def shift(self, source: str, content: str, newest: int, now: int) -> int:
        """What is added to the times of a body."""
        kind = self.kinds.get(source, "event")
        if source and (source in self.clocks or len(self.clocks) < self.sources_max):
            before = list(self.shifts.get(source, {}).values())[-1:] if kind == "offset" else []
            self.clocks.setdefault(source, PlainClock(-sum(before))).observe(newest - now, now)
        if not source or kind == "event":
            return 0
        known = self.shifts.get(source, {})
        if content not in known:
            clock = self.clocks.get(source, PlainClock(0))
            self._remember(source, content, now - newest if kind == "arrival" else -clock.held)
        return self.shifts[source][content]

    def _remember(self, source: str, content: str, shift: int) -> None:
        own = {**self.shifts.pop(source, {}), content: shift}
        self.shifts[source] = dict(list(own.items())[-REMEMBERED:])
        self.shifts = dict(list(self.shifts.items())[-self.sources_max :])

    def restart(self) -> None:
        """The clocks are measured anew."""
        self.clocks = {}
