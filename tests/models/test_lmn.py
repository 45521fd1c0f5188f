import numpy as np
import pytest

from models.contract import ModelError
from models.lmn import SCAN_BLOCK, LinearMemoryNetwork, linear_scan, product_by_row, spectral_radius
from tests import naive


def network(seed: int, recurrent: bool, dtype: type = np.float64) -> LinearMemoryNetwork:
    rng = np.random.default_rng(seed)
    d, u, p = 3, 5, 4

    def weights(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / 3).astype(dtype)

    return LinearMemoryNetwork(
        W_hm=weights(p, u),
        W_mm=(np.linalg.qr(rng.normal(size=(p, p)))[0] * 0.9).astype(dtype),
        W_mo=weights(d, p),
        b_o=weights(d),
        W_xh=weights(u, d),
        W_mh=weights(u, p) if recurrent else None,
        b_h=weights(u),
        tanh=np.array([True, True, False, True, False]),
    )


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("ticks", [1, 5, SCAN_BLOCK, 3 * SCAN_BLOCK + 7])
def test_run_equals_the_loop_over_step(recurrent: bool, ticks: int) -> None:
    lmn = network(0, recurrent)
    z = np.random.default_rng(1).normal(size=(ticks, 3))
    memories, predictions = lmn.run(z)
    memory = np.zeros((1, 4))
    for t in range(ticks):
        memory, prediction = lmn.step(memory, z[t : t + 1])
        np.testing.assert_allclose(memories[t], memory[0], atol=1e-10)
        np.testing.assert_allclose(predictions[t], prediction[0], atol=1e-10)


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_run_continues_from_the_memory_before_it(recurrent: bool) -> None:
    lmn = network(2, recurrent)
    z = np.random.default_rng(3).normal(size=(400, 3))
    whole = lmn.run(z)[0]
    first = lmn.run(z[:170])[0]
    np.testing.assert_allclose(lmn.run(z[170:], first[-1])[0], whole[170:], atol=1e-10)


def test_general_network_equals_the_same_equations_in_torch() -> None:
    torch = pytest.importorskip("torch")
    lmn = network(4, recurrent=True)
    z = np.random.default_rng(5).normal(size=(30, 3))
    weight = {n: torch.tensor(getattr(lmn, n)) for n in ("W_xh", "W_mh", "b_h", "W_hm", "W_mm", "W_mo", "b_o")}
    memory = torch.zeros(4, dtype=torch.float64)
    for t in range(30):
        h = weight["W_xh"] @ torch.tensor(z[t]) + weight["W_mh"] @ memory + weight["b_h"]
        h = torch.where(torch.tensor(lmn.tanh), torch.tanh(h), h)
        memory = weight["W_hm"] @ h + weight["W_mm"] @ memory
    np.testing.assert_allclose(lmn.run(z)[1][-1], (weight["W_mo"] @ memory + weight["b_o"]).numpy(), atol=1e-12)


def test_scan_equals_the_naive_recurrence_from_any_start() -> None:
    rng = np.random.default_rng(6)
    keep = np.linalg.qr(rng.normal(size=(5, 5)))[0] * 0.97
    inputs = rng.normal(size=(SCAN_BLOCK * SCAN_BLOCK + 3, 5))
    expected = naive.memories(np.eye(5), keep, inputs)
    np.testing.assert_allclose(linear_scan(inputs, keep.T, np.zeros(5)), expected, atol=1e-9)
    later = linear_scan(inputs[1000:], keep.T, expected[999])
    np.testing.assert_allclose(later, expected[1000:], atol=1e-9)


def test_scan_leaves_its_inputs_alone() -> None:
    inputs = np.ones((300, 2))
    linear_scan(inputs, np.eye(2) * 0.5, np.zeros(2))
    assert (inputs == 1).all()


@pytest.mark.parametrize("rows", [1, 2, 3, 17, 64])
def test_products_by_row_have_the_same_bits_at_every_batch_size(rows: int) -> None:
    rng = np.random.default_rng(7)
    x, w = rng.normal(size=(64, 33)).astype(np.float32), rng.normal(size=(33, 21)).astype(np.float32)
    whole = product_by_row(x, w)
    for start in range(0, 64, rows):
        np.testing.assert_array_equal(product_by_row(x[start : start + rows].copy(), w), whole[start : start + rows])


def test_an_unstable_memory_is_refused() -> None:
    lmn = LinearMemoryNetwork(W_hm=np.eye(2), W_mm=np.eye(2) * 1.01, W_mo=np.eye(2), b_o=np.zeros(2))
    with pytest.raises(ModelError, match=r"spectral radius of W_mm is 1\.01"):
        lmn.check()


def test_weights_that_do_not_fit_or_are_not_finite_are_refused() -> None:
    with pytest.raises(ModelError, match=r"W_hm has shape \(2, 3\); expected \(2, 2\)"):
        LinearMemoryNetwork(np.ones((2, 3)), np.eye(2) / 2, np.eye(2), np.zeros(2)).check()
    with pytest.raises(ModelError, match="W_mo holds values that are not finite"):
        LinearMemoryNetwork(np.eye(2), np.eye(2) / 2, np.full((2, 2), np.nan), np.zeros(2)).check()


def test_spectral_radius_of_a_rotation_is_its_scale() -> None:
    turn = np.array([[0.0, -0.5], [0.5, 0.0]])
    assert spectral_radius(turn) == pytest.approx(0.5)
