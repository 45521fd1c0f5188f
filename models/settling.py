"""How long a memory takes to forget that it started empty.

After a start the memory lacks m, what it would hold had it always listened. k ticks later the prediction is off by
W B^k m, and with M = E[m m^T] over normal operation the squared prediction error by

    trace(S^-1 W B^k M (W B^k)^T) / d         of what it is then.

Slow sensors (temperatures, levels) held far from their mean make this large for much longer than the window: scores
before it has faded would be false alarms after every start and every gap. So the warm-up is measured, not assumed.
"""

from __future__ import annotations

from models.contract import Floats
from models.fit import Core
from models.score import VECTOR_GAIN

SHARE_MAX = 0.01  # of the lowest threshold that an empty start may still add, on average
WINDOWS_MAX = 20  # a memory that takes longer is not waited for


def settling_ticks(core: Core, moments: Floats, precision: Floats, thresholds: Floats) -> int:
    """Ticks until an empty start hardly shows in a score, at least the window: `moments` (p, p) second moments of the
    memory, `precision` (d, d), `thresholds` (4,) of the statistics as in `score.STATISTICS`.

    >>> import numpy as np
    >>> from models.laes import LinearAutoencoder
    >>> h = np.cumsum(np.random.default_rng(0).normal(size=(500, 1)), axis=0)
    >>> core = Core(LinearAutoencoder(2, 8).fit([h]), np.array([[1.0], [0.5], [0.0]]))
    >>> memory = core.memory.encode(h)
    >>> settling_ticks(core, memory.T @ memory / 500, np.eye(1), np.array([8.0, 4.0, 3.0, 12.0]))
    23
    """
    window = core.memory.window
    allowed = SHARE_MAX * min(float(thresholds[:-1].min()), float(thresholds[-1]) / VECTOR_GAIN)
    transition = core.memory.B_
    weights = core.readout[:-1] @ precision @ core.readout[:-1].T / len(precision)
    missing, settled = moments, 0
    for tick in range(WINDOWS_MAX * window):
        if float((weights * missing).sum()) > allowed:
            settled = tick + 1
        missing = transition @ missing @ transition.T
    return max(settled, window)
