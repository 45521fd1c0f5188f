"""What a service answers, for tests in which it is scripted."""

from __future__ import annotations

import json

from service.status import STATUS_NAMES
from tests.service.scripted import Answer

NO_ALARMS: Answer = (200, {}, b'{"alarms": [], "total": 0}')


def taken(equipment: str, readings: int, reason: list[str] | None = None, **more: object) -> Answer:
    """The answer to a body of one machine that was scored."""
    batch = {
        "equipment": equipment,
        "status": ["scored"] * readings,
        "score": [0.5] * readings,
        "p_value": [0.4] * readings,
        "alarm": [False] * readings,
        **({"reason": reason} if reason else {}),
    }
    counts = {**dict.fromkeys(STATUS_NAMES, 0), "scored": readings}
    return 200, {}, json.dumps({"received": readings, **counts, "batches": [batch], **more}).encode()
