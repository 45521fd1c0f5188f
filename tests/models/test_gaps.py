import numpy as np

from models.gaps import first_after_gap, gap_reset_ticks


def test_a_step_as_long_as_the_limit_is_no_gap() -> None:
    assert first_after_gap(np.array([0, 15, 31]), 15).tolist() == [False, False, True]


def test_neither_no_tick_nor_the_first_one_comes_after_a_gap() -> None:
    assert first_after_gap(np.empty(0, np.int64), 1).tolist() == []
    assert first_after_gap(np.array([7]), 1).tolist() == [False]


def test_a_memory_is_of_use_for_as_long_as_it_looks_back_and_never_less_than_ten_ticks() -> None:
    assert [gap_reset_ticks(window) for window in (1, 10, 30)] == [10, 10, 30]
