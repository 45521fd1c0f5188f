"""What became of the readings of one body, in the order of the body; structure of arrays.

`Outcome` covers a whole micro-batch; `body` cuts the part of one body out of it without copying.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.status import Reason, Status

TOP_SENSORS = 3  # named beside each result of a rows body


@dataclass(slots=True)
class BodyOutcome:
    """Outcomes of one body; every array has one entry a reading received.

    `top_sensor` (n, 3) indexes `names`, -1 where there is none; `top_share` (n, 3) is that sensor's share of the
    statistic that made the score. Both are None for bodies in columns. `warnings` says once what concerns the whole
    body.
    """

    status: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    flags: NDArray[np.uint16]
    score: NDArray[np.float32]  # NaN where there is none
    p_value: NDArray[np.float32]
    alarm: NDArray[np.bool_]
    top_sensor: NDArray[np.int32] | None
    top_share: NDArray[np.float32] | None
    names: Sequence[str]
    warnings: list[str] = field(default_factory=list)

    @property
    def received(self) -> int:
        return len(self.status)

    def counts(self) -> list[int]:
        """Readings of each `Status`, in its order; they sum to `received`."""
        return np.bincount(self.status, minlength=len(Status)).tolist()


@dataclass(slots=True)
class Outcome:
    """Outcomes of all readings of a micro-batch, by place: body after body, each in its own order."""

    status: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    flags: NDArray[np.uint16]
    score: NDArray[np.float32]
    p_value: NDArray[np.float32]
    alarm: NDArray[np.bool_]
    top_sensor: NDArray[np.int32] | None
    top_share: NDArray[np.float32] | None
    unknown: dict[int, list[str]] = field(default_factory=dict)  # by body: sensors that a model does not know
    unknown_values: int = 0

    @classmethod
    def blank(cls, received: int, top: bool) -> Outcome:
        """Every reading rejected as a bad value: what the decoder refused stays so."""
        return cls(
            status=np.full(received, Status.REJECTED, np.uint8),
            reason=np.full(received, Reason.BAD_VALUE, np.uint8),
            flags=np.zeros(received, np.uint16),
            score=np.full(received, np.nan, np.float32),
            p_value=np.full(received, np.nan, np.float32),
            alarm=np.zeros(received, np.bool_),
            top_sensor=np.full((received, TOP_SENSORS), -1, np.int32) if top else None,
            top_share=np.zeros((received, TOP_SENSORS), np.float32) if top else None,
        )

    def reject(self, places: NDArray[np.intp], reason: Reason) -> None:
        """Reject some readings for one reason."""
        self.status[places] = Status.REJECTED
        self.reason[places] = reason

    def extend(self, count: int) -> int:
        """Make room for `count` more outcomes, that no body asks for; the first of their places."""
        first = len(self.status)
        more = Outcome.blank(count, self.top_sensor is not None)
        for name in ("status", "reason", "flags", "score", "p_value", "alarm", "top_sensor", "top_share"):
            if getattr(self, name) is not None:
                setattr(self, name, np.concatenate([getattr(self, name), getattr(more, name)]))
        return first

    def leave_out(self, body: int, sensors: list[str], values: int) -> None:
        """Note sensors of a body whose values no model took."""
        self.unknown.setdefault(body, []).extend(sensors)
        self.unknown_values += values

    def body(self, lo: int, hi: int, top: bool, names: Sequence[str], warnings: list[str]) -> BodyOutcome:
        """Places lo to hi: the outcome of one body."""
        top = top and self.top_sensor is not None and self.top_share is not None
        return BodyOutcome(
            self.status[lo:hi],
            self.reason[lo:hi],
            self.flags[lo:hi],
            self.score[lo:hi],
            self.p_value[lo:hi],
            self.alarm[lo:hi],
            self.top_sensor[lo:hi] if top and self.top_sensor is not None else None,
            self.top_share[lo:hi] if top and self.top_share is not None else None,
            names,
            warnings,
        )
