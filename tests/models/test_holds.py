import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import MICROSECONDS, Floats
from models.holds import HOLD_MAX, learn_holds, longest_wait
from models.preprocess import Segment
from models.train import Options, train
from tests import naive
from tests.builders import SMALL, names, process

CELL = st.sampled_from([1.0, 2.0, np.nan])


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.lists(CELL, max_size=40))
def test_the_longest_wait_is_that_of_a_plain_loop(values: list[float]) -> None:
    assert longest_wait(np.array(values)) == naive.longest_wait(values)


def column(*values: float) -> Floats:
    return np.array(values)[:, None]


@pytest.mark.parametrize(
    ("parts", "ticks"),
    [
        ([column(1, 2, 3)], 1),
        ([column(1, 1, 1, 2)], 3),
        ([column(1, np.nan, np.nan, 1, 2)], 3),
        ([column(1, 2), column(2, 3)], 1),
        ([column(1, 2), column(5, 5, 6)], 2),
        ([column(1, 2, np.nan, np.nan, np.nan)], 1),
        ([column(1, 2), column(np.nan, np.nan, np.nan)], 1),
    ],
    ids=["moves", "a run", "missing cells", "across a gap", "the longest of all", "no more values", "no sensor there"],
)
def test_a_value_may_be_held_for_twice_the_longest_wait(parts: list[Floats], ticks: int) -> None:
    segments = [Segment("machine", part) for part in parts]
    assert learn_holds(segments, np.array([False]), MICROSECONDS).tolist() == [2 * ticks * MICROSECONDS]


def test_a_hold_stays_within_what_a_manifest_may_say() -> None:
    segment = Segment("machine", np.ones((20_000, 1)))
    assert learn_holds([segment], np.array([False]), 366 * 86_400 * MICROSECONDS).tolist() == [HOLD_MAX]


def test_training_learns_for_each_sensor_how_long_its_values_stand() -> None:
    x = process(3, 600)
    x[:, 1] = np.repeat(x[::6, 1], 6)  # sent every sixth tick, and filled in
    x[np.arange(600) % 4 > 0, 2] = np.nan  # sent every fourth tick
    x[:, 3] = 7.0
    training = train([Segment("machine", x)], names(4), MICROSECONDS, Options(shape=SMALL))
    assert training.model.holds.tolist() == [2 * MICROSECONDS, 12 * MICROSECONDS, 8 * MICROSECONDS, 0]
