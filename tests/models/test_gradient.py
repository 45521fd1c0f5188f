"""LMN by gradient: written-out gradients, the pretraining of the paper, and the same numbers from numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.contract import ModelError  # noqa: E402
from models.gradient import GradientNetwork, WindowNetwork, _Recurrence, _Window, hidden_states, pretrained  # noqa: E402
from models.harness import Schedule, Sequence, mean_loss, predict, train  # noqa: E402
from models.laes import LinearAutoencoder  # noqa: E402

READ_OUTS = ["A", "B", "both"]


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng([seed, *shape]).normal(size=shape), requires_grad=True)


def sequences(count: int = 4, ticks: int = 40, inputs: int = 3) -> list[Sequence]:
    rng = np.random.default_rng(7)
    x = [rng.normal(size=(ticks + i, inputs)).astype(np.float32) for i in range(count)]
    return [Sequence(z[:-1], z[1:]) for z in x]


def test_the_gradients_of_the_recurrence_are_those_of_its_differences() -> None:
    given = (numbers(5, 2, 4), numbers(2, 6), numbers(4, 6), numbers(6, 4), numbers(6, 6))
    assert torch.autograd.gradcheck(_Recurrence.apply, given)


def test_the_gradients_of_the_window_are_those_of_its_differences() -> None:
    past = numbers(3, 2, 4).detach()
    assert torch.autograd.gradcheck(
        lambda drive, W: _Window.apply(drive, past, W), (numbers(6, 2, 4), numbers(3, 4, 4))
    )


def test_a_window_reads_the_last_hidden_states_and_those_before_its_start() -> None:
    drive, past, W = numbers(7, 2, 4).detach(), numbers(3, 2, 4).detach(), numbers(3, 4, 4).detach()
    hidden = list(past)
    for row in drive:
        hidden.append(torch.tanh(row + sum(hidden[-i] @ W[i - 1].T for i in (1, 2, 3))))
    torch.testing.assert_close(_Window.apply(drive, past, W), torch.stack(hidden[3:]))


@pytest.mark.parametrize("read_out", READ_OUTS)
def test_stretches_carry_the_memory_on(read_out: str) -> None:
    x = torch.tensor(sequences(1)[0].inputs)[None]
    for net in (GradientNetwork(3, 3, 5, 6, read_out), WindowNetwork(3, 3, 5, 4, read_out)):  # type: ignore[arg-type]
        whole, _ = net(x, None)
        first, memory = net(x[:, :17], None)
        second, _ = net(x[:, 17:], memory)
        torch.testing.assert_close(torch.cat([first, second], 1), whole)


@pytest.mark.parametrize("read_out", READ_OUTS)
def test_numpy_computes_what_torch_does(read_out: str) -> None:
    net = GradientNetwork(3, 3, 5, 6, read_out, "orthogonal", seed=3)  # type: ignore[arg-type]
    data = sequences(1, 300)
    lmn = net.exported()
    lmn.check()
    _, found = lmn.run(data[0].inputs)
    np.testing.assert_allclose(found, predict(net, data)[0], rtol=1e-4, atol=1e-4)
    memory, looped = np.zeros((1, lmn.memory_size), np.float32), []
    for row in data[0].inputs:
        memory, y = lmn.step(memory, row[None])
        looped.append(y[0])
    np.testing.assert_array_equal(found, np.array(looped))


@pytest.mark.parametrize("read_out", READ_OUTS)
def test_a_memory_that_holds_the_whole_window_computes_what_the_window_network_does(read_out: str) -> None:
    data, window, units = sequences(), 4, 5
    first = WindowNetwork(3, 3, units, window, read_out, seed=2)  # type: ignore[arg-type]
    network, pretraining = pretrained(first, data, memory_size=units * window)
    assert pretraining.lost < 1e-8
    for one, other in zip(predict(network, data), predict(first, data), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


def test_the_memory_is_the_laes_of_the_hidden_states() -> None:
    data = sequences()
    first = WindowNetwork(3, 3, 5, 4, "B", seed=2)
    network, pretraining = pretrained(first, data, memory_size=7, window=6, discount=0.9)
    laes = LinearAutoencoder(7, 6, 0.9).fit(hidden_states(first, data))
    np.testing.assert_allclose(network.W_hm.detach(), laes.A_, atol=1e-6)
    np.testing.assert_allclose(network.W_mm.detach(), laes.B_, atol=1e-6)
    assert 0.05 < pretraining.lost < 1
    with pytest.raises(ModelError, match="a memory of 2 ticks cannot stand for a window of 4"):
        pretrained(first, data, memory_size=7, window=2)


def test_a_memory_that_would_grow_is_scaled_back_as_it_is_trained() -> None:
    net = GradientNetwork(3, 3, 5, 6)
    with torch.no_grad():
        net.W_mm.mul_(100)
    net.settle()
    net.exported().check()


def test_pretraining_then_tuning_learns_what_lies_beyond_the_window() -> None:
    """What is wanted is the product of this input and that of three ticks ago."""
    rng, data = np.random.default_rng(0), []
    for _ in range(40):
        x = rng.choice([-1.0, 1.0], size=(40, 1)).astype(np.float32)
        wanted = np.zeros_like(x)
        wanted[3:] = x[3:] * x[:-3]
        data.append(Sequence(x, wanted))

    def squares(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return (outputs - wanted) ** 2

    schedule = Schedule(learning_rate=1e-2, batch=8, epochs_max=30, patience=30)
    first = WindowNetwork(1, 1, 12, 4, "B", seed=0)
    train(first, data[:30], lambda net: mean_loss(net, data[30:], squares), squares, schedule)
    before = mean_loss(first, data[30:], squares)
    network, _ = pretrained(first, data[:30], memory_size=24)
    train(network, data[:30], lambda net: mean_loss(net, data[30:], squares), squares, replace(schedule, epochs_max=15))
    assert before < 0.5
    assert mean_loss(network, data[30:], squares) < before
