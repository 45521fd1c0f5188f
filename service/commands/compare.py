"""`limen compare`: the LMN beside its rivals on a user's own recording, as a table, files and a page."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from models.baselines.methods import METHODS
from models.comparison import summary
from models.comparison.page import page
from models.comparison.subject import Split, Subject, subject_of
from models.comparison.trials import Trial, run
from models.contract import DataError, ModelError
from models.data import DataOptions, read
from models.disk import write_durably
from models.exports.findings import plural
from models.manifest import KIND
from service.commands.console import notice, progress

USUAL = (KIND, "pca", "dynamic-pca", "k-means", "rnn", "lstm")
RUNS, OPTIONS = "runs", "options.json"
COLUMNS = (
    ("vus_pr", "VUS-PR", "{:.3f}"),
    ("average_precision", "average precision", "{:.3f}"),
    ("f1", "F1", "{:.3f}"),
    ("kept_false_alarm_rate", "false alarms kept", "{:.2%}"),
    ("missed_alarm_rate", "missed", "{:.1%}"),
    ("delay_ticks_median", "delay, ticks", "{:.0f}"),
    ("false_alarms_per_machine_week", "false alarms a machine and week", "{:.1f}"),
    ("normal_time_in_alarm", "normal time in alarm", "{:.1%}"),
    ("fit_seconds", "fit s", "{:.3f}"),
    ("search_seconds", "search s", "{:.1f}"),
    ("retrain_seconds", "retraining s", "{:.1f}"),
    ("parameters", "parameters", "{:,.0f}"),
    ("latency_p50_us", "p50 µs", "{:.0f}"),
    ("latency_p99_us", "p99 µs", "{:.0f}"),
    ("readings_per_second", "readings/s", "{:,.0f}"),
    ("bytes_per_machine", "bytes a machine", "{:,.0f}"),
)


UNLABELLED = {"kept_false_alarm_rate": "over the threshold", "normal_time_in_alarm": "time in alarm"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared, and how."""

    methods: tuple[str, ...] = USUAL
    split: Split = field(default_factory=Split)
    seeds: int = 3
    rate: float = 0.01
    budget_minutes: float | None = None
    language: str = "en"

    def key(self) -> str:
        """What trials follow from beside data, method and seed."""
        return hashlib.sha256(json.dumps([asdict(self.split), self.rate]).encode()).hexdigest()[:16]


@dataclass
class Comparison:
    """Trials that are done, and what was left out."""

    subjects: list[Subject]
    plan: Plan
    out: Path
    trials: dict[tuple[str, str, int], Trial] = field(default_factory=dict)
    left_out: list[dict[str, Any]] = field(default_factory=list)

    def wanted(self) -> list[tuple[Subject, str, int]]:
        """Seed by seed, so that what is cut off has something of everything."""
        found = []
        for seed in range(self.plan.seeds):
            for subject in self.subjects:
                for method in self.plan.methods:
                    if seed == 0 or (method in METHODS and METHODS[method].draws):
                        found.append((subject, method, seed))
        return found

    def leave_out(self, subject: Subject, method: str, seed: int, reason: str) -> None:
        self.left_out.append({"series": subject.name, "method": method, "seed": seed, "reason": reason})


def compare(
    data: Sequence[Path], data_options: DataOptions, plan: Plan, out: Path, resume: bool, as_json: bool
) -> None:
    """Run what is not there yet, tell, write. DataError or ModelError before anything is run where it cannot be."""
    check_methods(plan.methods)
    labelled = data_options.label is not None
    subjects = [_subject(path, data_options, plan.split, labelled) for path in data]
    found = Comparison(subjects, plan, out)
    _prepare(found, resume)
    try:
        _run_all(found)
    except KeyboardInterrupt:
        notice("stopped: what is done is written, --resume goes on")
    results = results_of(found, labelled)
    _write(results, out, plan.language)
    if not results["methods"]:
        reason = results["left_out"][0]["reason"]
        raise ModelError(f"nothing could be compared: {reason}; {out / 'report.html'} lists all reasons")
    if as_json:
        print(json.dumps(results, indent=1))
    else:
        _tell(results, out)


def usual_methods() -> tuple[str, ...]:
    """Those that can be trained here, with a notice of those that cannot."""
    if importlib.util.find_spec("torch") is not None:
        return USUAL
    without = [method for method in USUAL if method in METHODS and METHODS[method].torch]
    notice(f"{', '.join(without)}: left out, since torch is not installed: pip install 'limen[train]'")
    return tuple(method for method in USUAL if method not in without)


def check_methods(methods: Sequence[str]) -> None:
    """ModelError where one is unknown, or its training needs torch and that is not there."""
    known = (KIND, *METHODS)
    for method in methods:
        if method not in known:
            raise ModelError(f"method is {method!r}; this program knows {', '.join(map(repr, known))}")
        if method in METHODS and METHODS[method].torch and importlib.util.find_spec("torch") is None:
            raise ModelError(
                f"method {method!r} is trained with torch, which is not installed: pip install 'limen[train]', or "
                "leave it out with --methods"
            )


def _subject(path: Path, data_options: DataOptions, split: Split, labelled: bool) -> Subject:
    recording = read([path], data_options)
    for finding in recording.findings:
        notice(finding.text if path.name in finding.text else f"{path.name}: {finding.text}")
    return subject_of(path.stem, recording.sensors, recording.interval, recording.series, split, labelled)


def _prepare(found: Comparison, resume: bool) -> None:
    """The folder, and what is in it already. ModelError where it is of something else."""
    runs, options = found.out / RUNS, found.out / OPTIONS
    names = [subject.name for subject in found.subjects]
    if len(set(names)) < len(names):
        raise DataError("two files have the same name; rename one, so that their results can be told apart")
    wanted = {"key": found.plan.key(), "data": {subject.name: subject.digest() for subject in found.subjects}}
    if found.out.exists() and any(found.out.iterdir()):
        if not resume:
            raise ModelError(f"{found.out} is not empty; choose another folder with --out, or go on with --resume")
        if differs := _differs(options, wanted):
            raise ModelError(f"{found.out} holds results of {differs}; choose another folder with --out")
    runs.mkdir(parents=True, exist_ok=True)
    write_durably(options, json.dumps(wanted, indent=1).encode())
    for subject, method, seed in found.wanted():
        path = _path(found, subject, method, seed)
        if path.is_file():
            try:
                found.trials[subject.name, method, seed] = Trial.of_bytes(path.read_bytes())
            except ModelError:
                notice(f"{path} is damaged; it is run again")


def _differs(options: Path, wanted: dict[str, Any]) -> str:
    """What the results in a folder are of, where that is not what is wanted."""
    try:
        kept = json.loads(options.read_text())
        data = kept["data"]
    except (OSError, ValueError, KeyError, TypeError):
        return "something else"
    if kept["key"] != wanted["key"]:
        return "another split of the rows, or another --false-alarm-rate"
    other = sorted(name for name in {*data, *wanted["data"]} if data.get(name) != wanted["data"].get(name))
    return f"other data: {', '.join(other)}" if other else ""


def _path(found: Comparison, subject: Subject, method: str, seed: int) -> Path:
    return found.out / RUNS / f"{subject.name}.{method}.{seed}.npz"


def _run_all(found: Comparison) -> None:
    """Each trial is on disk before the next one begins. Torch keeps to the one thread that `cli.main` asks for."""
    started, wanted, plan = time.monotonic(), found.wanted(), found.plan
    with progress("comparing") as told:
        for number, (subject, method, seed) in enumerate(wanted):
            told(f"{subject.name}, {method}, seed {seed}", number / len(wanted))
            if (subject.name, method, seed) in found.trials:
                continue
            if plan.budget_minutes is not None and time.monotonic() - started > 60 * plan.budget_minutes:
                found.leave_out(subject, method, seed, f"the {plan.budget_minutes:g} minutes of the budget were over")
                continue
            try:
                trial = run(subject, method, seed, plan.rate)
            except (ModelError, np.linalg.LinAlgError) as error:
                found.leave_out(subject, method, seed, str(error))
                continue
            write_durably(_path(found, subject, method, seed), trial.as_bytes())
            found.trials[subject.name, method, seed] = trial


def results_of(found: Comparison, labelled: bool) -> dict[str, Any]:
    """What `results.json` holds and the page is made of."""
    told = {(entry["series"], entry["method"], entry["seed"]) for entry in found.left_out}
    for subject, method, seed in found.wanted():
        place = (subject.name, method, seed)
        if place not in found.trials and place not in told:
            found.leave_out(subject, method, seed, "stopped before it was run")
    by_method = {
        method: [trial for (_, name, _), trial in found.trials.items() if name == method]
        for method in found.plan.methods
    }
    by_method = {method: trials for method, trials in by_method.items() if trials}
    shared = _shared(by_method)
    whole = plural(len(found.subjects), "recording")
    partly = f"only what all methods have done is counted: {len(shared)} of {whole}"
    notes = [partly] if len(shared) < len(found.subjects) else []
    by_method = {method: _complete(trials, shared) for method, trials in by_method.items()}
    return {
        "format": 1,
        "promised": found.plan.rate,
        "labelled": labelled,
        "threads": 1,
        "hardware": f"{os.cpu_count()} cores, one thread each method",
        "options": asdict(found.plan),
        "series": [_about(subject, labelled) for subject in found.subjects],
        "methods": [summary.figures_of(method, trials, labelled) for method, trials in by_method.items()],
        "agreement": summary.agreement(by_method),
        "traces": summary.traces(by_method, labelled),
        "left_out": found.left_out,
        "notes": notes + _notes(by_method),
    }


def _shared(by_method: dict[str, list[Trial]]) -> set[str]:
    """Recordings that every method has done with the first seed; all that any has done, where there is none."""
    done = [{t.facts["series"] for t in trials if not t.facts["seed"]} for trials in by_method.values()]
    return set.intersection(*done) or set.union(*done) if done else set()


def _complete(trials: list[Trial], shared: set[str]) -> list[Trial]:
    """Trials of shared recordings, of seeds that have done all of them."""
    own = [trial for trial in trials if trial.facts["series"] in shared]
    first = {trial.facts["series"] for trial in own if not trial.facts["seed"]}
    seeds = {t.facts["seed"] for t in own}
    whole = {s for s in seeds if {t.facts["series"] for t in own if t.facts["seed"] == s} == first}
    return [trial for trial in own if trial.facts["seed"] in whole]


def _notes(by_method: dict[str, list[Trial]]) -> list[str]:
    """Whose promise the rows to train on cannot carry."""
    found = []
    for method, trials in by_method.items():
        weak = sorted({trial.facts["series"] for trial in trials if not trial.facts["supported"]})
        whole = len({trial.facts["series"] for trial in trials})
        if weak:
            found.append(
                f"{method}: {len(weak)} of {whole} recordings cannot support the promised rate of false alarms"
            )
    return found


def _about(subject: Subject, labelled: bool) -> dict[str, Any]:
    judged = [subject.judged(i) for i in range(len(subject.series))]
    labels = [s.label[rows] > 0 for s, rows in zip(subject.series, judged, strict=True) if s.label is not None]
    starts = sum(int((np.diff(label.astype(int), prepend=0) == 1).sum()) for label in labels)
    return {
        "name": subject.name,
        "rows": sum(len(series.time) for series in subject.series),
        "train_rows": int(sum(chosen.sum() for chosen in subject.train)),
        "test_rows": int(sum(rows.sum() for rows in judged)),
        "anomalous_rows": int(sum(label.sum() for label in labels)) if labelled else None,
        "episodes": starts if labelled else None,
    }


def _write(results: dict[str, Any], out: Path, language: str) -> None:
    write_durably(out / "results.json", json.dumps(results, indent=1).encode())
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["method", "series_done", "seeds", *(name for name, _, _ in COLUMNS)])
    for one in results["methods"]:
        cells = ("" if one[name] is None else one[name] for name, _, _ in COLUMNS)
        writer.writerow([one["method"], one["series_done"], one["seeds"], *cells])
    write_durably(out / "results.csv", file.getvalue().encode())
    write_durably(out / "report.html", page(results, language).encode())


def _tell(results: dict[str, Any], out: Path) -> None:
    recordings = plural(len(results["series"]), "recording")
    table = Table(title=f"{recordings}, {results['promised']:.2%} false alarms promised")
    shown = [column for column in COLUMNS if any(one[column[0]] is not None for one in results["methods"])]
    if not results["labelled"]:
        shown = [(name, UNLABELLED.get(name, heading), form) for name, heading, form in shown]
    for heading in ("method", *(heading for _, heading, _ in shown)):
        table.add_column(heading, justify="left" if heading == "method" else "right", overflow="fold")
    for one in results["methods"]:
        cells = ("-" if one[name] is None else form.format(one[name]) for name, _, form in shown)
        table.add_row(one["method"], *cells)
    Console(width=None if os.isatty(1) else 200).print(table)
    for note in results["notes"]:
        print(note)
    if not results["labelled"]:
        for one in results["agreement"]:
            correlation = "-" if one["rank_correlation"] is None else f"{one['rank_correlation']:.2f}"
            print(f"{one['a']} and {one['b']}: rank correlation of scores {correlation}")
    for entry in results["left_out"]:
        print(f"left out: {entry['series']}, {entry['method']}, seed {entry['seed']}: {entry['reason']}")
    print(f"in {out}: report.html, results.json, results.csv")
