"""The networks that the sequence benchmarks train side by side, in one harness, and their results kept as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.gradient import GradientNetwork, WindowNetwork, pretrained
from models.harness import Drop, Loss, Memory, Schedule, Sequence, SequenceNetwork, Trained, parameters, train

Criterion = Callable[[SequenceNetwork], float]
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
LMN = ("lmn-a", "lmn-b")  # read out from the functional part, from the memory


class Recurrent(SequenceNetwork):
    """An RNN, GRU or LSTM of torch; `start` of its recurrent weights: random (as torch draws them) or orthogonal."""

    def __init__(self, kind: str, inputs: int, outputs: int, units: int, start: str, seed: int) -> None:
        super().__init__()
        self.cell, self.head = CELLS[kind](inputs, units, batch_first=True), nn.Linear(units, outputs)
        rng = np.random.default_rng([seed, 3])
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.tensor(rng.uniform(-1, 1, parameter.shape) / np.sqrt(units)))
            if start == "orthogonal":
                for gate in self.cell.weight_hh_l0.split(units):
                    gate.copy_(torch.tensor(np.linalg.qr(rng.normal(size=(units, units)))[0]))

    def forward(self, inputs: Tensor, memory: Memory, drop: Drop | None = None) -> tuple[Tensor, Memory]:
        before = None if memory is None else memory if len(memory) > 1 else memory[0]
        hidden, after = self.cell(inputs, before)
        if drop is not None:
            hidden = drop.read(hidden.transpose(0, 1)).transpose(0, 1)
        return self.head(hidden), after if isinstance(after, tuple) else (after,)

    @property
    def b_o(self) -> Tensor:
        return self.head.bias


@dataclass(frozen=True, slots=True)
class Candidate:
    """One configuration: `model` of CELLS or LMN, with "-pretrained" where a window network comes first. `window` is
    that of the pretraining, `laes_window` and `discount` those of the LAES."""

    model: str
    units: int
    memory_size: int = 0
    start: str = "random"
    schedule: Schedule = field(default_factory=Schedule)
    window: int = 2
    laes_window: int = 30
    discount: float = 0.9

    @property
    def pretrained(self) -> bool:
        return self.model.endswith("-pretrained")

    def key(self) -> str:
        """What names its result."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network, its learning curve and that of the window network before it."""

    network: SequenceNetwork
    trained: Trained
    first: Trained | None = None

    @property
    def seconds(self) -> float:
        return self.trained.seconds + (self.first.seconds if self.first else 0.0)

    @property
    def parameters(self) -> int:
        return parameters(self.network)


def fit(
    candidate: Candidate,
    sequences: list[Sequence],
    criterion: Criterion,
    loss: Loss,
    output_bias: np.ndarray[Any, Any] | None = None,
) -> Fitted:
    """Train a candidate; all of them start from the same `output_bias`."""
    d, o = sequences[0].inputs.shape[1], sequences[0].wanted.shape[1]
    seed = candidate.schedule.seed

    def biased(network: Any) -> Any:
        if output_bias is not None:
            with torch.no_grad():
                network.b_o.copy_(torch.as_tensor(output_bias))
        return network

    kind = candidate.model.removesuffix("-pretrained")
    if kind in CELLS:
        network = biased(Recurrent(kind, d, o, candidate.units, candidate.start, seed))
        return Fitted(network, train(network, sequences, criterion, loss, candidate.schedule))
    read_out = "A" if kind == "lmn-a" else "B"
    start: Any = candidate.start
    if not candidate.pretrained:
        network = biased(GradientNetwork(d, o, candidate.units, candidate.memory_size, read_out, start, seed))
        return Fitted(network, train(network, sequences, criterion, loss, candidate.schedule))
    first = biased(WindowNetwork(d, o, candidate.units, candidate.window, read_out, seed, start))
    before = train(first, sequences, criterion, loss, replace(candidate.schedule, weight_dropout=0.0))
    network, _ = pretrained(first, sequences, candidate.memory_size, candidate.laes_window, candidate.discount)
    return Fitted(network, train(network, sequences, criterion, loss, candidate.schedule), before)


class Kept:
    """Results by key in one JSON file, so that a benchmark that was stopped goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result kept under a key; made and kept where there is none."""
        if key not in self.found:
            self.found[key] = make()
            temporary = self.path.with_suffix(".partial")
            temporary.write_text(json.dumps(self.found, indent=1))
            temporary.replace(self.path)
        return dict(self.found[key])


def one_thread() -> None:
    """For times that can be compared, and sums that repeat."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def hardware() -> str:
    """What the figures were measured on, without names."""
    return f"{os.cpu_count()} cores, one thread, torch {torch.__version__}, numpy {np.__version__}"
