"""The convolutional autoencoder, attention and the external memory: numpy computes what torch trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.baselines import sequence_training as training  # noqa: E402
from models.baselines.attention import CausalAttention, softmax  # noqa: E402
from models.baselines.convolution import ConvolutionalAutoencoder, neighbours  # noqa: E402
from models.baselines.external_memory import ExternalMemory  # noqa: E402
from models.contract import ModelError  # noqa: E402
from models.fit import Shape  # noqa: E402
from models.network import Network  # noqa: E402

D, L = 3, 5
BACK = np.array([2, 0, 1])  # where each sensor of the file is in the order of training


def made(kind: str) -> tuple[training.Weights, Network]:
    """The torch network, its sensors in another order, and the numpy network of the file's order."""
    rng = np.random.default_rng(0)
    if kind == "conv-autoencoder":
        net: training.Weights = training.TorchAutoencoder(D, L, rng)
        return net, ConvolutionalAutoencoder(D, L, **net.weights(BACK))
    if kind == "attention":
        net = training.TorchAttention(D, L, 8, rng)
        return net, CausalAttention(D, L, **net.weights(BACK))
    net = training.TorchExternalMemory(D, 7, rng)
    return net, ExternalMemory(**net.weights(BACK))


kinds = pytest.mark.parametrize("kind", ["conv-autoencoder", "attention", "external-memory"])


@kinds
def test_numpy_computes_what_torch_does(kind: str) -> None:
    net, network = made(kind)
    z = np.random.default_rng(1).normal(size=(40, D)).astype(np.float32)
    order = np.argsort(BACK)
    with torch.no_grad():
        wanted = net(torch.tensor(z[:, order])[None], None)[0][0].numpy()[:, BACK]
    after = network.run(z, np.zeros(network.memory_size, np.float32))
    found = network.compared(after, network.read_out(after))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@kinds
def test_stretches_carry_the_memory_on(kind: str) -> None:
    net, _ = made(kind)
    z = torch.tensor(np.random.default_rng(1).normal(size=(2, 30, D)).astype(np.float32))
    whole, _ = net(z, None)
    first, memory = net(z[:, :11], None)
    second, _ = net(z[:, 11:], memory)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


@kinds
def test_every_machine_on_its_own_bit_for_bit(kind: str) -> None:
    _, network = made(kind)
    rng = np.random.default_rng(2)
    memory = rng.normal(size=(6, network.memory_size)).astype(np.float32)
    z = rng.normal(size=(6, D)).astype(np.float32)
    together = network.step(memory, z)
    for row in range(6):
        alone = network.step(memory[row : row + 1], z[row : row + 1])
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], other[row])


@kinds
def test_weights_that_do_not_fit_are_refused(kind: str) -> None:
    _, network = made(kind)
    weights = network.weights()
    again = type(network).of_weights(weights, D, network.memory_size)
    for name, weight in again.weights().items():
        np.testing.assert_array_equal(weight, weights[name])
    for name in weights:
        spoilt = {**weights, name: np.concatenate([weights[name]] * 2)}
        with pytest.raises(ModelError):
            type(network).of_weights(spoilt, D, network.memory_size)
    with pytest.raises(ModelError, match="not finite"):
        type(network).of_weights({**weights, name: weights[name] * np.nan}, D, network.memory_size).check()


@pytest.mark.parametrize("fit", [training.fit_autoencoder, training.fit_attention, training.fit_external_memory])
def test_training_beats_the_mean(fit: Callable[..., Network]) -> None:
    from models.network import residuals

    rng, z = np.random.default_rng(3), np.zeros((400, D))
    for t in range(1, len(z)):
        z[t] = 0.95 * z[t - 1] + 0.3 * rng.normal(size=D)
    network = fit([z], None, Shape(8, 4), 0)
    assert (residuals(network, z)[20:] ** 2).mean() < 0.8 * z[20:].var()


def test_neighbours_and_softmax() -> None:
    ticks = np.arange(6.0).reshape(1, 3, 2)
    np.testing.assert_array_equal(neighbours(ticks)[0, 0], [0, 0, 0, 1, 2, 3])
    np.testing.assert_array_equal(neighbours(ticks)[0, 2], [2, 3, 4, 5, 0, 0])
    np.testing.assert_allclose(softmax(np.array([1e9, 1e9])), [0.5, 0.5])
