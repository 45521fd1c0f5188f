"""Which row continues which, when several machines have several ticks each.

Wave k holds the k-th tick of every machine that has one, machines with more ticks first, so that a row of wave k
continues the row at the same place of wave k-1, and every wave is a contiguous slice of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.contract import Bools, Floats32, Ints


class Waves:
    """Rows of several machines, several of each, in wave order: `sizes` of the waves, none greater than the one
    before; `reset` (n,) bool marks rows before which the machine starts anew; `skipped` (n,) counts ticks that did not
    come before each row."""

    __slots__ = ("edges", "first", "reset", "skipped")

    def __init__(self, sizes: Sequence[int], reset: Bools | None, skipped: Ints | None = None) -> None:
        ends = [0]
        for size in sizes:
            ends.append(ends[-1] + size)
        self.edges = list(pairwise(ends))
        self.first = sizes[0] if len(sizes) else 0
        self.reset = reset if reset is not None and reset.any() else None
        self.skipped = skipped if skipped is not None and skipped.any() else None

    def shifted(self, entering: Floats32, rows: Floats32, anew: Floats32 | float) -> Floats32:
        """What each row finds from the row before it: `entering` for the first wave, `anew` after a reset."""
        found = np.empty_like(rows)
        found[: self.first] = entering[: self.first]
        for (lo, _), (start, stop) in pairwise(self.edges):
            found[start:stop] = rows[lo : lo + stop - start]
        if self.reset is not None:
            found[self.reset] = anew
        return found

    def warm_before(self, warm_left: NDArray[np.int32], warmup: int, blind: Bools) -> NDArray[np.int32]:
        """`warm_left` before each row; `blind` rows (n,) warm nothing up."""
        before = np.empty(self.edges[-1][1] if self.edges else 0, np.int32)
        left = warm_left
        for lo, hi in self.edges:
            now = left[: hi - lo]
            if self.reset is not None:
                now = np.where(self.reset[lo:hi], np.int32(warmup), now)
            before[lo:hi] = now
            left = np.maximum(now - ~blind[lo:hi], 0)
        return before

    def last_rows(self, machines: int) -> NDArray[np.intp]:
        """Row that each machine ends on (machines of the first wave)."""
        last = np.empty(machines, np.intp)
        for lo, hi in self.edges:
            last[: hi - lo] = np.arange(lo, hi)
        return last
