import numpy as np
import pytest

from models.contract import DataError
from models.exports.intervals import machine_intervals, refuse_other_intervals, usual_interval
from models.exports.series import Series

SECOND = 1_000_000


def machine(name: str, seconds: float, ticks: int = 100) -> Series:
    time = (np.arange(ticks) * seconds * SECOND).astype(np.int64)
    return Series(name, time, np.zeros((ticks, 1)), None, np.arange(ticks), np.ones(ticks, bool))


def refuse(*series: Series) -> None:
    refuse_other_intervals(series, usual_interval(series))


def test_the_usual_interval_is_one_that_there_is() -> None:
    assert usual_interval([machine("a", 1), machine("b", 60)]) == SECOND
    assert usual_interval([machine("a", 1, ticks=1)]) == 0
    assert usual_interval([]) == 0


def test_a_machine_in_several_files_has_one_interval() -> None:
    assert machine_intervals([machine("a", 1), machine("a", 2, 50), machine("b", 9, 1)]) == {"a": SECOND}


def test_a_machine_that_is_read_less_often_is_refused_by_name() -> None:
    said = "'slow' has a reading every 60 s, the others one every 1 s; train it with a command of its own"
    with pytest.raises(DataError, match=said):
        refuse(machine("slow", 60), machine("a", 1), machine("b", 1))
    with pytest.raises(DataError, match=said):
        refuse(machine("a", 1), machine("slow", 60))


def test_a_machine_that_is_read_more_often_is_refused_too() -> None:
    with pytest.raises(DataError, match=r"'fast' has a reading every 0\.5 s, the others one every 10 s"):
        refuse(machine("a", 10), machine("b", 10), machine("fast", 0.5))


def test_several_of_them_are_named() -> None:
    with pytest.raises(DataError, match=r"'p' has a reading every 60 s, 'q' has .* every 10 s, .* train them with"):
        refuse(machine("a", 1, 500), machine("p", 60), machine("q", 10))
    with pytest.raises(DataError, match="'m4' has a reading every 60 s, 2 more machines, the others"):
        refuse(machine("a", 1, 5000), *(machine(f"m{i}", 60) for i in range(7)))


def test_intervals_that_differ_by_less_than_half_are_trained_together() -> None:
    refuse(machine("a", 1), machine("b", 1.5), machine("c", 1))
    refuse(machine("a", 1), machine("b", 60, ticks=1))
    refuse()
