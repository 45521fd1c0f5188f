"""RNN, GRU and LSTM: served as torch computes them, and fitted without regard to what was not measured."""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

import numpy as np
import pytest

from models.baselines.methods import METHODS, RECURRENT
from models.baselines.recurrent import WEIGHTS, Recurrent
from models.baselines.recurrent_training import STRETCH, settling, stretches
from models.contract import ModelError
from models.fit import Shape
from tests.builders import process

kinds = pytest.mark.parametrize("kind", RECURRENT)


def network(kind: type[Recurrent], sensors: int = 3, units: int = 5) -> Recurrent:
    rng = np.random.default_rng(0)
    weights: dict[str, Any] = {
        name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in kind.shapes(sensors, units).items()
    }
    return kind(**weights)


@kinds
def test_it_predicts_as_torch_does(kind: type[Recurrent]) -> None:
    torch = pytest.importorskip("torch")
    own, z = network(kind), np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    layer = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind.KIND](3, 5, batch_first=True)
    with torch.no_grad():
        for values, name in zip(layer.parameters(), WEIGHTS, strict=False):
            values.copy_(torch.tensor(getattr(own, name).T))
        hidden = layer(torch.tensor(z)[None])[0][0].numpy()
    memories = own.run(z, np.zeros(own.memory_size, np.float32))
    np.testing.assert_allclose(own.read_out(memories), hidden @ own.W_o + own.b_o, atol=1e-5)


@kinds
def test_an_empty_start_is_waited_for_at_least_the_window(kind: type[Recurrent]) -> None:
    z = np.random.default_rng(1).normal(size=(300, 3))
    assert settling(network(kind), z, 40) >= 40


def test_stretches_cover_every_tick_that_follows_another_once() -> None:
    runs = [np.arange(1.0, 2 * STRETCH + 2)[:, None], np.arange(500.0, 510.0)[:, None]]
    z, weight = stretches(runs, [np.ones(run.shape) for run in runs])
    targets = z[:, 1:][weight[:, 1:] > 0]
    np.testing.assert_array_equal(targets, np.concatenate([run[1:, 0] for run in runs]))
    assert (np.diff(z[:, :, 0])[weight[:, 1:, 0] > 0] == 1).all()


def test_cells_that_were_not_measured_are_no_target() -> None:
    pytest.importorskip("torch")
    z = (process(0, 300) - 100 * np.arange(1, 5)) / 2
    seen = np.ones(z.shape, bool)
    seen[-1] = False
    other = z.copy()
    other[-1] = np.abs(other[-1])
    one, two = (METHODS["rnn"].fit([run], [seen], Shape(4, 4), 0).weights() for run in (z, other))
    for name in WEIGHTS:
        np.testing.assert_array_equal(one[name], two[name])


def test_where_torch_is_missing_it_says_so() -> None:
    with (
        mock.patch.dict(sys.modules, {"torch": None}),
        pytest.raises(ModelError, match="method 'lstm' is trained with torch, which is not installed"),
    ):
        METHODS["lstm"].fit([process(0)], None, Shape(4, 4), 0)
