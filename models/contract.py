"""What every detector is, and what models/ raises.

A detector reads ticks of one machine, each a vector of d sensor values, and answers each with a *score*:

- **high = anomalous**, always; 1.0 is the threshold of the promised false-alarm budget;
- `fit` learns from segments of normal operation and returns self; learned attributes end in `_`;
- `step` is pure, `step(state, x) -> (state, ticks)`, over n machines at once, one tick each;
- `run(x)` is one machine over n ticks and equals the loop over `step`, bit for bit;
- a score is NaN while the detector is `warming` (too little past) or where no sensor was left to judge.

`tests/test_laws.py` runs these sentences on every detector.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

from numpy.typing import NDArray

# What an array holds is said to the reader; numpy's own stubs lose it at the first operation, so it is not checked.
Floats = NDArray[Any]  # float64
Floats32 = NDArray[Any]  # float32
Array = NDArray[Any]  # float64 or float32, as given
Ints = NDArray[Any]  # int64
Bools = NDArray[Any]  # bool

MICROSECONDS = 1_000_000  # of one second: the unit of every time inside the program
QUOTED_CHARACTERS_MAX = 200  # of what another error says


class DataError(ValueError):
    """A file or an array that cannot be used as it is; the text names file, row, column and value."""


class ModelError(ValueError):
    """A model that cannot be fitted, loaded or trusted; the text says which part and why."""


def brief(error: BaseException) -> str:
    """What an error says, cut off where it quotes at length what was read.

    >>> brief(ValueError("no number")), len(brief(ValueError("x" * 9999)))
    ('no number', 203)
    """
    text = str(error)
    return text if len(text) <= QUOTED_CHARACTERS_MAX else f"{text[:QUOTED_CHARACTERS_MAX]}..."


class AnyDetector(Protocol):
    """What training, evaluation and serving ask of a detector."""

    sensors: tuple[str, ...]

    def fit(self, segments: list[Floats]) -> Self:
        """Learn from `segments`, each (n, d) float64 of consecutive normal ticks, NaN = missing."""
        ...

    def init_state(self, machines: int) -> Any:
        """State of machines that have not been seen yet."""
        ...

    def step(self, state: Any, x: Floats) -> tuple[Any, Any]:
        """One tick of n machines: `x` (n, d) -> the next state and the n outcomes (`.score`, high = anomalous)."""
        ...

    def run(self, x: Floats) -> Any:
        """One machine over n ticks: `x` (n, d) -> n outcomes; the loop over `step` from an empty state."""
        ...
