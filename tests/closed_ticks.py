"""What a plant out of order (`tests/disorder.py`) has come to, beside the plain rules and a run without any kill.

Every point that was accepted is in the journal; its ticks are those of the plain rules, each once and in order, with
the scores of `models/backfill.py`; answers and what was seen say the same. The state that was saved at the end is that
of a replay of the journal from its first record on, and lets wait what the plain rules do.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from models.artifact import load
from models.backfill import score_series
from models.contract import Floats
from service import recovery, snapshot
from service.ingest.times import time_text, time_texts
from service.records import HELD_ARRAYS, Record
from service.shard import Shard
from tests.disorder import LIMITS, DisorderedPlant, Sender, slow_model
from tests.service.plain_time import PlainMachine, Point
from tests.service.running import SENSORS
from tests.uninterrupted import (
    UNCOUNTED,
    Told,
    alarms_of,
    by_machine,
    check_episodes,
    check_seen,
    compare_states,
    records_in,
    replayed_from,
    told_by,
)

UNHEARD = "equipment.heard"  # a start hears all machines anew by the computer's clock

Held = tuple[str, int, int, str, float | None]  # machine, tick, time, sensor and value of a point


def check(plant: DisorderedPlant, folder: Path) -> None:
    """Answers, what was seen, journal and state."""
    model, records = load(Path(slow_model())), records_in(folder)
    kept, held = by_machine(records), held_points(records)
    replayed = replayed_from(records, model, LIMITS)
    alarms = alarms_of(replayed)
    told: dict[str, list[Told]] = {}
    alarming: dict[str, list[bool]] = {}
    places: dict[str, dict[str, int]] = {}
    for machine in plant.machines:
        closed, name = machine.plain.closed, machine.name
        time = np.array([tick for tick, _ in closed], np.int64)
        x = values_of(machine.plain)
        _check_ticks(name, time.tolist(), x, kept[name])
        _check_points(machine, held, dict(closed))
        wanted = score_series(model.detector, name, time, x)
        told[name], alarming[name] = told_by(wanted), wanted.alarm.tolist()
        places[name] = {text: place for place, text in enumerate(time_texts(time))}
        _check_scores(name, told[name], [result for _, _, result in kept[name]])
        _check_answers(machine, dict(zip(time.tolist(), zip(told[name], alarming[name], strict=True), strict=True)))
        check_episodes(name, alarming[name], alarms)
        _check_waiting(machine, replayed)
    check_seen(plant, told, alarming, places)
    final = snapshot.read(snapshot.paths(folder / "snapshots")[0])
    compare_states(final, recovery.capture(replayed), (UNCOUNTED, UNHEARD))


def values_of(plain: PlainMachine) -> Floats:
    """Values (ticks, sensors) of the ticks that are closed, NaN where there is none."""
    rows = [[np.nan if values.get(name) is None else values[name] for name in SENSORS] for _, values in plain.closed]
    return np.array(rows, np.float64).reshape(-1, len(SENSORS))


def held_points(records: list[Record]) -> set[Held]:
    """All points in the journal that waited."""
    ids: dict[int, str] = {}
    found: set[Held] = set()
    for record in records:
        ids.update(record.registered)
        for part in record.held:
            rows = zip(*(getattr(part, name).tolist() for name in HELD_ARRAYS), strict=True)
            found |= {
                (ids[slot], tick, time, SENSORS[sensor], _value(value)) for slot, tick, time, sensor, value in rows
            }
    return found


def _value(value: float) -> float | None:
    return None if value != value else value


def _check_ticks(name: str, times: list[int], x: Floats, kept: list[tuple[int, bytes, Told]]) -> None:
    """The journal has each tick once, in order, with its values."""
    found = [time for time, _, _ in kept]
    times_found = Counter(found)
    for place, time in enumerate(times):
        text = f"{name}, tick {place} at {time_text(time)}"
        assert times_found[time] == 1, f"{text} is in the journal {times_found[time]} times; expected once"
        assert found[place] == time, f"{text} is in the journal out of order"
        assert kept[place][1] == x[place].tobytes(), (
            f"{text} has the values {np.frombuffer(kept[place][1])}; expected {x[place]}"
        )
    assert len(found) == len(times), f"{name} has {len(found)} ticks in the journal; expected {len(times)}"


def _check_scores(name: str, told: list[Told], kept: list[Told]) -> None:
    """With the scores of a run without any kill."""
    for place, (found, wanted) in enumerate(zip(kept, told, strict=True)):
        assert found == wanted, f"{name}, tick {place} is in the journal as {found}; uninterrupted: {wanted}"


def _check_points(machine: Sender, held: set[Held], closed: dict[int, dict[str, float | None]]) -> None:
    """What was accepted is in the journal, as a point that waits or in its tick."""
    for time, values in machine.accepted:
        tick = machine.tick_of(time)
        for name, value in values.items():
            own = not machine.plain.joined and tick in closed and closed[tick].get(name) == value
            there = own or (machine.name, tick, time, name, value) in held
            assert there, f"{machine.name}, {name} at {time_text(time)} was accepted and is not in the journal"


def _check_answers(machine: Sender, wanted: dict[int, tuple[Told, bool]]) -> None:
    """A reading that was scored has the result of its tick; one that came before may repeat it; no other has one."""
    for tick, answers in machine.answers.items():
        for answer in answers:
            status, score, p_value, alarm = answer
            text = f"{machine.name} at {time_text(tick)} was answered with {answer}"
            if status in ("scored", "warming", "unscored") or (status == "duplicate" and score is not None):
                told, alarming = wanted[tick]
                assert status in ("duplicate", told[0]), f"{text}; uninterrupted: {told}"
                assert (score, p_value, alarm) == (*told[1:], alarming), f"{text}; uninterrupted: {told}, {alarming}"
            else:
                assert score is None, text


def _check_waiting(machine: Sender, replayed: Shard) -> None:
    """What waits in the end."""
    slot = replayed.equipment_table.slot(machine.name)
    waiting = replayed.waiting.machines.get(slot)
    found = {
        time: {
            name: Point(int(stamp), _value(float(value)))
            for name, stamp, value in zip(SENSORS, tick.stamp, tick.value, strict=True)
            if stamp > 0
        }
        for time, tick in (waiting.ticks if waiting else {}).items()
    }
    assert found == machine.plain.waiting, f"{machine.name} has {found} waiting; expected {machine.plain.waiting}"
