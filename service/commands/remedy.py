"""What keeps a recording and the models of a service apart, and what to do about it: a sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.contract import MICROSECONDS
from models.exports.findings import EXAMPLES_MAX
from service.commands.playback import Tally

INTERVAL_SHARE_MAX = 0.5  # by how much of the model's interval a file's may differ
NO_MODEL = "no model serves these machines; limen serve --model FOLDER, or POST /v1/models"

ModelJson = dict[str, Any]  # a model as GET /v1/models shows it


def active_versions(models: Sequence[ModelJson]) -> list[dict[str, Any]]:
    """The versions that serve, that of the default model first."""
    ordered = sorted(models, key=lambda model: not model["default"])
    return [version for model in ordered for version in model["versions"] if version["active"]]


def mismatch(models: Sequence[ModelJson], sensors: Sequence[str]) -> str:
    """Why no model of a service can score a file with these sensors; empty where one can."""
    active = active_versions(models)
    if not active:
        return NO_MODEL
    return "" if any(set(one["sensors"]) & set(sensors) for one in active) else no_sensor(active[0]["sensors"], sensors)


def no_sensor(known: Sequence[str], sensors: Sequence[str]) -> str:
    """
    >>> no_sensor(["flow", "speed"], ["a", "b", "c", "d", "e", "f"])
    'the model knows flow, speed; the file has a, b, c, d, e, ...: no sensor in common'
    """
    return f"the model knows {_first(known)}; the file has {_first(sensors)}: no sensor in common"


def other_pace(model: int, file: int) -> str:
    """What to say where a file has another interval (microseconds) than a model was trained on; else empty.

    >>> other_pace(10_000_000, 60_000_000)
    'the model was trained on one tick every 10 s, the file has one every 60 s: scores mean little'
    >>> other_pace(10_000_000, 12_000_000), other_pace(10_000_000, 0)
    ('', '')
    """
    if not file or abs(file - model) <= INTERVAL_SHARE_MAX * model:
        return ""
    return (
        f"the model was trained on one tick every {model / MICROSECONDS:g} s, the file has one every "
        f"{file / MICROSECONDS:g} s: scores mean little"
    )


def pace(models: Sequence[ModelJson], file: int) -> str:
    """The same of the models that serve; empty where one of them fits."""
    said = [other_pace(round(one["interval_seconds"] * MICROSECONDS), file) for one in active_versions(models)]
    return said[0] if said and all(said) else ""


def refusal(tally: Tally, models: Sequence[ModelJson], sensors: Sequence[str]) -> str:
    """Why nothing at all of a stream was scored, and what to do; empty where something was taken."""
    refused = tally.statuses["rejected"] + tally.statuses["unscored"]
    if not tally.sent or refused < tally.sent:
        return ""
    reason = next((reason for reason, _ in tally.reasons.most_common()), "")
    if reason == "no_model":
        return NO_MODEL
    if reason == "no_sensor":
        return mismatch(models, sensors) or "no reading has a value of a sensor that its model knows"
    why = f", for the reason {reason}" if reason else ""
    return f"none of {tally.sent:,} readings was scored{why}; GET /v1/models says what serves"


def seen_before(tally: Tally) -> str:
    """What to say where most readings were old news to the service; else empty."""
    if tally.ahead is None or 2 * (tally.statuses["duplicate"] + tally.statuses["late"]) <= tally.sent:
        return ""
    equipment, time = tally.ahead
    return (
        f"{equipment} was already at {time}: the service has seen this; to replay anew start it with another --data-dir"
    )


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:EXAMPLES_MAX]) + (", ..." if len(names) > EXAMPLES_MAX else "")
