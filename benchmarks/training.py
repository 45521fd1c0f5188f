"""Training and calibrating a whole LMN, of a given memory and of one that is chosen, beside one fit without
calibration and one epoch of an LSTM of the same hidden size, in one run.

usage: python benchmarks/training.py [--rows 1000000] [--sensors 32] [--memory 52] [--window 10] [--no-lstm]

Each side runs in a process of its own, so that its peak memory is its own; the LMN with one BLAS thread and a thread a
core, as `limen train` does, torch with its own threads. The LSTM (torch) sees the same rows in
windows of 100, batches of 64, next-reading loss, Adam: what one epoch of the usual recipe costs. It needs `torch`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from models.contract import Floats

if TYPE_CHECKING:
    from models.train import Options

SEQUENCE, BATCH = 100, 64


def plant(rows: int, sensors: int) -> Floats:
    """Correlated, autocorrelated readings (rows, sensors); seeded."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(0)
    slow = lfilter([1], [1, -0.95], rng.normal(size=(rows, sensors)), axis=0)
    return 50 + slow @ rng.normal(size=(sensors, sensors)) / sensors


def train_lmn(rows: int, sensors: int, memory: int, window: int) -> dict[str, float]:
    """Scaling, LAES, read-out, cross-fitted calibration and the final fit."""
    from models.fit import Shape
    from models.train import Options

    return _trained(rows, sensors, Options(shape=Shape(memory, window)))


def train_lmn_chosen(rows: int, sensors: int, memory: int, window: int) -> dict[str, float]:
    """The same, with size, window and discount of the memory chosen."""
    from models.memory_choice import Choices
    from models.train import Options

    return _trained(rows, sensors, Options(choices=Choices()))


def train_lmn_default(rows: int, sensors: int, memory: int, window: int) -> dict[str, float]:
    """The same, with features tried as well: what `limen train` does by default."""
    from models.feature_choice import COUNTS
    from models.memory_choice import Choices
    from models.train import Options

    return _trained(rows, sensors, Options(choices=Choices(), features=COUNTS))


def _trained(rows: int, sensors: int, options: Options) -> dict[str, float]:
    from models.preprocess import Segment
    from models.train import train

    x = plant(rows, sensors)
    names = tuple(f"s{i}" for i in range(sensors))
    started = time.perf_counter()
    training = train([Segment("machine", x)], names, 1_000_000, options)
    return {"seconds": time.perf_counter() - started, "kept": training.calibration.kept, "memory": training.manifest.p}


def fit_lmn(rows: int, sensors: int, memory: int, window: int) -> dict[str, float]:
    """Memory and read-out of all rows, once; then the choice of a memory, by itself."""
    from models.calibrate import CrossFit
    from models.fit import Shape, fit_core
    from models.laes import lag_statistics
    from models.memory_choice import Choices, choose

    x = plant(rows, sensors)
    z = [(x - x.mean(0)) / x.std(0)]
    started = time.perf_counter()
    fit_core(z, lag_statistics(z, window), Shape(memory, window))
    fitted, choices = time.perf_counter(), Choices().within(sensors)
    choose(CrossFit.prepare(z, None, ["machine"], 5, choices.least, lags=choices.lags), choices)
    return {"seconds": fitted - started, "choice_seconds": time.perf_counter() - fitted}


def train_lstm(rows: int, sensors: int, memory: int, window: int) -> dict[str, float]:
    """One epoch."""
    import torch

    torch.manual_seed(0)
    x = plant(rows, sensors)
    z = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    z = z[: rows // SEQUENCE * SEQUENCE].reshape(-1, SEQUENCE, sensors)
    lstm, readout = torch.nn.LSTM(sensors, memory, batch_first=True), torch.nn.Linear(memory, sensors)
    optimiser = torch.optim.Adam([*lstm.parameters(), *readout.parameters()], lr=1e-3)
    started = time.perf_counter()
    for batch in z.split(BATCH):
        optimiser.zero_grad()
        predicted = readout(lstm(batch[:, :-1])[0])
        torch.nn.functional.mse_loss(predicted, batch[:, 1:]).backward()
        optimiser.step()
    return {"seconds": time.perf_counter() - started}


SIDES = {"fit": fit_lmn, "lmn": train_lmn, "chosen": train_lmn_chosen, "default": train_lmn_default, "lstm": train_lstm}


def _measured(name: str, arguments: tuple[int, ...], answer: multiprocessing.Queue[dict[str, float]]) -> None:
    figures = SIDES[name](*arguments)
    answer.put({**figures, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6})


def measure(name: str, *arguments: int) -> dict[str, float]:
    """Run one side in a fresh process."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of numpy; torch has threads of its own
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[dict[str, float]] = context.Queue()
    process = context.Process(target=_measured, args=(name, arguments, answer))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"{name} failed with exit status {process.exitcode}")
    return answer.get()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sensors", type=int, default=32)
    parser.add_argument("--memory", type=int, default=52)
    parser.add_argument("--window", type=int, default=10)
    parser.add_argument("--no-lstm", action="store_true", help="leave the reference out")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    shape = (options.rows, options.sensors, options.memory, options.window)
    figures = {name: measure(name, *shape) for name in ("fit", "lmn", "chosen", "default")}
    if not options.no_lstm:
        figures["lstm"] = measure("lstm", *shape)
    table = Table(title=f"{options.rows:,} rows x {options.sensors} sensors, hidden size {options.memory}")
    for heading in ("what", "seconds", "peak memory", "held-out false alarms at 1 %"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    fit, lmn, chosen = figures["fit"], figures["lmn"], figures["chosen"]
    table.add_row("LMN: one fit", f"{fit['seconds']:.2f}", f"{fit['peak_gb']:.1f} GB", "not calibrated")
    sides = {
        "trained and calibrated": lmn,
        f"the same, memory chosen ({chosen['memory']:.0f})": chosen,
        "the same, features tried": figures["default"],
    }
    for what, one in sides.items():
        table.add_row(f"LMN: {what}", f"{one['seconds']:.2f}", f"{one['peak_gb']:.1f} GB", f"{one['kept']:.2%}")
    if "lstm" in figures:
        lstm = figures["lstm"]
        table.add_row("LSTM: one epoch", f"{lstm['seconds']:.1f}", f"{lstm['peak_gb']:.1f} GB", "not calibrated")
    Console().print(table)
    choice = fit["choice_seconds"]
    print(
        f"choosing the memory, by itself: {choice:.2f} s, {choice / fit['seconds']:.1f} times one fit, "
        f"{choice / lmn['seconds']:.1f} times training with a given one"
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
