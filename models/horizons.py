"""How far off a forecast is at each horizon: held-out errors -> half the width of its interval.

For each block of the cross-fitting (`calibrate.py`) the model of the others runs forward without input: with y_{t|t-k}
what it expects of tick t from the memory after tick t - k, the errors e_k = z_t - y_{t|t-k} of the ticks t of the block
are held out, k = 1, 2, 4, ... For each sensor, half the width of an interval that is to cover a share c is

    Q_c(|e_k|) b_k,        b_k = between_blocks( Q_c(|e_k| in a block, over Q_c(|e_k|) in all other blocks) )

where Q_c is the quantile and b_k, one number for all sensors, allows for a stretch to come that differs from those of
training as these differ among themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.calibrate import LEAD_WINDOWS, CrossFit, Piece, between_blocks
from models.contract import Floats, Floats32, Ints, ModelError
from models.detector import Z_MAX
from models.fit import Core, chunks

HORIZONS = 2 ** np.arange(11)  # ticks
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)  # shares that intervals are to cover
TARGETS_MAX = 500  # ticks of a block that are forecast, spread over it
STEPPED_MAX = 100  # the same where the model has features: each tick ahead is a step
TARGETS_MIN = 20  # of a sensor in a block
BLOCKS_MIN = 3
UNKNOWN = -1.0  # in the artifact, in place of NaN


@dataclass(frozen=True)
class HorizonErrors:
    """Half-widths (k, m, live) of intervals, standardised: at horizons of 1, 2, 4, ... ticks, for the shares `levels`
    (m,), of every sensor that moved in training; NaN where training had too few rows to tell."""

    levels: Floats32
    widths: Floats32

    @property
    def ticks_max(self) -> int:
        """The longest horizon with an interval; 0: none."""
        known = np.flatnonzero(~np.isnan(self.widths).all((1, 2)))
        return int(2 ** known[-1]) if len(known) else 0

    def half_widths(self, ticks: Ints, coverage: float) -> Floats:
        """(n, live) at horizons `ticks` (n,) of 1 and more: between two horizons in proportion to the logarithm,
        between two shares as those of a normal distribution; NaN beyond the longest. `coverage` within `levels`."""
        places = np.log2(ticks)
        before = np.minimum(places.astype(int), len(self.widths) - 1)
        after, part = np.minimum(before + 1, len(self.widths) - 1), (places - before)[:, None]
        widths = self._of_share(coverage)
        between = np.where(part > 0, widths[after], widths[before])
        found: Floats = widths[before] * (1 - part) + between * part
        found[places > len(self.widths) - 1] = np.nan
        return found

    def _of_share(self, coverage: float) -> Floats:
        """(k, live) for one share."""
        deviations = [NormalDist().inv_cdf((1 + level) / 2) for level in (*self.levels.tolist(), coverage)]
        place = float(np.interp(deviations[-1], deviations[:-1], np.arange(len(self.levels))))
        low, part = int(place), place - int(place)
        widths = self.widths.astype(np.float64)
        return widths[:, low] if not part else widths[:, low] * (1 - part) + widths[:, low + 1] * part

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """For the artifact."""
        return {"levels": self.levels, "widths": np.nan_to_num(self.widths, nan=UNKNOWN)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], live: int) -> Self:
        """From an artifact of a model with `live` sensors that moved. ModelError where it is none of `as_arrays`."""
        if set(arrays) != {"levels", "widths"}:
            raise ModelError(f"errors of forecasts are {sorted(arrays)}; expected ['levels', 'widths']")
        levels, widths = arrays["levels"], arrays["widths"]
        if not (levels.ndim == 1 and len(levels) and (levels > 0).all() and (levels < 1).all()):
            raise ModelError("levels of forecasts are no shares between 0 and 1")
        if (np.diff(levels) <= 0).any():
            raise ModelError("levels of forecasts do not ascend")
        if widths.ndim != 3 or widths.shape[1:] != (len(levels), live) or not 0 < len(widths) <= len(HORIZONS):
            raise ModelError(
                f"widths of forecasts are {widths.shape}; expected (1 to {len(HORIZONS)}, {len(levels)}, {live})"
            )
        return cls(levels, np.where(widths < 0, np.float32(np.nan), widths))


def horizon_errors(cross: CrossFit) -> HorizonErrors:
    """What the blocks of a cross-fitting tell of forecasts."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        blocks = list(pool.map(partial(_errors, cross), range(len(cross.pieces))))
    widths = [_widths([block[i] for block in blocks]) for i in range(len(HORIZONS))]
    return HorizonErrors(np.array(LEVELS, np.float32), np.array(widths, np.float32))


def _errors(cross: CrossFit, block: int) -> list[Floats]:
    """|e| (n, live) at each horizon of the ticks of one block, by the model of the others; NaN = not measured."""
    core, pieces = cross.core(block), cross.pieces[block]
    most = TARGETS_MAX if core.features is None else STEPPED_MAX
    stride = max(1, -(-sum(p.stop - p.start for p in pieces) // most))
    none = np.empty((0, cross.runs[0].shape[1]))
    found: list[list[Floats]] = [[none] for _ in HORIZONS]
    readouts = _readouts(core) if core.features is None else []
    for piece in pieces:
        targets = np.arange(piece.start, piece.stop, stride)
        z = cross.runs[piece.run][targets]
        if cross.seen is not None:
            z = np.where(cross.seen[piece.run][targets], z, np.nan)
        for i, memories in enumerate(_memories(cross, core, piece, targets)):
            expected = memories @ readouts[i][:-1] + readouts[i][-1] if readouts else _stepped(core, memories, i)
            found[i].append(np.abs(z[len(z) - len(memories) :] - np.clip(np.nan_to_num(expected), -Z_MAX, Z_MAX)))
    return [np.concatenate(parts) for parts in found]


def _readouts(core: Core) -> list[Floats]:
    """(p + 1, d) for each horizon: what is expected that far ahead is (m, 1) times this."""
    loop, readouts = core.closed_loop(), [core.readout]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in HORIZONS[1:]:
            readouts.append(loop @ readouts[-1])
            loop = loop @ loop
    return readouts


def _stepped(core: Core, memories: Floats, horizon: int) -> Floats:
    """(n, d) what is expected at a horizon from memories (n, p), tick by tick."""
    weights, intercept = core.readout[:-1], core.readout[-1]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(int(HORIZONS[horizon]) - 1):
            expected = np.clip(memories @ weights + intercept, -Z_MAX, Z_MAX)
            memories = core.step(memories, expected)
        return memories @ weights + intercept


def _memories(cross: CrossFit, core: Core, piece: Piece, targets: Ints) -> list[Floats]:
    """Memories (n, p) at each horizon before `targets` (ascending rows of the run of a piece), as far as the memory
    was full there."""
    window, z = cross.shape.window, cross.runs[piece.run]
    first = max(int(targets[0]) - int(HORIZONS[-1]) - LEAD_WINDOWS * window, 0)
    origins = [origin[origin >= window] for origin in (targets - horizon for horizon in HORIZONS)]
    rows = np.unique(np.concatenate(origins))
    memories = np.empty((len(rows), len(core.memory.B_)))
    entering = np.zeros(len(core.memory.B_))
    for chunk in chunks(int(targets[-1]) - first):
        encoded = core.encode(z[first:][chunk], entering)
        entering = encoded[-1]
        inside = (rows >= first + chunk.start) & (rows < first + chunk.stop)
        memories[inside] = encoded[rows[inside] - first - chunk.start]
    return [memories[np.searchsorted(rows, origin)] for origin in origins]


def _widths(blocks: list[Floats]) -> Floats:
    """(m, live) from the errors (n, live) of each block at one horizon."""
    live = blocks[0].shape[1]
    blocks = [errors for errors in blocks if len(errors) >= TARGETS_MIN]
    if len(blocks) < BLOCKS_MIN:
        return np.full((len(LEVELS), live), np.nan)
    unlike = []
    for block, errors in enumerate(blocks):
        others = _quantiles(np.concatenate(blocks[:block] + blocks[block + 1 :]))
        ratios = (errors / np.maximum(quantile, 1e-12) for quantile in others)
        unlike.append([_quantile(ratio[~np.isnan(ratio)], level) for ratio, level in zip(ratios, LEVELS, strict=True)])
    widths = _quantiles(np.concatenate(blocks)) * between_blocks(np.array(unlike))[:, None]
    return np.maximum.accumulate(np.minimum(widths, Z_MAX))


def _quantile(values: Floats, level: float) -> float:
    return float(np.quantile(values, level)) if len(values) else 1.0


def _quantiles(errors: Floats) -> Floats:
    """(m, live) of errors (n, live); NaN for a sensor with fewer than `TARGETS_MIN`."""
    if not np.isnan(errors).any():
        return np.quantile(errors, LEVELS, axis=0)
    found = np.full((len(LEVELS), errors.shape[1]), np.nan)
    for sensor, column in enumerate(errors.T):
        own = column[~np.isnan(column)]
        if len(own) >= TARGETS_MIN:
            found[:, sensor] = np.quantile(own, LEVELS)
    return found
