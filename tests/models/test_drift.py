import numpy as np
import pytest

from models.drift import RECENT_MIN, DriftMonitor, DriftReference


def reference(seed: int = 0) -> DriftReference:
    rng = np.random.default_rng(seed)
    return DriftReference.fit(rng.normal(size=(20_000, 3)), rng.normal(size=(20_000, 2)) * [1, 5] + [0, 100])


def fed(shift: float = 0.0, spread: float = 1.0, p_power: float = 1.0, memory: float = 0.0) -> DriftMonitor:
    rng = np.random.default_rng(1)
    monitor = DriftMonitor(reference(), half_life=5000)
    for _ in range(200):
        z = rng.normal(size=(64, 3)).astype(np.float32)
        z[:, 1] = z[:, 1] * spread + shift
        p = rng.random(64).astype(np.float32) ** p_power
        monitor.update(z, p, (rng.normal(size=(64, 2)) * [1, 5] + [memory, 100]).astype(np.float32))
    return monitor


def test_what_training_looked_like_is_no_drift() -> None:
    monitor = fed()
    assert (monitor.input_drift() < 0.08).all()
    assert monitor.score_drift() < 0.05
    assert monitor.memory_drift() < 0.1


@pytest.mark.parametrize("shift", [0.5, 1.0, -2.0])
def test_a_shift_is_measured_in_training_standard_deviations_of_its_sensor_alone(shift: float) -> None:
    drift = fed(shift=shift).input_drift()
    assert drift[1] == pytest.approx(abs(shift), abs=0.06)
    assert drift[[0, 2]].max() < 0.08


@pytest.mark.parametrize(("shift", "resolution"), [(3.0, 0.1), (6.5, 1.0), (20.0, 5.0)])
def test_a_shift_down_counts_as_much_as_the_same_shift_up(shift: float, resolution: float) -> None:
    up, down = fed(shift=shift).input_drift()[1], fed(shift=-shift).input_drift()[1]
    assert up == pytest.approx(down, abs=0.1)
    assert up == pytest.approx(shift, abs=resolution)


def test_nothing_is_said_of_a_sensor_that_training_never_saw() -> None:
    rng = np.random.default_rng(4)
    z = rng.normal(size=(1000, 3))
    z[:, 1] = np.nan
    monitor = DriftMonitor(DriftReference.fit(z, rng.normal(size=(1000, 2))))
    monitor.update(np.zeros((200, 3), np.float32), np.full(200, 0.5, np.float32), np.zeros((200, 2), np.float32))
    assert np.isnan(monitor.input_drift()).tolist() == [False, True, False]


def test_a_wider_spread_is_drift_as_well() -> None:
    assert fed(spread=2.0).input_drift()[1] == pytest.approx(np.sqrt(2 / np.pi), abs=0.08)


def test_p_values_that_are_no_longer_uniform_are_score_drift() -> None:
    assert fed(p_power=3.0).score_drift() > 0.3


def test_a_mean_memory_elsewhere_is_memory_drift() -> None:
    assert fed(memory=3.0).memory_drift() == pytest.approx(3 / np.sqrt(2), abs=0.15)


def test_nothing_is_said_before_there_is_enough() -> None:
    monitor = DriftMonitor(reference())
    rows = int(RECENT_MIN) - 1
    monitor.update(np.zeros((rows, 3), np.float32), np.full(rows, 0.5, np.float32), np.zeros((rows, 2), np.float32))
    assert np.isnan(monitor.input_drift()).all()
    assert np.isnan(monitor.score_drift())
    assert np.isnan(monitor.memory_drift())


def test_missing_values_and_ticks_without_a_score_are_not_counted() -> None:
    monitor = fed(shift=1.0)
    hidden = np.full((64, 3), np.nan, np.float32)
    hidden[:, 0] = 0.0
    before = monitor.input_drift()[1]
    monitor.update(hidden, np.full(64, np.nan, np.float32), np.zeros((64, 2), np.float32))
    assert monitor.input_drift()[1] == pytest.approx(before)
    assert np.isfinite(monitor.score_drift())


def test_old_readings_fade() -> None:
    monitor, rng = fed(shift=2.0), np.random.default_rng(2)
    for _ in range(600):
        monitor.update(
            rng.normal(size=(64, 3)).astype(np.float32),
            rng.random(64).astype(np.float32),
            np.zeros((64, 2), np.float32),
        )
    assert monitor.input_drift()[1] < 0.15


def test_state_has_a_constant_size_and_goes_on_bit_for_bit() -> None:
    first = fed(shift=0.3)
    second = DriftMonitor(reference(), half_life=5000)
    second.load(first.state())
    rng = np.random.default_rng(3)
    batch = (
        rng.normal(size=(500, 3)).astype(np.float32),
        rng.random(500).astype(np.float32),
        rng.normal(size=(500, 2)).astype(np.float32),
    )
    for monitor in (first, second):
        monitor.update(*batch)
    np.testing.assert_array_equal(first.input_drift(), second.input_drift())
    assert first.memory_drift() == second.memory_drift()
    assert sum(a.nbytes for a in first.state().values()) == sum(
        a.nbytes for a in DriftMonitor(reference()).state().values()
    )


def test_a_state_or_reference_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        fed().load({**fed().state(), "memory": np.zeros(7)})
    with pytest.raises(ValueError, match="shapes"):
        DriftReference.from_arrays({**reference().as_arrays(), "mean": np.zeros(9, np.float32)})
    with pytest.raises(ValueError, match="has no mean"):
        DriftReference.from_arrays({"cells": np.zeros((1, 1)), "whitening": np.zeros((1, 1))})


def test_a_reference_survives_being_stored() -> None:
    stored = DriftReference.from_arrays(reference().as_arrays())
    np.testing.assert_array_equal(stored.cells, reference().cells)
