"""GET /v1/equipment/{id}/forecast: what is expected of a machine, from the state that the shard holds, which stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec
from fastapi import FastAPI, Query, Request, Response

from models.artifact import LoadedModel
from models.contract import DataError
from service.align import NEVER
from service.errors import Conflict, Invalid, UnknownEquipment, shown
from service.lifecycle import Service
from service.openapi import FORECAST_EXAMPLE, answers
from service.outlook import (
    COVERAGE_MAX,
    COVERAGE_MIN,
    MachineForecast,
    Standing,
    Wanted,
    blind_ticks,
    check_names,
    outlook,
    parse_limit,
)
from service.shard import Shard
from service.thread import in_daemon

FORECAST = "/forecast"  # ends the address of a machine's forecast
FORECASTS_MAX = 2  # that are made at a time

Found = TypeVar("Found")
Page = Callable[[str, Request], Awaitable[Response]]


def add_forecast_route(app: FastAPI, service: Service, one_equipment: Page) -> None:
    """Add the route; `one_equipment` answers for a machine whose id ends as the address does."""
    ticks_max, values_max = service.settings.forecast_ticks_max, service.settings.forecast_values_max
    making = asyncio.Semaphore(FORECASTS_MAX)

    @app.get(
        f"/v1/equipment/{{equipment:path}}{FORECAST}",
        tags=["equipment"],
        summary="Forecast of a machine, and when a sensor reaches a limit",
        description="The memory of the machine after its last reading, run forward without input: nothing of it "
        "changes. The intervals are errors held out in training, horizon by horizon.",
        responses=answers(MachineForecast, 404, 409, 422, examples={"of one sensor": FORECAST_EXAMPLE}),
    )
    async def equipment_forecast(
        equipment: str,
        request: Request,
        horizon: int = Query(min(100, ticks_max), ge=1, le=ticks_max, description="Ticks to look ahead."),
        coverage: float = Query(
            0.9, ge=COVERAGE_MIN, le=COVERAGE_MAX, description="Share of values that intervals are to cover."
        ),
        sensor: list[str] = Query([], description="Only those sensors (repeatable).", examples=[["flow"]]),
        limit: list[str] = Query(
            [], description="SENSOR=VALUE: tell when it gets there (repeatable).", examples=[["flow=120.5"]]
        ),
    ) -> Response:
        if not request.scope["raw_path"].endswith(FORECAST.encode()):  # its slash is of the id, as %2F
            return await one_equipment(equipment + FORECAST, request)
        await service.consumer.settled()
        model, machine = standing(service.shard, equipment)
        wanted = Wanted(horizon, coverage, sensor, [_checked("limit", partial(parse_limit, text)) for text in limit])
        _checked("sensor", partial(check_names, model, sensor))
        _checked("limit", partial(check_names, model, [name for name, _ in wanted.limits]))
        _check_size(horizon, len(set(sensor) or model.detector.sensors), values_max)
        async with making:
            content = await in_daemon(lambda: msgspec.json.encode(outlook(model, machine, wanted)))
        return Response(content, media_type="application/json")


def _check_size(ticks: int, sensors: int, values_max: int) -> None:
    if ticks * sensors > values_max:
        raise Invalid(
            f"horizon is {ticks} of {sensors} sensors, {ticks * sensors} values; expected at most {values_max}: name "
            "some of them with sensor, or look less far ahead",
            field="horizon",
        )


def _checked(field: str, work: Callable[[], Found]) -> Found:
    try:
        return work()
    except DataError as error:
        raise Invalid(str(error), field=field) from None


def standing(shard: Shard, equipment: str) -> tuple[LoadedModel, Standing]:
    """The model of a machine and a copy of its state. UnknownEquipment; Conflict where there is nothing to go on."""
    slot = shard.equipment_table.slot(equipment)
    if slot is None:
        raise UnknownEquipment(f"equipment {shown(equipment)} has sent no reading that was admitted", field="equipment")
    columns = shard.columns
    bank = shard.banks.get(int(columns["bank"][slot]))
    last, valued = int(columns["last_time"][slot]), int(columns["valued_time"][slot])
    if bank is None:
        raise Conflict(f"equipment {shown(equipment)} follows no model; expected one that serves it")
    state = bank.state(columns["row"][slot : slot + 1].astype(int))
    warm_left = int(state.warm_left[0])
    if warm_left > 0 or NEVER in (last, valued):
        raise Conflict(
            f"equipment {shown(equipment)} is warming up; expected {max(warm_left, 1)} more readings before a forecast"
        )
    blind = blind_ticks(last, valued, bank.detector.interval)
    return bank.model, Standing(equipment, state, int(columns["centre"][slot]), last, blind)
