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
from models.gradient import WindowNetwork, pretrained
from models.harness import Schedule, SequenceNetwork, mean_loss, order_of, sequences_of, split, squares, train
from models.network import Remembered, refuse_greater

WINDOW_MAX = 10  # hidden states that the pretrained network reads
PRETRAINING = Schedule(learning_rate=5e-3, memory_rate=0.1, batch=8, epochs_max=40, patience=5, stretch=64)
TUNING = replace(PRETRAINING, learning_rate=2e-3)


def fit(runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int) -> Remembered:
    """An LMN-B with `shape.memory_size` memory values and half as many tanh units, at least one a sensor, pretrained
    with a window of `shape.window` ticks, at most WINDOW_MAX."""
    units = max(shape.memory_size // 2, runs[0].shape[1])
    refuse_greater(shape.memory_size)
    order = order_of(runs)
    used, checked = split(sequences_of(runs, seen, order), seed)

    def criterion(network: SequenceNetwork) -> float:
        return mean_loss(network, checked, squares)

    d = runs[0].shape[1]
    first = WindowNetwork(d, d, units, min(shape.window, WINDOW_MAX), "B", seed)
    train(first, used, criterion, squares, replace(PRETRAINING, seed=seed))
    network, _ = pretrained(first, used, shape.memory_size, min(shape.window, WINDOW_MAX), shape.discount)
    train(network, used, criterion, squares, replace(TUNING, seed=seed))
    back = np.argsort(order)
    with torch.no_grad():
        for weight in (network.W_mo, network.b_o):
            if weight is not None:
                weight.copy_(weight[back].clone())
        network.W_xh.copy_(network.W_xh[:, back].clone())
    lmn = network.exported()
    return Remembered(lmn, settling(Remembered(lmn, 0), max(runs, key=len), shape.window))
