"""Every metric of the service, a sentence each. The Prometheus registry is passed in.

What the shard knows is read when it is asked for; only what passes by is counted here. The number of series depends on
models and sources (`sources_max`), not on machines: no equipment ids, and of the sensors of a model only those that
drift most.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from models.artifact import LoadedModel
from models.contract import MICROSECONDS
from service.alarms import KINDS, Kind
from service.bank import Bank
from service.records import ModelReadings
from service.settings import default
from service.shard import Shard
from service.status import STATUS_NAMES, Flag, Status

REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SCORING_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
AGE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0)
READINGS_ROUTE, OTHER_ROUTES = "/v1/readings", "other"
ROUTES = (READINGS_ROUTE, "/v1/equipment", "/v1/alarms", "/v1/models", "/v1/clock", "/health", "/metrics", "/docs")
BUDGET_HALF_LIFE = 20_000  # readings
BUDGET_READINGS_MIN = 200

SENTENCES: dict[str, str] = {
    "limen_readings_total": "Readings answered, by what became of them.",
    "limen_unknown_sensor_values_total": "Values left out because the model does not know their sensor.",
    "limen_request_duration_seconds": "Time from the head of a request to the end of its answer.",
    "limen_scoring_duration_seconds": "Time to score one micro-batch.",
    "limen_journal_sync_seconds": "Time to make one micro-batch safe.",
    "limen_reading_age_seconds": "Time from the event to its score; historical readings are left out.",
    "limen_historical_readings_total": "Readings taken in that were historical: older than the setting "
    "`historical_seconds` says.",
    "limen_source_clock_offset_seconds": "How far the clock of a source is ahead of ours, by the least delayed of its "
    "bodies in the last minutes; below 0, it is behind or holds readings back.",
    "limen_queue_readings": "Readings that wait to be scored.",
    "limen_equipment": "Machines with state.",
    "limen_equipment_silent": "Machines that are not heard from any more.",
    "limen_alarms_total": "Alarms opened; a historical one counts once a reading of today finds it open.",
    "limen_alarms_open": "Alarms that are open now; historical ones are left out.",
    "limen_false_alarm_budget_ratio": "Share of recent scores at or over the threshold, divided by the promised share;"
    " real faults count too, so that it is over 1 while one lasts.",
    "limen_input_drift": "Distance of a sensor's recent values from training, in its standard deviations.",
    "limen_score_drift": "Greatest difference between recent p-values and the uniform distribution, 0 to 1.",
    "limen_memory_drift": "Distance of the mean memory from training, in standard deviations.",
    "limen_follower_lag_records": "Records of the journal that a follower has not read yet.",
    "limen_follower_lag_seconds": "Time between what a follower has read and now, where it has read some, not all.",
    "limen_journal_damaged_records": "Records of the journal that are damaged or missing where a snapshot covers them, "
    "found by a look at all of them after the start.",
    "limen_disk_free_bytes": "Bytes that are free for the data folder.",
    "limen_model_info": "Version of each model that is active.",
    "limen_build_info": "Versions of the program and of what computes.",
}


def route_of(path: str) -> str:
    """The route that a request is counted under: a fixed few, whatever is asked for.

    >>> route_of("/v1/equipment/pump-7/scores"), route_of("/v1/readings"), route_of("/v1/equipments")
    ('/v1/equipment', '/v1/readings', 'other')
    """
    if path == READINGS_ROUTE:
        return READINGS_ROUTE
    return next((route for route in ROUTES if path == route or path.startswith(f"{route}/")), OTHER_ROUTES)


@dataclass(slots=True)
class Exceedances:
    """Recent scores of one model: how many there were and how many were at or over the threshold, decayed."""

    seen: float = 0.0
    over: float = 0.0

    def count(self, score: NDArray[np.float32]) -> None:
        """Take in scores (n,); NaN has none."""
        scored = int(np.count_nonzero(score == score))
        keep = 0.5 ** (scored / BUDGET_HALF_LIFE)
        self.seen = self.seen * keep + scored
        self.over = self.over * keep + int(np.count_nonzero(score >= 1))

    def share(self) -> float:
        """NaN before there is enough.

        >>> recent = Exceedances()
        >>> recent.count(np.r_[np.zeros(990), np.ones(10)].astype(np.float32))
        >>> round(recent.share(), 4)
        0.01
        """
        return self.over / self.seen if self.seen >= BUDGET_READINGS_MIN else float("nan")


@dataclass(slots=True)
class Ages:
    """A histogram that takes arrays: one observation each would cost more than the score."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(AGE_SECONDS) + 1, np.int64))
    total: float = 0.0

    def count(self, seconds: NDArray[np.float64]) -> None:
        """Take in ages (n,)."""
        place = np.searchsorted(AGE_SECONDS, seconds)
        self.counts += np.bincount(place, minlength=len(self.counts))
        self.total += float(seconds.sum())

    def collect(self, name: str) -> HistogramMetricFamily:
        """As Prometheus wants it: counts up to each bound."""
        edges = [*map(str, AGE_SECONDS), "+Inf"]
        upto = np.cumsum(self.counts).tolist()
        family = HistogramMetricFamily(name, SENTENCES[name])
        family.add_metric([], buckets=list(zip(edges, upto, strict=True)), sum_value=self.total)
        return family


class Metrics(Collector):
    """The metrics of one service process, registered with `registry`."""

    def __init__(self, registry: CollectorRegistry, drift_sensors_max: int = default("drift_sensors_max")) -> None:
        self.registry = registry
        self.drift_sensors_max = drift_sensors_max
        self._requests = _histogram(registry, "limen_request_duration_seconds", REQUEST_SECONDS, ("route", "status"))
        self._scoring = _histogram(registry, "limen_scoring_duration_seconds", SCORING_SECONDS)
        self._syncs = _histogram(registry, "limen_journal_sync_seconds", SCORING_SECONDS)
        self._ages = Ages()
        self.lags: dict[str, tuple[int, float | None]] = {}  # of followers: records and seconds, as of this scrape
        self.disk_free: int | None = None  # bytes, as of the last look
        self.journal_damaged: int | None = None  # records, once all were looked at
        self._historical = 0
        self._exceedances: dict[str, Exceedances] = {}  # by artifact id
        self._shard: Shard | None = None
        self._queued: Callable[[], int] = int
        self._active: Callable[[], Mapping[str, LoadedModel]] = dict
        registry.register(self)
        ProcessCollector(registry=registry)  # memory, processor, start time

    def follow(self, shard: Shard, queued: Callable[[], int], active: Callable[[], Mapping[str, LoadedModel]]) -> None:
        """What is read at every scrape: the shard, the length of the queue, the active models by name."""
        self._shard, self._queued, self._active = shard, queued, active

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is as `route_of` has it."""
        self._requests.labels(route, status).observe(seconds)

    def observe_scoring(self, seconds: float) -> None:
        """Count one micro-batch."""
        self._scoring.observe(seconds)

    def observe_sync(self, seconds: float) -> None:
        """Count the time that one micro-batch took to be safe."""
        self._syncs.observe(seconds)

    def observe_readings(self, readings: Iterable[ModelReadings], now: int) -> None:
        """Count the admitted readings of a micro-batch; `now` is what the clock says."""
        for part in readings:
            historical = (part.flags & Flag.HISTORICAL) != 0
            self._historical += int(np.count_nonzero(historical))
            scored = (part.status == Status.SCORED) & ~historical
            if scored.any():
                self._ages.count(np.maximum(now - part.time[scored], 0) / MICROSECONDS)
            self._exceedances.setdefault(part.artifact_id, Exceedances()).count(part.score)

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        """What is read at a scrape."""
        yield self._ages.collect("limen_reading_age_seconds")
        yield _counter("limen_historical_readings_total", (), [((), self._historical)])
        yield _gauge("limen_build_info", ("version", "python", "numpy"), [(build(), 1.0)])
        yield _gauge("limen_queue_readings", (), [((), self._queued())])
        yield _gauge("limen_follower_lag_records", ("follower",), [((n,), r) for n, (r, _) in self.lags.items()])
        seconds = [((name,), s) for name, (_, s) in self.lags.items() if s is not None]
        yield _gauge("limen_follower_lag_seconds", ("follower",), seconds)
        damaged = [] if self.journal_damaged is None else [((), self.journal_damaged)]
        yield _gauge("limen_journal_damaged_records", (), damaged)
        yield _gauge("limen_disk_free_bytes", (), [] if self.disk_free is None else [((), self.disk_free)])
        if self._shard is not None:
            yield from self._of_shard(self._shard)
            yield from self._of_models(self._shard)

    def _of_shard(self, shard: Shard) -> Iterator[Metric]:
        counts = shard.counters.readings.tolist()
        yield _counter(
            "limen_readings_total", ("status",), [((n,), c) for n, c in zip(STATUS_NAMES, counts, strict=True)]
        )
        yield _counter("limen_unknown_sensor_values_total", (), [((), shard.counters.unknown_values)])
        yield _gauge("limen_equipment", (), [((), len(shard))])
        offsets = [((name,), offset / MICROSECONDS) for name, offset in shard.sources.offsets()]
        yield _gauge("limen_source_clock_offset_seconds", ("source",), offsets)
        yield _gauge("limen_equipment_silent", (), [((), shard.silent())])
        keys = [(name, kind) for name in sorted(self._active()) for kind in KINDS]
        opened, standing = shard.counters.alarms, shard.book.open_counts()
        labels = ("model", "kind")
        yield _counter("limen_alarms_total", labels, [(k, opened.get(k, 0)) for k in _both(keys, opened)])
        yield _gauge("limen_alarms_open", labels, [(k, standing.get(k, 0)) for k in _both(keys, standing)])

    def _of_models(self, shard: Shard) -> Iterator[Metric]:
        active = self._active()
        banks = shard.current_banks()
        info = [((name, str(model.version)), 1.0) for name, model in sorted(active.items())]
        yield _gauge("limen_model_info", ("model", "version"), info)
        ratios = [((name,), self._ratio(bank.model)) for name, bank in sorted(banks.items())]
        yield _gauge("limen_false_alarm_budget_ratio", ("model",), ratios)
        monitors = {name: bank.settled_monitor() for name, bank in sorted(banks.items())}
        yield _gauge("limen_score_drift", ("model",), [((n,), m.score_drift()) for n, m in monitors.items()])
        yield _gauge("limen_memory_drift", ("model",), [((n,), m.memory_drift()) for n, m in monitors.items()])
        drift = [sample for name, bank in sorted(banks.items()) for sample in self._input_drift(name, bank)]
        yield _gauge("limen_input_drift", ("model", "sensor"), drift)
        known = {bank.model.artifact_id for bank in shard.banks.values()}
        self._exceedances = {key: value for key, value in self._exceedances.items() if key in known}

    def _ratio(self, model: LoadedModel) -> float:
        budgets = [record.budget for record in model.manifest.calibration]
        recent = self._exceedances.get(model.artifact_id, Exceedances())
        return recent.share() / budgets[0] if budgets and budgets[0] > 0 else float("nan")

    def _input_drift(self, name: str, bank: Bank) -> Iterator[tuple[tuple[str, str], float]]:
        """The sensors that drift most."""
        drift = bank.settled_monitor().input_drift()
        order = np.argsort(-np.nan_to_num(drift, nan=-1.0), kind="stable")[: self.drift_sensors_max]
        for sensor in order.tolist():
            yield (name, bank.detector.sensors[sensor]), float(drift[sensor])


Labelled = Sequence[tuple[Sequence[str], float]]


def _gauge(name: str, labels: Sequence[str], samples: Labelled) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, SENTENCES[name], labels=labels)
    for values, sample in samples:
        family.add_metric(values, sample)
    return family


def _counter(name: str, labels: Sequence[str], samples: Labelled) -> CounterMetricFamily:
    family = CounterMetricFamily(name, SENTENCES[name], labels=labels)
    for values, sample in samples:
        family.add_metric(values, sample)
    return family


def _histogram(
    registry: CollectorRegistry, name: str, buckets: Sequence[float], labels: Sequence[str] = ()
) -> Histogram:
    return Histogram(name, SENTENCES[name], labels, buckets=buckets, registry=registry)


def _both(keys: list[tuple[str, Kind]], more: Mapping[tuple[str, Kind], int]) -> list[tuple[str, Kind]]:
    """The keys of the active models, and those of models that are gone."""
    return [*keys, *(key for key in sorted(more) if key not in keys)]


def build() -> tuple[str, str, str]:
    """Versions of the program, of Python and of numpy."""
    try:
        program = version("limen")
    except PackageNotFoundError:
        program = "unknown"
    return program, platform.python_version(), np.__version__
