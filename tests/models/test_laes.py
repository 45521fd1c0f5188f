import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract import ModelError
from models.laes import Block, LagStatistics, LinearAutoencoder, lag_statistics
from tests import naive


def draw(seed: int, rows: int, sensors: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(size=(rows, sensors)), axis=0) * 0.2 + rng.normal(size=(rows, sensors))


@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_lag_statistics_give_exactly_the_products_of_the_history_matrix(discount: float) -> None:
    segments = [draw(1, 40, 3), draw(2, 7, 3), draw(3, 2, 3)]
    total = LagStatistics.empty(3, 5)
    for h in segments:
        total = total + Block.of(h, 5).closed()
    history = naive.history_matrix([np.vstack([h, np.zeros((0, 3))]) for h in segments], 5, discount)
    np.testing.assert_allclose(total.history_products(discount), history.T @ history, atol=1e-9)


@given(cut=st.integers(1, 29), window=st.integers(1, 6), seed=st.integers(0, 99))
def test_two_blocks_that_follow_each_other_join_exactly(cut: int, window: int, seed: int) -> None:
    h = draw(seed, 30, 2)
    joined = Block.of(h[:cut], window).joined(Block.of(h[cut:], window)).closed()
    whole = Block.of(h, window).closed()
    np.testing.assert_allclose(joined.lags, whole.lags, atol=1e-9)
    np.testing.assert_allclose(joined.edge, whole.edge, atol=1e-9)
    np.testing.assert_allclose(joined.total, whole.total, atol=1e-9)


def test_statistics_subtract_what_was_added() -> None:
    a, b = (Block.of(draw(s, 25, 2), 4).closed() for s in (1, 2))
    back = (a + b) - b
    np.testing.assert_allclose(back.history_products(0.9), a.history_products(0.9), atol=1e-9)
    assert back.rows == a.rows


@pytest.mark.parametrize(("memory_size", "discount"), [(4, 1.0), (6, 0.9), (9, 0.7)])
def test_memory_equals_the_dense_decomposition_of_the_history_matrix(memory_size: int, discount: float) -> None:
    segments = [draw(5, 120, 3), draw(6, 80, 3)]
    laes = LinearAutoencoder(memory_size, 4, discount).fit(segments)
    into, keep = naive.laes(segments, memory_size, 4, discount)
    signs = np.sign((laes.A_ * into).sum(1))
    np.testing.assert_allclose(laes.A_, into * signs[:, None], atol=1e-8)
    np.testing.assert_allclose(laes.B_, keep * signs[:, None] * signs, atol=1e-8)


def test_encode_equals_the_loop_over_step_and_the_naive_recurrence() -> None:
    h = draw(7, 300, 3)
    laes = LinearAutoencoder(8, 5, 0.9).fit([h])
    memory, looped = np.zeros(8), []
    for row in h:
        memory = laes.step(memory, row)
        looped.append(memory)
    np.testing.assert_allclose(laes.encode(h), looped, atol=1e-9)
    np.testing.assert_allclose(laes.encode(h), naive.memories(laes.A_, laes.B_, h), atol=1e-9)


@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_one_full_memory_decodes_to_the_inputs_of_its_window(discount: float) -> None:
    h = draw(8, 200, 2)
    laes = LinearAutoencoder(2 * 6, 6, discount).fit([h])
    np.testing.assert_allclose(laes.decode(laes.encode(h)[150], 6), h[150:144:-1], atol=1e-6)


def test_a_small_memory_decodes_better_than_the_mean_does() -> None:
    h = draw(9, 400, 4)
    laes = LinearAutoencoder(6, 5).fit([h])
    recent = laes.decode(laes.encode(h)[-1], 2)
    assert ((recent - h[:-3:-1]) ** 2).sum() < 0.5 * (h[:-3:-1] ** 2).sum()


def test_memory_is_no_larger_than_what_the_window_holds() -> None:
    assert LinearAutoencoder(99, 3).fit([draw(1, 50, 2)]).B_.shape == (6, 6)


@pytest.mark.parametrize("discount", [0.0, 1.5, -1.0])
def test_a_discount_out_of_range_is_refused(discount: float) -> None:
    with pytest.raises(ModelError, match="discount is"):
        LinearAutoencoder(2, 2, discount).fit([draw(1, 20, 2)])


def test_no_rows_are_refused() -> None:
    with pytest.raises(ModelError, match="no rows"):
        LinearAutoencoder(2, 2).fit_statistics(LagStatistics.empty(2, 2))


@pytest.mark.parametrize(("memory_size", "discount"), [(5, 1.0), (12, 0.9), (20, 0.8)])
def test_it_loses_as_little_of_the_histories_as_their_singular_vectors_do(memory_size: int, discount: float) -> None:
    """Against a decomposition of the zero-padded, discounted history matrix itself."""
    h, window = draw(11, 300, 4), 6
    padded = np.vstack([np.zeros((window - 1, 4)), h])
    history = np.hstack([discount**lag * padded[window - 1 - lag : len(padded) - lag] for lag in range(window)])
    kept = np.linalg.svd(history, full_matrices=False)[2][:memory_size]
    best = ((history - history @ kept.T @ kept) ** 2).sum()
    laes = LinearAutoencoder(memory_size, window, discount).fit([h])
    values, vectors = np.linalg.eigh(lag_statistics([h], window).history_products(discount))
    own = vectors[:, ::-1][:, :memory_size]
    np.testing.assert_allclose(np.abs(own[:4]), np.abs(laes.A_.T), atol=1e-8)
    assert ((history - history @ own @ own.T) ** 2).sum() == pytest.approx(best, rel=1e-6)
    assert values[::-1][:memory_size].sum() == pytest.approx((history**2).sum() - best, rel=1e-6)


def test_a_memory_as_large_as_its_window_gives_the_last_inputs_back_exactly() -> None:
    h = draw(12, 400, 3)
    laes = LinearAutoencoder(memory_size=5 * 3, window=5).fit([h])
    memories = laes.encode(h)
    for tick in (4, 57, 399):
        np.testing.assert_allclose(laes.decode(memories[tick], 5), h[tick - 4 : tick + 1][::-1], atol=1e-8)
