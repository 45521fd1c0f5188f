"""What a recording looks like: gaps, constant and frozen sensors, suspected shutdowns, overlaps, forgotten labels."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from models.contract import MICROSECONDS, Ints
from models.exports.findings import EXAMPLES_MAX, Finding, plural, some
from models.exports.roles import is_called_label
from models.exports.series import Series
from models.exports.stretches import Runs, frozen_runs, gap_steps, is_constant, shutdown_runs
from models.exports.timestamps import rfc3339


def survey(series: Sequence[Series], sensors: tuple[str, ...], interval: int) -> list[Finding]:
    """Findings over the ticks that are used, one for each kind and each column that may be a label."""
    used = [_used(one) for one in series if one.use.any()]
    several = len({one.equipment for one in series}) > 1
    stops = [shutdown_runs(one.values) for one in used]
    found = [
        _gaps(used, interval, several),
        _constant(used, sensors),
        _frozen(used, sensors, stops, several),
        _shutdowns(used, stops, several),
        _overlaps(series),
    ]
    return [finding for finding in found if finding] + _labels(used, sensors)


def _used(series: Series) -> Series:
    if series.use.all():
        return series
    keep = series.use
    return Series(series.equipment, series.time[keep], series.values[keep], None, series.row[keep], series.use[keep])


def _gaps(used: list[Series], interval: int, several: bool) -> Finding | None:
    """Steps of more than three intervals; holes that options leave are among them."""
    gaps = [(one, int(i)) for one in used for i in gap_steps(one.time, interval)] if interval else []
    if not gaps:
        return None
    gaps.sort(key=lambda gap: int(gap[0].time[gap[1]] - gap[0].time[gap[1] + 1]))
    texts = tuple(f"{_span(one.time, i, i + 1)}{_of(one, several)}" for one, i in gaps[:EXAMPLES_MAX])
    longest = " the longest" if len(gaps) > 1 else ""
    return Finding(
        "gap", f"{plural(len(gaps), 'gap')},{longest} {some(texts, len(gaps))}", count=len(gaps), examples=texts
    )


def _of(series: Series, several: bool) -> str:
    return f" of {series.equipment!r}" if several else ""


def _span(time: Ints, start: int, stop: int) -> str:
    """How long and from when.

    >>> _span(np.array([0, 90_000_000]), 0, 1)
    '1.5 min from 1970-01-01T00:00:00Z'
    """
    return f"{lasting(int(time[stop] - time[start]))} from {rfc3339(int(time[start]))}"


def lasting(us: int) -> str:
    """A time span in the unit that suits it.

    >>> lasting(45_000_000), lasting(7_200_000_000), lasting(400 * 3_600_000_000)
    ('45 s', '2 h', '16.7 days')
    """
    seconds = us / MICROSECONDS
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length * (2 if unit == "days" else 1):
            return f"{round(seconds / length, 1):g} {unit}"
    return f"{round(seconds, 3):g} s"


def _constant(used: list[Series], sensors: tuple[str, ...]) -> Finding | None:
    """Sensors that never change on any machine, or on some."""
    if not used:
        return None
    constant = np.array([is_constant(one.values) for one in used])
    empty = np.array([np.isnan(one.values).all(axis=0) for one in used])
    always = (constant | empty).all(axis=0) & constant.any(axis=0)
    partly = constant & ~always
    texts = [sensors[k] for k in np.flatnonzero(always)]
    texts += [f"{sensors[k]} of {used[m].equipment!r}" for m, k in np.argwhere(partly)]
    if not texts:
        return None
    verb = "never changes" if len(texts) == 1 else "never change"
    text = f"{plural(len(texts), 'sensor')} {verb}: {some(texts)}"
    return Finding.of("constant", text, texts)


def _labels(used: list[Series], sensors: tuple[str, ...]) -> list[Finding]:
    """Sensors that are called as labels are and hold only 0 and 1. They stay sensors: a person decides."""
    labelled = any(one.label is not None for one in used)
    found = []
    for k in [k for k, name in enumerate(sensors) if is_called_label(name)]:
        values = np.concatenate([np.zeros(0), *(one.values[:, k] for one in used)])
        values = values[~np.isnan(values)]
        if len(values) and np.isin(values, (0, 1)).all():
            name = shlex.quote(sensors[k])
            advice = f"leave it out with --ignore {name}"
            if not labelled:
                advice = f"name it with --label {name}, or {advice}"
            text = f"column {sensors[k]!r} holds only 0 and 1: if it says where the machine was faulty, {advice}"
            found.append(Finding.of("label", text, [sensors[k]]))
    return found


def _frozen(used: list[Series], sensors: tuple[str, ...], stops: list[Runs], several: bool) -> Finding | None:
    """Stretches in which one sensor repeats a value while it usually moves, shutdowns left out."""
    runs = [
        (one, k, start, stop)
        for one, down in zip(used, stops, strict=True)
        for k in range(len(sensors))
        for start, stop in frozen_runs(one.values[:, k])
        if not any(start < b and a < stop for a, b in down)
    ]
    if not runs:
        return None
    runs.sort(key=lambda run: run[2] - run[3])
    texts = tuple(
        f"{sensors[k]}{_of(one, several)} for {_span(one.time, a, b - 1)}" for one, k, a, b in runs[:EXAMPLES_MAX]
    )
    text = f"{plural(len(runs), 'stretch', 'es')} in which a sensor is frozen: {some(texts, len(runs))}"
    return Finding("frozen", text, count=len(runs), examples=texts)


def _shutdowns(used: list[Series], stops: list[Runs], several: bool) -> Finding | None:
    runs = [(one, start, stop) for one, down in zip(used, stops, strict=True) for start, stop in down]
    if not runs:
        return None
    runs.sort(key=lambda run: run[1] - run[2])
    texts = tuple(f"{_span(one.time, start, stop - 1)}{_of(one, several)}" for one, start, stop in runs[:EXAMPLES_MAX])
    text = (
        f"{plural(len(runs), 'suspected shutdown')}, most sensors quiet or low at once: {some(texts, len(runs))}; "
        "leave such rows out with --running or --exclude"
    )
    return Finding("shutdown", text, count=len(runs), examples=texts)


def _overlaps(series: Sequence[Series]) -> Finding | None:
    """Machines of which two files tell the same time."""
    texts = tuple(f"{a.equipment!r} from {rfc3339(int(max(a.time[0], b.time[0])))}" for a, b in _overlapping(series))
    if not texts:
        return None
    text = f"files overlap: {some(texts)}; what both hold counts twice"
    return Finding.of("overlap", text, texts)


def _overlapping(series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    own: dict[str, list[Series]] = {}
    for one in series:
        if len(one.time):
            own.setdefault(one.equipment, []).append(one)
    for parts in own.values():
        for a, b in combinations(sorted(parts, key=lambda one: int(one.time[0])), 2):
            if b.time[0] <= a.time[-1]:
                yield a, b
