"""How an RNN, GRU or LSTM is fitted: next-reading prediction on stretches of the recording, by Adam, stopped early.

The sensors are put in an order that the data give, so that the order of columns does not matter. Seeds repeat: weights
and the order of stretches come from generators of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.baselines.recurrent import WEIGHTS, Recurrent
from models.baselines.windows import single
from models.contract import Bools, Floats
from models.fit import Shape
from models.network import Network, refuse_greater, without_torch

STRETCH = 64  # ticks that are trained on at once
BATCH = 16  # stretches
EPOCHS_MAX, PATIENCE = 40, 5  # without a better error on what is held out
LEARNING_RATE, GRADIENT_MAX = 5e-3, 1.0
HELD_OUT = 0.15  # share of the stretches
SETTLED = 0.01  # share of the read-out's variance that an empty start may still add
WINDOWS_MAX, STARTS = 20, 32  # looked at for that


def fit(kind: type[Recurrent], runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int) -> Recurrent:
    """A network of `shape.memory_size` units. ModelError where torch is missing."""
    refuse_greater(shape.memory_size * kind.PARTS)
    order = np.argsort(sum((np.abs(z) ** 3).sum(0) for z in runs), kind="stable")
    weight = [np.ones(z.shape) for z in runs] if seen is None else [s.astype(float) for s in seen]
    z, count = stretches([run[:, order] for run in runs], [w[:, order] for w in weight])
    units = shape.memory_size
    found = _train(kind, z, count, units, np.random.default_rng(seed))
    back = np.argsort(order)
    found |= {"W_x": found["W_x"][back], "W_o": found["W_o"][:, back], "b_o": found["b_o"][back]}
    weights: dict[str, Any] = {name: single(found[name]) for name in WEIGHTS}
    network = kind(**weights)
    return replace(network, settling=settling(network, max(runs, key=len), shape.window))


def stretches(runs: list[Floats], weight: list[Floats]) -> tuple[Floats, Floats]:
    """Runs (T, d) cut into (n, STRETCH + 1, d), each beginning with the last tick of the one before, the last of a run
    filled up with zeros; and the weight of each cell, 0 where it was not measured or is no tick."""
    found: list[tuple[Floats, Floats]] = []
    for z, w in zip(runs, weight, strict=True):
        for start in range(0, max(len(z) - 1, 1), STRETCH):
            parts = [np.zeros((STRETCH + 1, z.shape[1])) for _ in range(2)]
            for part, whole in zip(parts, (z, w), strict=True):
                rows = whole[start : start + STRETCH + 1]
                part[: len(rows)] = rows
            found.append((parts[0], parts[1]))
    return np.stack([z for z, _ in found]), np.stack([w for _, w in found])


def _train(
    kind: type[Recurrent], z: Floats, weight: Floats, units: int, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    try:
        import torch
    except ImportError:
        raise without_torch(kind.KIND) from None
    layer = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind.KIND]
    cell, head = layer(z.shape[2], units, batch_first=True), torch.nn.Linear(units, z.shape[2])
    parameters = [*cell.parameters(), *head.parameters()]
    with torch.no_grad():
        for values in parameters:
            values.copy_(torch.tensor(rng.uniform(-1, 1, values.shape) / np.sqrt(units)))
    data, counts = torch.tensor(z, dtype=torch.float32), torch.tensor(weight, dtype=torch.float32)
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE)

    def error(rows: NDArray[Any]) -> Any:
        hidden, _ = cell(data[rows, :-1])
        counted = counts[rows, 1:]
        return (counted * (head(hidden) - data[rows, 1:]) ** 2).sum() / counted.sum().clamp(min=1)

    places = rng.permutation(len(z))
    held = max(1, int(HELD_OUT * len(z)))
    checked, used = places[:held], places[held:] if len(z) > 1 else places
    best, waited, kept = np.inf, 0, [values.detach().clone() for values in parameters]
    for _ in range(EPOCHS_MAX):
        shuffled = rng.permutation(used)
        for start in range(0, len(shuffled), BATCH):
            optimizer.zero_grad()
            error(shuffled[start : start + BATCH]).backward()
            torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_MAX)
            optimizer.step()
        with torch.no_grad():
            now = float(error(checked))
        waited = 0 if now < best else waited + 1
        if now < best:
            best, kept = now, [values.detach().clone() for values in parameters]
        if waited >= PATIENCE:
            break
    W_x, W_h, b_x, b_h, W_o, b_o = (values.numpy() for values in kept)
    return {"W_x": W_x.T, "W_h": W_h.T, "b_x": b_x, "b_h": b_h, "W_o": W_o.T, "b_o": b_o}


def settling(network: Network, z: Floats, window: int) -> int:
    """Ticks until what is expected from an empty start differs from what is expected after the whole past (run `z`) by
    at most `SETTLED` of its variance, at `STARTS` places; at least the window."""
    rows = z.astype(np.float32)
    ticks = min(WINDOWS_MAX * window, len(rows) // 2)
    whole = network.read_out(network.run(rows, np.zeros(network.memory_size, np.float32)))
    allowed = SETTLED * max(float(whole.var(0).mean()), 1e-6)
    places = np.linspace(0, len(rows) - ticks, STARTS).astype(int)
    memory, settled = np.zeros((STARTS, network.memory_size), np.float32), 0
    for tick in range(ticks):
        memory, expected = network.step(memory, rows[places + tick])
        if float(((expected - whole[places + tick]) ** 2).mean()) > allowed:
            settled = tick + 2
    return max(settled, window)
