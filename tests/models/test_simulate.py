import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.contract import DataError
from models.evaluate import Part, evaluate, pool
from models.preprocess import Segment
from models.pump import KINDS, Fault
from models.simulate import Fleet, simulate, write_csv
from models.train import Options, train

DAYS = ("2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z")
FAULTS = (Fault("leak", 0, 100, 300), Fault("frozen_sensor", 1, 50, 80, sensor="flow"))


def same(one: Fleet, other: Fleet) -> bool:
    return one.values.tobytes() == other.values.tobytes() and one.label.tobytes() == other.label.tobytes()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (simulate(machines=2, ticks=9000, seed=5) for _ in range(2))
    assert same(first, second)
    assert first.faults == second.faults
    write_csv(first, tmp_path / "first.csv")
    write_csv(second, tmp_path / "second.csv")
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()


def test_another_seed_gives_another_fleet() -> None:
    assert not same(simulate(machines=1, ticks=500, seed=1), simulate(machines=1, ticks=500, seed=2))


def test_a_later_start_is_the_same_fleet_on_other_days() -> None:
    first, later = (simulate(machines=3, faults=(), start=start) for start in DAYS)
    assert not np.array_equal(first.values, later.values)

    def head_at_full_speed(fleet: Fleet) -> np.ndarray:
        full = fleet.values[:, :, 3] > 1460
        pressure = fleet.values[:, :, 2] - fleet.values[:, :, 1]
        return np.array([pressure[machine][full[machine]].mean() for machine in range(3)])

    assert np.ptp(head_at_full_speed(first)) > 0.1
    np.testing.assert_allclose(head_at_full_speed(first), head_at_full_speed(later), atol=0.05)


def test_more_machines_leave_the_first_ones_as_they_were() -> None:
    few, many = simulate(machines=2, ticks=500, faults=FAULTS), simulate(machines=4, ticks=500, faults=FAULTS)
    np.testing.assert_array_equal(few.values, many.values[:2])


def test_a_fault_leaves_other_machines_alone() -> None:
    leaking, sound = (simulate(machines=2, ticks=500, faults=faults).values for faults in (FAULTS[:1], ()))
    np.testing.assert_array_equal(leaking[1], sound[1])
    assert not np.array_equal(leaking[0], sound[0])


def test_labels_are_one_while_a_fault_is_there_and_nowhere_else() -> None:
    fleet = simulate(machines=4, seed=7)
    expected = np.zeros_like(fleet.label)
    for fault in fleet.faults:
        expected[fault.machine, fault.start : fault.end] = 1
    np.testing.assert_array_equal(fleet.label, expected)
    assert 0.05 < fleet.label.mean() < 0.5


@pytest.mark.parametrize("machines", [1, 2, 4, 6, 40])
def test_drawn_faults_are_one_of_each_kind_apart_and_spread_over_the_machines(machines: int) -> None:
    fleet = simulate(machines=machines, ticks=2000)
    assert sorted(fault.kind for fault in fleet.faults) == sorted(KINDS)
    assert len({fault.machine for fault in fleet.faults}) == min(machines, len(KINDS))
    for machine in range(machines):
        spans = [(fault.start, fault.end) for fault in fleet.faults if fault.machine == machine]
        assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6, 0.9])
def test_nothing_is_wrong_before_the_faults_begin(share: float) -> None:
    fleet = simulate(machines=3, ticks=3000, fault_after=share)
    assert fleet.faults
    assert not fleet.label[:, : int(3000 * share)].any()


def test_faults_after_the_end_are_none() -> None:
    assert simulate(machines=2, ticks=500, fault_after=1.0).faults == ()


def judged_on_the_second_half(fleet: Fleet) -> list[Part]:
    """Scores, labels and times of each machine, from a model of the first half of all."""
    half = len(fleet.time) // 2
    machines = list(zip(fleet.equipment, fleet.values, fleet.label, strict=True))
    normal = [Segment(name, values[:half]) for name, values, _ in machines]
    detector = train(normal, fleet.sensors, 10_000_000, Options(), fleet.units).detector
    return [
        (detector.run(values, equipment=name).score[half:], label[half:], fleet.time[half:])
        for name, values, label in machines
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_model_of_the_normal_part_keeps_its_budget(seed: int) -> None:
    found = pool(judged_on_the_second_half(simulate(seed=seed, faults=()))).false_alarm_rate
    assert found is not None
    assert 0.001 < found <= 0.01  # as promised


@pytest.mark.parametrize("seed", [0, 1])
def test_a_model_of_the_normal_part_finds_every_fault(seed: int) -> None:
    parts = judged_on_the_second_half(simulate(seed=seed))
    assert pool(parts).false_alarm_rate < 0.02  # with ticks on which a machine recovers from a fault
    for part in parts:  # a machine, with one fault
        assert evaluate(*part).recall > 0.3


def test_every_sensor_has_a_unit_and_every_value_is_there() -> None:
    fleet = simulate(machines=2, ticks=300)
    assert len(fleet.sensors) == len(set(fleet.sensors)) == len(fleet.units) == fleet.values.shape[2]
    assert set(fleet.units) == {"m3/h", "bar", "rpm", "A", "degC", "mm/s"}
    assert np.isfinite(fleet.values).all()
    assert (fleet.values.std(axis=1) > 0).all()


def test_times_are_microseconds_at_the_interval() -> None:
    fleet = simulate(machines=1, ticks=5, interval_seconds=60, start="2026-01-01T09:00:00+09:00", faults=())
    assert fleet.time[0] == np.datetime64("2026-01-01T00:00:00", "us").astype(np.int64)
    assert np.diff(fleet.time).tolist() == [60_000_000] * 4


def test_the_file_holds_what_was_simulated_in_order_of_time(tmp_path: Path) -> None:
    fleet = simulate(machines=2, ticks=400, faults=FAULTS)
    write_csv(fleet, tmp_path / "fleet.csv")
    table = pl.read_csv(tmp_path / "fleet.csv")
    assert table.columns == ["time", "equipment", *fleet.sensors, "label"]
    assert table["time"][:3].to_list() == ["2026-01-01T00:00:00Z"] * 2 + ["2026-01-01T00:00:10Z"]
    for machine, name in enumerate(fleet.equipment):
        own = table.filter(pl.col("equipment") == name)
        np.testing.assert_array_equal(own.select(fleet.sensors).to_numpy(), fleet.values[machine])
        np.testing.assert_array_equal(own["label"].to_numpy(), fleet.label[machine])


def test_a_fleet_of_one_tick_is_a_fleet() -> None:
    assert simulate(machines=1, ticks=1).values.shape == (1, 1, 11)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"machines": 0}, "machines is 0"),
        ({"ticks": 0}, "ticks is 0"),
        ({"interval_seconds": 0}, "interval_seconds is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"fault_after": -0.1}, "fault_after is -0.1"),
        ({"fault_after": 20.0}, "fault_after is 20.0"),
        ({"start": "yesterday"}, "start is 'yesterday'"),
        ({"start": "2026-01-01T00:00:00"}, "expected whole seconds and a zone"),
        ({"faults": [Fault("leak", 1, 0, 5)]}, "lies outside 1 machines"),
        ({"faults": [Fault("leak", 0, 5, 5)]}, "expected start < end inside"),
        ({"faults": [Fault("leak", 0, 5, 11)]}, "and 10 ticks"),
    ],
)
def test_what_cannot_be_simulated_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        simulate(**{"machines": 1, "ticks": 10, **wrong})
