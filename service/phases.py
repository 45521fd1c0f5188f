"""Where each equipment stands between rest and alarm: the rule of `models/episodes.py`, kept in arrays over slots.

Machines at rest without an exceedance stay at rest, so only the others are walked through, one reading at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from models.episodes import EpisodeRule, Phase, Transition, advance
from models.state import Ticks
from service.admission import Admitted
from service.columns import Columns, Field, Index

REST = Phase()
DTYPES = {bool: "bool", int: "int64", float: "float64"}
NAMES = tuple(f.name for f in fields(Phase))
PHASE_FIELDS = {
    "phase_awake": Field("bool"),  # not at rest
    **{f"phase_{name}": Field(DTYPES[type(getattr(REST, name))], (), getattr(REST, name)) for name in NAMES},
}


def load(columns: Columns, slot: int) -> Phase:
    """The phase of one slot."""
    return Phase(*(columns[f"phase_{name}"][slot].item() for name in NAMES))


def store(columns: Columns, slot: int, phase: Phase) -> None:
    """Keep the phase of one slot."""
    columns["phase_awake"][slot] = not phase.at_rest
    for name in NAMES:
        columns[f"phase_{name}"][slot] = getattr(phase, name)


def awake(columns: Columns, admitted: Admitted, ticks: Ticks) -> Index:
    """Machines (indices into `admitted.machines`) not at rest or with a fresh exceedance, in ascending order."""
    machines = columns["phase_awake"][admitted.machines]
    fresh = np.flatnonzero(ticks.fresh)
    if len(fresh):
        starts = np.cumsum([0, *admitted.sizes])
        machines[fresh - starts[np.searchsorted(starts, fresh, "right") - 1]] = True
    return np.flatnonzero(machines)


def walk(
    columns: Columns, rule: EpisodeRule, admitted: Admitted, ticks: Ticks, machine: int
) -> Iterator[tuple[int, Phase, Transition | None]]:
    """The readings of one machine, in order of time: row, the phase after it, and the transition that it made."""
    slot = int(admitted.machines[machine])
    phase = load(columns, slot)
    rows = admitted.rows_of(machine)
    readings = zip(
        rows.tolist(), ticks.score[rows].tolist(), ticks.fresh[rows].tolist(), admitted.time[rows].tolist(), strict=True
    )
    for row, score, fresh, time in readings:
        phase, transition = advance(rule, phase, score, fresh, time)
        yield row, phase, transition
    store(columns, slot, phase)
