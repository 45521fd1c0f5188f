"""A whole recording scored as serving would score it, bit for bit: `limen score` and `limen evaluate`.

Each machine starts with an empty memory; a gap longer than the model allows starts it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from models.contract import Bools, DataError, Floats, Floats32, Ints
from models.detector import Detector
from models.episodes import EpisodeRule, Phase, advance
from models.gaps import NEVER, first_after_gap, last_valued, skipped_ticks
from models.state import State, Ticks

CHUNK = 8192  # ticks whose outcomes are held at once


@dataclass(slots=True)
class Backfill:
    """What came of the n ticks of one machine; `top` is the column of the sensor that the score is owed to, -1 where
    there is none."""

    score: Floats32
    p_value: Floats32
    warming: Bools
    alarm: Bools
    top: Ints

    @property
    def status(self) -> list[str]:
        """The status of each tick, in the words of the service."""
        words: list[str] = np.where(
            self.warming, "warming", np.where(np.isnan(self.score), "unscored", "scored")
        ).tolist()
        return words


def columns_of(detector: Detector, sensors: tuple[str, ...]) -> Ints:
    """Column of a recording for each sensor of the model, -1 where it has none. DataError where it has none at all."""
    place = {name: column for column, name in enumerate(sensors)}
    found = np.array([place.get(name, -1) for name in detector.sensors])
    if (found < 0).all():
        raise DataError(
            f"none of the model's sensors is in the data: the model knows {', '.join(detector.sensors[:5])}, ...; the "
            f"data has {', '.join(sensors[:5])}, ..."
        )
    return found


def arrange(values: Floats, columns: Ints) -> Floats:
    """Values (n, sensors of the recording) in the order of the model (n, d), NaN for a sensor that is not there."""
    arranged = values[:, columns]
    arranged[:, columns < 0] = np.nan
    return np.ascontiguousarray(arranged)


def score_series(
    detector: Detector,
    equipment: str,
    time: Ints,
    x: Floats,
    rule: EpisodeRule | None = None,
    progress: Callable[[int], None] = lambda ticks: None,
) -> Backfill:
    """Score one machine: `time` (n,) microseconds, strictly increasing, `x` (n, d) in the order of the model."""
    rule, phase, n = rule or EpisodeRule(), Phase(), len(time)
    result = Backfill(
        np.full(n, np.nan, np.float32),
        np.full(n, np.nan, np.float32),
        np.zeros(n, np.bool_),
        np.zeros(n, np.bool_),
        np.full(n, -1),
    )
    for rows, _, ticks in walk(detector, equipment, time, x):
        result.score[rows], result.p_value[rows] = ticks.score, ticks.p_value
        result.warming[rows] = ticks.warming
        result.top[rows] = np.where(np.isfinite(ticks.score), ticks.attribution.argmax(1), -1)
        for row, (score, fresh) in enumerate(zip(ticks.score.tolist(), ticks.fresh.tolist(), strict=True), rows.start):
            phase, _ = advance(rule, phase, score, fresh, int(time[row]))
            result.alarm[row] = phase.open
        progress(rows.stop - rows.start)
    return result


def walk(detector: Detector, equipment: str, time: Ints, x: Floats) -> Iterator[tuple[slice, State, Ticks]]:
    """One machine from an empty memory through `time` (n,) and `x` (n, d), a chunk of rows at a time: the rows, the
    state after them and what came of each."""
    valued: Bools = ~np.all(np.isnan(x), axis=1)
    reset = first_after_gap(time, valued, detector.gap_reset)
    skipped = skipped_ticks(time, np.concatenate([time[:1], time[:-1]]), detector.interval, detector.gap_reset)
    skipped[last_valued(time, valued, NEVER) == NEVER] = 0
    state, centre = detector.init_state(1), detector.centre_index(equipment)
    for start in range(0, len(time), CHUNK):
        rows = slice(start, min(start + CHUNK, len(time)))
        count = rows.stop - start
        state, ticks = detector.advance(
            state, x[rows], [1] * count, reset[rows], np.full(count, centre, np.intp), skipped[rows]
        )
        yield rows, state, ticks
