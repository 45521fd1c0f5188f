"""Every setting and every limit of the service: from `LIMEN_...` variables, a TOML file or the defaults, in this order.

A name ends in `_max` or `_min` where it is a bound, with the unit before it. Relations between settings are checked
here, once, at start. The README's table is generated from the descriptions (`table`).
"""

from __future__ import annotations

import difflib
import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from models.manifest import valid_name
from service.clock import ClockName, TimeSource
from service.errors import shown
from service.pairs import check_pattern, pairs_from

PREFIX = "LIMEN_"
CONFIG_VARIABLE = "LIMEN_CONFIG"  # the TOML file
MODELS, SNAPSHOTS = "models", "snapshots"  # folders in the data folder
JOURNAL = "journal/shard-0.sqlite"
CHANGE_SCORES = (  # what comes of a reading depends on them: where they change, the journal says so
    "clock",
    "model_default",
    "model_patterns",
    "model_assignments",
    "future_seconds_max",
    "historical_seconds",
    "time_source",
    "silent_intervals",
    "equipment_max",
    "reorder_seconds",
    "join",
    "join_age_seconds",
    "held_ticks_max",
)
KNOWN_ELSEWHERE = frozenset({CONFIG_VARIABLE, "LIMEN_DATA"})

Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Bytes = Annotated[int, Field(ge=0, le=10**15)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False)]
MIB = 1024 * 1024
LOOK_SECONDS_MIN = 0.5  # between two looks at ticks that wait
VALUE_CHARACTERS_MAX = 200  # of a value found, in a sentence


PAIRS = 'pairs such as {0}={1}, separated by commas, or JSON such as {{"{0}": "{1}"}}'
EXPECTED = {
    "hosts_allowed": "host names separated by commas, such as localhost,*.plant.example",
    "join": "name patterns separated by commas, such as press-*,line-3",
    "model_default": "the name of a model, such as pumps",
    "model_patterns": PAIRS.format("pump-*", "pumps"),
    "model_assignments": PAIRS.format("pump-7", "pumps"),
    "time_source": f"{PAIRS.format('plc-*', 'offset')}, each to event, offset or arrival",
}


class SettingsError(ValueError):
    """A setting that cannot be used; the text names it, the value found and the value expected."""


class Settings(BaseSettings):
    """The settings of one service process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 lets the system choose one.")
    hosts_allowed: Annotated[list[str], NoDecode] = Field(
        ["localhost", "127.0.0.1", "::1"],
        description="Host names that requests may name, without port, separated by commas; `*.plant.example` for all"
        " below it, `*` for any.",
    )
    data_dir: Path = Field(Path("limen-data"), description="Folder for models and snapshots; one process at a time.")
    clock: ClockName = Field("wall", description="`wall`, or `event`: now is the newest event time seen (replays).")
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Least severe log lines that are written."
    )
    log_json: bool = Field(False, description="Log lines as JSON rather than for reading.")

    model: Path | None = Field(None, description="Artifact that is put in as the default model at start.")
    model_default: str = Field("", description="Model for equipment that nothing else assigns; empty: the first one.")
    model_patterns: Annotated[dict[str, str], NoDecode] = Field(
        {}, description="Name patterns of equipment to models, first match wins: `pump-*=pumps,fan-*=fans`, or JSON."
    )
    model_assignments: Annotated[dict[str, str], NoDecode] = Field(
        {}, description="Equipment to models by exact id; before the patterns: `pump-7=old`, or JSON."
    )

    connections_max: Count = Field(
        4_096, description="Connections at a time; those beyond it are told 503, but for `/health`."
    )
    head_bytes_max: Count = Field(64 * 1024, description="Bytes of the head of a request: address and headers.")
    head_seconds_max: Seconds = Field(30.0, description="Time for the head of a request to arrive.")
    answer_seconds_max: Seconds = Field(
        30.0, description="Time that a client has to take the next 64 KiB of an answer."
    )
    body_bytes_max: Count = Field(8 * MIB, description="Bytes of a request body as sent.")
    inflated_bytes_max: Count = Field(16 * MIB, description="Bytes of a gzip body once inflated.")
    body_readings_max: Count = Field(100_000, description="Readings in one body.")
    body_sensor_sets_max: Count = Field(256, description="Different sets of sensors in one body of rows.")
    body_seconds_max: Seconds = Field(30.0, description="Time for a body to arrive.")
    errors_per_body_max: Count = Field(1_000, description="Readings of one body that are explained one by one.")
    warnings_per_body_max: Count = Field(
        20, description="Unknown sensors, and reasons of machines, that an answer names."
    )
    thread_bytes_min: Count = Field(256 * 1024, description="Bodies from this size on are decoded off the event loop.")
    in_flight_bytes_max: Count = Field(256 * MIB, description="Bytes of all requests that are being answered.")
    sensors_max: Count = Field(10_000, description="Sensors in one reading.")
    equipment_id_characters_max: Count = Field(256, description="Length of an equipment id.")
    sensor_name_characters_max: Count = Field(256, description="Length of a sensor name.")
    forecast_ticks_max: Count = Field(1_000, description="Ticks that a forecast may look ahead.")
    forecast_values_max: Count = Field(200_000, description="Ticks times sensors of one forecast.")
    page_max: Count = Field(1_000, description="Entries in one page of a list.")

    queue_readings_max: Count = Field(400_000, description="Readings that wait to be scored; beyond it, 503.")
    batch_readings_max: Count = Field(8_192, description="Readings scored in one micro-batch (one body at least).")
    equipment_max: Count = Field(1_000_000, description="Machines with state; readings of further ones are rejected.")
    future_seconds_max: Seconds = Field(600.0, description="How far a reading may be ahead of the clock.")
    historical_seconds: Seconds = Field(
        3_600.0, description="Age from which a reading is `historical`: scored, but its alarms are not counted."
    )
    time_source: Annotated[dict[str, TimeSource], NoDecode] = Field(
        {},
        description="Name patterns of sources to the clock that counts, first match wins:"
        " `gateway-3=arrival,plc-*=offset`, or JSON; `event` for the others.",
    )
    sources_max: Count = Field(100, description="Sources whose clock is measured, and whose bodies are remembered.")
    reorder_seconds: float = Field(
        0.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="How long a reading waits (`held`) for what is missing before it: readings that come late, sensors"
        " that come apart; 0: it is scored at once.",
    )
    join: Annotated[list[str], NoDecode] = Field(
        [],
        description="Name patterns of equipment whose sensors come apart, each at its own rate, and are joined to ticks"
        " of the model's interval: `press-*,line-3`; `*` for all.",
    )
    join_age_seconds: float = Field(
        0.0,
        ge=0,
        le=366 * 86_400,
        allow_inf_nan=False,
        description="How long the last value of a sensor that is joined stands; 0: as long as training has learned.",
    )
    held_ticks_max: Count = Field(1_000, description="Ticks of one machine that wait; beyond it the oldest is scored.")
    silent_intervals: Count = Field(
        5, description="Intervals of its model without a reading until a machine is silent."
    )
    silent_check_seconds: Seconds = Field(5.0, description="Time between two looks for silent machines.")
    alarms_closed_max: Count = Field(10_000, description="Closed alarms that are kept.")
    snapshot_seconds: Seconds = Field(300.0, description="Time between two snapshots of the state.")
    snapshot_readings_max: Count = Field(
        500_000,
        description="Readings after which a snapshot is saved before its time: what a start may replay (a micro-batch"
        " counts as 20 more).",
    )
    journal: bool = Field(
        True, description="Every reading on disk before it is answered; false: only snapshots, for measuring."
    )
    journal_bytes_max: Bytes = Field(
        500_000_000, description="Bytes of the journal, beyond which the oldest records go that no kept snapshot needs."
    )
    journal_days_max: Count = Field(
        90, description="Days that records of the journal are kept, but for those that a kept snapshot needs."
    )
    history: bool = Field(
        False, description="Export readings and results as Parquet into `history/` of the data folder, day by day."
    )
    history_delay_seconds: Seconds = Field(
        3_600.0, description="Time after the end of a UTC day until it is exported; late readings wait as long."
    )
    history_days_max: Count = Field(90, description="Exported days that are kept.")
    disk_free_bytes_min: Bytes = Field(
        256 * MIB,
        description="Free bytes for the data folder: below, exported days are removed, and readings answered 503 if "
        "that is not enough.",
    )
    snapshots_kept: int = Field(2, ge=1, le=100, description="Snapshots that are kept.")
    stop_seconds_max: Seconds = Field(30.0, description="Time for requests to finish after SIGTERM.")

    model_bytes_max: Count = Field(64 * MIB, description="Bytes of an uploaded model (zip).")
    model_inflated_bytes_max: Count = Field(256 * MIB, description="Bytes of the two files of an uploaded model.")
    models_max: Count = Field(100, description="Models (names) in the registry.")
    model_versions_max: Count = Field(100, description="Versions of one model in the registry.")

    drift_sensors_max: Count = Field(20, description="Sensors of a model that drift most, in `limen_input_drift`.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments and environment only; `load` adds the file."""
        return init_settings, env_settings

    @field_validator("hosts_allowed", "join", mode="before")
    @classmethod
    def _split_hosts(cls, hosts: Any) -> Any:
        if not isinstance(hosts, str):
            return hosts
        return json.loads(hosts) if hosts.startswith('["') else [host.strip() for host in hosts.split(",")]

    @field_validator("hosts_allowed")
    @classmethod
    def _lower_hosts(cls, hosts: list[str]) -> list[str]:
        return [host.strip("[]").lower() for host in hosts]

    @field_validator("model_patterns", "model_assignments", "time_source", mode="before")
    @classmethod
    def _split_pairs(cls, pairs: Any) -> Any:
        return pairs_from(pairs) if isinstance(pairs, str) else pairs

    @field_validator("model_patterns", "time_source", "join")
    @classmethod
    def _check_patterns(cls, patterns: Any) -> Any:
        for pattern in patterns:
            check_pattern(pattern)
        return patterns

    @field_validator("model_default")
    @classmethod
    def _name_default(cls, name: str) -> str:
        return _model_name(name) if name else name

    @field_validator("model_patterns", "model_assignments")
    @classmethod
    def _name_models(cls, routes: dict[str, str]) -> dict[str, str]:
        return {equipment: _model_name(name) for equipment, name in routes.items()}

    @property
    def look_seconds(self) -> float:
        """Time between two looks at what is due by the clock."""
        waits = self.reorder_seconds > 0 or bool(self.join)
        return min(self.silent_check_seconds, max(self.reorder_seconds / 2, LOOK_SECONDS_MIN) if waits else math.inf)

    @model_validator(mode="after")
    def _relations(self) -> Self:
        at_most = [
            ("body_readings_max", "queue_readings_max", "a body must fit into the queue"),
            ("forecast_ticks_max", "forecast_values_max", "a forecast has one sensor at least"),
            ("batch_readings_max", "queue_readings_max", "a micro-batch is taken from the queue"),
            ("body_bytes_max", "inflated_bytes_max", "inflating does not shrink"),
            ("inflated_bytes_max", "in_flight_bytes_max", "a body must fit into what may be in flight"),
            ("model_bytes_max", "model_inflated_bytes_max", "unpacking does not shrink"),
            ("silent_check_seconds", "snapshot_seconds", "a snapshot is due less often than a look for silence"),
        ]
        if self.history and not self.journal:
            raise ValueError("history is true and journal is false; expected a journal, of which the history is made")
        for smaller, larger, why in at_most:
            low, high = getattr(self, smaller), getattr(self, larger)
            if low > high:
                raise ValueError(f"{smaller} is {low}; expected at most {larger}, which is {high}: {why}")
        return self


def default(name: str) -> Any:
    """The default of one setting, for parts that are made without settings.

    >>> default("snapshots_kept")
    2
    """
    return Settings.model_fields[name].default


def that_change_scores(settings: Settings) -> dict[str, Any]:
    """The settings that change what comes of readings, as JSON has them."""
    return settings.model_dump(mode="json", include=set(CHANGE_SCORES))


def load(config: Path | None = None, **given: Any) -> Settings:
    """Settings from what is `given`, then the environment, then the TOML file `config`, then the defaults.

    SettingsError names the setting and what was expected."""
    from_file = read_toml(config) if config else {}
    environment = {name.upper() for name, value in os.environ.items() if value}
    kept = {name: value for name, value in from_file.items() if PREFIX + name.upper() not in environment}
    try:
        return Settings(**{**kept, **given})
    except ValidationError as error:
        raise SettingsError("; ".join(_sentences(error, given, from_file, config))) from None


def config_file(given: Path | None) -> Path | None:
    """The TOML file: the one that is `given`, else that of the environment."""
    named = os.environ.get(CONFIG_VARIABLE)
    return given or (Path(named) if named else None)


def read_toml(config: Path) -> dict[str, Any]:
    """The settings in a TOML file."""
    try:
        with config.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"settings file {config} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {config} is not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"settings file {config} is nested too deeply; a setting needs 2 levels") from None


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Sentences on `LIMEN_...` variables that are no setting: probably misspelt, and without effect.

    >>> unknown_variables({"LIMEN_PROT": "80", "LIMEN_PORT": "80"})
    ['LIMEN_PROT is no setting and has no effect; did you mean LIMEN_PORT?']
    """
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    complaints = []
    for name in sorted(environment):
        if not name.upper().startswith(PREFIX) or name.upper() in known or name.upper() in KNOWN_ELSEWHERE:
            continue
        near = difflib.get_close_matches(name.upper(), known, 1)
        complaints.append(f"{name} is no setting and has no effect" + (f"; did you mean {near[0]}?" if near else ""))
    return complaints


def table() -> Iterator[tuple[str, str, str]]:
    """Variable, default and description of every setting, for the README."""
    for name, field in Settings.model_fields.items():
        yield PREFIX + name.upper(), _plain(field.default), str(field.description)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return "" if value in ("", {}, None) else str(value)


def _model_name(name: str) -> str:
    if not valid_name(name):
        raise ValueError(f"{shown(name)} cannot be the name of a model, which has letters, digits, '.', '_' or '-'")
    return name


def expected(name: str) -> str:
    """What a setting may be, and an example.

    >>> expected("port"), expected("clock")
    ('a whole number from 0 to 65535, such as 8000', "'wall' or 'event'")
    """
    field = Settings.model_fields[name]
    kind: Any = field.annotation
    bounds: dict[str, Any] = {}
    if (choices := get_args(kind)) and all(isinstance(choice, str) for choice in choices):
        return " or ".join(map(repr, choices))
    if name == "log_level":
        return "'debug', 'info', 'warning' or 'error'"
    for fact in field.metadata:
        bounds |= {sign: getattr(fact, sign) for sign in ("ge", "gt", "le") if hasattr(fact, sign)}
    if kind in (int, float):
        number = "a whole number" if kind is int else "a number"
        low = f"from {bounds['ge']}" if "ge" in bounds else f"above {bounds['gt']}"
        return f"{number} {low} to {bounds['le']}, such as {_plain(field.default)}"
    return EXPECTED.get(name) or {bool: "true or false", str: "text"}.get(kind, "a path")


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}..."


def _where(name: str, given: Mapping[str, Any], from_file: Mapping[str, Any], config: Path | None) -> str:
    """Where the value of a setting came from: what is given goes first, then the environment, then the file."""
    if name in given:
        return f"--{name.replace('_', '-')}"
    variable = PREFIX + name.upper()
    set_there = any(key.upper() == variable and value for key, value in os.environ.items())
    return f"in {config}" if name in from_file and not set_there else variable


def _sentences(
    error: ValidationError, given: Mapping[str, Any], from_file: Mapping[str, Any], config: Path | None
) -> Iterator[str]:
    for one in error.errors():
        name = str(one["loc"][0]) if one["loc"] else ""
        own = str(one["ctx"]["error"]) if one["type"] == "value_error" else ""  # of a validator of this file
        if not name:
            yield own
        elif one["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, Settings.model_fields, 1)
            yield f"{name} (in {config}) is no setting" + (f"; did you mean {near[0]}?" if near else "")
        else:
            found = f"setting {name} ({_where(name, given, from_file, config)}) is {_cut(repr(one['input']))}"
            yield f"{found}: {own}; expected {expected(name)}" if own else f"{found}; expected {expected(name)}"
