"""Sources: how far their clocks are ahead, and by which clock the times of their bodies are taken."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.backfill import score_series
from service import recovery
from service.commands.journal_inspect import record_line
from service.errors import BadRequest
from service.ingest.batch import Body
from service.ingest.times import TIME_MAX, TIME_MIN, parse_time
from service.journal import SqliteJournal
from service.limits import ShardLimits
from service.records import Record, RecordError, decode, encode
from service.replay import replay
from service.scoring import Stepped, step
from service.shard import Shard
from service.sources import SHIFTS_REMEMBERED, WINDOW, SourceClock, Sources, digest_of, source_of
from tests.service import fleet
from tests.service.fleet import SECOND, START, in_columns, normal, reasons, statuses
from tests.uninterrupted import compare_states

MODEL = fleet.model()
X = normal(MODEL.detector, 3, 400)
HOUR = 3_600 * SECOND
LIMITS = ShardLimits(time_source={"gate-*": "arrival", "plc": "offset"}, sources_max=3)


def sent(first: int, count: int, source: str = "", off: int = 0, equipment: str = "p") -> Body:
    """Readings `first` on, one a second from START on, by a clock that is `off` by some microseconds."""
    times = START + SECOND * np.arange(first, first + count) + off
    found = in_columns(equipment, MODEL.detector.sensors, times, X[first : first + count])
    return fleet.body(found, source=source)


def take(shard: Shard, *bodies: Body, at: int) -> Stepped:
    """One micro-batch, `at` seconds after START."""
    return step(shard, bodies, START + at * SECOND)


def heard(clock: SourceClock, offsets: list[float], start: int = 0, every: int = 60) -> SourceClock:
    """Bodies that come in every so many seconds, with offsets in seconds."""
    for number, offset in enumerate(offsets):
        clock.observe(int(offset * SECOND), START + (start + number * every) * SECOND)
    return clock


# -- clocks ------------------------------------------------------------------------------------------------------------


def test_the_least_delayed_body_says_how_far_a_clock_is_ahead() -> None:
    rng = np.random.default_rng(5)
    clock = heard(SourceClock(), (90.0 - rng.exponential(20, 40)).tolist(), every=10)
    assert clock.greatest is not None
    assert 85 * SECOND < clock.greatest <= 90 * SECOND
    assert clock.held > 85 * SECOND


def test_a_backlog_that_goes_over_is_not_a_clock_that_is_behind() -> None:
    clock = heard(SourceClock(), [0.0] * 5)
    heard(clock, np.linspace(-86_400, -600, 60).tolist(), start=3600)
    assert clock.held == 0


def test_a_clock_that_was_set_back_is_believed_when_two_windows_agree() -> None:
    window = WINDOW // SECOND
    begin = -(START // SECOND) % window  # of a window, in seconds after START
    clock = heard(SourceClock(), [50.0] * 5, start=begin)
    assert clock.held == 50 * SECOND
    delayed = [-30.0 - (number % 3) for number in range(2 * window // 60)]
    heard(clock, delayed, start=begin + 12 * window)
    assert clock.held == 50 * SECOND
    heard(clock, [-30.0], start=begin + 14 * window)
    assert clock.held == -30 * SECOND


def test_a_single_body_that_is_wrong_and_small_differences_change_nothing() -> None:
    assert heard(SourceClock(), [0.0, 1e6, 0.0, 0.9, 0.9, 0.9]).held == 0
    assert heard(SourceClock(), [0.0, 20.0, 20.5]).held == 20 * SECOND


# -- which clock counts ------------------------------------------------------------------------------------------------


def test_bodies_of_sources_whose_own_clock_counts_stay_the_objects_that_they_are() -> None:
    sources = Sources(LIMITS.time_source, LIMITS.sources_max)
    bodies = [sent(0, 3, "other"), sent(0, 3)]
    placed, shifts = sources.place(bodies, START)
    assert shifts == []
    assert all(one is other for one, other in zip(placed, bodies, strict=True))
    assert dict(sources.offsets()) == {"other": 2 * SECOND}, "a body of nobody says nothing"


def test_patterns_count_in_their_order() -> None:
    sources = Sources({"plc-7": "event", "plc-*": "offset", "*": "arrival"})
    assert [sources.kind_of(name) for name in ("plc-7", "plc-8", "10.0.0.7")] == ["event", "offset", "arrival"]


def test_by_arrival_the_newest_reading_of_a_body_is_of_now() -> None:
    shard = fleet.shard(MODEL, limits=LIMITS)
    (one,) = take(shard, sent(0, 10, "gate-3", off=-400 * HOUR), at=20).outcomes
    (two,) = take(shard, sent(10, 5, "gate-3", off=-400 * HOUR), at=25).outcomes
    times = START + SECOND * np.arange(11, 26)
    wanted = score_series(MODEL.detector, "p", times, X[:15])
    np.testing.assert_array_equal(np.r_[one.score, two.score], wanted.score)
    assert shard.columns["last_time"][0] == START + 25 * SECOND
    assert not np.r_[one.flags, two.flags].any(), "it is not of long ago"


@pytest.mark.parametrize("ahead", [86_400, -86_400])
def test_arrival_is_by_the_later_of_the_two_clocks(ahead: int) -> None:
    shard = fleet.shard(MODEL, limits=LIMITS)
    take(shard, sent(0, 5, "gate-3"), at=20)
    wall = START + (21 + ahead) * SECOND
    (part,) = step(shard, [sent(5, 1, "gate-3")], START + 21 * SECOND, wall).record.readings
    assert part.time.tolist() == [START + (21 + max(ahead, 0)) * SECOND]
    (again,) = step(shard, [sent(5, 1, "gate-3")], START + 30 * SECOND, wall + 9 * SECOND).outcomes
    assert statuses(again) == ["duplicate"]


def test_by_offset_times_are_taken_back_by_what_the_clock_is_ahead() -> None:
    shard = fleet.shard(MODEL, limits=LIMITS)
    outcomes = [take(shard, sent(n, 5, "plc", off=2 * HOUR), at=n + 4).outcomes[0] for n in (0, 5, 10)]
    assert [status for outcome in outcomes for status in statuses(outcome)] == ["warming"] * 3 + ["scored"] * 12
    assert shard.columns["last_time"][0] == START + 14 * SECOND
    plain = fleet.shard(MODEL, limits=LIMITS)
    assert reasons(take(plain, sent(0, 5, "other", off=2 * HOUR), at=4).outcomes[0]) == ["future"] * 5


def test_the_clock_of_the_data_leaves_times_as_they_are() -> None:
    limits = ShardLimits(future=None, time_source={"*": "arrival"})
    shard = fleet.shard(MODEL, limits=limits)
    record = take(shard, sent(0, 5, "gate-3"), at=1000).record
    assert (shard.columns["last_time"][0], dict(record.detail), shard.sources.clocks) == (START + 4 * SECOND, {}, {})


def test_times_stay_among_those_that_can_be_told() -> None:
    shard = fleet.shard(MODEL, limits=LIMITS)
    times = np.array([parse_time("0001-01-01T00:00:00Z"), parse_time("9999-12-31T23:59:59Z")])
    body = fleet.body(in_columns("p", MODEL.detector.sensors, times, X[:2]), source="gate-3")
    (part,) = take(shard, body, at=0).record.readings
    assert part.time.tolist() == [TIME_MIN, START]
    assert parse_time("9999-12-31T23:59:59.999999Z") == TIME_MAX


def test_beyond_the_bound_of_sources_a_clock_is_not_measured_and_an_offset_not_taken(caplog: Any) -> None:
    shard = fleet.shard(MODEL, limits=LIMITS)
    for number in range(5):
        take(shard, sent(number, 1, f"s{number}"), at=0)
    assert list(shard.sources.clocks) == ["s0", "s1", "s2"]
    assert caplog.messages == []
    take(shard, sent(0, 1, "plc", off=HOUR // 60, equipment="q"), at=0)
    assert shard.columns["last_time"][1] == START + HOUR // 60
    (line,) = caplog.messages
    assert "the clock of source 'plc' is not measured" in line


# -- bodies that are sent again ----------------------------------------------------------------------------------------


def test_a_body_that_is_sent_again_has_the_same_times() -> None:
    shard = fleet.shard(MODEL, limits=LIMITS)
    first = take(shard, sent(0, 10, "gate-3"), at=20)
    again = take(shard, sent(0, 10, "gate-3"), at=27)
    assert statuses(again.outcomes[0]) == ["duplicate"] * 10
    np.testing.assert_array_equal(again.outcomes[0].score, first.outcomes[0].score)
    assert [len(stepped.record.detail.get("shifts", ())) for stepped in (first, again)] == [1, 0]
    both = take(shard, sent(10, 3, "gate-3"), sent(10, 3, "gate-3"), at=24)
    assert [statuses(outcome)[0] for outcome in both.outcomes] == ["scored", "duplicate"]


def test_an_offset_that_changed_meanwhile_does_not_count_for_a_body_that_is_sent_again() -> None:
    shard = fleet.shard(MODEL, limits=LIMITS)
    take(shard, sent(0, 10, "plc"), at=9)
    for number in (10, 11):
        take(shard, sent(number, 1, "plc", off=30 * SECOND), at=number)
    assert shard.sources.clocks["plc"].held == 30 * SECOND
    assert statuses(take(shard, sent(0, 10, "plc"), at=12).outcomes[0]) == ["duplicate"] * 10


def test_other_content_or_another_source_is_another_body() -> None:
    one = sent(0, 4, "gate-3")
    assert digest_of(one) == digest_of(sent(0, 4, "gate-4"))
    others = [sent(1, 4), sent(0, 3), sent(0, 4, off=1), sent(0, 4, equipment="q")]
    assert digest_of(one) not in [digest_of(other) for other in others]
    shard = fleet.shard(MODEL, limits=LIMITS)
    take(shard, one, at=20)
    take(shard, sent(0, 4, "gate-4", equipment="p"), at=30)
    assert shard.columns["last_time"][0] == START + 30 * SECOND


def test_the_last_bodies_of_the_last_sources_are_remembered() -> None:
    sources = Sources(LIMITS.time_source, LIMITS.sources_max)
    sources.remember([("a", str(number), number) for number in range(SHIFTS_REMEMBERED + 2)])
    assert list(sources.shifts["a"].values()) == list(range(2, SHIFTS_REMEMBERED + 2))
    sources.remember([("b", "0", 0), ("c", "0", 0), ("a", "x", 0), ("d", "0", 0)])
    assert list(sources.shifts) == ["c", "a", "d"]


def lived() -> tuple[Shard, list[Record]]:
    shard = fleet.shard(MODEL, limits=LIMITS)
    records = [take(shard, sent(n, 5, "gate-3"), sent(n, 5, "plc", HOUR, "q"), at=n + 9).record for n in (0, 5, 10, 15)]
    return shard, [decode(one.kind, one.shard, one.sequence, one.received_at, encode(one)) for one in records]


def test_what_bodies_were_shifted_by_is_recorded_and_replayed() -> None:
    shard, records = lived()
    again = fleet.shard(MODEL, limits=LIMITS)
    for record in records:
        assert len(record.detail["shifts"]) == 2
        replay(again, record, lambda artifact_id: MODEL)
    compare_states(recovery.capture(again), recovery.capture(shard))
    assert "taken by another clock: gate-3 +5.000 s, plc -3595.000 s" in record_line(records[0], {})["text"]
    for source, equipment, off in (("gate-3", "p", 0), ("plc", "q", HOUR)):
        outcome = take(again, sent(15, 5, source, off, equipment), at=99).outcomes[0]
        assert statuses(outcome) == ["duplicate"] * 5


@pytest.mark.parametrize("half", [0, 2, 4])
def test_a_snapshot_remembers_them_too(half: int, tmp_path: Path) -> None:
    shard, records = lived()
    before, again = fleet.shard(MODEL, limits=LIMITS), fleet.shard(MODEL, limits=LIMITS)
    for record in records[:half]:
        replay(before, record, lambda artifact_id: MODEL)
    recovery.restore(again, recovery.capture(before), lambda artifact_id: MODEL)
    with closing(SqliteJournal(tmp_path / "journal.sqlite")) as journal:
        for record in records:
            journal.append(record)
        asyncio.run(journal.sync())
        recovery.catch_up(again, journal, lambda artifact_id: MODEL)
    compare_states(recovery.capture(again), recovery.capture(shard))
    assert again.sources.shifts == shard.sources.shifts
    late = take(again, sent(20, 5, "plc", HOUR - HOUR // 2, "q"), at=25 + 1800)
    assert [shift for source, _, shift in late.record.detail["shifts"]] == [5 * SECOND - HOUR], (
        "the offset is what it was"
    )


def test_a_record_whose_shifts_cannot_be_read_is_named() -> None:
    damaged = Record("readings", 0, 1, START, START, detail={"shifts": [["gate-3", 7]]})
    with pytest.raises(RecordError, match="record 1 of kind readings cannot be read"):
        replay(fleet.shard(MODEL), damaged, lambda artifact_id: MODEL)


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gateway-3", "10.0.0.7", "plant/line:2@site_1", "a" * 64])
def test_a_source_is_named_by_a_header(name: str) -> None:
    assert source_of({b"limen-source": name.encode()}, None) == name
    assert source_of({}, (name, 1)) == name
    assert source_of({}, None) == ""


@pytest.mark.parametrize(
    "name", [b"", b" ", b"a b", b"a" * 65, "ポンプ".encode(), b'a"b', b"a\n", b"\xff", b"-a", b"a\0"]
)
def test_a_name_that_is_none_is_refused(name: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^Limen-Source is .*; expected 1 to 64 letters, digits or"):
        source_of({b"limen-source": name}, ("10.0.0.7", 1))
