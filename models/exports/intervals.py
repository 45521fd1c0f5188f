"""How often machines are read, and that machines of one model are read equally often."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from models.contract import MICROSECONDS, DataError, Ints
from models.exports.findings import EXAMPLES_MAX, plural
from models.exports.series import Series
from models.manifest import TOLERANCE

INTERVAL_RATIO_MAX = 1.5  # between the intervals of machines that one model is trained on
USUAL_SHARE = 0.75  # of the steps of a machine


def usual_interval(series: Sequence[Series]) -> int:
    """Median step in microseconds over some series, one that there is; 0 where none has two ticks."""
    steps = [np.diff(one.time) for one in series if len(one.time) > 1]
    return _lower_median(np.concatenate(steps)) if steps else 0


def _lower_median(steps: Ints) -> int:
    """The middle of some steps, the shorter of two: half of each would be a step that nobody made.

    >>> _lower_median(np.array([60, 1, 60, 1]))
    1
    """
    middle = (len(steps) - 1) // 2
    return int(np.partition(steps, middle)[middle])


def machine_intervals(series: Sequence[Series]) -> dict[str, int]:
    """The interval of each machine of which there are two ticks."""
    own: dict[str, list[Series]] = {}
    for one in series:
        own.setdefault(one.equipment, []).append(one)
    intervals = {equipment: usual_interval(parts) for equipment, parts in own.items()}
    return {equipment: interval for equipment, interval in intervals.items() if interval}


def usual_tolerance(series: Sequence[Series], interval: int) -> float:
    """The tolerance of a manifest with which three of four steps of every machine keep the interval, TOLERANCE at
    least. What is further off than machines of one model may be is a tick that did not come, or came twice."""
    widest = 0.0
    for steps in _steps(series).values():
        off = np.maximum(steps / interval, interval / steps)
        near = off[off <= INTERVAL_RATIO_MAX]
        if len(near):
            widest = max(widest, 2 * (float(np.quantile(near, USUAL_SHARE, method="higher")) - 1))
    return max(TOLERANCE, math.ceil(round(1000 * widest, 6)) / 1000)


def _steps(series: Sequence[Series]) -> dict[str, Ints]:
    """The steps of each machine."""
    own: dict[str, list[Ints]] = {}
    for one in series:
        own.setdefault(one.equipment, []).append(np.diff(one.time))
    return {equipment: np.concatenate(steps) for equipment, steps in own.items()}


def refuse_other_intervals(series: Sequence[Series], interval: int) -> None:
    """DataError where a machine is read much more or less often than every `interval` microseconds: to a model of that
    interval its readings are all gaps, or each a piece of one."""
    others = {
        equipment: own
        for equipment, own in machine_intervals(series).items()
        if max(own, interval) > INTERVAL_RATIO_MAX * min(own, interval)
    }
    if not others:
        return
    named = [f"{equipment!r} has a reading every {_seconds(own)}" for equipment, own in others.items()][:EXAMPLES_MAX]
    more = [plural(len(others) - len(named), "more machine")] if len(others) > len(named) else []
    raise DataError(
        f"{', '.join(named + more)}, the others one every {_seconds(interval)}; train "
        f"{'it' if len(others) == 1 else 'them'} with a command of {'its' if len(others) == 1 else 'their'} own"
    )


def _seconds(us: int) -> str:
    return f"{us / MICROSECONDS:g} s"
