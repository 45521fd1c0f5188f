"""What became of a body -> the bytes of the answer to POST /v1/readings. NaN is written as null."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from service.alarms import SHARE_DECIMALS, SensorShare
from service.ingest.batch import Body, Refusal
from service.ingest.times import time_text, time_texts
from service.outcome import BodyOutcome
from service.status import REASON_NAMES, STATUS_NAMES, flag_names


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
    """A reading that could not be decoded; `row` is its position in the body."""

    row: int
    field: str
    reason: str
    detail: str
    equipment: str | UnsetType = UNSET


class Answer(msgspec.Struct):
    """The answer to a body: the seven statuses sum to `received`."""

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


_encoder = msgspec.json.Encoder()


def encode(body: Body, outcome: BodyOutcome, errors_max: int) -> bytes:
    """The answer to a body, with at most `errors_max` refusals explained one by one."""
    rows = body.form == "rows"
    answer = Answer(
        received=body.received,
        **dict(zip(STATUS_NAMES, outcome.counts(), strict=True)),
        results=list(_results(body, outcome)) if rows else UNSET,
        batches=UNSET if rows else list(_batches(body, outcome)),
        errors=[_error(refusal) for refusal in body.refused[:errors_max]] or UNSET,
        warnings=outcome.warnings or UNSET,
    )
    return _encoder.encode(answer)


def _error(refusal: Refusal) -> RefusedReading:
    reason = REASON_NAMES[refusal.reason]
    return RefusedReading(refusal.row, refusal.field, reason, refusal.detail, refusal.equipment or UNSET)


def _results(body: Body, outcome: BodyOutcome) -> Iterator[Result]:
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
    details = {refusal.row: refusal.detail for refusal in body.refused}
    for row, (owner, time, status, reason, flags, score, p_value, alarm, top) in enumerate(columns):
        result = Result(owner, time, STATUS_NAMES[status], score, p_value, alarm, top)
        if reason:
            result.reason = REASON_NAMES[reason]
        if flags:
            result.flags = flag_names(flags)
        if row in details:
            result.detail = details[row]
        yield result


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
