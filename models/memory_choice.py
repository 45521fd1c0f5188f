"""Memory size, window and discount, chosen by the error of held-out rows, from one set of lag statistics.

The memory of the last K inputs is linear in them, m_t = sum_k V_k h_{t-k} with V_k = B^k A. So what a read-out is
fitted on, and judged by, follows from the lag products G_k of the rows, for any A and B:

    sum h_{t+1} m_t^T = S_K,   S_k = sum_{i<k} G_{i+1} V_i^T
    sum m_t m_t^T     = X_K,   X_{k+1} = A G_0 A^T + A S_k B^T + (A S_k B^T)^T + B X_k B^T

less the few ticks at either end of a stretch whose history is not whole. No candidate passes over the rows again, and
one eigendecomposition serves all sizes. A cell that was estimated counts as it was filled in, for all candidates alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import groupby
from typing import NamedTuple

import numpy as np

from models.calibrate import CrossFit
from models.contract import Floats
from models.fit import ReadoutMoments, Shape
from models.laes import Block, LagStatistics, LinearAutoencoder

REACH = 1.5  # windows that a memory is taken to hold, K: what came before them hardly shows
REACH_MIN = 20  # ticks, the same
HISTORY_MAX = 1000  # values in a window that is tried: the eigenvectors of wider ones take longer than all else
BLOCKS_MIN = 3  # with held-out rows, to choose by


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be chosen, each ascending. The range is where detection hardly depends on the choice, on all recordings
    tried: memories under 32 break promises of false alarms, and windows and discounts under these, which the error of
    one step likes best, find less."""

    sizes: tuple[int, ...] = (32, 52, 80)
    windows: tuple[int, ...] = (10, 20)
    discounts: tuple[float, ...] = (0.9, 0.95)

    @property
    def growing(self) -> bool:
        """Whether the size is free."""
        return len(self.sizes) > 1

    @property
    def lags(self) -> int:
        """Window of the statistics that it takes."""
        return max(REACH_MIN, int(REACH * self.windows[-1])) + 1

    def within(self, sensors: int) -> Choices:
        """Without windows that hold very many values, but for the narrowest."""
        narrow = [window for window in self.windows[1:] if window * sensors <= HISTORY_MAX]
        return replace(self, windows=(self.windows[0], *narrow))

    @property
    def least(self) -> Shape:
        """Where the search starts."""
        return Shape(self.sizes[0], self.windows[0], self.discounts[0])


def choices_of(
    auto: bool, size: int | None, window: int | None, discount: float | None
) -> tuple[Shape, Choices | None]:
    """The shape to start from, and what is left to choose where what is not given (None) is chosen; None: nothing."""
    if auto and None in (size, window, discount):
        wide = Choices()
        choices = Choices(
            wide.sizes if size is None else (size,),
            wide.windows if window is None else (window,),
            wide.discounts if discount is None else (discount,),
        )
        return choices.least, choices
    usual = Shape()
    return Shape(
        usual.memory_size if size is None else size,
        usual.window if window is None else window,
        usual.discount if discount is None else discount,
    ), None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shape that was tried, with as many tanh features: the squared error of one step on held-out rows, of sensors of
    unit variance, as mean of the blocks; `standard_error` is of how far that is from the least of all."""

    shape: Shape
    error: float
    standard_error: float
    chosen: bool
    features: int = 0


class Stretch(NamedTuple):
    """Lag statistics of consecutive rows, of which the first `skip` are no targets."""

    block: Block
    skip: int


def preferred(errors: Floats) -> int:
    """The criterion, here alone: errors (n, K) of n candidates, the smallest memory first, in K held-out blocks -> the
    one to take.

    It is the first that is within one standard error of the one with the least mean. The standard error is that of the
    difference between the two over the blocks: blocks differ among themselves far more than candidates do.

    >>> preferred(np.array([[1.0, 2.0, 3.0], [0.8, 1.9, 2.7], [0.7, 1.9, 2.75]]))
    1
    """
    means, spreads = _over_least(errors)
    return int(np.argmax(means <= spreads))


def _over_least(errors: Floats) -> tuple[Floats, Floats]:
    """(n,) how much greater each error is than the least, and the standard error of that."""
    over = errors - errors[errors.mean(1).argmin()]
    return over.mean(1), over.std(1, ddof=1) / np.sqrt(errors.shape[1])


def choose(cross: CrossFit, choices: Choices) -> tuple[Candidate, ...]:
    """The candidates that were tried, the smallest first; one is chosen. None at all where the rows are too few.

    It starts with the least and lets size, window and discount grow in turn, each as far as it pays. The statistics of
    `cross` are of a window of `choices.lags`; its shape is not looked at.
    """
    d, windows = cross.runs[0].shape[1], [w for w in choices.windows if _enough_rows(cross, w)]
    if not windows:
        return ()
    held_out = {block: _held_out(cross, block, max(windows)) for block in range(len(cross.pieces))}
    blocks = [block for block, stretches in held_out.items() if stretches]
    if len(blocks) < BLOCKS_MIN:
        return ()
    shape, tried = choices.least, dict[Shape, Floats]()

    def larger(s: Shape) -> list[Shape]:
        sizes = sorted({min(size, s.window * d) for size in choices.sizes}) if choices.growing else choices.sizes
        return [replace(s, memory_size=size) for size in sizes]

    ladders: list[Callable[[Shape], list[Shape]]] = [
        larger,
        lambda s: [replace(s, window=window) for window in windows],
        larger,  # a wider window has more to hold
        lambda s: [replace(s, discount=discount) for discount in choices.discounts],
    ]
    for steps in ladders:
        ladder = steps(shape)
        new = [step for step in ladder if step not in tried]
        if not new:
            continue
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            errors = np.array(list(pool.map(partial(_errors, cross, new), blocks, (held_out[b] for b in blocks))))
        tried |= dict(zip(new, errors.T, strict=True))
        shape = ladder[preferred(np.array([tried[step] for step in ladder]))]
    shapes = sorted(tried, key=lambda s: (s.memory_size, s.window, s.discount))
    errors = np.array([tried[shape] for shape in shapes])
    return judged([(shape, 0) for shape in shapes], errors, preferred(errors))


def judged(tried: list[tuple[Shape, int]], errors: Floats, chosen: int) -> tuple[Candidate, ...]:
    """The candidates, shapes and numbers of features, with their `errors` (n, K), and which of them was chosen."""
    figures = zip(tried, errors.mean(1).tolist(), _over_least(errors)[1].tolist(), strict=True)
    return tuple(
        Candidate(shape, error, spread, place == chosen, features)
        for place, ((shape, features), error, spread) in enumerate(figures)
    )


def _enough_rows(cross: CrossFit, window: int) -> bool:
    """Whether every fold leaves rows to fit a memory of that window on."""
    return all(_longest(cross, block) > 2 * window for block in range(len(cross.pieces)))


def _longest(cross: CrossFit, left_out: int) -> int:
    """Ticks of the longest run that remains without a block."""
    longest, last, rows = 0, (-1, 0), 0
    for run, start, stop in sorted(p for block, part in enumerate(cross.pieces) if block != left_out for p in part):
        rows = rows + stop - start if last == (run, start) else stop - start
        longest, last = max(longest, rows), (run, stop)
    return longest


def _held_out(cross: CrossFit, block: int, skip: int) -> list[Stretch]:
    """The rows of a block, after those that fill the memory: rows before it, or else its first `skip`."""
    found = []
    for piece in cross.pieces[block]:
        own, run = cross.statistics[piece], cross.runs[piece.run]
        lead = min(len(own.lags) - 1, piece.start)
        if lead:
            own = Block.of(run[piece.start - lead : piece.start], len(own.lags)).joined(own)
        if own.rows > max(lead, skip):
            found.append(Stretch(own, max(lead, skip)))
    return found


def _errors(cross: CrossFit, shapes: list[Shape], block: int, held_out: list[Stretch]) -> list[float]:
    """Of each shape (all of them of one window and discount, or but one size) in a block."""
    found = []
    for (window, discount), group in groupby(shapes, lambda s: (s.window, s.discount)):
        sizes = [shape.memory_size for shape in group]
        kept = [b for _, b in replace(cross, shape=Shape(max(sizes), window, discount)).complement(block)]
        sums = LagStatistics.empty(cross.runs[0].shape[1], window)
        for own in kept:
            sums = sums + own.narrowed(window).closed()
        memory = LinearAutoencoder(max(sizes), window, discount).fit_statistics(sums)
        for size in sizes:
            part = memory.leading(size)
            readout = readout_moments(part, [Stretch(own, window) for own in kept]).solve()
            found.append(readout_moments(part, held_out).error(readout))
    return found


def readout_moments(memory: LinearAutoencoder, stretches: list[Stretch]) -> ReadoutMoments:
    """What a read-out of `memory` would sum over the rows of stretches, from their lag statistics."""
    blocks = [stretch.block for stretch in stretches]
    lags, total = reduce(np.add, (b.lags for b in blocks)), reduce(np.add, (b.total for b in blocks))
    A, B, (p, d), reach = memory.A_, memory.B_, memory.A_.shape, len(lags) - 1
    powers, impulse, response = np.empty((reach, p, p)), A, np.zeros((p, d))
    power, within, across = np.eye(p), np.zeros((p, p)), np.zeros((d, p))
    newest = A @ lags[0] @ A.T
    for k in range(reach):
        mixed = A @ across @ B.T
        within = newest + mixed + mixed.T + B @ within @ B.T
        across += lags[k + 1] @ impulse.T
        response += impulse
        powers[k] = power
        power, impulse = B @ power, B @ impulse
    whole, edges = ReadoutMoments.empty(p, d), ReadoutMoments.empty(p, d)
    rows = sum(block.rows + reach for block in blocks)
    sums = (response @ total)[:, None]
    whole.products[:] = np.block([[within, sums], [sums.T, np.array([[rows]])]])
    whole.targets[:] = np.vstack([across.T, total])
    whole.squares[:], whole.rows[:] = np.diag(lags[0]), rows
    for skip in {stretch.skip for stretch in stretches}:
        heads = np.stack([block.head[:skip] for block, own in stretches if own == skip], axis=1)
        edges.add(_before(memory, heads).reshape(-1, p), heads.reshape(-1, d), None)
    past = _after(memory, powers, [block.tail for block in blocks]).reshape(-1, p)
    edges.add(past, np.zeros((len(past), d)), None)
    return whole - edges


def _before(memory: LinearAutoencoder, heads: Floats) -> Floats:
    """(ticks, n, p) memories before each of the first ticks of n stretches, `heads` (ticks, n, d)."""
    found = np.zeros((*heads.shape[:2], len(memory.B_)))
    for tick in range(1, len(heads)):
        found[tick] = memory.step(found[tick - 1], heads[tick - 1])
    return found


def _after(memory: LinearAutoencoder, powers: Floats, tails: list[Floats]) -> Floats:
    """(K, n, p) what the memory still holds 0, 1, ... ticks after the last row of n stretches that end with `tails`:
    B^j sum_{k < K-j} V_k h_{n-1-k}."""
    newest = np.zeros((len(powers), len(tails), len(memory.B_)))
    for place, tail in enumerate(tails):
        newest[: len(tail), place] = tail[::-1] @ memory.A_.T
    ahead = powers.transpose(0, 2, 1)
    found: Floats = np.cumsum(newest @ ahead, axis=0)[::-1] @ ahead
    return found
