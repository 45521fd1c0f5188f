"""An LMN for a recording, trained by gradient: pretraining and fine-tuning on next-reading prediction.

The same weights as those of the closed form come of it, so that what serves one serves the other, without torch. The
sensors are put in an order that the data give, so that the order of columns does not matter.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from models.baselines.recurrent_training import settling
from models.contract import Bools, Floats
from models.fit import Shape
from models.gradient import GradientNetwork, WindowNetwork, pretrained
from models.harness import Schedule, Sequence, mean_loss, train
from models.network import Remembered, refuse_greater

STRETCH = 128  # ticks of a sequence
HELD_OUT = 0.15  # share of the sequences
WINDOW_MAX = 10  # hidden states that the pretrained network reads
PRETRAINING = Schedule(learning_rate=5e-3, memory_rate=0.1, batch=8, epochs_max=40, patience=5, stretch=64)
TUNING = replace(PRETRAINING, learning_rate=2e-3)


def fit(runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int) -> Remembered:
    """An LMN-B with `shape.memory_size` memory values and half as many tanh units, at least one a sensor, pretrained
    with a window of `shape.window` ticks, at most WINDOW_MAX."""
    units = max(shape.memory_size // 2, runs[0].shape[1])
    refuse_greater(shape.memory_size)
    order = np.argsort(sum((np.abs(z) ** 3).sum(0) for z in runs), kind="stable")
    used, checked = _split(_sequences(runs, seen, order), seed)

    def loss(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return (outputs - wanted) ** 2

    def criterion(network: WindowNetwork | GradientNetwork) -> float:
        return mean_loss(network, checked, loss)

    d = runs[0].shape[1]
    first = WindowNetwork(d, d, units, min(shape.window, WINDOW_MAX), "B", seed)
    train(first, used, criterion, loss, replace(PRETRAINING, seed=seed))  # type: ignore[arg-type]
    network, _ = pretrained(first, used, shape.memory_size, min(shape.window, WINDOW_MAX), shape.discount)
    train(network, used, criterion, loss, replace(TUNING, seed=seed))  # type: ignore[arg-type]
    back = np.argsort(order)
    with torch.no_grad():
        for weight in (network.W_mo, network.b_o):
            if weight is not None:
                weight.copy_(weight[back].clone())
        network.W_xh.copy_(network.W_xh[:, back].clone())
    lmn = network.exported()
    return Remembered(lmn, settling(Remembered(lmn, 0), max(runs, key=len), shape.window))


def _sequences(runs: list[Floats], seen: list[Bools] | None, order: Floats) -> list[Sequence]:
    """Runs (T, d) cut into sequences of at most STRETCH predictions; cells that were not measured weigh nothing."""
    found = []
    for index, run in enumerate(runs):
        z = run[:, order].astype(np.float32)
        weight = np.ones_like(z) if seen is None else seen[index][:, order].astype(np.float32)
        for start in range(0, len(z) - 1, STRETCH):
            ahead = slice(start + 1, start + STRETCH + 1)
            wanted = z[ahead]
            found.append(Sequence(z[start : start + len(wanted)], wanted, weight[ahead]))
    return found


def _split(sequences: list[Sequence], seed: int) -> tuple[list[Sequence], list[Sequence]]:
    """Those that are trained on, and those that training is stopped by; the same where there is but one."""
    places = np.random.default_rng([seed, 2]).permutation(len(sequences))
    held = max(1, int(HELD_OUT * len(sequences)))
    checked = [sequences[i] for i in places[:held]]
    return [sequences[i] for i in places[held:]] or checked, checked
