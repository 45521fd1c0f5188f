"""Trials -> the figures of each method, and what the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import rankdata

from models.comparison.trials import Trial
from models.evaluate import Evaluation, pool

WEEK_DAYS = 7
TRACE_POINTS, TRACES_MAX = 400, 4  # of a plot; recordings
RATIOS = ("average_precision", "f1", "false_alarm_rate", "missed_alarm_rate")
TIMES = ("search_seconds", "fit_seconds", "retrain_seconds")
COSTS = ("parameters", "latency_p50_us", "latency_p99_us", "readings_per_second", "bytes_per_machine")

Figures = dict[str, Any]


def figures_of(method: str, trials: Sequence[Trial], labelled: bool) -> Figures:
    """Of one method: ratios are pooled over recordings and averaged over seeds, times are sums over recordings, costs
    their medians; None where undefined."""
    seeds = sorted({trial.facts["seed"] for trial in trials})
    by_seed = [[trial for trial in trials if trial.facts["seed"] == seed] for seed in seeds]
    pooled = [pool([part for trial in some for part in trial.parts]) for some in by_seed]
    first = pooled[0]
    volumes = [_mean([trial.facts["vus_pr"] for trial in some]) for some in by_seed]
    found: Figures = {
        "method": method,
        "series_done": len(by_seed[0]),
        "seeds": len(seeds),
        "vus_pr": _mean(volumes) if labelled else None,
        **{name: _mean([getattr(one, name) for one in pooled]) if labelled else None for name in RATIOS},
        "kept_false_alarm_rate": _mean([one.false_alarm_rate for one in pooled]),
        "episodes": len(first.episodes) if labelled else None,
        "episodes_found": sum(e.detected for e in first.episodes) if labelled else None,
        "delay_ticks_median": _median([e.delay_ticks for e in first.episodes]),
        "false_alarms_per_machine_week": _weekly(first) if labelled else None,
        "normal_time_in_alarm": _in_alarm(first),
        "held_out_kept": _mean([trial.facts["held_out_kept"] for trial in trials]),
        "series_supported": sum(trial.facts["supported"] for trial in by_seed[0]),
    }
    for name in TIMES:
        found[name] = _mean([sum(trial.facts[name] for trial in some) for some in by_seed])
    for name in COSTS:
        found[name] = _median([trial.facts[name] for trial in trials])
    found["spread"] = {
        "vus_pr": volumes if labelled else [],
        "fit_seconds": [sum(trial.facts["fit_seconds"] for trial in some) for some in by_seed],
    }
    return found | {"sensitivity": [], "learning_curve": []}


def agreement(by_method: dict[str, list[Trial]]) -> list[Figures]:
    """Of each two methods on the ticks that both judged: rank correlation of scores (Spearman), and the share of ticks
    over either threshold that are over both (Jaccard)."""
    found = []
    for a, b in combinations(by_method, 2):
        ranks, either, both = [], 0, 0
        others = {(t.facts["series"], t.facts["seed"]): t for t in by_method[b]}
        for trial in by_method[a]:
            other = others.get((trial.facts["series"], trial.facts["seed"]))
            for one, two in zip(trial.parts, other.parts if other else (), strict=False):
                seen = ~(np.isnan(one.score) | np.isnan(two.score))
                x, y = one.score[seen], two.score[seen]
                if len(x) > 2 and np.ptp(x) and np.ptp(y):
                    ranks.append(float(np.corrcoef(rankdata(x), rankdata(y))[0, 1]))
                either, both = either + int(((x >= 1) | (y >= 1)).sum()), both + int(((x >= 1) & (y >= 1)).sum())
        jaccard = both / either if either else None
        found.append({"a": a, "b": b, "rank_correlation": _mean(ranks), "jaccard": jaccard})
    return found


def traces(by_method: dict[str, list[Trial]], labelled: bool) -> list[Figures]:
    """Scores of the first machine of the first recordings, the highest of each few ticks."""
    found = []
    names = list(dict.fromkeys(t.facts["series"] for trials in by_method.values() for t in trials))[:TRACES_MAX]
    for name in names:
        for method, trials in by_method.items():
            trial = next((t for t in trials if t.facts["series"] == name and not t.facts["seed"]), None)
            if trial is None or not trial.parts:
                continue
            part = trial.parts[0]
            width = max(1, -(-len(part.score) // TRACE_POINTS))
            alarm = np.zeros(len(part.score)) if part.alarm is None else part.alarm
            found.append(
                {
                    "series": name,
                    "method": method,
                    "score": [round(v, 3) for v in _highest(part.score, width)],
                    "label": [int(v > 0) for v in _highest(part.label, width)] if labelled else None,
                    "alarm": [int(v > 0) for v in _highest(alarm, width)],
                    "ticks_per_point": width,
                }
            )
    return found


def _highest(values: Any, width: int) -> list[float]:
    filled = np.nan_to_num(np.asarray(values, float))
    padded = np.concatenate([filled, np.zeros(-len(filled) % width)])
    return list(padded.reshape(-1, width).max(1).tolist())


def _weekly(evaluation: Evaluation) -> float | None:
    counts = evaluation.alarm_counts
    daily = None if counts is None else counts.false_alarms_per_machine_day
    return None if daily is None else daily * WEEK_DAYS


def _in_alarm(evaluation: Evaluation) -> float | None:
    return None if evaluation.alarm_counts is None else evaluation.alarm_counts.normal_time_in_alarm


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
