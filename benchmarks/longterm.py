"""Long dependencies: what is solved at which lag, by RNN, LSTM and the LMN, over learning rates and seeds.

usage: python benchmarks/longterm.py [--lags 10 30 100] [--seeds 2] [--tasks ...] [--out FOLDER] [--large]

    copy       ten symbols of eight, `lag` blanks, a marker, then the ten symbols again          share of symbols right
    adding     values in 0..1, two of them marked, `lag` ticks: their sum (Hochreiter 1997)      1 - error / variance
    recall     one symbol of four, `lag` ticks of noise, a marker, then the symbol               share right
    associate  three keys with values, `lag` blanks, one of the keys, then its value             share right

A run is *solved* where its figure on other sequences is SOLVED or more. In `associate` what is asked moves with the
data: a linear memory holds all pairs and cannot choose among them by itself, only what reads it can. --large: lags up
to 1,000. Results are kept in FOLDER as they come.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from sequence_models import Candidate, Kept, fit, hardware, one_thread
from torch import Tensor, nn

from models.harness import Schedule, Sequence, SequenceNetwork, predict

SOLVED = 0.95
TRAINED, CHECKED = 400, 100  # sequences
SYMBOLS, COPIED, CHOICES, PAIRS, KEYS = 8, 10, 4, 3, 6
RATES = (3e-3, 1e-2)
UNITS, MEMORY = 50, 100
LAES_TICKS_MAX = 40  # that the closed form looks back: it decomposes a matrix of UNITS times as many rows
LARGE_LAGS = (10, 30, 100, 300, 1000)

Make = Callable[[np.random.Generator, int], Sequence]


def one_hot(values: Any, size: int) -> np.ndarray[Any, Any]:
    return np.eye(size, dtype=np.float32)[np.asarray(values)]


def copy(rng: np.random.Generator, lag: int) -> Sequence:
    """Inputs: symbols and the marker."""
    symbols, ticks = rng.integers(SYMBOLS, size=COPIED), 2 * COPIED + lag
    inputs, wanted = np.zeros((ticks, SYMBOLS + 1), np.float32), np.zeros((ticks, SYMBOLS), np.float32)
    inputs[:COPIED, :SYMBOLS] = wanted[-COPIED:] = one_hot(symbols, SYMBOLS)
    inputs[-COPIED - 1, -1] = 1
    return at_the_end(inputs, wanted, COPIED)


def adding(rng: np.random.Generator, lag: int) -> Sequence:
    """Inputs: the value and whether it is marked; one marked in each half."""
    inputs = np.stack([rng.random(lag), np.zeros(lag)], 1).astype(np.float32)
    inputs[[rng.integers(lag // 2), rng.integers(lag // 2, lag)], 1] = 1
    wanted = np.full((lag, 1), (inputs[:, 0] * inputs[:, 1]).sum() - 1, np.float32)
    return at_the_end(inputs, wanted, 1)


def recall(rng: np.random.Generator, lag: int) -> Sequence:
    """Inputs: symbols (noise meanwhile) and the marker."""
    inputs = np.zeros((lag + 2, CHOICES + 1), np.float32)
    inputs[1:-1, :CHOICES] = 0.2 * rng.normal(size=(lag, CHOICES))
    inputs[0, :CHOICES] = symbol = one_hot(rng.integers(CHOICES), CHOICES)
    inputs[-1, -1] = 1
    return at_the_end(inputs, np.repeat(symbol[None], lag + 2, 0), 1)


def associate(rng: np.random.Generator, lag: int) -> Sequence:
    """Inputs: keys, values, and the key that is asked in places of its own."""
    keys, values = rng.permutation(KEYS)[:PAIRS], rng.integers(CHOICES, size=PAIRS)
    inputs = np.zeros((PAIRS + lag + 1, 2 * KEYS + CHOICES), np.float32)
    inputs[:PAIRS, :KEYS], inputs[:PAIRS, KEYS : KEYS + CHOICES] = one_hot(keys, KEYS), one_hot(values, CHOICES)
    asked = rng.integers(PAIRS)
    inputs[-1, KEYS + CHOICES :] = one_hot(keys[asked], KEYS)
    return at_the_end(inputs, np.repeat(one_hot(values[asked], CHOICES)[None], len(inputs), 0), 1)


def at_the_end(inputs: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], ticks: int) -> Sequence:
    """Only the last `ticks` are asked."""
    weight = np.zeros_like(wanted)
    weight[-ticks:] = 1
    return Sequence(inputs, wanted.copy(), weight)


TASKS: dict[str, Make] = {"copy": copy, "adding": adding, "recall": recall, "associate": associate}


@dataclass(frozen=True, slots=True)
class Task:
    """One task at one lag."""

    name: str
    lag: int

    def sequences(self, count: int, seed: int) -> list[Sequence]:
        rng = np.random.default_rng([seed, self.lag, *self.name.encode()])
        return [TASKS[self.name](rng, self.lag) for _ in range(count)]

    def figure(self, network: SequenceNetwork, sequences: list[Sequence]) -> float:
        """As in the module's table: 1 is right."""
        right: list[Any] = []
        errors = []
        for sequence, outputs in zip(sequences, predict(network, sequences, CHECKED), strict=True):
            asked = sequence.weight[:, 0] > 0  # type: ignore[index]
            right.extend(outputs[asked].argmax(1) == sequence.wanted[asked].argmax(1))
            errors.append((outputs[asked] - sequence.wanted[asked]) ** 2)
        if self.name != "adding":
            return float(np.mean(right))
        variance = np.var([s.wanted[-1] for s in sequences])
        return float(1 - np.mean(errors) / variance)

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        if self.name == "adding":
            return (outputs - wanted) ** 2
        return nn.functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")


def candidates(task: Task) -> dict[str, Candidate]:
    """By name; all see whole sequences at once."""
    ticks = len(task.sequences(1, 0)[0].inputs)
    base = Schedule(batch=20, epochs_max=40, patience=15, stretch=ticks, enough=-0.999)
    slow = replace(base, weight_dropout=0.0)
    window, reach = min(10, ticks), min(LAES_TICKS_MAX, ticks)
    return {
        "rnn": Candidate("rnn", MEMORY, start="orthogonal", schedule=base),
        "lstm": Candidate("lstm", MEMORY, schedule=base),
        "lmn-a": Candidate("lmn-a", UNITS, MEMORY, "orthogonal", slow),
        "lmn-b": Candidate("lmn-b", UNITS, MEMORY, "orthogonal", slow),
        "lmn-b-pretrained": Candidate("lmn-b-pretrained", UNITS, MEMORY, "random", slow, window, reach, 1.0),
    }


def run(task: Task, candidate: Candidate) -> dict[str, Any]:
    """The figure on sequences that were never seen, the learning curve and the time."""
    train, valid, test = (task.sequences(n, seed) for n, seed in ((TRAINED, 0), (CHECKED, 1), (CHECKED, 2)))
    try:
        done = fit(candidate, train, lambda net: -task.figure(net, valid), task.loss)
    except (ArithmeticError, ValueError) as error:
        return {"figure": 0.0, "curve": [], "seconds": 0.0, "failed": str(error)}
    curve = [round(-epoch.criterion, 4) for epoch in done.trained.curve]
    return {"figure": task.figure(done.network, test), "curve": curve, "seconds": done.seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lags", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("longterm-results"), help="folder for results as they come")
    parser.add_argument("--large", action="store_true", help=f"lags {LARGE_LAGS}, five seeds")
    options = parser.parse_args()
    one_thread()
    options.out.mkdir(parents=True, exist_ok=True)
    kept, console = Kept(options.out / "longterm.json"), Console(width=150)
    lags, seeds = (LARGE_LAGS, 5) if options.large else (options.lags, options.seeds)
    models = list(candidates(Task("copy", 10)))
    lines = [f"{hardware()}; rates {RATES}, seeds 0 to {seeds - 1}", ""]
    lines += ["| task, lag | " + " | ".join(models) + " |", "|" + "---|" * (len(models) + 1)]
    for name, lag in product(options.tasks, lags):
        task, cells = Task(name, lag), []
        for model, candidate in candidates(task).items():
            found = []
            for rate, seed in product(RATES, range(seeds)):
                one = replace(candidate, schedule=replace(candidate.schedule, learning_rate=rate, seed=seed))
                result = kept.get(f"{name} {lag} {one.key()}", lambda task=task, one=one: run(task, one))  # type: ignore[misc]
                found.append(result["figure"])
            cells.append(f"{sum(f >= SOLVED for f in found)} of {len(found)} ({np.median(found):.2f})")
            console.print(f"{name} {lag} {model}: solved {cells[-1]}")
        lines.append(f"| {name}, {lag} | " + " | ".join(cells) + " |")
    text = "\n".join([*lines, "", "Runs solved, and the median figure in brackets."])
    (options.out / "longterm.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
