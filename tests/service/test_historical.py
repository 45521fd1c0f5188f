"""Readings of long ago: scored and flagged, and nobody is told of their alarms until one is found to last."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from models.artifact import LoadedModel
from service import recovery, views
from service.journal import SqliteJournal
from service.limits import ShardLimits
from service.metrics import Metrics
from service.records import Record, decode, encode
from service.scoring import Instant, Stepped, step
from service.shard import Shard
from service.status import Flag
from tests.builders import names, process, trained
from tests.service import fleet
from tests.service.fleet import SECOND, START, in_columns, statuses
from tests.uninterrupted import compare_states

INTERVAL, DAY = 30 * SECOND, 86_400 * SECOND
TICKS = DAY // INTERVAL
FAULTS = ((500, 520), (1500, 1540), (TICKS - 20, TICKS + 60))  # rows; the last one lasts until today
DETECTOR = dataclasses.replace(trained().detector, interval=INTERVAL, gap_reset=20 * INTERVAL)
MODEL = LoadedModel(msgspec.structs.replace(trained().manifest, artifact_id="model-1"), DETECTOR, trained().drift)
LIMITS = ShardLimits()
KEY = ("model", "process")


def sent(first: int, count: int, machine: int = 0) -> dict[str, Any]:
    """Readings of a machine that ticks every 30 seconds; row TICKS is of START."""
    x = process(machine, TICKS + 300)[first : first + count]
    for start, end in FAULTS:
        x[max(start - first, 0) : max(end - first, 0), 2] += 50.0
    return in_columns(f"m{machine}", names(4), START + INTERVAL * (np.arange(first, first + count) - TICKS), x)


def take(shard: Shard, *bodies: dict[str, Any], now: int = START) -> Stepped:
    return step(shard, [fleet.body(one) for one in bodies], now)


def lived() -> tuple[Shard, list[Record]]:
    """A shard that met a backlog of a day of three machines, and then readings of today of two of them."""
    shard = fleet.shard(MODEL, limits=LIMITS)
    records = [
        take(shard, *(sent(first, 360, machine) for machine in range(3))).record for first in range(0, TICKS, 360)
    ]
    now = START + 200 * INTERVAL
    records += [take(shard, *(sent(TICKS, 200, machine) for machine in range(2)), now=now).record]
    return shard, records


def test_readings_are_historical_from_an_age_on_by_the_clock_that_makes_them_youngest() -> None:
    limits = ShardLimits(future=600, historical=3_600)
    assert Instant.of(limits, 10_000, 10_000) == Instant(10_000, 10_600, 6_400)
    assert Instant.of(limits, 10_000, 90_000) == Instant(10_000, 90_600, 6_400), "the wall's clock jumped ahead"
    assert Instant.of(limits, 10_000, 4_000) == Instant(10_000, 10_600, 400), "and back"
    assert Instant.of(fleet.ANY_TIME, 10_000, 90_000) == Instant(10_000, None, None), "the clock follows the readings"


def test_a_reading_is_flagged_whatever_becomes_of_it() -> None:
    shard = fleet.shard(MODEL, limits=LIMITS)
    age = np.array([3_601, 3_600, 0]) * SECOND
    body = in_columns("p", names(4), START - age, process(1, 3))
    (outcome,) = take(shard, body).outcomes
    assert statuses(outcome) == ["warming"] * 3
    assert outcome.flags.tolist() == [Flag.HISTORICAL, 0, 0]
    (again,) = take(shard, body, now=START + DAY).outcomes
    assert statuses(again) == ["duplicate"] * 3
    assert again.flags.tolist() == outcome.flags.tolist(), "what was answered is repeated"
    unjudged = fleet.shard(MODEL, limits=fleet.ANY_TIME)
    assert not take(unjudged, body).outcomes[0].flags.any()


def test_a_backlog_of_a_day_is_scored_and_only_what_lasts_until_today_is_counted_once() -> None:
    shard, records = lived()
    flags = np.concatenate([part.flags for record in records for part in record.readings])
    times = np.concatenate([part.time for record in records for part in record.readings])
    assert len(times) == 3 * TICKS + 400
    assert shard.counters.readings[0] == len(times) - 3 * DETECTOR.warmup
    old = (flags & Flag.HISTORICAL) != 0
    in_backlog, today = times < START - LIMITS.historical, times >= START
    assert old[in_backlog].all()
    assert not old[today & (times >= START + 200 * INTERVAL - LIMITS.historical)].any()
    alarms = list(shard.book.newest_first())
    assert len([alarm for alarm in alarms if alarm.historical]) >= 6, "two of each machine that ended long ago"
    assert shard.counters.alarms[KEY] == sum(not alarm.historical for alarm in alarms)


def test_an_alarm_that_readings_of_today_find_open_is_counted_then_and_never_again() -> None:
    shard = fleet.shard(MODEL, limits=LIMITS)
    later = START + DAY
    opened = take(shard, sent(TICKS - 400, 390), now=later).record
    alarm = shard.book.current("m0", "process")
    assert alarm is not None
    assert opened.alarms[-1] == alarm
    assert alarm.historical
    assert (shard.counters.alarms[KEY], shard.book.open_counts()) == (0, {KEY: 0})
    assert shard.book.select(historical=False) == ([], 0)
    assert views.alarm_view(alarm).historical
    found = take(shard, sent(TICKS - 10, 5), now=START).record
    assert [changed.id for changed in found.alarms] == [alarm.id]
    assert not alarm.historical
    assert (shard.counters.alarms[KEY], shard.book.open_counts()) == (1, {KEY: 1})
    after = take(shard, sent(TICKS - 5, 5), now=START).record
    assert after.alarms == []
    assert shard.counters.alarms[KEY] == 1


def test_ages_leave_historical_readings_out_which_are_counted() -> None:
    metrics = Metrics(CollectorRegistry())
    shard, records = lived()
    for record in records:
        metrics.observe_readings(record.readings, record.now)
    samples = {s.name + s.labels.get("le", ""): s.value for family in metrics.collect() for s in family.samples}
    parts = [part for record in records for part in record.readings]
    historical = sum(int(((part.flags & Flag.HISTORICAL) != 0).sum()) for part in parts)
    assert samples["limen_historical_readings_total"] == historical > 3 * (TICKS - 200)
    scored = int(shard.counters.readings[0])
    old = sum(int((((part.flags & Flag.HISTORICAL) != 0) & (part.status == 0)).sum()) for part in parts)
    assert samples["limen_reading_age_seconds_count"] == scored - old
    assert samples["limen_reading_age_seconds_bucket3600.0"] == scored - old


@pytest.mark.parametrize("kept", [0, 4])
def test_a_replay_finds_the_same_alarms_historical(kept: int, tmp_path: Path) -> None:
    shard, records = lived()
    again = fleet.shard(MODEL, limits=LIMITS)
    with closing(SqliteJournal(tmp_path / "journal.sqlite")) as journal:
        for record in records:
            journal.append(record)
        asyncio.run(journal.sync())
        if kept:  # records before a snapshot
            half = fleet.shard(MODEL, limits=LIMITS)
            for first in range(0, kept * 360, 360):
                take(half, *(sent(first, 360, machine) for machine in range(3)))
            recovery.restore(again, recovery.capture(half), lambda artifact_id: MODEL)
        recovery.catch_up(again, journal, lambda artifact_id: MODEL)
    assert list(again.book.newest_first()) == list(shard.book.newest_first())
    compare_states(recovery.capture(again), recovery.capture(shard))
    told = [decode(record.kind, 0, record.sequence, 0, encode(record)).alarms for record in records]
    assert any(alarm.historical for alarms in told for alarm in alarms)
