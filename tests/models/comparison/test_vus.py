"""VUS-PR agrees with the public implementation, and behaves at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from models.comparison.vus import BUFFER_OTHERWISE, buffer_of, merged, vus_pr, widened

# what TSB-AD 1.5 (basic_metrics.generate_curve, "opt", 250 thresholds) gives for `example` of the same arguments
PUBLISHED = [
    ((0, 400, [(50, 70), (200, 240)], 0, False), 20, 0.38991957435081775),
    ((1, 400, [(0, 30), (380, 400)], 5, False), 40, 0.22339967234160957),
    ((2, 300, [(100, 110), (118, 125), (200, 201)], 3, True), 30, 0.23371470528920496),
    ((3, 1000, [(500, 800)], -20, False), 100, 0.4878139544874897),
    ((4, 200, [(10, 12)], 0, False), 7, 0.15064102564102563),
]


def example(seed: int, n: int, episodes: list[tuple[int, int]], lag: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng, label = np.random.default_rng(seed), np.zeros(n, int)
    for start, end in episodes:
        label[start:end] = 1
    score = rng.gamma(2, 1, n) + 2 * np.roll(label, lag) * rng.random(n)
    return np.round(score, 1) if ties else score, label


@pytest.mark.parametrize(("arguments", "buffer", "value"), PUBLISHED)
def test_it_agrees_with_the_public_implementation(arguments: tuple, buffer: int, value: float) -> None:  # type: ignore[type-arg]
    assert vus_pr(*example(*arguments), buffer) == pytest.approx(value, abs=1e-9)


def test_without_labels_there_is_none() -> None:
    assert vus_pr(np.ones(5), np.zeros(5), 2) is None


def test_scores_that_tell_nothing_get_the_share_of_anomalous_ticks() -> None:
    label = np.arange(1000) < 300
    assert vus_pr(np.ones(1000), label, 0) == pytest.approx(0.3)


def test_a_small_shift_costs_less_with_a_buffer() -> None:
    label = np.zeros(500, int)
    label[200:230] = 1
    score = np.roll(label, 10) + 0.01 * np.random.default_rng(0).random(500)
    assert vus_pr(score, label, 60) > vus_pr(score, label, 0) + 0.1  # type: ignore[operator]


def test_labels_fade_over_half_the_window_and_episodes_that_touch_are_one() -> None:
    marked = np.zeros(20, bool)
    marked[5:7] = marked[10:12] = True
    soft = widened(marked, [(5, 7), (10, 12)], 4)
    np.testing.assert_allclose(soft[3:9], [0.5**0.5, 0.75**0.5, 1, 1, 0.75**0.5, 1])
    assert merged([(5, 7), (10, 12)], 4, 20) == [(3, 14)]
    assert merged([(5, 7), (10, 12)], 2, 20) == [(4, 8), (9, 13)]


def test_the_buffer_is_the_period_of_the_recording() -> None:
    ticks = np.arange(2000)
    assert buffer_of(np.sin(2 * np.pi * ticks / 50)) == pytest.approx(50, abs=2)
    assert buffer_of(np.linspace(0, 1, 2000)) == BUFFER_OTHERWISE
