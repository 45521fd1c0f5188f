import numpy as np
import pytest

from models.contract import DataError
from models.exports.intervals import machine_intervals, refuse_other_intervals, usual_interval, usual_tolerance
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


def unsteady(name: str, seconds: tuple[float, ...]) -> Series:
    """A machine whose steps are these, again and again."""
    time = np.cumsum(np.tile(seconds, 50) * SECOND).astype(np.int64)
    return Series(name, time, np.zeros((len(time), 1)), None, np.arange(len(time)), np.ones(len(time), bool))


def test_the_tolerance_covers_the_steps_of_every_machine_but_not_ticks_that_did_not_come() -> None:
    assert usual_tolerance([machine("a", 1)], SECOND) == 0.5
    assert usual_tolerance([machine("a", 1, ticks=1)], 0) == 0.5
    assert usual_tolerance([machine("a", 1), machine("b", 1.4)], SECOND) == pytest.approx(0.8, abs=0.002)
    assert usual_tolerance([machine("a", 1), unsteady("b", (0.7, 1.0, 1.3))], SECOND) == 0.858, "2 (1 / 0.7 - 1)"
    assert usual_tolerance([unsteady("holes", (1.0, 1.0, 2.0))], SECOND) == 0.5
