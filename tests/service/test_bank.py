import numpy as np
import pytest

from service import bank as module
from service.bank import Bank, Mapping
from service.micro_batch import gather
from tests.service import fleet
from tests.service.fleet import body, in_columns, in_rows, seconds

MODEL = ("a", "b", "c")


@pytest.fixture
def bank() -> Bank:
    return Bank(fleet.model(), 0, 1000)


@pytest.mark.parametrize(
    ("sent", "sensors", "columns", "complete", "straight", "unknown"),
    [
        (("a", "b", "c"), [0, 1, 2], [0, 1, 2], True, True, []),
        (("c", "a", "b"), [0, 1, 2], [1, 2, 0], True, False, []),
        (("a", "b", "c", "x"), [0, 1, 2], [0, 1, 2], True, False, [3]),
        (("x", "c"), [2], [1], False, False, [0]),
        ((), [], [], False, False, []),
    ],
)
def test_columns_of_a_body_meet_the_sensors_by_name(sent, sensors, columns, complete, straight, unknown):
    found = Mapping.between(MODEL, sent)
    assert found.sensors.tolist() == sensors
    assert found.columns.tolist() == columns
    assert (found.complete, found.straight, found.unknown.tolist()) == (complete, straight, unknown)


def test_values_come_out_in_the_order_of_the_model_whatever_the_form(bank: Bank) -> None:
    values = np.arange(8.0).reshape(2, 4)
    shuffled = in_columns("p", ["sensor-3", "sensor-1", "sensor-0", "sensor-2"], seconds(0, 2), values[:, [3, 1, 0, 2]])
    straight = in_columns("q", bank.detector.sensors, seconds(0, 2), values)
    partial = in_rows([("r", int(seconds(0, 1)[0]), {"sensor-2": 7.0, "colour": 1.0})])
    alone = gather([body(shuffled)])
    np.testing.assert_array_equal(bank.collect(alone, np.arange(2)), values)
    batch = gather([body(shuffled), body(partial), body(straight)])
    found = bank.collect(batch, np.arange(5))
    np.testing.assert_array_equal(found[:2], values)
    np.testing.assert_array_equal(found[2], [np.nan, np.nan, 7.0, np.nan])
    np.testing.assert_array_equal(found[3:], values)
    np.testing.assert_array_equal(bank.collect(batch, np.array([4, 0])), values[[1, 0]])


def test_readings_without_a_sensor_of_the_model_are_found(bank: Bank) -> None:
    start = int(seconds(0, 1)[0])
    batch = gather([body(in_rows([("p", start, {"colour": 1.0}), ("q", start, {"sensor-0": None}), ("r", start, {})]))])
    owners = [batch.equipment[i] for i in batch.per_reading(np.arange(3)).tolist()]
    blind = bank.blind(batch, np.arange(3))
    assert blind is not None
    assert {owner for owner, lacks in zip(owners, blind.tolist(), strict=True) if lacks} == {"p", "r"}
    only = np.array([owners.index("q")])
    assert bank.blind(batch, only) is None


def test_a_reading_borrows_no_sensor_from_those_it_shares_a_table_with(bank: Bank) -> None:
    start = int(seconds(0, 1)[0])
    sets = [{f"sensor-{i % 4}": 1.0, f"other-{i}": 1.0, "colour": 1.0} for i in range(12)]
    readings = [(f"p{i}", start, values) for i, values in enumerate(sets)]
    decoded = body(in_rows([*readings, ("bare", start, {"colour": 1.0}), ("empty", start, {})]))
    assert any(batch.absent is not None for batch in decoded.batches), "these sets share a table"
    batch = gather([decoded])
    blind = bank.blind(batch, np.arange(14))
    assert blind is not None
    owners = [batch.equipment[i] for i in batch.per_reading(np.arange(14)).tolist()]
    assert {owner for owner, lacks in zip(owners, blind.tolist(), strict=True) if lacks} == {"bare", "empty"}
    told = list(bank.unknown(batch, np.arange(14)))
    assert sum(values for *_, values in told) == 12 * 2 + 1
    assert {name for _, names, _ in told for name in names} == {"colour", *(f"other-{i}" for i in range(12))}


def test_unknown_sensors_are_told_of_the_readings_asked_for_alone(bank: Bank) -> None:
    first = in_columns("p", ["sensor-0", "x", "y"], seconds(0, 3), np.ones((3, 3)))
    second = in_columns("q", ["sensor-0", "x", "y"], seconds(0, 2), np.ones((2, 3)))
    batch = gather([body(first), body(second)])
    assert list(bank.unknown(batch, np.array([0, 2]))) == [(0, ["x", "y"], 4)]
    assert [number for number, *_ in bank.unknown(batch, np.arange(5))] == [0, 1]


def test_mappings_are_remembered_within_a_bound(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bank.mapping(("sensor-0",)) is bank.mapping(("sensor-0",))
    monkeypatch.setattr(module, "MAPPED_NAMES_MAX", 50)
    for i in range(40):
        bank.mapping(tuple(f"x{i}-{j}" for j in range(20)))
        assert sum(map(len, bank._mappings)) <= 50
    assert bank.mapping(("sensor-1",)).sensors.tolist() == [1]


def test_a_row_given_back_is_used_again_as_new(bank: Bank) -> None:
    first, second = bank.take_row(), bank.take_row()
    bank.columns["memory"][first] = 5.0
    bank.columns["warm_left"][first] = -1
    bank.give_row(first)
    assert bank.machines == 1
    assert bank.take_row() == first
    assert (bank.columns["memory"][first] == 0).all()
    assert bank.columns["warm_left"][first] == bank.detector.warmup
    assert bank.columns["prediction"][first].tolist() == bank.detector.init_state(1).prediction[0].tolist()
    assert (second, bank.machines) == (1, 2)


def test_the_drift_monitor_has_every_reading_when_it_is_asked(bank: Bank) -> None:
    to = fleet.shard(bank.model)
    for start in range(5):
        fleet.post(to, in_columns("p", bank.detector.sensors, seconds(start, 1), fleet.normal(bank.detector, start, 1)))
    (used,) = to.banks.values()
    assert float(used.settled_monitor().state()["weight"][0]) == pytest.approx(5, rel=1e-2)
    fleet.post(to, in_columns("p", bank.detector.sensors, seconds(9, 200), fleet.normal(bank.detector, 7, 200)))
    assert float(used.settled_monitor().state()["weight"][0]) == pytest.approx(205, rel=1e-2)


def test_what_the_drift_monitor_holds_does_not_depend_on_who_looks(bank: Bank) -> None:
    shards = [fleet.shard(bank.model) for _ in range(2)]
    for start in range(0, 150, 10):
        x = fleet.normal(bank.detector, start, 10)
        for to in shards:
            fleet.post(to, in_columns("p", bank.detector.sensors, seconds(start, 10), x))
        (watched,) = shards[0].banks.values()
        assert float(watched.settled_monitor().state()["weight"][0]) == pytest.approx(start + 10, rel=0.01)
    ours, theirs = (next(iter(to.banks.values())).drift_state() for to in shards)
    assert len(ours["waiting_z"]) == 150 % 70
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, name)
