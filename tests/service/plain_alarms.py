"""The alarms of one machine, said plainly: one tick after the other, and a look now and then.

Of alarms of long ago nobody is told, until a tick that is not finds them open."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

NEEDED, OF, QUIET = 3, 8, 30  # fresh exceedances, of how many ticks; ticks without any that end it
OFF_PACE, COUNT_MAX = 32, 64  # steps of another length than the model's interval


@dataclass
class PlainAlarm:
    """One alarm; `end` None: it is open."""

    kind: str
    model: str
    start: int
    historical: bool = False
    end: int | None = None
    peak: float | None = None
    peak_time: int | None = None


@dataclass
class PlainAlarms:
    """All `found` so far, those that are `open` by kind, and how many somebody was told of, by model and kind."""

    found: list[PlainAlarm] = field(default_factory=list)
    open: dict[str, PlainAlarm] = field(default_factory=dict)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    recent: list[bool] = field(default_factory=list)  # whether the last scored ticks were fresh exceedances
    quiet: int = 0
    off_pace: int = 0

    def tick(self, model: str, time: int, score: float | None, fresh: bool, historical: bool) -> bool:
        """A tick with its score: whether the machine is in alarm."""
        if score is not None:
            self._scored(model, time, score, fresh, historical)
        self._found_open("process", historical)
        return "process" in self.open

    def _scored(self, model: str, time: int, score: float, fresh: bool, historical: bool) -> None:
        self.recent = [*self.recent, fresh][-OF:]
        alarm = self.open.get("process")
        if alarm is None:
            if sum(self.recent) >= NEEDED:
                alarm = self._open("process", model, time, historical)
                alarm.peak, alarm.peak_time, self.quiet, self.last_over = score, time, 0, time
            return
        if score < 1:
            self.quiet += 1
            if self.quiet == QUIET:
                self._close("process", self.last_over)
                self.recent = []
            return
        self.quiet, self.last_over = 0, time
        if score > alarm.peak:
            alarm.peak, alarm.peak_time = score, time

    def step(self, model: str, steps: float | None, most: float, time: int, historical: bool) -> None:
        """So many intervals of the model after the tick before; `most` times more or less than one keeps pace."""
        if steps is not None:
            keeps = 1 / most <= steps <= most
            self.off_pace = max(self.off_pace - 1, 0) if keeps else min(self.off_pace + 1, COUNT_MAX)
        if "sampling_mismatch" not in self.open and self.off_pace >= OFF_PACE:
            self._open("sampling_mismatch", model, time, historical)
        elif "sampling_mismatch" in self.open and self.off_pace == 0:
            self._close("sampling_mismatch", time)
        self._found_open("sampling_mismatch", historical)

    def look(self, model: str, now: int, heard: int, patience: int) -> None:
        """A machine that was last heard then falls silent after a while."""
        if now - heard > patience and "silent" not in self.open:
            self._open("silent", model, heard, False)

    def hear(self, now: int) -> None:
        """The machine sends something."""
        self._close("silent", now)

    def leave(self, last: int) -> None:
        """The machine leaves its model after its tick `last`: it is judged anew."""
        self._close("process", last)
        self._close("sampling_mismatch", last)
        self.recent, self.off_pace = [], 0

    def _open(self, kind: str, model: str, start: int, historical: bool) -> PlainAlarm:
        alarm = self.open[kind] = PlainAlarm(kind, model, start, historical)
        self.found.append(alarm)
        self.told[model, kind] += not historical
        return alarm

    def _found_open(self, kind: str, historical: bool) -> None:
        alarm = self.open.get(kind)
        if alarm and alarm.historical and not historical:
            alarm.historical = False
            self.told[alarm.model, kind] += 1

    def _close(self, kind: str, end: int) -> None:
        alarm = self.open.pop(kind, None)
        if alarm:
            alarm.end = max(end, alarm.start)
