"""What scores depend on beside readings: the models that serve, and the settings that change scores.

The journal says when they changed: an `activate` record for each version that began to serve, a `settings` record where
settings, program or engine are not those of the record before. A shard keeps what was recorded last (`Configuration`),
snapshots hold it, and a replay meets the records in order. What is true now is in `index.json` and the settings; where
a start finds that it differs from what was recorded last, it records the difference (`changes`) before it takes
readings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, TypeVar

import msgspec

from service.records import Record, RecordError
from service.registry import View
from service.settings import Settings, that_change_scores

Change = tuple[str, dict[str, Any]]  # kind and detail of a record
Detail = TypeVar("Detail", bound=msgspec.Struct)


class ActiveModel(msgspec.Struct, frozen=True):
    """The version of a model that serves."""

    version: int
    artifact_id: str


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """Detail of an `activate` record: what serves under a name from here on (None: nothing), and what did before."""

    name: str
    now: ActiveModel | None
    before: ActiveModel | None
    default: str  # name of the default model from here on


class SettingsChange(msgspec.Struct, frozen=True, kw_only=True):
    """Detail of a `settings` record: all that change scores, and (before, now) of those that are new or another."""

    settings: dict[str, Any]
    changed: dict[str, tuple[Any, Any]]


class Configuration(msgspec.Struct, frozen=True):
    """Settings that change scores, active models by name, name of the default model."""

    settings: dict[str, Any] = {}
    models: dict[str, ActiveModel] = {}
    default: str = ""

    def after(self, record: Record) -> Configuration:
        """The configuration that a record leads to. RecordError where its detail is not of this program."""
        if record.kind == "settings":
            return msgspec.structs.replace(self, settings=_detail(record, SettingsChange).settings)
        if record.kind != "activate":
            return self
        found = _detail(record, Activation)
        models = {name: model for name, model in self.models.items() if name != found.name}
        if found.now is not None:
            models[found.name] = found.now
        return msgspec.structs.replace(self, models=models, default=found.default)


def _detail(record: Record, kind: type[Detail]) -> Detail:
    try:
        return msgspec.convert(record.detail, kind)
    except msgspec.ValidationError as error:
        raise RecordError(f"record {record.sequence} of kind {record.kind} cannot be read: {error}") from None


def configured(settings: Settings, view: View, engine: str) -> Configuration:
    """What is true now."""
    facts = facts_of(settings, engine)
    models = {name: ActiveModel(model.version, model.artifact_id) for name, model in view.active.items()}
    return Configuration(facts, models, settings.model_default or view.index.default)


def facts_of(settings: Settings, engine: str) -> dict[str, Any]:
    """Settings that change scores, program and engine, as a `settings` record has them."""
    return {**that_change_scores(settings), "program": version("limen"), "engine": engine}


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """(before, now) of what is new or another."""
    return {
        name: (before.get(name), now.get(name))
        for name in sorted(before.keys() | now.keys())
        if not _same(before.get(name), now.get(name))
    }


def changes(before: Configuration, now: Configuration) -> Iterator[Change]:
    """The records that lead from one configuration to another."""
    changed = differing(before.settings, now.settings)
    if changed:
        yield "settings", _plain(SettingsChange(settings=now.settings, changed=changed))
    names = sorted(before.models.keys() | now.models.keys())
    names = [name for name in names if before.models.get(name) != now.models.get(name)]
    if not names and before.default != now.default:
        names = [now.default]
    for name in names:
        found = Activation(name=name, now=now.models.get(name), before=before.models.get(name), default=now.default)
        yield "activate", _plain(found)


def _plain(detail: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(detail)
    return plain


def _same(one: Any, other: Any) -> bool:
    """In the same order, too: of patterns, the first that fits counts."""
    return msgspec.json.encode(one) == msgspec.json.encode(other)


def summary(kind: str, detail: Mapping[str, Any]) -> str:
    """One of these records in words.

    >>> summary("activate", {"name": "pumps", "now": {"version": 2}, "before": {"version": 1}, "default": "pumps"})
    'model pumps version 2 serves; before it, version 1'
    """
    if kind == "settings":
        return ", ".join(_change(name, *values) for name, values in detail["changed"].items())
    now, before = (found and f"version {found['version']}" for found in (detail["now"], detail["before"]))
    return f"model {detail['name']} {now or 'no version'} serves; before it, {before or 'none'}"


def _change(name: str, before: Any, now: Any) -> str:
    return f"{name} {_shown(now)}" if before is None else f"{name} {_shown(before)} -> {_shown(now)}"


def _shown(value: Any) -> str:
    return (
        "none" if value in (None, "", {}) else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    )
