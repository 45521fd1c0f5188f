"""`limen forecast`: what is expected of machines after the end of files, and how far such forecasts were right."""

from __future__ import annotations

import csv
import functools
import json
import operator
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO

import msgspec
import numpy as np

from models.artifact import LoadedModel, load
from models.backfill import arrange, columns_of, walk
from models.contract import Bools, DataError, Floats32, Ints
from models.data import DataOptions, Recording, Series, read
from models.exports.findings import plural
from models.forecast import Covered, covered
from models.manifest import KIND
from service.commands.console import aligned, facts, notice, progress
from service.commands.score import goes_through, say_what_differs
from service.outlook import LimitForecast, MachineForecast, Standing, Wanted, blind_ticks, check_names, outlook

HEADER = ("time", "equipment", "sensor", "forecast", "lower", "upper")
CHECKED = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # horizons, in ticks, and the one that is asked for


@dataclass(frozen=True, slots=True)
class History:
    """One machine at the end of its rows, and what it was like after each of them: memory (n, p), tick (n, live)
    standardised (NaN where it was faulty), time (n,), and whether (n,) it may be forecast from there."""

    machine: Standing
    warm_left: int
    memory: Floats32
    z: Floats32
    time: Ints
    use: Bools


def run(
    model: Path,
    data: Sequence[Path],
    wanted: Wanted,
    check: bool,
    out: Path | None,
    options: DataOptions,
    as_json: bool,
) -> None:
    """Forecast, or check forecasts; write what was found."""
    loaded = load(model)
    check_names(loaded, [*wanted.sensors, *(name for name, _ in wanted.limits)])
    if loaded.horizons is None and not check:
        of_lmn = loaded.manifest.kind == KIND
        why = "train it again to have them" if of_lmn else "models of other kinds than the LMN have none"
        notice(f"{model} was trained without errors of forecasts: no intervals; {why}")
    elif not all(record.supported for record in loaded.manifest.calibration):
        notice("the blocks of the model's training differ among themselves: intervals may cover less than they are to")
    with progress("forecasting") as told:
        told("reading", 0.0)
        recording = read(data, options)
        say_what_differs(loaded, recording)
        histories = [_history(loaded, recording, series) for series in recording.series if series.use.any()]
        told("rows", 1.0)
    if check:
        _tell_checked(loaded, histories, wanted, as_json)
        return
    found = _forecasts(loaded, histories, wanted)
    if as_json:
        text = json.dumps([msgspec.to_builtins(one) for one in found], indent=1) + "\n"
    with out.open("w", encoding="utf-8", newline="") if out else nullcontext(sys.stdout) as file:
        file.write(text) if as_json else write_csv(found, file)
    if wanted.limits and not as_json:
        lines = [(one.equipment, *_limit_row(limit)) for one in found for limit in one.limits]
        print("\n".join(aligned(lines)), file=sys.stdout if out else sys.stderr)


def _history(model: LoadedModel, recording: Recording, series: Series) -> History:
    """A machine from an empty memory to the last row of --rows."""
    detector, last = model.detector, int(np.flatnonzero(series.use)[-1]) + 1
    through = goes_through(recording, series)[:last]
    time, use = series.time[:last][through], series.use[:last][through]
    x = arrange(series.values[:last][through], columns_of(detector, recording.sensors))
    memory, z, ready = [], [], []
    for _, after, ticks in walk(detector, series.equipment, time, x):
        state = after
        memory.append(ticks.memory)
        z.append(ticks.z[:, detector.live])
        ready.append(~ticks.warming)
    centre = detector.centre_index(series.equipment)
    valued = np.flatnonzero(~np.isnan(x).all(1))
    blind = blind_ticks(int(time[-1]), int(time[valued[-1]]), detector.interval) if len(valued) else 0
    machine = Standing(series.equipment, state, centre, int(time[-1]), blind)
    whole, use = np.concatenate(z), use & np.concatenate(ready)
    if series.label is not None:
        faulty = series.label[:last][through] > 0
        whole[faulty], use = np.nan, use & ~faulty
    return History(machine, int(state.warm_left[0]), np.concatenate(memory), whole, time, use)


def _forecasts(model: LoadedModel, histories: list[History], wanted: Wanted) -> list[MachineForecast]:
    """Of each machine where its rows end last; those that still warm up are said to."""
    newest = {h.machine.equipment: h for h in sorted(histories, key=lambda history: history.machine.time)}
    warming = [name for name, history in newest.items() if history.warm_left > 0]
    for name in warming:
        notice(
            f"no forecast of {name}: it is warming up and needs {newest[name].warm_left} more ticks after its last "
            "start or gap"
        )
    if len(warming) == len(newest):
        raise DataError(f"no machine has the {model.detector.warmup} ticks of history that the model needs")
    return [outlook(model, history.machine, wanted) for history in newest.values() if history.warm_left <= 0]


def write_csv(found: Sequence[MachineForecast], file: TextIO) -> None:
    """A line for each machine, time and sensor; the ends of an interval empty where it is not known."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    for one in found:
        for tick, time in enumerate(one.times):
            for sensor in one.sensors:
                numbers = (column[tick] for column in (sensor.expected, sensor.lower, sensor.upper))
                writer.writerow((time, one.equipment, sensor.sensor, *("" if n is None else n for n in numbers)))


def _limit_row(found: LimitForecast) -> tuple[str, ...]:
    """A line for a person."""
    way = "rises to" if found.rising else "falls to"
    if found.expected is None and found.earliest is None:
        return found.sensor, f"{way} {found.limit:g}", "not within the horizon", ""
    edges = [time or "not within the horizon" for time in (found.earliest, found.latest)]
    return found.sensor, f"{way} {found.limit:g}", found.expected or "not expected", f"({edges[0]} to {edges[1]})"


def _tell_checked(model: LoadedModel, histories: list[History], wanted: Wanted, as_json: bool) -> None:
    found = _checked(model, histories, wanted)
    if as_json:
        print(json.dumps({"coverage": wanted.coverage, "horizons": found}, indent=1))
    else:
        facts([(plural(one["horizon"], "tick"), _checked_text(one, wanted.coverage)) for one in found])


def _checked_text(found: dict[str, Any], coverage: float) -> str:
    return (
        f"{found['covered']:.1%} of {found['values']:,} values within intervals to cover {coverage:.0%} (from "
        f"{found['least']:.1%}, {found['least_sensor']}, to {found['most']:.1%}, {found['most_sensor']}); error "
        f"{found['error']:.2f}, of the last value {found['last_value_error']:.2f} standard deviations"
    )


def _checked(model: LoadedModel, histories: list[History], wanted: Wanted) -> list[dict[str, Any]]:
    """What came of forecasts from within the files, horizon by horizon. DataError where none could be made."""
    detector, horizons = model.detector, model.horizons
    if horizons is None:
        raise DataError(f"model {model.name} has no intervals to check; train it again to have them")
    steps = sorted({step for step in CHECKED if step < wanted.ticks} | {wanted.ticks})
    chosen = [i for i, c in enumerate(detector.live) if not wanted.sensors or detector.sensors[c] in wanted.sensors]
    names = [detector.sensors[detector.live[i]] for i in chosen]
    found: list[dict[str, Any]] = []
    parts = (
        covered(detector, horizons, h.memory, h.z, h.time, h.use, steps, wanted.coverage)
        for h in histories
        if h.use.any()
    )
    for step, of_step in zip(steps, zip(*parts, strict=True), strict=False):
        whole = functools.reduce(operator.add, of_step)
        found += _figures(step, Covered(*(getattr(whole, f.name)[chosen] for f in fields(Covered))), names)
    if not found:
        raise DataError(
            "no forecast could be checked: no row has another one within the horizon after it, or no interval is known "
            f"(model {model.name} has them up to {plural(horizons.ticks_max, 'tick')} ahead)"
        )
    return found


def _figures(horizon: int, found: Covered, names: list[str]) -> list[dict[str, Any]]:
    total = float(found.values.sum())
    if not total:
        return []
    shares = np.where(found.values > 0, found.inside / np.maximum(found.values, 1), np.nan)
    least, most = int(np.nanargmin(shares)), int(np.nanargmax(shares))
    return [
        {
            "horizon": horizon,
            "values": int(total),
            "covered": float(found.inside.sum() / total),
            "least": float(shares[least]),
            "least_sensor": names[least],
            "most": float(shares[most]),
            "most_sensor": names[most],
            "error": float(np.sqrt(found.squares.sum() / total)),
            "last_value_error": float(np.sqrt(found.last_squares.sum() / total)),
        }
    ]
