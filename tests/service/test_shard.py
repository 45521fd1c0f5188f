"""What a shard keeps: models and their switches, alarms, silence."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artifact import LoadedModel
from models.backfill import score_series
from service import recovery
from service.equipment import NO_BANK
from service.limits import ShardLimits
from service.phases import load
from service.scoring import step
from service.shard import Shard
from tests.builders import process, trained
from tests.service import fleet
from tests.service.fleet import SECOND, START, in_columns, in_rows, normal, post, reasons, seconds, statuses

OLD, NEW = fleet.model(version=1), fleet.model(version=2, seed=9, sensors=3)
TRAINED = LoadedModel(trained().manifest, trained().detector, trained().drift)


class Switch:
    """Who serves whom: may be changed."""

    def __init__(self, model: LoadedModel | None = OLD) -> None:
        self.model, self.own = model, dict[str, LoadedModel | None]()

    def __call__(self, equipment: str) -> LoadedModel | None:
        return self.own.get(equipment, self.model)


def sent(first: int, count: int, equipment: str = "p", model: LoadedModel = OLD) -> dict[str, Any]:
    x = normal(model.detector, 3, 200)[first : first + count]
    return in_columns(equipment, model.detector.sensors, seconds(first, count), x)


def faulty(first: int, count: int, equipment: str = "p", by: float = 50.0) -> dict[str, Any]:
    """Readings of a machine of `TRAINED` whose sensor 2 is off."""
    x = process(5, 400)[first : first + count]
    x[:, 2] += by
    return in_columns(equipment, TRAINED.detector.sensors, seconds(first, count), x)


# -- models ------------------------------------------------------------------------------------------------------------


def test_a_switched_model_starts_warming_and_scores_as_if_it_had_been_the_first() -> None:
    switch = Switch()
    shard = fleet.shard(resolve=switch)
    post(shard, sent(0, 10))
    switch.model = NEW
    (before,) = post(shard, sent(10, 1))
    assert statuses(before) == ["scored"], "until the shard is told, nothing changes"
    shard.models_changed()
    (after,) = post(shard, sent(20, 10, model=NEW))
    assert statuses(after) == ["warming"] * 3 + ["scored"] * 7
    x = normal(NEW.detector, 3, 200)[20:30]
    np.testing.assert_array_equal(after.score, score_series(NEW.detector, "p", seconds(20, 10), x).score)
    assert [bank.model for bank in shard.banks.values()] == [NEW], "no machine follows the old one any more"


def test_a_switch_back_does_not_find_the_old_memory() -> None:
    switch = Switch()
    shard = fleet.shard(resolve=switch)
    post(shard, sent(0, 10), sent(0, 10, "stays"))
    switch.own["p"] = NEW
    shard.models_changed()
    post(shard, sent(10, 5, model=NEW))
    del switch.own["p"]
    shard.models_changed()
    again, other = post(shard, sent(15, 6), sent(10, 6, "stays"))
    assert statuses(again) == ["warming"] * 3 + ["scored"] * 3
    x = normal(OLD.detector, 3, 200)
    np.testing.assert_array_equal(again.score, score_series(OLD.detector, "p", seconds(15, 6), x[15:21]).score)
    np.testing.assert_array_equal(other.score, score_series(OLD.detector, "p", seconds(0, 16), x[:16]).score[10:])


def test_a_change_that_is_none_for_a_machine_leaves_its_memory() -> None:
    switch = Switch()
    shard, calm = fleet.shard(resolve=switch), fleet.shard()
    for to in (shard, calm):
        post(to, sent(0, 10))
    switch.own["q"] = NEW
    shard.models_changed()
    np.testing.assert_array_equal(post(shard, sent(10, 5))[0].score, post(calm, sent(10, 5))[0].score)


def test_a_row_of_state_is_used_again_as_new() -> None:
    switch = Switch()
    shard = fleet.shard(resolve=switch)
    post(shard, sent(0, 10, "a"), sent(0, 10, "b"))
    switch.own["a"] = NEW
    shard.models_changed()
    post(shard, sent(10, 1, "a", NEW), sent(10, 1, "b"))
    (bank,) = [bank for bank in shard.banks.values() if bank.model is OLD]
    assert (bank.columns.used, bank.machines) == (2, 1)
    (outcome,) = post(shard, sent(0, 8, "c"))
    assert (bank.columns.used, bank.machines) == (2, 2)
    x = normal(OLD.detector, 3, 200)[:8]
    np.testing.assert_array_equal(outcome.score, score_series(OLD.detector, "c", seconds(0, 8), x).score)


def test_a_machine_whose_model_is_taken_away_is_rejected_and_its_alarm_ends() -> None:
    switch = Switch(TRAINED)
    shard = fleet.shard(resolve=switch)
    post(shard, faulty(0, 30))
    assert shard.book.current("p", "process") is not None
    switch.model = None
    shard.models_changed()
    for _ in range(2):
        (outcome,) = post(shard, faulty(30, 3))
        assert reasons(outcome) == ["no_model"] * 3
    assert shard.book.current("p", "process") is None
    assert shard.columns["bank"][0] == NO_BANK
    assert shard.banks == {}
    assert not load(shard.columns, 0).open
    assert shard.sweep(START + 10**12) is None, "a machine without a model has no interval to be silent for"
    switch.model = TRAINED
    shard.models_changed()
    assert statuses(post(shard, faulty(40, 1))[0]) == ["warming"]


def test_machines_of_training_are_centred_on_themselves_in_service_too() -> None:
    import dataclasses

    own = dataclasses.replace(OLD.detector, equipment=("a", "b"), centres=np.stack([OLD.detector.mean + 5] * 2))
    shard = fleet.shard(dataclasses.replace(OLD, detector=own))
    x = normal(OLD.detector, 3, 20)
    bodies = [in_columns(name, own.sensors, seconds(0, 20), x) for name in ("b", "stranger")]
    for outcome, name in zip(post(shard, *bodies), ("b", "stranger"), strict=True):
        np.testing.assert_array_equal(outcome.score, score_series(own, name, seconds(0, 20), x).score)
    assert shard.columns["centre"][:2].tolist() == [2, 0]


def test_metrics_are_told_of_the_bank_of_each_model_and_the_bytes_of_a_machine() -> None:
    other = fleet.model("fans", seed=4, sensors=2, prefix="fan")
    switch = Switch()
    switch.own["f"] = other
    shard = fleet.shard(resolve=switch)
    assert shard.bytes_per_machine() == shard.columns.row_bytes
    post(shard, sent(0, 1), in_rows([("f", START, {"fan-0": 1.0})]))
    assert {name: bank.model for name, bank in shard.current_banks().items()} == {"pumps": OLD, "fans": other}
    greatest = max(bank.columns.row_bytes for bank in shard.banks.values())
    assert shard.bytes_per_machine() == shard.columns.row_bytes + greatest


class Life:
    """A shard and, beside it, what each machine has sent to the model that it follows now."""

    def __init__(self) -> None:
        self.switch = Switch()
        self.shard = fleet.shard(resolve=self.switch)
        self.sent: dict[str, tuple[LoadedModel | None, int, int]] = {}  # model, its first reading, the next one

    def post(self, equipment: str, count: int) -> None:
        """Its next readings, of which every one scores as if the model had been the first."""
        model = self.switch(equipment)
        before, first, at = self.sent.get(equipment, (None, 0, 0))
        if model is not before:
            first = at
        self.sent[equipment] = model, first, at + count
        body = sent(at, count, equipment, model or OLD)
        (outcome,) = post(self.shard, body)
        if model is None:
            assert reasons(outcome) == ["no_model"] * count
            return
        x = normal(model.detector, 3, 200)[first : at + count]
        wanted = score_series(model.detector, equipment, seconds(first, at + count - first), x)
        assert statuses(outcome) == wanted.status[at - first :]
        np.testing.assert_array_equal(outcome.score, wanted.score[at - first :])
        np.testing.assert_array_equal(outcome.alarm, wanted.alarm[at - first :])

    def follow(self, equipment: str, model: LoadedModel | None) -> None:
        """Another assignment."""
        self.switch.own[equipment] = model
        self.shard.models_changed()

    def restart(self) -> None:
        """Go on in a new shard."""
        captured = recovery.capture(self.shard)
        self.shard = fleet.shard(resolve=self.switch)
        assert recovery.restore(self.shard, captured, {m.artifact_id: m for m in (OLD, NEW)}.get) == []


machine = st.sampled_from(["a", "b", "c"])
events = st.one_of(
    st.tuples(st.just("post"), machine, st.integers(1, 9)),
    st.tuples(st.just("follow"), machine, st.sampled_from([OLD, NEW, None])),
    st.just(("restart",)),
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(happens=st.lists(events, max_size=20))
def test_whatever_is_switched_and_restarted_a_machine_scores_by_what_its_model_has_seen(happens: list[Any]) -> None:
    life = Life()
    for what, *given_to in happens:
        getattr(life, what)(*given_to)
    following = [model for model, *_ in life.sent.values() if model is not None]
    assert sum(bank.machines for bank in life.shard.banks.values()) == len(following)
    for bank in life.shard.banks.values():
        assert bank.machines == sum(model is bank.model for model in following)


# -- alarms ------------------------------------------------------------------------------------------------------------


def test_an_alarm_has_an_id_of_its_record_a_peak_and_its_sensors() -> None:
    shard = fleet.shard(TRAINED)
    post(shard, faulty(0, 20, by=0.0))
    stepped = step(shard, [fleet.body(faulty(0, 5, "other", by=0.0)), fleet.body(faulty(20, 10))], START)
    (alarm,) = stepped.record.alarms
    assert alarm == shard.book.current("p", "process")
    assert alarm.id.startswith(f"0-{stepped.record.sequence}-")
    outcome = stepped.outcomes[1]
    assert outcome.alarm.tolist() == [False] * 2 + [True] * 8
    assert alarm.start == seconds(22, 1)[0]
    assert alarm.peak == pytest.approx(outcome.score[2:].max())
    assert alarm.sensors[0].sensor == "sensor-2"
    assert 0 < sum(share.share for share in alarm.sensors) <= 1.001
    assert shard.counters.alarms["model", "process"] == 1


def test_an_alarm_closes_after_quiet_and_the_record_says_so() -> None:
    shard = fleet.shard(TRAINED)
    post(shard, faulty(0, 20, by=0.0))
    post(shard, faulty(20, 10))
    (alarm,) = shard.book.select()[0]
    stepped = step(shard, [fleet.body(faulty(30, 200, by=0.0))], START)
    assert stepped.record.alarms[0] == alarm
    assert alarm.end is not None
    assert alarm.start < alarm.end < seconds(150, 1)[0]
    assert not stepped.outcomes[0].alarm[-1]


def bodies_of_a_fault(x: Any, cut: int) -> list[dict[str, Any]]:
    sensors = TRAINED.detector.sensors
    return [in_columns("p", sensors, seconds(i, len(x[i : i + cut])), x[i : i + cut]) for i in range(0, len(x), cut)]


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_an_alarm_names_the_sensors_of_the_fault_and_not_those_of_the_step_back(cut: int) -> None:
    x = process(5, 60)
    x[30:45, 2] += 12.0 * np.where(np.arange(15) % 2, 1, -1)
    x[45, 0] += 60.0
    shard = fleet.shard(TRAINED)
    for found in bodies_of_a_fault(x, cut):
        post(shard, found)
    (alarm,) = shard.book.select()[0]
    assert alarm.peak_time == seconds(45, 1)[0], "the peak is that of the last tick, whatever its sensors"
    assert alarm.sensors[0].sensor == "sensor-2"
    assert alarm.sensors[0].share > 0.4 > alarm.sensors[1].share
    assert alarm.opening is not None
    assert alarm.opening.sensors[0].sensor == "sensor-2"
    assert 1 <= alarm.opening.score < (alarm.peak or 0)


def test_what_an_alarm_was_at_its_opening_stays_and_does_not_depend_on_batching() -> None:
    x = process(5, 60)
    x[30:, 2] += 50.0
    found = []
    for cut in (1, 7, 60):
        shard = fleet.shard(TRAINED)
        for body in bodies_of_a_fault(x, cut):
            post(shard, body)
        (alarm,) = shard.book.select()[0]
        found.append((alarm.opening, alarm.peak, alarm.sensors, alarm.recent))
    assert found[0] == found[1] == found[2]


def test_an_alarm_goes_on_after_a_stop_and_a_start() -> None:
    x = process(5, 60)
    x[30:, 2] += 50.0
    whole, first, second = (fleet.shard(TRAINED) for _ in range(3))
    bodies = bodies_of_a_fault(x, 10)
    for body in bodies:
        post(whole, body)
    for body in bodies[:4]:
        post(first, body)
    recovery.restore(second, recovery.capture(first), lambda artifact_id: TRAINED)
    for body in bodies[4:]:
        post(second, body)
    assert second.book.select()[0] == whole.book.select()[0]


def test_no_missing_sensor_is_named_in_an_alarm() -> None:
    x = process(5, 60)
    x[30:, 2] += 50.0
    x[32:, 2] = np.nan
    shard = fleet.shard(TRAINED)
    post(shard, in_columns("p", TRAINED.detector.sensors, seconds(0, 60), x))
    for alarm in shard.book.select()[0]:
        assert alarm.opening is not None
        assert "sensor-2" not in {one.sensor for one in alarm.opening.sensors if alarm.start >= seconds(32, 1)[0]}


def test_alarms_of_one_record_have_different_ids() -> None:
    shard = fleet.shard(TRAINED)
    post(shard, *[faulty(0, 20, name, by=0.0) for name in "abc"])
    stepped = step(shard, [fleet.body(faulty(20, 10, name)) for name in "abc"], START)
    assert len({alarm.id for alarm in stepped.record.alarms}) == 3


def test_ids_do_not_depend_on_when_anything_was_looked_at() -> None:
    found = []
    for _ in range(2):
        shard = fleet.shard(TRAINED)
        for first in range(0, 60, 10):
            post(shard, faulty(first, 10, by=50.0 if first >= 20 else 0.0), faulty(first, 10, "q", by=0.0))
        found.append([alarm.id for alarm in shard.book.newest_first()])
    assert found[0] == found[1] != []


def test_records_are_numbered_without_holes_and_hold_what_was_admitted() -> None:
    shard = fleet.shard()
    first = step(shard, [fleet.body(sent(0, 5)), fleet.body(sent(3, 4))], START, received_at=77).record
    assert (first.kind, first.shard, first.sequence, first.received_at) == ("readings", 0, 1, 77)
    (kept,) = first.readings
    assert kept.artifact_id == OLD.artifact_id
    assert kept.time.tolist() == seconds(0, 7).tolist()
    np.testing.assert_array_equal(kept.values, normal(OLD.detector, 3, 200)[:7])
    empty = step(shard, [], START).record
    assert (empty.sequence, list(empty.readings)) == (2, [])


# -- silence -----------------------------------------------------------------------------------------------------------


def test_a_machine_that_is_not_heard_from_for_its_intervals_is_silent_and_one_that_is_is_not() -> None:
    shard = fleet.shard(limits=ShardLimits(future=None, silent_intervals=5))
    post(shard, sent(0, 1), now=START)
    post(shard, sent(0, 1, "q"), now=START + 3 * SECOND)
    assert shard.sweep(START + 5 * SECOND) is None
    record = shard.sweep(START + 5 * SECOND + 1, received_at=9)
    assert record is not None
    assert (record.kind, record.received_at) == ("event", 9)
    (alarm,) = record.alarms
    assert (alarm.equipment, alarm.kind, alarm.start, alarm.open) == ("p", "silent", START, True)
    assert (shard.silent(), shard.counters.alarms["pumps", "silent"]) == (1, 1)
    assert shard.sweep(START + 6 * SECOND) is None, "it is opened once"
    both = shard.sweep(START + 60 * SECOND)
    assert both is not None
    assert [alarm.equipment for alarm in both.alarms] == ["q"]
    assert both.sequence == record.sequence + 1


def test_silence_ends_with_the_next_reading_that_is_admitted() -> None:
    shard = fleet.shard()
    post(shard, sent(0, 5), now=START)
    shard.sweep(START + 60 * SECOND)
    post(shard, sent(0, 2), now=START + 61 * SECOND)
    assert shard.silent() == 1, "a duplicate is no news of the machine"
    stepped = step(shard, [fleet.body(sent(5, 2))], START + 62 * SECOND)
    (alarm,) = stepped.record.alarms
    assert (alarm.kind, alarm.open, alarm.end) == ("silent", False, START + 62 * SECOND)
    assert shard.silent() == 0
    assert shard.sweep(START + 62 * SECOND) is None
    again = shard.sweep(START + 99 * SECOND)
    assert again is not None
    assert again.alarms[0].id != alarm.id


def test_a_machine_can_be_silent_and_in_alarm_at_once() -> None:
    shard = fleet.shard(TRAINED)
    post(shard, faulty(0, 20, by=0.0), faulty(20, 10))
    shard.sweep(START + 10**10)
    assert {alarm.kind for alarm in shard.book.select(open=True, equipment="p")[0]} == {"process", "silent"}


def test_time_in_which_nobody_listened_does_not_count() -> None:
    shard = fleet.shard()
    post(shard, sent(0, 5), now=START)
    later = START + 3600 * SECOND
    shard.hear_all(later)
    assert shard.sweep(later + 4 * SECOND) is None
    assert shard.sweep(later + 6 * SECOND) is not None


def test_an_empty_shard_has_nothing_to_sweep_and_no_pages() -> None:
    shard = Shard(lambda equipment: None)
    assert shard.sweep(START) is None
    assert shard.equipment_ids() == ([], 0)
    shard.hear_all(START)


def test_a_long_interval_and_much_patience_do_not_overflow_the_look_for_silence() -> None:
    yearly = dataclasses.replace(OLD, detector=dataclasses.replace(OLD.detector, interval=366 * 86_400 * SECOND))
    shard = fleet.shard(yearly, limits=ShardLimits(silent_intervals=1_000_000_000))
    post(shard, in_rows([("p", START, {"sensor-0": 1.0})]))
    assert shard.sweep(START + SECOND) is None
