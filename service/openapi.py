"""The OpenAPI document: FastAPI's, and beside it POST /v1/readings, which is plain ASGI.

Schemas of answers come from the types that are encoded (msgspec), so that document and answer cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from service import answer, outlook, timekeeping, views, vocabulary
from service.errors import PROBLEM_JSON
from service.metrics import READINGS_ROUTE
from service.sources import SOURCE, SOURCE_HEADER
from service.status import STATUS_NAMES

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
        "progress": {"type": "object", "description": "While the service starts: how far it is."},
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


class ClockTime(msgspec.Struct, forbid_unknown_fields=True):
    """The time that the clock of the data goes on to."""

    time: Time


class Activation(msgspec.Struct, forbid_unknown_fields=True):
    """The version that is to serve."""

    version: Annotated[int, Meta(ge=1)]


ANSWERS: tuple[type[msgspec.Struct], ...] = (
    answer.Answer,
    views.EquipmentPage,
    views.EquipmentDetail,
    views.RecentScores,
    outlook.MachineForecast,
    views.AlarmPage,
    views.AlarmView,
    views.ModelList,
    views.ModelEntry,
    views.Registered,
    timekeeping.ClockView,
    views.Health,
)
BODIES: tuple[type[msgspec.Struct], ...] = (Rows, Columns, Batches, Activation, ClockTime)
_COLUMNS = {
    "equipment": "pump-7",
    "sensors": ["pressure", "flow"],
    "times": ["2026-11-24T00:00:00Z", "2026-11-24T00:00:10Z"],
    "values": [[1.2, 32.0], [1.3, None]],
}
BODY_EXAMPLES = {
    "rows": {
        "readings": [
            {"equipment": "pump-7", "time": "2026-11-24T00:00:00Z", "values": {"pressure": 1.2, "flow": None}},
        ]
    },
    "columns": _COLUMNS,
    "batches": {"batches": [_COLUMNS, {**_COLUMNS, "equipment": "pump-8"}]},
}
SOURCE_PARAMETER = {
    "name": SOURCE_HEADER,
    "in": "header",
    "required": False,
    "description": "Who sends, in place of the address: its clock is measured, and `LIMEN_TIME_SOURCE` names it.",
    "schema": {"type": "string", "pattern": f"^{SOURCE.pattern}$"},
}
_COUNTS = dict.fromkeys(STATUS_NAMES, 0)
ANSWER_EXAMPLES = {
    "to rows": {
        **{"received": 1, **_COUNTS, "scored": 1},
        "results": [
            {
                **{"equipment": "pump-7", "time": "2026-11-24T00:00:00Z", "status": "scored"},
                **{"score": 0.42, "p_value": 0.31, "alarm": False},
                "sensors": [{"sensor": "pressure", "share": 1.0}],
                "flags": ["imputed"],
            }
        ],
    },
    "to columns": {
        **{"received": 2, **_COUNTS, "warming": 1, "rejected": 1},
        "batches": [
            {
                **{"equipment": "pump-7", "status": ["warming", "rejected"], "score": [None, None]},
                **{"p_value": [None, None], "alarm": [False, False], "reason": ["", "bad_value"]},
            }
        ],
        "errors": [
            {
                **{"row": 1, "field": "values", "reason": "bad_value", "equipment": "pump-7"},
                "detail": "row 1: values of sensor 'flow' is 'n/a'; expected a number or null",
            }
        ],
    },
}
FORECAST_EXAMPLE = {
    **{"equipment": "pump-7", "model": "pumps", "version": 1, "last_time": "2026-11-24T00:00:00Z"},
    **{"interval_seconds": 10.0, "coverage": 0.9, "interval_ticks_max": 1024},
    "times": ["2026-11-24T00:00:10Z", "2026-11-24T00:00:20Z"],
    "sensors": [
        {
            **{"sensor": "flow", "unit": "m3/h", "now": 32.0},
            **{"expected": [32.1, 32.3], "lower": [31.6, 31.7], "upper": [32.6, 32.9]},
        }
    ],
    "limits": [
        {
            **{"sensor": "flow", "limit": 32.2, "rising": True, "expected": "2026-11-24T00:00:20Z"},
            **{"earliest": "2026-11-24T00:00:10Z", "latest": None},
        }
    ],
}


def json_content(*kinds: type[msgspec.Struct], examples: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A JSON body of one of some types; `examples` by what they show."""
    references = [{"$ref": REFERENCE.format(name=kind.__name__)} for kind in kinds]
    content: dict[str, Any] = {"schema": references[0] if len(references) == 1 else {"oneOf": references}}
    if examples:
        content["examples"] = {name: {"summary": name, "value": value} for name, value in examples.items()}
    return {"application/json": content}


def answers(
    kind: type[msgspec.Struct], *problems: int, status: int = 200, examples: Mapping[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """The answers of a route: one type, with `examples` by what they show, or a problem."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": _sentence(kind), "content": json_content(kind, examples=examples)},
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
    for name, schema in components.items():
        for field, found in schema.get("properties", {}).items():
            if text := vocabulary.sentence(name, field):
                found["description"] = text
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
    codes[200]["content"] = json_content(answer.Answer, examples=ANSWER_EXAMPLES)
    return {
        "tags": ["readings"],
        "operationId": "post_readings",
        "summary": "Score readings",
        "description": "In rows, in columns, or in batches of columns; `Content-Encoding: gzip` is accepted. One bad "
        "reading costs that reading: it is rejected and explained, the others are scored.",
        "parameters": [SOURCE_PARAMETER],
        "requestBody": {"required": True, "content": json_content(Rows, Columns, Batches, examples=BODY_EXAMPLES)},
        "responses": {str(code): content for code, content in codes.items()},
    }
