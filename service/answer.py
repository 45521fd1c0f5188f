"""What became of a body -> the bytes of the answer to POST /v1/readings. NaN is written as null.

What was not scored is explained in one place: beside its result in a body in rows, in `errors` (what could not be
decoded) and `advice` (what could) in a body in columns; each up to a bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice, repeat

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from service.alarms import SHARE_DECIMALS, SensorShare
from service.errors import shown
from service.ingest.batch import Body, Refusal
from service.ingest.times import time_text, time_texts
from service.outcome import BodyOutcome
from service.settings import default
from service.status import REASON_NAMES, STATUS_NAMES, Reason, Status, flag_names


class Result(msgspec.Struct, gc=False):
    """What became of one reading of a body in rows; `score` is null where there is none, `time` where it is no time."""

    equipment: str
    time: str | None
    status: str
    score: float | None
    p_value: float | None
    alarm: bool
    sensors: list[SensorShare] | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    flags: list[str] | UnsetType = UNSET
    detail: str | UnsetType = UNSET


class BatchResult(msgspec.Struct, gc=False):
    """What became of the readings of one batch, in its order; `reason` is there where one of them has one."""

    equipment: str
    status: list[str]
    score: list[float | None]
    p_value: list[float | None]
    alarm: list[bool]
    reason: list[str] | UnsetType = UNSET
    flags: list[list[str]] | UnsetType = UNSET


class RefusedReading(msgspec.Struct, gc=False):
    """A reading of a body in columns that could not be decoded; `row` is its position in the body."""

    row: int
    field: str
    reason: str
    detail: str
    equipment: str | UnsetType = UNSET


class Advice(msgspec.Struct, gc=False):
    """Why `readings` of a machine in a body in columns were not scored, and what to do."""

    equipment: str
    status: str
    reason: str
    readings: int
    detail: str


class Answer(msgspec.Struct):
    """The answer to a body: the seven statuses sum to `received`. `results` answers a body in rows, `batches`, `errors`
    and `advice` one in columns; `warnings` names sensors that no model knows."""

    received: int
    scored: int
    warming: int
    held: int
    unscored: int
    duplicate: int
    late: int
    rejected: int
    results: list[Result] | UnsetType = UNSET
    batches: list[BatchResult] | UnsetType = UNSET
    errors: list[RefusedReading] | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET
    advice: list[Advice] | UnsetType = UNSET


KINDS = 256  # reasons, at most
REMEDIES: dict[tuple[int, int], str] = {
    (Status.REJECTED, Reason.NO_MODEL): "no model serves {0}; put one in by POST /v1/models or limen serve --model",
    (Status.REJECTED, Reason.NO_SENSOR): "no sensor is one of the model's; GET /v1/models names its sensors",
    (Status.UNSCORED, Reason.NO_SENSOR): "no sensor of the model has a value; send at least one",
    (Status.REJECTED, Reason.CONFLICT): "other values came at this time before, and they stand; send each time once",
    (Status.REJECTED, Reason.FUTURE): "the time is ahead of the clock by more than LIMEN_FUTURE_SECONDS_MAX; check the "
    "clocks, and replay old files to limen serve --clock event",
    (Status.REJECTED, Reason.LIMIT): "there is no room for another machine; raise LIMEN_EQUIPMENT_MAX",
    (Status.WARMING, Reason.GAP): "the memory starts anew after a gap; scores come once it has warmed up",
    (Status.DUPLICATE, Reason.ALREADY_PROCESSED): "it was processed before and is older than what is remembered; send "
    "each reading once",
    (
        Status.LATE,
        Reason.ALREADY_PROCESSED,
    ): "its tick was judged without these sensors; send all sensors of an instant "
    "together, or set LIMEN_REORDER_SECONDS or LIMEN_JOIN",
    (Status.LATE, Reason.NONE): "the time is before that of the last reading; send readings in order of time",
}  # by status and reason: what it means, and what to do; {0} is the equipment
ADVISED = np.array([status * KINDS + reason for status, reason in REMEDIES])
_encoder = msgspec.json.Encoder()


def encode(
    body: Body, outcome: BodyOutcome, errors_max: int, advice_max: int = default("warnings_per_body_max")
) -> bytes:
    """The answer to a body, with at most `errors_max` readings explained one by one, and `advice_max` reasons of
    machines."""
    rows = body.form == "rows"
    answer = Answer(
        received=body.received,
        **dict(zip(STATUS_NAMES, outcome.counts(), strict=True)),
        results=list(_results(body, outcome, errors_max)) if rows else UNSET,
        batches=UNSET if rows else list(_batches(body, outcome)),
        errors=UNSET if rows else [_error(refusal) for refusal in body.refused[:errors_max]] or UNSET,
        warnings=outcome.warnings or UNSET,
        advice=UNSET if rows else _advice(body, outcome, advice_max) or UNSET,
    )
    return _encoder.encode(answer)


def _error(refusal: Refusal) -> RefusedReading:
    reason = REASON_NAMES[refusal.reason]
    return RefusedReading(refusal.row, refusal.field, reason, refusal.detail, refusal.equipment or UNSET)


def _results(body: Body, outcome: BodyOutcome, errors_max: int) -> Iterator[Result]:
    equipment, times = _owners(body)
    columns = zip(
        equipment,
        times,
        outcome.status.tolist(),
        outcome.reason.tolist(),
        outcome.flags.tolist(),
        outcome.score.tolist(),
        outcome.p_value.tolist(),
        outcome.alarm.tolist(),
        _top(outcome),
        strict=True,
    )
    details = {refusal.row: refusal.detail for refusal in body.refused[:errors_max]}
    left = errors_max - len(details)
    remedies = REMEDIES if outcome.reason.any() or (outcome.status == Status.LATE).any() else {}
    for row, (owner, time, status, reason, flags, score, p_value, alarm, top) in enumerate(columns):
        result = Result(owner, time, STATUS_NAMES[status], score, p_value, alarm, top)
        if reason:
            result.reason = REASON_NAMES[reason]
        if flags:
            result.flags = flag_names(flags)
        if row in details:
            result.detail = details[row]
        elif (sentence := remedies.get((status, reason))) and left > 0:
            result.detail = sentence.format(shown(owner))
            left -= 1
        yield result


def _advice(body: Body, outcome: BodyOutcome, advice_max: int) -> list[Advice]:
    """On readings of a body in columns: one a machine and reason, and how many readings it concerns."""
    kinds = outcome.status.astype(np.int64) * KINDS + outcome.reason
    told = np.flatnonzero(np.isin(kinds, ADVISED))
    if not len(told):
        return []
    batch = np.searchsorted(np.cumsum(body.sizes), told, side="right").tolist()
    keys = map(divmod, kinds[told].tolist(), repeat(KINDS))
    found = Counter((body.owners[number], *key) for number, key in zip(batch, keys, strict=True))
    return [
        Advice(owner, STATUS_NAMES[status], REASON_NAMES[reason], count, REMEDIES[status, reason].format(shown(owner)))
        for (owner, status, reason), count in islice(found.items(), advice_max)
    ]


def _owners(body: Body) -> tuple[list[str], list[str | None]]:
    """Equipment and time of every reading, in the order of the body."""
    equipment = [""] * body.received
    times: list[str | None] = [None] * body.received
    for batch in body.batches:
        for row, owner, time in zip(batch.rows.tolist(), batch.equipment, time_texts(batch.times), strict=True):
            equipment[row], times[row] = owner, time
    for refusal in body.refused:
        equipment[refusal.row] = refusal.equipment
        times[refusal.row] = None if refusal.time is None else time_text(refusal.time)
    return equipment, times


def _top(outcome: BodyOutcome) -> Iterator[list[SensorShare] | UnsetType]:
    """The leading sensors of every reading of a body in rows; nothing where there are none."""
    assert outcome.top_sensor is not None
    assert outcome.top_share is not None
    names = outcome.names
    shares = np.round(outcome.top_share.astype(np.float64), SHARE_DECIMALS).tolist()
    for sensors, heights in zip(outcome.top_sensor.tolist(), shares, strict=True):
        top = [SensorShare(names[sensor], share) for sensor, share in zip(sensors, heights, strict=True) if sensor >= 0]
        yield top or UNSET


def _batches(body: Body, outcome: BodyOutcome) -> Iterator[BatchResult]:
    status = [STATUS_NAMES[code] for code in outcome.status.tolist()]
    score, p_value, alarm = outcome.score.tolist(), outcome.p_value.tolist(), outcome.alarm.tolist()
    with_reason, with_flags = bool(outcome.reason.any()), bool(outcome.flags.any())
    start = 0
    for owner, size in zip(body.owners, body.sizes, strict=True):
        part = slice(start, start + size)
        result = BatchResult(owner, status[part], score[part], p_value[part], alarm[part])
        if with_reason:
            result.reason = _reasons(outcome.reason[part])
        if with_flags and outcome.flags[part].any():
            result.flags = [flag_names(flags) for flags in outcome.flags[part].tolist()]
        yield result
        start += size


def _reasons(codes: NDArray[np.uint8]) -> list[str] | UnsetType:
    return [REASON_NAMES[code] for code in codes.tolist()] if codes.any() else UNSET
