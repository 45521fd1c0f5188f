"""`limen evaluate`: the scores and alarms of labelled files beside their labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.contract import DataError
from models.data import DataOptions
from models.evaluate import RECOVERY_TICKS, Evaluation, Part, pool
from models.exports.findings import plural
from service.commands.console import aligned, duration, facts
from service.commands.score import Scored, score_files

RATES = ("f1", "precision", "recall", "false_alarm_rate", "missed_alarm_rate", "average_precision")
COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives", "ticks_left_out", "ticks")


def run(model: Path, data: Sequence[Path], data_options: DataOptions, as_json: bool) -> None:
    """Score, compare, tell."""
    scored = score_files(model, data, data_options)
    found = as_dict(scored, evaluation_of(scored))
    if as_json:
        print(json.dumps(found, indent=1))
        return
    facts(summary(found))
    if found["episodes"]:
        print("\n".join(aligned([episode_row(episode) for episode in found["episodes"]])))


def evaluation_of(scored: Scored) -> Evaluation:
    """Scores against labels, pooled over machines and files."""
    parts = []
    for series, result, through in zip(scored.recording.series, scored.results, scored.fed, strict=True):
        if series.label is None:
            raise DataError("the data has no labels; name their column with --label")
        used = series.use[through]
        label, time = series.label[through][used], series.time[through][used]
        parts.append(Part(result.score[used], label, time, result.alarm[used]))
    return pool(parts)


def as_dict(scored: Scored, evaluation: Evaluation) -> dict[str, Any]:
    """For a program: with the machine of each episode, and the sensor that its peak is owed to."""
    found = evaluation.as_dict()
    sensors = scored.model.detector.sensors
    for episode in found["episodes"]:
        part = episode["part"]
        series, through = scored.recording.series[part], scored.fed[part]
        top = scored.results[part].top[series.use[through]]
        row = episode["peak_row"]
        episode["equipment"] = series.equipment
        episode["top_sensor"] = None if row is None or top[row] < 0 else sensors[int(top[row])]
    return found


def summary(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures, line by line: of ticks, of recovery, of alarms, of episodes."""
    lines = [(_words(name), _rate(found[name])) for name in RATES]
    lines += [(_words(name), f"{found[name]:,}") for name in COUNTS]
    within = f"{found['false_positives_in_recovery']:,} of the {plural(found['recovery_ticks'], 'normal tick')}"
    lines += [
        (
            "in recovery",
            f"{_rate(found['false_alarm_rate_in_recovery'])} false alarm rate: {within} within {RECOVERY_TICKS} after "
            "an episode, while the score still remembers it",
        ),
        ("outside recovery", f"{_rate(found['false_alarm_rate_outside_recovery'])} false alarm rate"),
        (
            "alarms",
            f"{found['alarms']:,} raised, {found['false_alarms']:,} false (they hold no labelled tick), of these "
            f"{found['false_alarms_in_recovery']:,} in recovery",
        ),
        ("false alarms", f"{_rate(found['false_alarms_per_machine_day'])} per machine and day of normal time"),
        ("normal time", f"{_rate(found['normal_time_in_alarm'])} of it in alarm"),
    ]
    detected = sum(episode["detected"] for episode in found["episodes"])
    return [*lines, ("episodes", f"{detected} of {len(found['episodes'])} detected")]


def episode_row(episode: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """One labelled episode: machine, start, delay, peak score, and the sensor of the peak."""
    if episode["detected"]:
        outcome = f"found after {duration(episode['delay_seconds'])}"
    else:
        outcome = "missed" if episode["judged"] else "no tick has a score"
    peak = "" if episode["peak"] is None else f"peak {episode['peak']:.2f}"
    return episode["equipment"], episode["start_time"], outcome, peak, episode["top_sensor"] or ""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _rate(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
