"""What serving keeps of every machine, and what comes of every tick; structures of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.contract import Bools, Floats32


@dataclass(slots=True)
class State:
    """What is kept of n machines between ticks; structure of arrays, C order."""

    memory: Floats32  # (n, p)
    prediction: Floats32  # (n, d) of the tick to come, standardised
    mewma: Floats32  # (n, d) smoothed residual vector
    ewma: Floats32  # (n, 3) smoothed squared prediction error over 8 and 30 ticks, moved constant sensors over 30
    residual: Floats32  # (n, d) of the last tick, as if one tick ahead
    skipped: NDArray[np.int32]  # (n,) ticks that did not come before it
    z: Floats32  # (n, d) last tick, standardised; NaN where missing
    score: Floats32  # (n,) of the last tick
    leading: NDArray[np.int8]  # (n,) statistic that made it, as in Ticks
    warm_left: NDArray[np.int32]  # (n,) ticks until the first score

    def __len__(self) -> int:
        return len(self.warm_left)


@dataclass(slots=True)
class Ticks:
    """What came of n ticks, in wave order; d counts all sensors of the model, constant ones included."""

    score: Floats32  # (n,) 1.0 = threshold; NaN while warming or where no sensor was left
    p_value: Floats32  # (n,) share of held-out normal ticks with a score at least as high; NaN likewise
    fresh: Bools  # (n,) an exceedance that this tick itself supports
    leading: NDArray[np.int8]  # (n,) the statistic that made the score: index into STATISTICS, len(STATISTICS) = moved
    residual: Floats32  # (n, d) as if one tick ahead
    contribution: Floats32  # (n, d) sums to the squared prediction error
    attribution: Floats32  # (n, d) what each sensor adds to the leading statistic
    z: Floats32  # (n, d) NaN where missing
    memory: Floats32  # (n, p)
    warming: Bools  # (n,) too little past to judge
