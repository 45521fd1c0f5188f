"""What a service answers, for tests in which it is scripted."""

from __future__ import annotations

import json

from service.status import STATUS_NAMES
from tests.service.running import SENSORS
from tests.service.scripted import Answer

NO_ALARMS: Answer = (200, {}, b'{"alarms": [], "total": 0}')


def serving(*sensors: str, interval_seconds: float = 1.0) -> Answer:
    """GET /v1/models of a service with one model; without sensors, with none."""
    version = {"version": 1, "active": True, "sensors": sensors, "interval_seconds": interval_seconds}
    models = [{"name": "pumps", "default": True, "versions": [version]}] if sensors else []
    return 200, {}, json.dumps({"models": models}).encode()


def told(place: str) -> Answer:
    """The answer to a GET of a service with the model of the tests and without alarms."""
    return serving(*SENSORS) if place == "/v1/models" else NO_ALARMS


def refused(equipment: str, readings: int, reason: str, status: str = "rejected") -> Answer:
    """The answer to a body of one machine of which nothing was taken."""
    batch = {
        "equipment": equipment,
        "status": [status] * readings,
        "score": [None] * readings,
        "p_value": [None] * readings,
        "alarm": [False] * readings,
        "reason": [reason] * readings,
    }
    counts = {**dict.fromkeys(STATUS_NAMES, 0), status: readings}
    return 200, {}, json.dumps({"received": readings, **counts, "batches": [batch]}).encode()


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
