"""create_app: the routes and the lifespan of the service. No numerics.

POST /v1/readings, where every reading comes in, is in `readings.py`; what becomes of it, step by step, in `scoring.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import Route

from service import announce, openapi, reference, score_history, views
from service.addresses import check_parameters, no_address, wrong_method
from service.alarms import Kind
from service.body import JSON_TYPES, BodyReader, check_type
from service.errors import (
    PROBLEM_JSON,
    Conflict,
    InternalError,
    Invalid,
    NoRoute,
    NotJson,
    Problem,
    UnknownAlarm,
    UnknownEquipment,
    from_status,
    plain,
    shown,
)
from service.forecast_route import add_forecast_route
from service.gate import Gate
from service.ingest.json_rows import parse
from service.lifecycle import Service
from service.metrics import READINGS_ROUTE, build
from service.openapi import answers, json_content
from service.readings import ReadingsRoute
from service.ring import RING_RESULTS
from service.score_history import Place, ScoreHistory
from service.settings import Settings
from service.thread import in_daemon
from service.timekeeping import ClockView, clock_view, set_forward

ZIP_TYPES = (b"application/zip", b"application/octet-stream", b"application/x-zip-compressed")
ZIP_SCHEMA = {"type": "string", "format": "binary"}
SMALL_BYTES_MAX = 4096  # of a body that says one thing
MODELS_ROUTE, CLOCK_ROUTE = "/v1/models", "/v1/clock"
HISTORIES_MAX = 2  # pages of histories that are read at a time
DATE_TIME = {"format": "date-time"}
PROBED = "Answered at once, whatever the disk does: `equipment` may count machines whose first reading is not safe yet."
SCORES = "/scores"  # ends the address of a machine's scores

log = logging.getLogger("limen")
_encode = msgspec.json.Encoder().encode


def create_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """The ASGI application; `service` where somebody else holds on to it."""
    service = service or Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.begin()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="Limen",
        version=build()[0],
        description="Readings of machines in, anomaly scores and alarms out. A score of 1 is the threshold.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
        redirect_slashes=False,
        dependencies=[Depends(check_parameters)],
    )
    app.state.service = service
    app.router.routes.append(Route(READINGS_ROUTE, ReadingsRoute(service), methods=["POST"], include_in_schema=False))
    _equipment_routes(app, service)
    _alarm_routes(app, service)
    _model_routes(app, service)
    _clock_routes(app, service)
    _own_routes(app, service)
    _problems(app)
    app.add_middleware(
        Gate,
        hosts_allowed=settings.hosts_allowed,
        metrics=service.metrics,
        in_flight=service.in_flight,
        rest_bytes=lambda path: 2 * (settings.model_bytes_max if path == MODELS_ROUTE else settings.body_bytes_max),
        rest_seconds=settings.body_seconds_max,
    )
    return app


def _answer(found: msgspec.Struct, status: int = 200) -> Response:
    return Response(_encode(found), status, media_type="application/json")


def _equipment_routes(app: FastAPI, service: Service) -> None:
    settings, page_max = service.settings, service.settings.page_max
    history = ScoreHistory(settings)
    reading = asyncio.Semaphore(HISTORIES_MAX)

    @app.get("/v1/equipment", tags=["equipment"], summary="List machines", responses=answers(views.EquipmentPage))
    async def list_equipment(
        limit: int = Query(min(100, page_max), ge=1, le=page_max, description="Entries of the page."),
        offset: int = Query(0, ge=0, le=1_000_000_000, description="Entries before the page."),
    ) -> Response:
        await service.consumer.settled()
        return _answer(views.equipment_page(service.shard, offset, limit))

    @app.get(
        "/v1/equipment/{equipment:path}/scores",
        tags=["equipment"],
        summary="Scores of a machine: the last ones, or its history",
        description=f"Without parameters, the last {RING_RESULTS} readings at most, oldest first. With any of them, a "
        "page of the history, oldest first: ask on with `next` as `cursor` until it is null. A page may be empty.",
        responses=answers(views.RecentScores, 404, 409, 422),
    )
    async def equipment_scores(
        equipment: str,
        request: Request,
        first: str | None = Query(None, alias="from", description="First time.", json_schema_extra=DATE_TIME),
        end: str | None = Query(None, alias="to", description="Time before which to end.", json_schema_extra=DATE_TIME),
        limit: int | None = Query(None, ge=1, le=page_max, description="Entries of the page."),
        cursor: str | None = Query(None, description="`next` of the page before."),
    ) -> Response:
        if not request.scope["raw_path"].endswith(SCORES.encode()):  # its slash is of the id, as %2F
            return await one_equipment(equipment + SCORES, request)
        await service.consumer.settled()
        recent = _known(views.recent_scores(service.shard, equipment), equipment)
        if all(given is None for given in (first, end, limit, cursor)):
            return _answer(recent)
        slot = service.shard.equipment_table.slot(equipment)
        assert slot is not None
        wanted = score_history.span(equipment, slot, first, end, limit or min(100, page_max))
        place = None if cursor is None else Place.parse(cursor)
        if not settings.journal:
            raise Conflict(
                "the history of a machine is in the journal, and the setting journal is false; expected true"
            )
        async with reading:
            entries, following = await in_daemon(partial(history.page, wanted, place))
        return _answer(views.RecentScores(equipment, entries, following.text() if following else None))

    add_forecast_route(app, service, lambda equipment, request: one_equipment(equipment, request))

    @app.get(
        "/v1/equipment/{equipment:path}",
        tags=["equipment"],
        summary="One machine: score, alarm, and what was expected of each sensor",
        responses=answers(views.EquipmentDetail, 404),
    )
    async def one_equipment(equipment: str, request: Request) -> Response:
        if not equipment:
            raise NoRoute(no_address(app, request.scope))
        await service.consumer.settled()
        return _answer(_known(views.equipment_detail(service.shard, equipment), equipment))


def _known(found: msgspec.Struct | None, equipment: str) -> msgspec.Struct:
    if found is None:
        raise UnknownEquipment(f"equipment {shown(equipment)} has sent no reading that was admitted", field="equipment")
    return found


def _alarm_routes(app: FastAPI, service: Service) -> None:
    page_max = service.settings.page_max

    @app.get("/v1/alarms", tags=["alarms"], summary="List alarms, newest first", responses=answers(views.AlarmPage))
    async def list_alarms(
        open: bool | None = Query(None, description="Only those that are open, or only those that are closed."),
        equipment: str | None = Query(None, description="Only those of one machine."),
        kind: Kind | None = Query(None, description="Only those of one kind."),
        historical: bool | None = Query(None, description="Only those that are historical, or only the others."),
        limit: int = Query(min(100, page_max), ge=1, le=page_max, description="Entries of the page."),
        offset: int = Query(0, ge=0, le=1_000_000_000, description="Entries before the page."),
    ) -> Response:
        await service.consumer.settled()
        found, total = service.shard.book.select(open, equipment, kind, offset, limit, historical)
        return _answer(views.alarm_page(found, total, offset))

    @app.get("/v1/alarms/{alarm_id}", tags=["alarms"], summary="One alarm", responses=answers(views.AlarmView, 404))
    async def one_alarm(alarm_id: str) -> Response:
        await service.consumer.settled()
        found = service.shard.book.get(alarm_id)
        if found is None:
            raise UnknownAlarm(f"there is no alarm {shown(alarm_id)}; GET /v1/alarms lists them", field="alarm_id")
        return _answer(views.alarm_view(found))


def _model_routes(app: FastAPI, service: Service) -> None:
    settings = service.settings

    @app.get(MODELS_ROUTE, tags=["models"], summary="List models", responses=answers(views.ModelList, 422))
    async def list_models() -> Response:
        return _answer(views.model_list(service.registry))

    @app.post(
        MODELS_ROUTE,
        tags=["models"],
        summary="Put in a model",
        description="A zip of exactly model.safetensors and manifest.json. The first version of a name serves at once; "
        "a further one waits to be made active.",
        status_code=201,
        responses=answers(views.Registered, 408, 409, 413, 415, 422, 503, status=201),
        openapi_extra={"requestBody": {"required": True, "content": {"application/zip": {"schema": ZIP_SCHEMA}}}},
    )
    async def put_in_model(request: Request) -> Response:
        check_type(dict(request.scope["headers"]), ZIP_TYPES, "application/zip")
        service.space.check()
        content = await _body(request, service, settings.model_bytes_max)
        async with service.changing_models:
            view, name, number = await in_daemon(partial(service.registry.registration, content))
            await service.show_models(view)
        announce.uploaded(view, name, number)
        active = name in view.active and view.active[name].version == number
        found = views.Registered(name, number, view.versions[name][number].artifact_id, active)
        return _answer(found, 201)

    @app.put(
        "/v1/models/{name}/active",
        tags=["models"],
        summary="Make a version serve",
        description="The switch is atomic; the memory of the machines that follow it starts anew, as `warming`.",
        responses=answers(views.ModelEntry, 400, 404, 408, 413, 415, 422, 503),
        openapi_extra={"requestBody": {"required": True, "content": json_content(openapi.Activation)}},
    )
    async def activate(name: str, request: Request) -> Response:
        check_type(dict(request.scope["headers"]), JSON_TYPES, "application/json")
        version = _version(await _body(request, service, SMALL_BYTES_MAX))
        async with service.changing_models:
            before = service.registry.view.active.get(name)
            await service.show_models(await in_daemon(partial(service.registry.activation, name, version)))
        announce.switched(service.registry.view, name, before.version if before else None)
        return _answer(views.model_entry(service.registry, name))


def _clock_routes(app: FastAPI, service: Service) -> None:
    @app.get(CLOCK_ROUTE, tags=["clock"], summary="What is now", responses=answers(ClockView, 422))
    async def clock() -> Response:
        await service.consumer.settled()
        return _answer(clock_view(service.clock, service.shard))

    @app.put(
        CLOCK_ROUTE,
        tags=["clock"],
        summary="Let the clock of the data go on",
        description="With `--clock event` only, where no later reading will come: ticks that wait are scored, and "
        "machines fall silent, as if another machine had sent a reading of that time. It never runs backwards.",
        responses=answers(ClockView, 400, 408, 409, 413, 415, 422, 503),
        openapi_extra={"requestBody": {"required": True, "content": json_content(openapi.ClockTime)}},
    )
    async def go_on(request: Request) -> Response:
        check_type(dict(request.scope["headers"]), JSON_TYPES, "application/json")
        set_forward(service.clock, await _body(request, service, SMALL_BYTES_MAX))
        await service.consumer.sweep()
        while service.shard.waiting.room.more:  # a look closes so many at once
            await service.consumer.sweep()
        await service.consumer.settled()
        return _answer(clock_view(service.clock, service.shard))


async def _body(request: Request, service: Service, bytes_max: int) -> bytes:
    reader = BodyReader(service.in_flight, bytes_max, service.settings.body_seconds_max)
    try:
        return await reader.read(request.receive, dict(request.scope["headers"]))
    finally:
        reader.close()


def _version(content: bytes) -> int:
    found = parse(content)
    version = found.get("version") if isinstance(found, dict) else None
    if isinstance(version, float) and version.is_integer():  # in JSON, 2.0 is 2
        version = int(version)
    if not isinstance(found, dict) or set(found) != {"version"} or type(version) is not int or version < 1:
        what = f"version is {shown(version)}" if isinstance(found, dict) and set(found) == {"version"} else None
        body = what or f"the body is {shown(found)}"
        raise Invalid(f'{body}; expected {{"version": 2}} with a number of 1 or more', field="version")
    return version


def _own_routes(app: FastAPI, service: Service) -> None:
    @app.get(
        "/health/live",
        tags=["health"],
        summary="Whether the process answers",
        description=PROBED,
        responses=answers(views.Health),
    )
    async def live() -> Response:
        return _answer(_health("live"))

    @app.get(
        "/health/ready",
        tags=["health"],
        summary="Whether readings are scored now",
        description=PROBED,
        responses=answers(views.Health, 503),
    )
    async def ready() -> Response:
        service.check_ready()
        return _answer(_health("ready"))

    @app.get("/metrics", tags=["health"], summary="Metrics for Prometheus", response_class=Response)
    async def metrics() -> Response:
        await service.measure()
        await service.consumer.settled()
        return Response(generate_latest(service.prometheus), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("/docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(reference.page(app.openapi()), headers={"Content-Security-Policy": reference.POLICY})

    def _health(status: str) -> views.Health:
        if not service.running:
            return views.Health(status, 0, 0, 0)
        models = len(service.registry.view.active)
        return views.Health(status, models, len(service.shard), service.consumer.queued_readings)

    plain_document = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.complete(plain_document())
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


# -- problems --------------------------------------------------------------------------------------------------------


def _problems(app: FastAPI) -> None:
    """Whatever goes wrong is answered as a problem document."""

    @app.exception_handler(Problem)
    async def refused(request: Request, problem: Problem) -> Response:
        return _problem(problem)

    @app.exception_handler(HTTPException)
    async def by_status(request: Request, error: HTTPException) -> Response:
        detail, headers = str(error.detail), dict(error.headers or {})
        if error.status_code == HTTPStatus.NOT_FOUND:
            detail = no_address(app, request.scope)
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            detail, headers["Allow"] = wrong_method(app, request.scope)
        return _problem(from_status(error.status_code, detail, headers))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"] if part not in ("query", "path", "body", "header")]
        field = plain(".".join(place))
        if first["type"] == "json_invalid":
            return _problem(NotJson(f"the body is not JSON: {first['msg']}"))
        return _problem(Invalid(f"{field} is {shown(first.get('input'))}: {first['msg']}", field=field))

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _problem(InternalError("the service failed at this request; its log says where"))


def _problem(problem: Problem) -> Response:
    return Response(problem.encoded(), problem.status, problem.headers, PROBLEM_JSON)
