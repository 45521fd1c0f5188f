"""What the log says of a service: what it serves at its start, and every change of its models."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from models.artifact import LoadedModel
from models.contract import MICROSECONDS
from service.registry import Registry, View
from service.settings import PREFIX, Settings

SENSORS_NAMED_MAX = 20  # of one model
FIELDS = (
    "model",
    "version",
    "artifact_id",
    "false_alarm_rate",
    "interval_seconds",
    "sensors",
    "default",
    "active",
    "repeated",
)

log = logging.getLogger("limen")


def started(settings: Settings, registry: Registry, machines: int) -> None:
    """One line on the data folder and the clock, one on each model that serves, and warnings on what is missing."""
    log.info("data folder %s, clock %s, %d machines restored", settings.data_dir.absolute(), settings.clock, machines)
    for name, model in sorted(registry.view.active.items()):
        log.info("model %s version %d serves", name, model.version, extra=facts(model, name == registry.default))
    for warning in missing(settings, registry.view):
        log.warning("%s", warning)


def ready(address: tuple[str, int]) -> None:
    """Readings are taken from now on, and where."""
    host, port = address
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    log.info("listening on %s , explained at %s/docs", url, url)


def facts(model: LoadedModel, default: bool) -> dict[str, object]:
    """What a log line on a model holds beside its sentence."""
    manifest = model.manifest
    names = [sensor.name for sensor in manifest.sensors]
    more = len(names) - SENSORS_NAMED_MAX
    return {
        "artifact_id": model.artifact_id,
        "false_alarm_rate": manifest.calibration[0].budget if manifest.calibration else None,
        "interval_seconds": manifest.interval / MICROSECONDS,
        "sensors": names if more <= 0 else [*names[:SENSORS_NAMED_MAX], f"and {more} more"],
        "default": default,
    }


def missing(settings: Settings, view: View) -> Iterator[str]:
    """Sentences on models that are not there."""
    if not view.active:
        yield (
            "no model is there: every reading is rejected as no_model; put one in by POST /v1/models or "
            "limen serve --model FOLDER"
        )
    routes = {
        "model_default": [settings.model_default],
        "model_patterns": settings.model_patterns.values(),
        "model_assignments": settings.model_assignments.values(),
    }
    for name, wanted in routes.items():
        for model in dict.fromkeys(wanted):
            if model and model not in view.active:
                known = ", ".join(sorted(view.active)) or "none"
                yield (
                    f"{PREFIX}{name.upper()} names the model {model!r}, which does not exist; its equipment has no "
                    f"model until it is put in (models there: {known})"
                )


def made_default(name: str, before: str, now: str) -> None:
    """--model put in model `name`; `before` and `now` are the default models."""
    if before and now == name != before:
        log.info("--model made %s the default model; it was %s", name, before)
    elif now != name:
        log.warning("--model put in %s, and the default model stays %s, as %sMODEL_DEFAULT says", name, now, PREFIX)


def uploaded(view: View, name: str, number: int) -> None:
    """A model was put in by HTTP."""
    active = view.active.get(name)
    serves = active is not None and active.version == number
    then = "serves" if serves else f"waits for PUT /v1/models/{name}/active"
    extra = {"artifact_id": view.versions[name][number].artifact_id, "active": serves}
    log.info("model %s version %d was uploaded and %s", name, number, then, extra=extra)


def switched(view: View, name: str, before: int | None) -> None:
    """Another version was made active by HTTP."""
    model = view.active[name]
    told = "none" if before is None else f"version {before}"
    log.info(
        "model %s version %d serves; before it, %s", name, model.version, told, extra={"artifact_id": model.artifact_id}
    )
