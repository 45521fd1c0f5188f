"""How the convolutional autoencoder, attention and the external memory are fitted: the same loop and stopping for all
(`harness.py`), by the error of readings; what is served then is the numpy network of the same weights."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import harness
from models.baselines.attention import CausalAttention
from models.baselines.convolution import KERNEL, ConvolutionalAutoencoder
from models.baselines.external_memory import FADE, SMALL, ExternalMemory
from models.baselines.recurrent_training import settling
from models.baselines.windows import single
from models.contract import Bools, Floats
from models.fit import Shape
from models.harness import (
    Drop,
    Memory,
    Schedule,
    SequenceNetwork,
    mean_loss,
    order_of,
    sequences_of,
    split,
    squares,
    train,
)
from models.network import Network, refuse_greater

SCHEDULE = Schedule(learning_rate=5e-3, batch=8, epochs_max=40, patience=5, stretch=64)
STEPPED, PIECE, BATCHES = replace(SCHEDULE, learning_rate=1e-2, epochs_max=25), 32, 4  # of what goes tick by tick
CHANNELS, CODES_MAX = 8, 16
ROWS, WIDTH = 16, 8  # of the external memory


class Weights(SequenceNetwork):
    """A network whose parameters `w` have the names of the numpy network's weights; `of_inputs` and `of_outputs` are
    those with an axis of sensors."""

    of_inputs: tuple[tuple[str, int], ...] = ()  # name, and how often the sensors follow each other on the first axis
    of_outputs: tuple[str, ...] = ()  # on the last axis

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.ParameterDict()

    def draw(self, rng: np.random.Generator, **shapes: tuple[int, ...]) -> None:
        for name, shape in shapes.items():
            values = rng.uniform(-1, 1, shape) / np.sqrt(shape[0]) if len(shape) > 1 else np.zeros(shape)
            self.w[name] = nn.Parameter(torch.tensor(values, dtype=torch.float32))

    def weights(self, back: NDArray[np.intp]) -> dict[str, Any]:
        """For numpy, with the sensors in the order of the file."""
        found = {name: values.detach().numpy().copy() for name, values in self.w.items()}
        for name, times in self.of_inputs:
            shape = found[name].shape
            found[name] = found[name].reshape(times, len(back), *shape[1:])[:, back].reshape(shape)
        for name in self.of_outputs:
            found[name] = found[name][..., back]
        return {name: single(values) for name, values in found.items()}


class OfWindows(Weights):
    """What sees the last `ticks` readings, the newest first; its memory is those before."""

    ticks: int

    def forward(self, inputs: Tensor, memory: Memory, drop: Drop | None = None) -> tuple[Tensor, Memory]:
        past = inputs.new_zeros(len(inputs), self.ticks - 1, inputs.shape[2]) if memory is None else memory[0]
        whole = torch.cat([past, inputs], 1)
        windows = whole.unfold(1, self.ticks, 1).flip(3).transpose(2, 3)  # (B, T, L, d), the newest first
        return self.of(windows), (whole[:, whole.shape[1] - self.ticks + 1 :],)

    @abstractmethod
    def of(self, windows: Tensor) -> Tensor:
        """(B, T, L, d) -> outputs (B, T, o)."""


class TorchAutoencoder(OfWindows):
    """As in `convolution.py`."""

    of_inputs, of_outputs = (("W_1", KERNEL),), ("W_4", "b_4")

    def __init__(self, sensors: int, ticks: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.ticks = ticks
        d, c, e = sensors, CHANNELS, max(1, min(CODES_MAX, sensors * ticks // 4))
        self.draw(rng, W_1=(KERNEL * d, c), b_1=(c,), W_2=(ticks * c, e), b_2=(e,))
        self.draw(rng, W_3=(e, ticks * c), b_3=(ticks * c,), W_4=(KERNEL * c, d), b_4=(d,))

    def of(self, windows: Tensor) -> Tensor:
        channels = torch.tanh(_neighbours(windows) @ self.w["W_1"] + self.w["b_1"])
        code = torch.tanh(channels.flatten(2) @ self.w["W_2"] + self.w["b_2"])
        back = torch.tanh(code @ self.w["W_3"] + self.w["b_3"]).unflatten(2, (self.ticks, CHANNELS))
        return _neighbours(back)[:, :, 0] @ self.w["W_4"] + self.w["b_4"]


class TorchAttention(OfWindows):
    """As in `attention.py`."""

    of_inputs, of_outputs = (("W_e", 1),), ("W_o", "b_o")

    def __init__(self, sensors: int, ticks: int, size: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.ticks, m, h = ticks, size, 2 * size
        self.draw(rng, W_e=(sensors, m), P=(ticks, m), W_q=(m, m), W_k=(m, m), W_v=(m, m), W_p=(m, m))
        self.draw(rng, W_1=(m, h), b_1=(h,), W_2=(h, m), W_o=(m, sensors), b_o=(sensors,))

    def of(self, windows: Tensor) -> Tensor:
        tokens = windows @ self.w["W_e"] + self.w["P"]
        newest = tokens[:, :, 0]
        likeness = ((tokens @ self.w["W_k"]) * (newest @ self.w["W_q"])[:, :, None]).sum(3) / len(self.w["W_q"]) ** 0.5
        found = (torch.softmax(likeness, 2)[..., None] * (tokens @ self.w["W_v"])).sum(2)
        u = newest + found @ self.w["W_p"]
        v = u + torch.tanh(u @ self.w["W_1"] + self.w["b_1"]) @ self.w["W_2"]
        return v @ self.w["W_o"] + self.w["b_o"]


class TorchExternalMemory(Weights):
    """As in `external_memory.py`."""

    of_inputs, of_outputs = (("W_x", 1),), ("W_o", "b_o")

    def __init__(self, sensors: int, units: int, rng: np.random.Generator) -> None:
        super().__init__()
        u, w = units, WIDTH
        self.draw(rng, W_x=(sensors, u), W_h=(u, u), W_r=(w, u), b=(u,), W_i=(u, 4 * w + 3), b_i=(4 * w + 3,))
        self.draw(rng, M_0=(ROWS, w), W_o=(u + w, sensors), b_o=(sensors,))

    def forward(self, inputs: Tensor, memory: Memory, drop: Drop | None = None) -> tuple[Tensor, Memory]:
        n, u, w = len(inputs), len(self.w["b"]), WIDTH
        empty = inputs.new_zeros(n, u), inputs.new_zeros(n, w), inputs.new_zeros(n, ROWS, w)
        hidden, read, rows = empty if memory is None else memory
        drive, seen = inputs @ self.w["W_x"] + self.w["b"], []
        for tick in range(inputs.shape[1]):
            hidden = torch.tanh(drive[:, tick] + hidden @ self.w["W_h"] + read @ self.w["W_r"])
            said = hidden @ self.w["W_i"] + self.w["b_i"]
            put = _place(rows + self.w["M_0"], said[:, :w], said[:, 4 * w + 1]) * torch.sigmoid(said[:, 4 * w, None])
            erase, add = torch.sigmoid(said[:, w : 2 * w]), torch.tanh(said[:, 2 * w : 3 * w])
            rows = float(FADE) * rows + put[:, :, None] * (add[:, None] - erase[:, None] * (rows + self.w["M_0"]))
            taken = _place(rows + self.w["M_0"], said[:, 3 * w : 4 * w], said[:, 4 * w + 2])
            read = (taken[:, :, None] * (rows + self.w["M_0"])).sum(1)
            seen.append(torch.cat([hidden, read], 1))
        return torch.stack(seen, 1) @ self.w["W_o"] + self.w["b_o"], (hidden, read, rows)


def fit_autoencoder(runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int) -> Network:
    """Over a window of `shape.window` ticks."""
    d, ticks = runs[0].shape[1], shape.window
    refuse_greater(d * ticks)
    found = _trained(TorchAutoencoder(d, ticks, np.random.default_rng(seed)), runs, seen, seed, itself=True)
    return ConvolutionalAutoencoder(d, ticks, **found)


def fit_attention(runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int) -> Network:
    """Over a window of `shape.window` ticks, with `shape.memory_size` values a tick, at most 64."""
    d, ticks = runs[0].shape[1], shape.window
    refuse_greater(d * ticks)
    size = min(shape.memory_size, 64)
    return CausalAttention(
        d, ticks, **_trained(TorchAttention(d, ticks, size, np.random.default_rng(seed)), runs, seen, seed)
    )


def fit_external_memory(runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int) -> Network:
    """With a controller of `shape.memory_size` units."""
    refuse_greater(shape.memory_size + WIDTH + ROWS * WIDTH)
    torch_network = TorchExternalMemory(runs[0].shape[1], shape.memory_size, np.random.default_rng(seed))
    network = ExternalMemory(**_trained(torch_network, runs, seen, seed, STEPPED, PIECE))
    return replace(network, settling=settling(network, max(runs, key=len), shape.window))


def _trained(
    network: Weights,
    runs: list[Floats],
    seen: list[Bools] | None,
    seed: int,
    schedule: Schedule = SCHEDULE,
    piece: int = harness.PIECE,
    itself: bool = False,
) -> dict[str, Any]:
    """Weights that predict the next reading, or where `itself` give back the newest."""
    order = order_of(runs)
    sequences = sequences_of(runs, seen, order, piece)
    if itself:
        sequences = [s._replace(wanted=s.inputs, weight=None) for s in sequences]
    used, checked = split(sequences, seed)
    if schedule is STEPPED:
        schedule = replace(schedule, batch=max(schedule.batch, -(-len(used) // BATCHES)))
    train(network, used, lambda now: mean_loss(now, checked, squares), squares, replace(schedule, seed=seed))
    return network.weights(np.argsort(order))


def _neighbours(ticks: Tensor) -> Tensor:
    wide = nn.functional.pad(ticks, (0, 0, 1, 1))
    return torch.cat([wide[..., :-2, :], wide[..., 1:-1, :], wide[..., 2:, :]], -1)


def _place(rows: Tensor, key: Tensor, strength: Tensor) -> Tensor:
    sizes = (rows**2).sum(2).clamp(min=1e-12).sqrt() * (key**2).sum(1).clamp(min=1e-12).sqrt()[:, None] + float(SMALL)
    dots = (rows * key[:, None]).sum(2)
    return torch.softmax((1 + nn.functional.softplus(strength))[:, None] * dots / sizes, 1)
