import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calibrate import (
    KNOTS_MAX,
    CrossFit,
    Piece,
    between_blocks,
    calibrate,
    cut_blocks,
    p_value_table,
    settled,
    statistics,
)
from models.contract import ModelError
from models.fit import Shape
from models.laes import Block
from tests import naive
from tests.builders import process

SHAPE = Shape(6, 4, 1.0)


def standardised(seed: int, rows: int = 500) -> np.ndarray:
    x = process(seed, rows, 3)
    return (x - x.mean(0)) / x.std(0)


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5), blocks=st.integers(2, 6))
def test_blocks_cover_every_row_once_in_order(lengths: list[int], blocks: int) -> None:
    parts = cut_blocks(lengths, ["a"] * len(lengths), blocks)
    rows = [(p.run, t) for part in parts for p in part for t in range(p.start, p.stop)]
    assert rows == [(run, t) for run, length in enumerate(lengths) for t in range(length)]


def test_every_machine_has_its_part_in_every_block() -> None:
    parts = cut_blocks([50, 100], ["a", "b"], 5)
    assert [{p.run for p in part} for part in parts] == [{0, 1}] * 5


def test_what_remains_without_a_block_are_separate_runs_with_exact_statistics() -> None:
    z = standardised(0)
    cross = CrossFit.prepare([z], None, ["a"], 5, SHAPE)
    remaining = cross.complement(left_out=2)
    assert [p for p, _ in remaining] == [Piece(0, 0, 200), Piece(0, 300, 500)]
    for piece, block in remaining:
        np.testing.assert_allclose(block.lags, Block.of(z[piece.start : piece.stop], 4).lags, atol=1e-9)


def test_held_out_residuals_come_from_a_model_that_has_not_seen_them() -> None:
    z = standardised(1)
    changed = z.copy()
    changed[200:300] += 100
    same = [CrossFit.prepare([v], None, ["a"], 5, SHAPE).core(2).readout for v in (z, changed)]
    np.testing.assert_array_equal(*same)


def test_statistics_equal_the_naive_loop() -> None:
    rng = np.random.default_rng(2)
    residual = rng.standard_t(3, size=(120, 3))
    precision = np.linalg.inv(np.cov(residual.T))
    np.testing.assert_allclose(
        statistics(residual, precision, 2.5), naive.statistics(residual, precision, 2.5), rtol=1e-9
    )


def test_what_serving_does_not_judge_after_a_start_is_not_calibrated_on() -> None:
    z = standardised(8)
    cross = CrossFit.prepare([z[:200], z[200:]], None, ["a", "a"], 5, SHAPE)
    lengths = [[len(r) for r in part] for part in settled(cross.held_out(), 30)]
    assert lengths == [[70], [100], [70], [100], [100]]  # each run loses its first 30 rows
    held_out = cross.held_out()[1][0]
    np.testing.assert_array_equal(settled(cross.held_out(), 30)[1][0], held_out.residual)


def test_blocks_in_threads_are_as_one_after_the_other() -> None:
    cross = CrossFit.prepare([standardised(9)], None, ["a"], 5, SHAPE)
    for block, found in enumerate(cross.held_out()):
        alone = cross.residuals(cross.core(block), cross.pieces[block][0])
        np.testing.assert_array_equal(found[0].residual, alone.residual)


def test_the_promise_is_kept_on_rows_never_seen() -> None:
    kept = []
    for seed in range(6):
        x = process(seed, 4000, 3)
        z = (x - x[:2000].mean(0)) / x[:2000].std(0)
        cross = CrossFit.prepare([z[:2000]], None, ["a"], 5, SHAPE)
        calibration = calibrate(settled(cross.held_out(), SHAPE.window), 0.01, cross.level_shares())
        precision = np.linalg.inv(calibration.covariance)
        values = statistics(cross.core().residuals(z[2000:])[4:], precision, calibration.cap)
        kept.append(((values / calibration.quantiles).max(1) / calibration.combine >= 1).mean())
        assert calibration.supported
    assert 0.001 < np.mean(kept) < 0.01


def test_a_recording_that_is_still_warming_up_does_not_support_its_budget() -> None:
    z = standardised(3)
    z[:, 1] += np.linspace(-6, 6, len(z))
    cross = CrossFit.prepare([z], None, ["a"], 5, SHAPE)
    shares = cross.level_shares()
    assert shares[1] > 0.8
    assert shares[[0, 2]].max() < 0.3
    assert not calibrate(settled(cross.held_out(), SHAPE.window), 0.01, shares).supported


def test_blocks_of_unlike_noise_do_not_support_the_budget() -> None:
    z = standardised(4)
    z[400:] *= 4
    cross = CrossFit.prepare([z], None, ["a"], 5, SHAPE)
    calibration = calibrate(settled(cross.held_out(), SHAPE.window), 0.01, np.zeros(3))
    assert calibration.spread > 5
    assert not calibration.supported


def test_a_budget_rarer_than_a_block_can_show_is_provisional() -> None:
    cross = CrossFit.prepare([standardised(5)], None, ["a"], 5, SHAPE)
    held_out = settled(cross.held_out(), SHAPE.window)
    assert calibrate(held_out, 0.001, cross.level_shares()).provisional
    assert not calibrate(held_out, 0.05, cross.level_shares()).provisional


def test_between_blocks_grows_with_the_spread() -> None:
    steady, spread = np.full(5, 2.0), np.array([1.0, 1.5, 2.0, 2.7, 4.0])
    assert between_blocks(spread) > spread.max()
    assert between_blocks(steady) == pytest.approx(2.0)


def test_p_values_count_exactly_and_a_long_recording_keeps_its_highest_scores() -> None:
    scores = np.sort(np.random.default_rng(6).gamma(3, size=20_000))
    knots, p_values = p_value_table(scores)
    assert len(knots) <= KNOTS_MAX
    np.testing.assert_array_equal(knots[-1000:], scores[-1000:])
    for knot, p in zip(knots[::97], p_values[:-1][::97], strict=True):
        assert p == pytest.approx((1 + (scores >= knot).sum()) / 20_001)
    assert p_values[-1] == pytest.approx(1 / 20_001)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 2.0])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ModelError, match="false-alarm rate is"):
        calibrate([], rate, np.zeros(1))


def test_too_few_rows_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(ModelError, match=r"40 usable rows are too few.* at least 70"):
        CrossFit.prepare([standardised(7, 40)], None, ["a"], 5, SHAPE)


def test_rows_in_crumbs_are_refused() -> None:
    crumbs = [standardised(s, 6) for s in range(20)]
    with pytest.raises(ModelError, match="no stretch of rows is longer"):
        CrossFit.prepare(crumbs, None, ["a"] * 20, 5, SHAPE).core()
