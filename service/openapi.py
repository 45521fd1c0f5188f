"""The OpenAPI document: FastAPI's, and beside it POST /v1/readings, which is plain ASGI.

Schemas of answers come from the types that are encoded (msgspec), so that document and answer cannot differ.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from service import answer, views
from service.errors import PROBLEM_JSON
from service.metrics import READINGS_ROUTE

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
REFERENCE = "#/components/schemas/{name}"

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details; `field` and `row` say where, if they can.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
        "row": {"type": "integer"},
    },
}


class Reading(msgspec.Struct, forbid_unknown_fields=True):
    """The values of one equipment's sensors at one instant; null is a missing value, a time has a zone."""

    equipment: Name
    time: Time
    values: dict[Name, float | None]


class Columns(msgspec.Struct, forbid_unknown_fields=True):
    """Readings of one equipment: `values[i]` were read at `times[i]`, in the order of `sensors`."""

    equipment: Name
    sensors: list[Name]
    times: list[Time]
    values: list[list[float | None]]


class Rows(msgspec.Struct, forbid_unknown_fields=True):
    """Readings one by one."""

    readings: list[Reading]


class Batches(msgspec.Struct, forbid_unknown_fields=True):
    """Columns of several equipments."""

    batches: list[Columns]


class Activation(msgspec.Struct, forbid_unknown_fields=True):
    """The version that is to serve."""

    version: Annotated[int, Meta(ge=1)]


ANSWERS: tuple[type[msgspec.Struct], ...] = (
    answer.Answer,
    views.EquipmentPage,
    views.EquipmentDetail,
    views.RecentScores,
    views.AlarmPage,
    views.AlarmView,
    views.ModelList,
    views.ModelEntry,
    views.Registered,
    views.Health,
)
BODIES: tuple[type[msgspec.Struct], ...] = (Rows, Columns, Batches, Activation)
EXAMPLE = {
    "readings": [
        {"equipment": "pump-7", "time": "2026-11-24T00:00:00Z", "values": {"pressure": 1.2, "flow": None}},
    ]
}


def json_content(*kinds: type[msgspec.Struct], example: Any = None) -> dict[str, Any]:
    """A JSON body of one of some types."""
    references = [{"$ref": REFERENCE.format(name=kind.__name__)} for kind in kinds]
    content: dict[str, Any] = {"schema": references[0] if len(references) == 1 else {"oneOf": references}}
    return {"application/json": content if example is None else {**content, "example": example}}


def answers(kind: type[msgspec.Struct], *problems: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The answers of a route: one type, or a problem."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": _sentence(kind), "content": json_content(kind)},
    }
    problem = {"schema": {"$ref": REFERENCE.format(name="Problem")}}
    for code in problems:
        found[code] = {"description": "Refused.", "content": {PROBLEM_JSON: problem}}
    return found


def _sentence(kind: type[msgspec.Struct]) -> str:
    return (kind.__doc__ or "").split("\n\n")[0]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add what FastAPI does not know: the schemas, and the route of readings."""
    _, schemas = msgspec.json.schema_components([*ANSWERS, *BODIES], ref_template=REFERENCE)
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components |= {**schemas, "Problem": PROBLEM_SCHEMA}
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            _replace_validation_error(operation)
    document["paths"] = {READINGS_ROUTE: {"post": _readings_operation()}, **document["paths"]}
    return document


def _replace_validation_error(operation: dict[str, Any]) -> None:
    """FastAPI tells of its own 422; ours is a problem."""
    refused = operation["responses"].get("422")
    if refused is not None:
        refused["description"] = "Refused."
        refused["content"] = {PROBLEM_JSON: {"schema": {"$ref": REFERENCE.format(name="Problem")}}}


def _readings_operation() -> dict[str, Any]:
    codes = answers(answer.Answer, 400, 408, 413, 415, 422, 503)
    return {
        "tags": ["readings"],
        "operationId": "post_readings",
        "summary": "Score readings",
        "description": "In rows, in columns, or in batches of columns; `Content-Encoding: gzip` is accepted. One bad "
        "reading costs that reading: it is rejected and explained, the others are scored.",
        "requestBody": {"required": True, "content": json_content(Rows, Columns, Batches, example=EXAMPLE)},
        "responses": {str(code): content for code, content in codes.items()},
    }
