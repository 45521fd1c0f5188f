import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.waves import Waves


def machines_of(counts: list[int]) -> list[list[int]]:
    """Rows of each machine, the waves written out."""
    rows: list[list[int]] = [[] for _ in counts]
    row = 0
    for wave in range(max(counts, default=0)):
        for machine, count in enumerate(counts):
            if count > wave:
                rows[machine].append(row)
                row += 1
    return rows


def sizes_of(counts: list[int]) -> list[int]:
    return [sum(count > wave for count in counts) for wave in range(max(counts, default=0))]


some_counts = st.lists(st.integers(1, 6), min_size=1, max_size=6).map(lambda counts: sorted(counts, reverse=True))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(counts=some_counts, seed=st.integers(0, 1000), warmup=st.integers(0, 4))
def test_rows_continue_the_row_before_of_their_machine(counts: list[int], seed: int, warmup: int) -> None:
    rng = np.random.default_rng(seed)
    total = sum(counts)
    reset, entering, rows = rng.random(total) < 0.3, rng.random(len(counts)), rng.random(total)
    blind = rng.random(total) < 0.3
    left = rng.integers(0, warmup + 1, size=len(counts)).astype(np.int32)
    plan = Waves(sizes_of(counts), reset)
    shifted, before = plan.shifted(entering, rows, 9.0), plan.warm_before(left, warmup, blind)
    for machine, own in enumerate(machines_of(counts)):
        found, wait = entering[machine], left[machine]
        for row in own:
            found, wait = (9.0, warmup) if reset[row] else (found, wait)
            assert (shifted[row], before[row]) == (found, wait)
            found, wait = rows[row], wait if blind[row] else max(wait - 1, 0)
        assert plan.last_rows(len(counts))[machine] == own[-1]


@pytest.mark.parametrize("reset", [None, np.zeros(3, bool)])
def test_nothing_starts_anew_where_nothing_is_marked(reset: np.ndarray | None) -> None:
    plan = Waves([2, 1], reset)
    assert plan.reset is None
    np.testing.assert_array_equal(plan.shifted(np.array([5.0, 6.0]), np.array([1.0, 2.0, 3.0]), -1.0), [5, 6, 1])


def test_no_waves_have_no_rows() -> None:
    plan = Waves([], None)
    assert (plan.first, plan.edges) == (0, [])
    assert len(plan.warm_before(np.zeros(0, np.int32), 3, np.zeros(0, bool))) == 0
    assert len(plan.last_rows(0)) == 0
