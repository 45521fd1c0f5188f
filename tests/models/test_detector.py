import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.detector import Detector
from models.score import MOVED_WEIGHT, STATISTICS
from models.state import Ticks
from tests import naive
from tests.builders import process, random_detector, trained


def physical(detector: Detector, seed: int, *shape: int, missing: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = detector.mean + detector.scale * rng.normal(size=(*shape, len(detector.sensors)))
    x[..., detector.fixed] = detector.mean[detector.fixed]
    x[rng.random(x.shape) < missing] = np.nan
    return x


def by_machine(detector: Detector, x: np.ndarray, chunks: list[int]) -> np.ndarray:
    """Scores (ticks, machines) of x (ticks, machines, d), fed in chunks of ticks."""
    state, scores, t = detector.init_state(x.shape[1]), [], 0
    for size in chunks:
        part = x[t : t + size]
        state, ticks = detector.advance(state, part.reshape(-1, x.shape[2]), [x.shape[1]] * len(part))
        scores.append(ticks.score.reshape(len(part), -1))
        t += size
    return np.concatenate(scores)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    sensors=st.integers(1, 40),
    memory_size=st.integers(1, 70),
    machines=st.integers(1, 9),
    chunks=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    missing=st.sampled_from([0.0, 0.02, 0.3]),
)
def test_scores_have_the_same_bits_whatever_the_batch(
    seed: int, sensors: int, memory_size: int, machines: int, chunks: list[int], missing: float
) -> None:
    detector = random_detector(seed, sensors, memory_size, constants=min(seed % 3, sensors - 1))
    x = physical(detector, seed, sum(chunks), machines, missing=missing)
    alone = np.stack([detector.run(x[:, j]).score for j in range(machines)], 1)
    np.testing.assert_array_equal(by_machine(detector, x, chunks), alone)
    np.testing.assert_array_equal(by_machine(detector, x, [1] * len(x)), alone)


def test_machines_with_unequal_numbers_of_ticks_share_a_batch() -> None:
    detector = random_detector(1)
    x = physical(detector, 2, 9, 3)
    counts = [9, 5, 2]
    rows = [x[k, j] for k in range(9) for j in range(3) if counts[j] > k]
    state, ticks = detector.advance(detector.init_state(3), np.array(rows), [3, 3, 2, 2, 2, 1, 1, 1, 1])
    for j, row in enumerate((14, 13 - 3, 4)):
        alone = detector.run(x[: counts[j], j])
        del row
        np.testing.assert_array_equal(state.score[j], alone.score[-1])
        np.testing.assert_array_equal(state.memory[j], alone.memory[-1])
    assert len(ticks.score) == sum(counts)


def test_serving_equals_the_naive_recurrence_and_statistics() -> None:
    training = trained(sensors=4)
    detector = training.detector
    x = process(3, 200)
    ticks = detector.run(x)
    z = (x - detector.mean) / detector.scale
    net, scoring = detector.network, detector.scoring
    memories = naive.memories(net.W_hm.astype(float), net.W_mm.astype(float), z)
    before = np.vstack([np.zeros(net.memory_size), memories[:-1]])
    residual = z - (before @ net.W_mo.T + net.b_o)
    np.testing.assert_allclose(ticks.residual, residual, atol=1e-4)
    start = detector.warmup
    values = naive.statistics(residual[start:], scoring.precision.astype(float), float(scoring.cap))
    expected = (values / scoring.quantiles).max(1) / scoring.combine
    np.testing.assert_allclose(ticks.score[start:], expected, rtol=2e-4)
    assert np.isnan(ticks.score[:start]).all()


def test_contributions_sum_to_the_squared_prediction_error() -> None:
    detector = trained().detector
    ticks = detector.run(process(4, 100))
    e = ticks.residual.astype(float)
    q = np.einsum("ij,jk,ik->i", e, detector.scoring.precision.astype(float), e) / 4
    np.testing.assert_allclose(ticks.contribution.sum(1), q, rtol=1e-4)


def test_p_value_counts_the_held_out_scores_at_or_above() -> None:
    detector = trained().detector
    ticks = detector.run(process(5, 300))
    knots = detector.scoring.knots
    for score, p in zip(ticks.score[10:], ticks.p_value[10:], strict=True):
        assert p == pytest.approx((1 + (knots >= score).sum()) / (len(knots) + 1), rel=1e-5)


def spiked(detector: Detector, at: int, sensor: int, by: float, rows: int = 120) -> Ticks:
    x = process(6, rows)
    x[at, sensor] += by
    return detector.run(x)


def test_one_huge_spike_does_not_hold_the_score_up() -> None:
    ticks = spiked(trained().detector, 60, 2, 50.0)
    assert ticks.score[60] > 50
    assert ticks.fresh[60]
    assert (ticks.score[100:] < 1).all()  # without winsorising, 30 ln(50 / 1) = 117 ticks more


def test_what_decays_after_a_spike_is_not_a_fresh_exceedance() -> None:
    ticks = spiked(trained().detector, 60, 2, 60.0)
    after = slice(66, 80)
    assert not (ticks.fresh & (ticks.score < np.append(np.nan, ticks.score[:-1])))[after].any()


def test_reset_starts_a_machine_anew() -> None:
    detector = random_detector(3)
    x = physical(detector, 4, 30)
    reset = np.zeros(30, bool)
    reset[12] = True
    whole = detector.run(x, reset=reset)
    np.testing.assert_array_equal(whole.score[12:], detector.run(x[12:]).score)
    np.testing.assert_array_equal(whole.score[:12], detector.run(x[:12]).score)


def test_a_missing_value_is_estimated_and_left_out() -> None:
    detector = random_detector(5, sensors=3)
    x = physical(detector, 6, 20)
    x[10, 1] = np.nan
    ticks = detector.run(x)
    before = detector.run(x[:10])
    z = detector.standardise(x[10:11])[0]
    expected = before.memory[-1] @ detector.network.W_mo.T + detector.network.b_o
    covariance = np.linalg.inv(detector.scoring.precision.astype(float))
    missing = np.array([False, True, False])
    residual = naive.conditional(np.where(missing, 0, z - expected).astype(float), missing, covariance)
    np.testing.assert_allclose(ticks.residual[10], residual, atol=1e-4)
    assert np.isnan(ticks.z[10, 1])
    assert np.isfinite(ticks.score[10])


def test_a_tick_without_any_sensor_has_no_score_and_the_machine_goes_on() -> None:
    detector = random_detector(7)
    x = physical(detector, 8, 30)
    x[15] = np.nan
    ticks = detector.run(x)
    assert np.isnan(ticks.score[15])
    assert np.isfinite(ticks.score[16:]).all()


def test_missing_sensors_keep_the_false_alarms_down() -> None:
    detector = trained(rows=3000).detector
    x = process(7, 3000)
    x[np.random.default_rng(8).random(x.shape) < 0.15] = np.nan
    ticks = detector.run(x)
    assert np.nanmean(ticks.score >= 1) < 0.02


def test_a_constant_sensor_that_moves_is_news_at_once() -> None:
    detector = random_detector(9, sensors=4, constants=1)
    x = physical(detector, 10, 60)
    quiet = detector.run(x)
    x[40:, 3] += 0.5
    ticks = detector.run(x)
    np.testing.assert_array_equal(ticks.score[:40], quiet.score[:40])
    assert (ticks.score[40:] >= 1).all()
    assert ticks.fresh[40]
    assert ticks.leading[59] == len(STATISTICS)
    assert ticks.score[59] <= MOVED_WEIGHT


@pytest.mark.parametrize("value", [1e308, -1e308, 1e20])
def test_an_absurd_value_leaves_the_memory_finite(value: float) -> None:
    detector = random_detector(11)
    x = physical(detector, 12, 30)
    x[10, 0] = value
    state, ticks = detector.advance(detector.init_state(1), x, [1] * 30)
    assert ticks.score[10] > 1
    assert np.isfinite(state.memory).all()
    assert np.isfinite(state.mewma).all()


def test_machines_of_training_are_centred_on_themselves() -> None:
    detector = random_detector(13, sensors=2)
    centres = np.array([[5.0, -5.0], [7.0, 1.0]])
    own = Detector(**{**vars(detector), "equipment": ("a", "b"), "centres": centres})
    x = physical(detector, 14, 20)
    moved = own.run(x - detector.mean + centres[1], equipment="b")
    np.testing.assert_allclose(moved.score, detector.run(x).score, rtol=1e-3)
    assert own.centre_index("unknown") == 0
