import numpy as np
import pytest

from models.exports.stretches import frozen_runs, gap_steps, is_constant, shutdown_runs


def test_a_sensor_without_any_value_is_not_constant() -> None:
    x = np.array([[np.nan, 1, np.nan], [np.nan, 1, 5]])
    assert is_constant(x).tolist() == [False, True, True]


@pytest.mark.parametrize(("length", "found"), [(29, []), (30, [(100, 130)])])
def test_a_freeze_lasts_thirty_ticks(length: int, found: list[tuple[int, int]]) -> None:
    x = np.concatenate([np.arange(100.0), np.full(length, -7.0), np.arange(100.0)])
    assert frozen_runs(x) == found


def test_missing_values_end_a_freeze() -> None:
    x = np.concatenate([np.arange(100.0), np.full(50, 7.5), np.arange(100.0)])
    x[125] = np.nan
    assert frozen_runs(x) == []


def test_a_coarse_sensor_freezes_only_for_longer_than_it_rests() -> None:
    coarse = np.repeat(np.arange(100.0), 2)
    for length, found in ((36, []), (60, [(200, 260)])):
        assert frozen_runs(np.concatenate([coarse, np.full(length, -1.0), coarse])) == found


def test_gaps_are_longer_than_three_steps() -> None:
    assert gap_steps(np.array([0, 1, 4, 8]), 1).tolist() == [2]


def test_short_recordings_have_no_suspected_shutdowns() -> None:
    assert shutdown_runs(np.zeros((599, 3))) == []
    assert shutdown_runs(np.zeros((0, 3))) == []
