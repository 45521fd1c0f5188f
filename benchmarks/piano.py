"""Piano rolls, the paper's own task: RNN, LSTM, LMN-A and LMN-B, with and without pretraining, in one harness.

usage: python benchmarks/piano.py FILE.mat... [--seeds 3] [--out FOLDER] [--sensitivity] [--large]

FILE holds `traindata`, `validdata`, `testdata`: object arrays of T x 88 piano rolls (JSB Chorales, Nottingham). Each
frame is predicted from those before it; accuracy is sum TP / sum (TP + FP + FN) over all frames, notes at a probability
of 0.5 (Boulanger-Lewandowski et al. 2012). All models are trained by the same cross-entropy, in which a note that
sounds weighs `--positive-weight` times one that does not (1: plain). Accuracy counts no true negatives, so that a note
is worth telling from a probability of a / (1 + a) on where the accuracy is a; a weight of 1 / a moves that to 0.5: by
default 3 where rolls are short, as the chorales, else 1.5. Of each model the grid below is searched with seed 0,
stopped and chosen by accuracy on the validation part; what is best is trained with every seed, and its test accuracy
told. Results are kept in FOLDER as they come, and a run that was stopped goes on. --sensitivity: 5 learning rates x 5
seeds x 2 initialisations of each model, on the first file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from rich.console import Console
from sequence_models import Candidate, Fitted, Kept, fit, hardware, one_thread
from torch import Tensor, nn

from models.harness import Schedule, Sequence, SequenceNetwork, predict

PARTS = ("traindata", "validdata", "testdata")
RATES = (2e-3, 5e-3, 1e-2, 2e-2, 5e-2)  # of the sensitivity
SENSITIVITY_SEEDS, STARTS = 5, ("random", "orthogonal")
SHORT = 100  # frames of a roll, on average
MODELS = ("rnn", "lstm", "lmn-a", "lmn-b", "lmn-a-pretrained", "lmn-b-pretrained")
LMN_MODELS = MODELS[2:]


@dataclass(frozen=True, slots=True)
class Rolls:
    """One data set."""

    name: str
    train: list[Sequence]
    valid: list[Sequence]
    test: list[Sequence]

    @property
    def short(self) -> bool:
        return bool(np.mean([len(s.inputs) for s in self.train]) < SHORT)

    def output_bias(self) -> np.ndarray[Any, Any]:
        """Log odds of each note."""
        share = np.concatenate([s.wanted for s in self.train]).mean(0).clip(1e-4, 1 - 1e-4)
        return np.log(share / (1 - share)).astype(np.float32)


def read(path: Path) -> Rolls:
    """A file as Boulanger-Lewandowski's piano rolls are kept."""
    content = scipy.io.loadmat(path)
    parts = []
    for part in PARTS:
        rolls = [np.asarray(roll, np.float32) for roll in content[part][0]]
        parts.append([Sequence(roll[:-1], roll[1:]) for roll in rolls if len(roll) > 1])
    return Rolls(path.stem, *parts)


def accuracy(network: SequenceNetwork, sequences: list[Sequence]) -> float:
    """Frame-level, in percent."""
    right = wrong = 0
    for sequence, outputs in zip(sequences, predict(network, sequences), strict=True):
        told, sounds = outputs > 0, sequence.wanted > 0
        right, wrong = right + int((told & sounds).sum()), wrong + int((told ^ sounds).sum())
    return 100 * right / max(right + wrong, 1)


def grid(rolls: Rolls, large: bool) -> dict[str, list[Candidate]]:
    """What is searched, by model: as many configurations of each."""
    return _of_short_rolls(large) if rolls.short else _of_long_rolls(large)


def _of_short_rolls(large: bool) -> dict[str, list[Candidate]]:
    base, times = Schedule(batch=8, epochs_max=60, patience=8, decay=0.8), 2 if large else 1
    found: dict[str, list[Candidate]] = {}
    for model, rates in (("rnn", (1e-3, 3e-3, 1e-2)), ("lstm", (5e-3, 1e-2, 2e-2))):
        found[model] = [
            Candidate(model, units * times, schedule=replace(base, learning_rate=rate))
            for units, rate in product((100, 200), rates)
        ]
    for model in LMN_MODELS:
        rates, schedule = lmn_schedule(model, replace(base, weight_dropout=0.3), (3e-3, 5e-3, 1e-2))
        found[model] = [
            Candidate(model, 100 * times, p * times, "random", replace(schedule, learning_rate=rate), 2, 30, 0.9)
            for p, rate in product((50, 100), rates)
        ]
    return found


def _of_long_rolls(large: bool) -> dict[str, list[Candidate]]:
    base = Schedule(batch=8, epochs_max=100 if large else 30, patience=4, decay=0.7, stretch=50)
    found: dict[str, list[Candidate]] = {}
    for model, rate in (("rnn", 1e-3), ("lstm", 3e-3)):
        found[model] = [
            Candidate(model, 500 if large else 300, schedule=replace(base, learning_rate=rate, dropout=share))
            for share in (0.0, 0.3)
        ]
    size = 300 if large else 150
    for model in LMN_MODELS:
        rates, schedule = lmn_schedule(model, replace(base, weight_dropout=0.1), (2e-3, 4e-3))
        found[model] = [
            Candidate(model, size, size, "random", replace(schedule, learning_rate=rate), 4, 60, 0.97) for rate in rates
        ]
    return found


def lmn_schedule(model: str, base: Schedule, rates: tuple[float, ...]) -> tuple[tuple[float, ...], Schedule]:
    """Learning rates and schedule: what the closed form gave of the memory is only tuned, so that all else can learn
    at higher rates."""
    if not model.endswith("-pretrained"):
        return rates, base
    return tuple(2 * rate for rate in rates), replace(base, memory_rate=0.1)


class Study:
    """One data set, its results kept."""

    def __init__(self, rolls: Rolls, folder: Path, weight: float, console: Console) -> None:
        self.rolls, self.weight, self.console = rolls, weight, console
        self.kept = {model: Kept(folder / f"{rolls.name}-{weight:g}-{model}.json") for model in MODELS}

    def result(self, candidate: Candidate) -> dict[str, Any]:
        """Accuracies, parameters, times and the learning curve of one run."""
        return self.kept[candidate.model].get(candidate.key(), lambda: self._run(candidate))

    def _run(self, candidate: Candidate) -> dict[str, Any]:
        rolls, bias = self.rolls, self.rolls.output_bias()
        heavy = torch.tensor(self.weight)

        def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
            return nn.functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none", pos_weight=heavy)

        try:
            done: Fitted = fit(candidate, rolls.train, lambda net: -accuracy(net, rolls.valid), loss, bias)
        except (ArithmeticError, ValueError) as error:
            return {"valid": 0.0, "test": 0.0, "parameters": 0, "seconds": 0.0, "failed": str(error)}
        found = {
            "model": candidate.model,
            "valid": accuracy(done.network, rolls.valid),
            "test": accuracy(done.network, rolls.test),
            "parameters": done.parameters,
            "seconds": done.seconds,
            "epochs": len(done.trained.curve),
            "curve": [round(-epoch.criterion, 3) for epoch in done.trained.curve],
            "first_curve": [round(-epoch.criterion, 3) for epoch in done.first.curve] if done.first else [],
        }
        schedule = candidate.schedule
        what = f"{candidate.units}/{candidate.memory_size} {candidate.start} rate {schedule.learning_rate:g}"
        what += f" seed {schedule.seed}"
        self.console.print(
            f"{rolls.name} {candidate.model:17} {what:42} valid {found['valid']:.2f} test {found['test']:.2f} "
            f"{found['parameters']:,} parameters, {found['seconds']:.0f} s"
        )
        return found

    def table(self, models: list[str], seeds: int, large: bool) -> list[list[str]]:
        """Rows: model, parameters, valid, test mean, spread, seconds of one training, of the whole search."""
        rows = []
        for model in models:
            candidates = grid(self.rolls, large)[model]
            searched = [self.result(candidate) for candidate in candidates]
            best = candidates[int(np.argmax([one["valid"] for one in searched]))]
            each = [self.result(reseeded(best, seed)) for seed in range(seeds)]
            valid, test = (np.array([one[part] for one in each]) for part in ("valid", "test"))
            rows.append(
                [
                    model,
                    f"{best.units}" + (f" + {best.memory_size}" if best.memory_size else ""),
                    f"{best.schedule.learning_rate:.2g}",
                    f"{each[0]['parameters']:,}",
                    f"{valid.mean():.2f}",
                    f"{test.mean():.2f} ± {test.std():.2f}",
                    f"{np.mean([one['seconds'] for one in each]):.0f} s",
                    f"{sum(one['seconds'] for one in searched):.0f} s, {len(candidates)} runs",
                ]
            )
        return rows

    def sensitivity(self, models: list[str], large: bool) -> list[list[str]]:
        """Rows: model, runs, lowest, quartiles, highest test accuracy, spread."""
        rows, candidates = [], grid(self.rolls, large)
        for model in models:
            searched = [self.result(candidate) for candidate in candidates[model]]
            best = candidates[model][int(np.argmax([one["valid"] for one in searched]))]
            each = []
            for rate, seed, start in product(RATES, range(SENSITIVITY_SEEDS), STARTS):
                schedule = replace(best.schedule, learning_rate=rate, seed=seed)
                each.append(self.result(replace(best, schedule=schedule, start=start))["test"])
            low, q1, middle, q3, high = np.percentile(each, [0, 25, 50, 75, 100])
            rows.append([model, str(len(each)), *(f"{v:.2f}" for v in (low, q1, middle, q3, high, high - low))])
        return rows


def reseeded(candidate: Candidate, seed: int) -> Candidate:
    return replace(candidate, schedule=replace(candidate.schedule, seed=seed))


def markdown(title: str, headings: Iterable[str], rows: list[list[str]]) -> str:
    """A table for a document."""
    lines = [f"**{title}**", "", "| " + " | ".join(headings) + " |", "|" + "---|" * len(list(headings))]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.mat")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help="default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--positive-weight", type=float)
    parser.add_argument("--out", type=Path, default=Path("piano-results"), help="folder for results as they come")
    parser.add_argument("--sensitivity", action="store_true", help="on the first file, beside the table")
    parser.add_argument("--large", action="store_true", help="twice the sizes, more epochs")
    options = parser.parse_args()
    one_thread()
    options.out.mkdir(parents=True, exist_ok=True)
    console, parts = Console(width=160), [f"{hardware()}; seeds 0 to {options.seeds - 1}"]
    for number, path in enumerate(options.files):
        rolls = read(path)
        weight = options.positive_weight or (3.0 if rolls.short else 1.5)
        study = Study(rolls, options.out, weight, console)
        headings = ("model", "units + memory", "rate", "parameters", "valid", "test", "training", "whole search")
        parts.append(
            markdown(
                f"{path.stem}: accuracy in %, a note that sounds weighs {weight:g}",
                headings,
                study.table(options.models, options.seeds, options.large),
            )
        )
        if options.sensitivity and not number:
            headings = ("model", "runs", "lowest", "quartile", "median", "quartile", "highest", "spread")
            parts.append(
                markdown(f"{path.stem}: sensitivity", headings, study.sensitivity(options.models, options.large))
            )
    text = "\n\n".join(parts)
    (options.out / "piano.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
