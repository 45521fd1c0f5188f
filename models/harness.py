"""Training by gradient of any network that reads sequences: mini-batches of any lengths, early stopping, checkpoints.

A *sequence* is what comes in (T, d), what is wanted at each tick (T, o), and a weight per wanted value (T, o), 0 where
it was not measured. Sequences of a mini-batch are padded to the longest; what is padded has weight 0 and is in no sum.
Gradients flow back over `stretch` ticks; the memory is carried on beyond. The same seed, data and thread count give
the same weights bit for bit, whether a run was interrupted or not. Torch (extra `train`) is needed.
"""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors
from torch import Tensor, nn

from models.contract import Bools, Floats, ModelError
from models.disk import write_durably

PIECE = 128  # ticks of a sequence of a recording
HELD_OUT = 0.15  # share of the sequences
WIDTH = 8  # mini-batches whose sequences are sorted by length together

Memory = tuple[Tensor, ...] | None
Loss = Callable[[Tensor, Tensor], Tensor]  # of each value, not summed
Progress = Callable[[str, float], None]


class Sequence(NamedTuple):
    """One sequence, float32; `weight` None: all 1."""

    inputs: Floats
    wanted: Floats
    weight: Floats | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a network is trained: `patience` epochs without a better criterion end it. The weights by which the past
    comes in learn at `memory_rate` of the learning rate. `dropout` is the share of the read-out's inputs that is left
    out at random, `weight_dropout` that of the weights by which the memory is read for the next step (Wan et al. 2013).
    """

    learning_rate: float = 3e-3
    memory_rate: float = 1.0
    batch: int = 16
    epochs_max: int = 100
    patience: int = 10
    stretch: int = 128
    gradient_max: float = 1.0
    weight_decay: float = 0.0
    dropout: float = 0.0
    weight_dropout: float = 0.0
    decay: float = 1.0  # of the learning rate, at each epoch that is not better
    enough: float = -1e300  # a criterion as low as that ends it
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """One point of the learning curve; `criterion` is on held-out sequences, lower is better."""

    loss: float
    criterion: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The learning curve, and which epoch of it the weights are of (counted from 1; 0: those at the start)."""

    curve: tuple[Epoch, ...]
    best: int

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.curve)


class Drop:
    """What is left out at random of one stretch in training; what remains is scaled up."""

    def __init__(self, schedule: Schedule, chance: torch.Generator) -> None:
        self.schedule, self.chance = schedule, chance

    def read(self, values: Tensor) -> Tensor:
        """Inputs (T, B, n) of the read-out: of a sequence the same ones at each tick (Gal and Ghahramani 2016)."""
        share = self.schedule.dropout
        return values * self._kept((1, *values.shape[1:]), share) if share else values

    def weights(self, weights: Tensor) -> Tensor:
        """Weights by which the memory is read: the same at each tick."""
        share = self.schedule.weight_dropout
        return weights * self._kept(tuple(weights.shape), share) if share else weights

    def _kept(self, shape: tuple[int, ...], share: float) -> Tensor:
        return (torch.rand(shape, generator=self.chance) >= share).float() / (1 - share)


class SequenceNetwork(nn.Module, ABC):
    """What is trained: (B, T, d) and the memory before (None: empty) -> outputs (B, T, o) and the memory after; `drop`
    is None in use."""

    @abstractmethod
    def forward(self, inputs: Tensor, memory: Memory, drop: Drop | None = None) -> tuple[Tensor, Memory]: ...

    def of_memory(self) -> list[Tensor]:
        """Parameters by which the past comes in."""
        return []

    def settle(self) -> None:
        """After each epoch, before it is judged: bring weights back to where they can serve."""


def predict(network: SequenceNetwork, sequences: list[Sequence], batch: int = 32) -> list[Floats]:
    """Outputs (T, o) of each whole sequence, from an empty memory."""
    found: dict[int, Floats] = {}
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i].inputs))
    network.eval()
    with torch.no_grad():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            inputs, _, _ = _padded([sequences[i] for i in rows])
            outputs, _ = network(inputs, None)
            for place, i in enumerate(rows):
                found[i] = outputs[place, : len(sequences[i].inputs)].numpy()
    return [found[i] for i in range(len(sequences))]


def mean_loss(network: SequenceNetwork, sequences: list[Sequence], loss: Loss) -> float:
    """Over all values of weight, whole sequences."""
    total = count = 0.0
    for sequence, outputs in zip(sequences, predict(network, sequences), strict=True):
        each = loss(torch.from_numpy(outputs), torch.from_numpy(sequence.wanted)).double()
        weight = torch.ones_like(each) if sequence.weight is None else torch.from_numpy(sequence.weight).double()
        total, count = total + float((each * weight).sum()), count + float(weight.sum())
    return total / max(count, 1.0)


def train(
    network: SequenceNetwork,
    sequences: list[Sequence],
    criterion: Callable[[SequenceNetwork], float],
    loss: Loss,
    schedule: Schedule,
    checkpoint: Path | None = None,
    progress: Progress = lambda stage, share: None,
) -> Trained:
    """Adam on `sequences` until the `criterion` no longer falls; the network is left with the best weights. With a
    `checkpoint`, a run that was killed goes on from its last whole epoch. ModelError where that file is of another run,
    and where the criterion was never a number."""
    run = _Run(network, schedule, _fingerprint(network, sequences, schedule))
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    else:
        run.judge(criterion)
    while len(run.curve) < schedule.epochs_max and run.waited < schedule.patience and run.lowest > schedule.enough:
        started = time.perf_counter()
        network.train()
        value = run.epoch(sequences, loss)
        network.settle()
        run.curve.append(Epoch(value, run.judge(criterion), time.perf_counter() - started))
        if checkpoint is not None:
            run.save(checkpoint)
        progress(f"epoch {len(run.curve)}: {run.curve[-1].criterion:.4f}", len(run.curve) / schedule.epochs_max)
    if not np.isfinite(run.lowest):
        raise ModelError(
            f"training found no finite error at learning rate {schedule.learning_rate}; choose a lower one"
        )
    run.take_best()
    return Trained(tuple(run.curve), run.best)


class _Run:
    """What is kept from epoch to epoch."""

    def __init__(self, network: SequenceNetwork, schedule: Schedule, fingerprint: str) -> None:
        self.network, self.schedule, self.fingerprint = network, schedule, fingerprint
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        memory = {id(p) for p in network.of_memory()}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.parameters if (id(p) in memory) == slow], "share": share}
            for slow, share in ((False, 1.0), (True, schedule.memory_rate))
        ]
        self.optimizer = torch.optim.Adam(
            [group for group in groups if group["params"]], weight_decay=schedule.weight_decay, foreach=True
        )
        self.curve: list[Epoch] = []
        self.lowest, self.best, self.waited, self.rate = np.inf, 0, 0, schedule.learning_rate
        self.kept = [p.detach().clone() for p in self.parameters]

    def epoch(self, sequences: list[Sequence], loss: Loss) -> float:
        """One pass over all sequences; the mean loss on the way."""
        schedule = self.schedule
        rng = np.random.default_rng([schedule.seed, len(self.curve)])
        drop = Drop(schedule, torch.Generator().manual_seed(int(rng.integers(2**62))))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["share"]
        total = count = 0.0
        for rows in _batches([len(s.inputs) for s in sequences], schedule.batch, rng):
            inputs, wanted, weight = _padded([sequences[i] for i in rows])
            memory: Memory = None
            for start in range(0, inputs.shape[1], schedule.stretch):
                part = slice(start, start + schedule.stretch)
                counted = weight[:, part]
                whole = counted.sum()
                if memory is not None:
                    memory = tuple(values.detach() for values in memory)
                outputs, memory = self.network(inputs[:, part], memory, drop)
                if whole <= 0:
                    continue
                error = (loss(outputs, wanted[:, part]) * counted).sum()
                self.optimizer.zero_grad()
                (error / whole).backward()
                nn.utils.clip_grad_norm_(self.parameters, schedule.gradient_max)
                self.optimizer.step()
                total, count = total + float(error.detach()), count + float(whole)
        return total / max(count, 1.0)

    def judge(self, criterion: Callable[[SequenceNetwork], float]) -> float:
        """The criterion of the weights as they are; they are kept where it is the lowest."""
        with torch.no_grad():
            found = float(criterion(self.network))
        if found < self.lowest:
            self.lowest, self.best, self.waited = found, len(self.curve) + bool(self._stepped()), 0
            self.kept = [p.detach().clone() for p in self.parameters]
        elif self._stepped():
            self.waited += 1
            self.rate *= self.schedule.decay
        return found

    def _stepped(self) -> bool:
        return bool(self.optimizer.state)

    def take_best(self) -> None:
        with torch.no_grad():
            for parameter, values in zip(self.parameters, self.kept, strict=True):
                parameter.copy_(values)

    def save(self, path: Path) -> None:
        """All that the next epoch needs; a kill leaves the file before or this one."""
        tensors: dict[str, Tensor] = {}
        for i, (parameter, kept) in enumerate(zip(self.parameters, self.kept, strict=True)):
            state = self.optimizer.state[parameter]
            tensors |= {f"now.{i}": parameter, f"best.{i}": kept}
            tensors |= {f"{name}.{i}": state[name] for name in ("step", "exp_avg", "exp_avg_sq")}
        facts = {
            "fingerprint": self.fingerprint,
            "curve": [[e.loss, e.criterion, e.seconds] for e in self.curve],
            "lowest": self.lowest,
            "best": self.best,
            "waited": self.waited,
            "rate": self.rate,
        }
        arrays = {name: values.detach().numpy().copy() for name, values in tensors.items()}
        write_durably(path, save_tensors(arrays, {"run": json.dumps(facts)}))

    def restore(self, path: Path) -> None:
        """ModelError where the file is damaged or of other data, another network or another schedule."""
        try:
            with safe_open(str(path), "pt") as file:
                facts = json.loads((file.metadata() or {})["run"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise ModelError(f"{path} is no checkpoint: {error}; remove it to train from the start") from None
        if facts["fingerprint"] != self.fingerprint:
            raise ModelError(f"{path} is a checkpoint of other data or settings; remove it to train from the start")
        self.curve = [Epoch(*values) for values in facts["curve"]]
        self.lowest, self.best = facts["lowest"], facts["best"]
        self.waited, self.rate = facts["waited"], facts["rate"]
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters):
                parameter.copy_(tensors[f"now.{i}"])
                names = ("step", "exp_avg", "exp_avg_sq")
                self.optimizer.state[parameter] = {name: tensors[f"{name}.{i}"].clone() for name in names}
        self.kept = [tensors[f"best.{i}"].clone() for i in range(len(self.parameters))]


def _batches(lengths: list[int], batch: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Mini-batches of sequences of like length, in random order."""
    order = rng.permutation(len(lengths))
    found: list[list[int]] = []
    for start in range(0, len(order), batch * WIDTH):
        near = sorted(order[start : start + batch * WIDTH].tolist(), key=lambda i: lengths[i])
        found += [near[i : i + batch] for i in range(0, len(near), batch)]
    for place in rng.permutation(len(found)):
        yield found[place]


def _padded(sequences: list[Sequence]) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, what is wanted and its weight (B, T, ...), zero beyond the end of each sequence."""
    ticks = max(len(s.inputs) for s in sequences)
    inputs = torch.zeros(len(sequences), ticks, sequences[0].inputs.shape[1])
    wanted = torch.zeros(len(sequences), ticks, sequences[0].wanted.shape[1])
    weight = torch.zeros_like(wanted)
    for i, s in enumerate(sequences):
        inputs[i, : len(s.inputs)] = torch.from_numpy(s.inputs)
        wanted[i, : len(s.wanted)] = torch.from_numpy(s.wanted)
        weight[i, : len(s.wanted)] = 1.0 if s.weight is None else torch.from_numpy(s.weight)
    return inputs, wanted, weight


def _fingerprint(network: SequenceNetwork, sequences: list[Sequence], schedule: Schedule) -> str:
    """Of what a run follows from: its data, its settings and the weights at the start."""
    digest = hashlib.sha256(json.dumps(asdict(schedule), sort_keys=True).encode())
    for s in sequences:
        for values in s:
            digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    for name, parameter in network.state_dict().items():
        digest.update(name.encode() + parameter.detach().numpy().tobytes())
    return digest.hexdigest()


def order_of(runs: list[Floats]) -> NDArray[np.intp]:
    """An order of the columns of runs (T, d) that the data give, so that how a file has them does not matter."""
    return np.argsort(sum((np.abs(z) ** 3).sum(0) for z in runs), kind="stable")


def sequences_of(
    runs: list[Floats], seen: list[Bools] | None, order: NDArray[np.intp], piece: int = PIECE
) -> list[Sequence]:
    """Runs (T, d) of a recording cut into at most `piece` predictions of the next reading; cells that were not `seen`
    weigh nothing."""
    found = []
    for index, run in enumerate(runs):
        z = run[:, order].astype(np.float32)
        weight = np.ones_like(z) if seen is None else seen[index][:, order].astype(np.float32)
        for start in range(0, len(z) - 1, piece):
            ahead = slice(start + 1, start + piece + 1)
            wanted = z[ahead]
            found.append(Sequence(z[start : start + len(wanted)], wanted, weight[ahead]))
    return found


def split(sequences: list[Sequence], seed: int) -> tuple[list[Sequence], list[Sequence]]:
    """Those that are trained on, and those that training is stopped by; the same where there is but one."""
    places = np.random.default_rng([seed, 2]).permutation(len(sequences))
    held = max(1, int(HELD_OUT * len(sequences)))
    checked = [sequences[i] for i in places[:held]]
    return [sequences[i] for i in places[held:]] or checked, checked


def squares(outputs: Tensor, wanted: Tensor) -> Tensor:
    """The usual loss of predictions."""
    return (outputs - wanted) ** 2


def parameters(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
