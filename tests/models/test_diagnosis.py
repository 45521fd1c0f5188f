import numpy as np
import pytest

from models.diagnosis import diagnose
from models.score import MOVED, STATISTICS
from tests.builders import random_detector


def ticks(seed: int, rows: int) -> np.ndarray:
    detector = random_detector(seed, constants=1)
    x = detector.mean + detector.scale * np.random.default_rng(seed).normal(size=(rows, 5))
    x[:, 4] = detector.mean[4]
    return x


@pytest.mark.parametrize("seed", range(6))
def test_the_last_tick_is_taken_apart_as_it_was_scored(seed: int) -> None:
    detector, x = random_detector(seed, constants=1), ticks(seed, 30)
    x[-1, seed % 4] = np.nan
    x[-1, 4] += seed % 2
    state, found = detector.advance(detector.init_state(1), x, [1] * 30)
    taken = diagnose(detector, state, 0)
    assert taken is not None
    np.testing.assert_allclose(taken.contribution, found.contribution[-1], rtol=1e-3, atol=1e-4)
    assert taken.statistic == pytest.approx(taken.contribution.sum())
    assert taken.leading == (*STATISTICS, MOVED)[found.leading[-1]]
    assert taken.share.sum() == pytest.approx(1)
    assert taken.missing.tolist() == [i == seed % 4 for i in range(5)]
    seen = ~taken.missing
    np.testing.assert_allclose(taken.actual[seen], x[-1][seen], rtol=1e-5, atol=1e-4)
    assert taken.expected[4] == pytest.approx(detector.mean[4])


def test_a_machine_without_a_tick_has_nothing_to_take_apart() -> None:
    detector = random_detector(1)
    assert diagnose(detector, detector.init_state(1), 0) is None


def test_while_the_memory_warms_up_nothing_leads() -> None:
    detector = random_detector(1)
    state, _ = detector.advance(detector.init_state(1), ticks(1, 2), [1, 1])
    taken = diagnose(detector, state, 0)
    assert taken is not None
    assert (taken.leading, taken.share.tolist()) == (None, [0.0] * 5)


@pytest.mark.parametrize("missed", [1, 6, 90])
def test_after_ticks_that_did_not_come_expected_is_what_was_expected_so_far_ahead(missed: int) -> None:
    detector, x = random_detector(2, constants=1), ticks(2, 9)
    whole = np.vstack([x[:8], np.full((missed, 5), np.nan)])
    ahead = detector.advance(detector.init_state(1), whole, [1] * len(whole))[0].prediction[0]
    skipped = np.where(np.arange(9) == 8, missed, 0)
    taken = diagnose(detector, detector.advance(detector.init_state(1), x, [1] * 9, skipped=skipped)[0], 0)
    assert taken is not None
    np.testing.assert_allclose(taken.expected, detector.physical(ahead), rtol=1e-4)
    np.testing.assert_allclose(taken.actual, x[8], rtol=1e-4)
