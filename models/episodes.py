"""Scores -> alarm episodes; pure.

An episode opens after `needed` *fresh* exceedances in the last `of` ticks and closes `quiet` ticks after the last
exceedance; closing spends the evidence, so that the next episode needs its own. Fresh means that the tick itself
supports the score (`Ticks.fresh`): a spike that only lingers in a smoothed statistic counts once. Defaults: three of
eight ticks rejects single spikes and the two-tick echo of a step that the next reading takes back, and delays an alarm
by two ticks; thirty quiet ticks, the longest smoothing, keep one cause from opening several episodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from models.contract import Bools, Floats, Ints

Transition = Literal["opened", "closed"]


@dataclass(frozen=True, slots=True)
class EpisodeRule:
    """When an episode opens and closes, in ticks."""

    needed: int = 3
    of: int = 8
    quiet: int = 30

    def __post_init__(self) -> None:
        if not 1 <= self.needed <= self.of <= 63:
            raise ValueError(f"{self.needed} of {self.of} ticks cannot open an alarm; expected 1 <= needed <= of <= 63")
        if self.quiet < 1:
            raise ValueError(f"quiet is {self.quiet} ticks; expected 1 or more")


@dataclass(frozen=True, slots=True)
class Phase:
    """Where one machine stands. `bits`: fresh exceedances of the last ticks, newest lowest; `quiet`: ticks since the
    last exceedance; times are those of the open episode."""

    open: bool = False
    bits: int = 0
    quiet: int = 0
    opened: int = 0
    last_over: int = 0
    peak: float = 0.0
    peak_time: int = 0

    @property
    def at_rest(self) -> bool:
        """Whether a tick under the threshold changes nothing."""
        return not self.open and self.bits == 0


@dataclass(frozen=True, slots=True)
class Episode:
    """One alarm: `start` is the tick that opened it, `end` the last exceedance (None while open)."""

    start: int
    end: int | None
    peak: float
    peak_time: int


def advance(rule: EpisodeRule, phase: Phase, score: float, fresh: bool, time: int) -> tuple[Phase, Transition | None]:
    """One tick of one machine; a NaN score (warming, unscored) changes nothing.

    >>> phase = Phase()
    >>> for t in range(3):
    ...     phase, transition = advance(EpisodeRule(), phase, 1.5, True, t)
    >>> transition, phase.open, phase.opened
    ('opened', True, 2)
    """
    if score != score:
        return phase, None
    bits = ((phase.bits << 1) | fresh) & ((1 << rule.of) - 1)
    if phase.open:
        return _while_open(rule, phase, bits, score, time)
    if bits.bit_count() >= rule.needed:
        return Phase(True, bits, 0, time, time, score, time), "opened"
    return replace(phase, bits=bits), None


def _while_open(rule: EpisodeRule, phase: Phase, bits: int, score: float, time: int) -> tuple[Phase, Transition | None]:
    if score >= 1:
        higher = score > phase.peak
        peak, peak_time = (score, time) if higher else (phase.peak, phase.peak_time)
        return Phase(True, bits, 0, phase.opened, time, peak, peak_time), None
    if phase.quiet + 1 >= rule.quiet:
        return replace(phase, open=False, bits=0, quiet=0), "closed"
    return replace(phase, bits=bits, quiet=phase.quiet + 1), None


def episodes(score: Floats, fresh: Bools, time: Ints, rule: EpisodeRule | None = None) -> list[Episode]:
    """The alarms of one machine over n ticks: the fold of `advance`; the last one may still be open."""
    return fold(zip(score.tolist(), fresh.tolist(), time.tolist(), strict=True), rule or EpisodeRule())


def fold(ticks: Iterable[tuple[float, bool, int]], rule: EpisodeRule) -> list[Episode]:
    """Episodes of (score, fresh, time), one a tick."""
    found, phase = [], Phase()
    for score, fresh, time in ticks:
        phase, transition = advance(rule, phase, score, fresh, time)
        if transition == "closed":
            found.append(Episode(phase.opened, phase.last_over, phase.peak, phase.peak_time))
    if phase.open:
        found.append(Episode(phase.opened, None, phase.peak, phase.peak_time))
    return found
