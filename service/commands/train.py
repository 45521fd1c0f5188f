"""`limen train`: files of normal operation -> a model, and what a person wants to know of it."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from models import artifact
from models.contract import MICROSECONDS, ModelError
from models.data import DataOptions, Recording, Series, read, segments
from models.exports.findings import plural, some
from models.exports.intervals import refuse_other_intervals, usual_tolerance
from models.exports.timestamps import rfc3339
from models.gaps import gap_reset_ticks, on_grid
from models.lmn import LinearMemoryNetwork
from models.manifest import Manifest, Sensor
from models.memory_choice import Candidate
from models.preprocess import Segment
from models.train import Options, Training, train
from service.commands.console import facts, progress


@dataclass(frozen=True, slots=True)
class Trained:
    """One run of the command."""

    recording: Recording
    training: Training
    parts: list[Segment]
    shortest: int  # ticks of a stretch that was trained on; shorter ones were left out
    out: Path


def run(data: Sequence[Path], out: Path, options: Options, data_options: DataOptions, as_json: bool) -> None:
    """Train, save and report. Raises DataError or ModelError; nothing is written then."""
    version = next_version(out)
    with progress("training") as told:
        told("reading", 0.0)
        recording = read(data, data_options)
        refuse_other_intervals(recording.series, recording.interval)
        parts = normal_segments(recording, options)
        tolerance = usual_tolerance(recording.series, recording.interval)
        options = replace(options, name=options.name or name_of(out), version=version, tolerance=tolerance)
        used = sum(part.rows for part in parts)
        training = train(
            parts,
            recording.sensors,
            recording.interval,
            options,
            units=recording.units,
            window=window(recording),
            excluded=recording.rows - used,
            progress=told,
        )
    manifest = artifact.save(training.manifest, training.detector, training.drift, out, training.horizons)
    trained = Trained(recording, training, parts, 2 * options.shape.window + 1, out)
    if as_json:
        print(json.dumps(as_dict(trained) | {"artifact_id": manifest.artifact_id}, indent=1))
    else:
        facts(report(trained))


def normal_segments(recording: Recording, options: Options) -> list[Segment]:
    """Ticks to train on, machine by machine, without rows labelled as faulty; a tick that did not come has no value."""
    gap = gap_reset_ticks(options.shape.window) * recording.interval
    found = [
        Segment(series.equipment, on_grid(series.time[part], series.values[part], recording.interval))
        for series in map(without_faults, recording.series)
        for part in segments(series, gap)
    ]
    long = [segment for segment in found if len(segment.x) > 2 * options.shape.window]
    return long or found  # where none is, training says what it takes


def without_faults(series: Series) -> Series:
    """A series in which only the rows that are not labelled as faulty count."""
    return series if series.label is None else replace(series, use=series.use & ~(series.label > 0))


def labelled(recording: Recording) -> int:
    """Rows that would count, were they not labelled as faulty."""
    return sum(int(series.use.sum() - without_faults(series).use.sum()) for series in recording.series)


def name_of(out: Path) -> str:
    """A model's name from the folder that it goes to.

    >>> name_of(Path("models/Pump skids 3"))
    'pump-skids-3'
    """
    name = re.sub(r"[^a-z0-9._-]+", "-", out.resolve().name.lower()).strip("-.")
    return name or "model"


def next_version(out: Path) -> int:
    """1, or one more than the model that is in the folder. ModelError where something else is in it."""
    if not out.exists():
        return 1
    if not out.is_dir():
        raise ModelError(f"{out} is a file; expected a folder for the model")
    names = {path.name for path in out.iterdir() if not path.name.endswith(".partial")}
    if not names:
        return 1
    if not names <= {artifact.MANIFEST, artifact.TENSORS}:
        other = sorted(names - {artifact.MANIFEST, artifact.TENSORS})[0]
        raise ModelError(f"{out} holds {other!r}, which is no part of a model; choose a folder of its own with --out")
    try:
        return artifact.load(out).version + 1
    except ModelError:
        return 1


def window(recording: Recording) -> tuple[str, str]:
    """First and last time of the rows that are used."""
    times = [series.time[series.use] for series in recording.series if series.use.any()]
    if not times:
        return "", ""
    return rfc3339(min(int(t[0]) for t in times)), rfc3339(max(int(t[-1]) for t in times))


def report(trained: Trained) -> list[tuple[str, str]]:
    """What a person wants to know, line by line."""
    training, recording = trained.training, trained.recording
    manifest, calibration = training.manifest, training.calibration
    machines = training.detector.equipment
    lines = [
        (
            "rows",
            f"{manifest.fit.rows:,} used of {recording.rows:,}, in {plural(len(trained.parts), 'stretch', 'es')} "
            "without a gap",
        ),
        ("time", f"{' to '.join(manifest.fit.window)}, one tick every {manifest.interval / MICROSECONDS:g} s"),
        ("machines", f"{len(machines)}: {some(machines)}"),
        ("sensors", f"{len(manifest.sensors)}: {some([with_unit(s) for s in manifest.sensors])}"),
    ]
    if faulty := labelled(recording):
        lines.append(("left out", f"{plural(faulty, 'row')} labelled as faulty"))
    if short := sum(int(series.use.sum()) for series in recording.series) - faulty - manifest.fit.rows:
        lines.append(("left out", f"{plural(short, 'row')} in stretches of {trained.shortest - 1} ticks or less"))
    constant = [s.name for s in manifest.sensors if s.constant]
    if constant:
        lines.append(("constant", f"{some(constant)}: any movement will be news"))
    if training.missing_cells:
        share = training.missing_cells / (manifest.fit.rows * len(recording.sensors))
        lines.append(
            ("missing cells", f"{training.missing_cells:,} ({share:.1%}), estimated and left out of residuals")
        )
    lines += [("found", f.text) for f in recording.findings if f.kind != "constant" or f.count > len(constant)]
    lines += [
        (
            "memory",
            f"{manifest.p} values, window {manifest.L}, discount {manifest.g:g}; no score in the first "
            f"{manifest.warmup_ticks} ticks",
        ),
        *([("chosen", chosen_sentence(training.candidates))] if training.candidates else []),
        *featured_line(training),
        ("training took", f"{training.seconds:.2f} s"),
        (
            "threshold",
            f"a score of 1 or more, which at most {calibration.budget:.2%} of normal ticks are promised to reach",
        ),
        (
            "held-out rows",
            f"{calibration.kept:.2%} of {calibration.rows:,} at or over it (promised {calibration.budget:.2%})",
        ),
        ("blocks", blocks_sentence(training)),
        ("model", f"{manifest.name} version {manifest.version} in {trained.out}{replaced_sentence(manifest)}"),
        ("next", f"limen serve --model {shlex.quote(str(trained.out))}"),
    ]
    return lines


def featured_line(training: Training) -> list[tuple[str, str]]:
    """What there is to say of tanh features, if they were tried or are there."""
    network, tried = training.detector.network, training.feature_candidates
    count = network.units - network.inputs if isinstance(network, LinearMemoryNetwork) else 0
    if not tried:
        return [("features", f"{count} tanh features, as asked for")] if count else []
    errors = ", ".join(f"{c.error:.4f} with {c.features or 'none'} and {c.shape.memory_size} values" for c in tried)
    return [("features", f"{count or 'none'}: held-out error {errors}")]


def chosen_sentence(candidates: Sequence[Candidate]) -> str:
    """Why the memory is as it is."""
    chosen, best = next(c for c in candidates if c.chosen), min(candidates, key=lambda c: c.error)
    sentence = f"of {plural(len(candidates), 'candidate')}: held-out error {chosen.error:.4f}, "
    if chosen is best:
        return f"{sentence}the least, and no smaller one within a standard error of it"
    return (
        f"{sentence}within a standard error ({chosen.standard_error:.4f}) of the least, {best.error:.4f} with "
        f"{best.shape.memory_size} values, window {best.shape.window}, discount {best.shape.discount:g}"
    )


def with_unit(sensor: Sensor) -> str:
    """A sensor, and its unit where it has one."""
    return f"{sensor.name} ({sensor.unit})" if sensor.unit else sensor.name


def replaced_sentence(manifest: Manifest) -> str:
    """Which version was in the folder before."""
    return f", in place of version {manifest.version - 1}" if manifest.version > 1 else ""


def rows_wanted(training: Training) -> int:
    """Normal rows that it takes until each block can show one tick of the budget, with as many left out as now."""
    calibration = training.calibration
    left_out = training.manifest.fit.rows - calibration.rows
    return math.ceil(len(calibration.block_kept) / calibration.budget) + left_out


def blocks_sentence(training: Training) -> str:
    """Whether the blocks agree, and so whether the recording supports the budget."""
    calibration = training.calibration
    if not calibration.supported:
        reasons = []
        if training.sensors_unsettled:
            reasons.append(
                f"the level of {some(training.sensors_unsettled)} wanders from block to block, as while warming up, or "
                "in a recording shorter than its own daily cycle"
            )
        if calibration.spread > 1 and not reasons:
            reasons.append(f"their thresholds differ {calibration.spread:.1f}-fold")
        return (
            f"do NOT agree: {'; '.join(reasons)}. This recording does not support a budget of "
            f"{calibration.budget:.2%}; train on more normal operation"
        )
    worst = calibration.block_kept.max()
    sentence = f"agree: {len(calibration.block_kept)} blocks, each held out in turn, keep {worst:.2%} or less"
    if calibration.provisional:
        sentence += (
            ". The budget is rarer than a block can show: provisional until there are "
            f"{rows_wanted(training):,} normal rows"
        )
    return sentence


def candidate(tried: Candidate) -> dict[str, Any]:
    """One that was tried, for a program."""
    found = asdict(tried)
    return {**found.pop("shape"), **found}


def as_dict(trained: Trained) -> dict[str, Any]:
    """The report for a program."""
    training, recording = trained.training, trained.recording
    manifest, calibration = training.manifest, training.calibration
    return {
        "model": manifest.name,
        "version": manifest.version,
        "replaced_version": manifest.version - 1 or None,
        "folder": str(trained.out),
        "rows": recording.rows,
        "rows_used": manifest.fit.rows,
        "segments": len(trained.parts),
        "equipment": list(training.detector.equipment),
        "sensors": list(recording.sensors),
        "from": manifest.fit.window[0],
        "to": manifest.fit.window[1],
        "constant": [s.name for s in manifest.sensors if s.constant],
        "rows_labelled_faulty": labelled(recording),
        "missing_cells": training.missing_cells,
        "warmup_ticks": manifest.warmup_ticks,
        "interval_seconds": manifest.interval / MICROSECONDS,
        "memory_size": manifest.p,
        "window": manifest.L,
        "discount": manifest.g,
        "memory_candidates": list(map(candidate, training.candidates)),
        "feature_candidates": list(map(candidate, training.feature_candidates)),
        "seconds": training.seconds,
        "false_alarm_rate": calibration.budget,
        "held_out_rows": calibration.rows,
        "held_out_kept": calibration.kept,
        "blocks_kept": calibration.block_kept.tolist(),
        "blocks_agree": calibration.supported,
        "blocks_spread": calibration.spread,
        "sensors_unsettled": list(training.sensors_unsettled),
        "provisional": calibration.provisional,
        "rows_wanted": rows_wanted(training) if calibration.provisional else None,
        "findings": [{"kind": f.kind, "text": f.text} for f in recording.findings],
    }
