"""Power loss: whatever the writes and syncs of a real run can leave, it starts, and all that was answered is there."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import numpy as np
import pytest

from service import recovery, scoring
from service.journal import Journal
from service.lifecycle import Service
from service.limits import ShardLimits
from service.records import Record, decode
from service.registry import Registry
from service.replay import replay
from service.settings import MODELS
from service.shard import Shard
from service.snapshot import Snapshot
from tests import damage, power, power_run
from tests.power import Operation, Recording, State, Write
from tests.service import fleet
from tests.service.fleet import SECOND, START, in_columns, normal
from tests.service.running import SENSORS, model_folder, settings
from tests.uninterrupted import compare_states

STATES, STATES_LONG = 200, 8_000
LATER = START + 10_000_000 * SECOND

needs_strace = pytest.mark.skipif(not power.can_record(), reason="no strace, or it may not trace: power loss not tried")


@dataclass(frozen=True)
class Run:
    """A recorded run, what was answered by which moment, and the state before each record of an uninterrupted one."""

    recording: Recording
    answered: list[tuple[int, power_run.Answered]]
    uninterrupted: dict[int, Snapshot]

    def promised(self, moment: int) -> power_run.Answered:
        """What was answered when the power went."""
        told = [answered for when, answered in self.answered if when <= moment]
        return told[-1] if told else power_run.Answered(0, 0)


@cache
def run(planted: str = "") -> Run:
    folder = Path(mkdtemp(prefix="limen-test-"))
    (folder / "run").mkdir()
    models = [str(model_folder()), str(model_folder("pumps", 1))]
    program = [sys.executable, "-m", "tests.power_run", str(folder / "run")]
    failing = power_run.FAILING if planted in ("", "logs") else power_run.FAILING[:1]
    lives = [([*program, str(life), *models, planted], calls) for life, calls in enumerate(failing)]
    recording = power.record(lives, folder / "run", folder / "trace")
    answered = [
        (when, msgspec.json.decode(content, type=power_run.Answered))
        for when, name, content in recording.noted
        if name == power_run.ANSWERED
    ]
    return Run(recording, answered, uninterrupted(folder / "run"))


def uninterrupted(folder: Path) -> dict[int, Snapshot]:
    """The state before each record."""
    registry = Registry(folder / power_run.DATA / MODELS)
    shard = Shard(registry.resolve, ShardLimits(future=None, join=(damage.JOINED,)))
    states = {1: recovery.capture(shard)}
    for record in records_of(folder / power_run.RECORDS):
        replay(shard, record, registry.model_of)
        states[shard.sequence] = recovery.capture(shard)
    return states


def records_of(path: Path) -> Iterator[Record]:
    content = path.read_bytes()
    while content:
        end = 4 + int.from_bytes(content[:4], "little")
        kept = msgspec.msgpack.decode(content[4:end], type=power_run.Kept)
        yield decode(kept.kind, 0, kept.sequence, kept.received_at, kept.payload)
        content = content[end:]


def chosen(count: int, seed: int, run: Run) -> list[State]:
    """States by chance, spread evenly over the moments at which something began to be written, or was safe; of every
    fourth, all is lost that was not."""
    recording, rng = run.recording, random.Random(seed)
    operations = recording.operations
    moments = sorted({one.began for one in operations} | {one.safe for one in operations} - {power.NEVER})
    found: dict[tuple[object, ...], State] = {}
    while len(found) < count:
        for moment in rng.sample(moments, len(moments)):
            lost, kept, *mixed = recording.states(moment, rng)
            state = rng.choice([lost, kept, rng.choice(mixed), rng.choice(mixed)])
            key = (state.kept, state.torn, state.sectors, run.promised(moment).sequence)
            found.setdefault(key, state)
            if len(found) == count:
                break
    return list(found.values())


def started(folder: Path) -> tuple[Shard, Journal, Registry]:
    """A start, without anything that listens."""
    service = Service(settings(folder, model=None, join=[damage.JOINED]))
    service.load()
    assert service._loaded is not None
    registry, shard, _, journal = service._loaded
    return shard, journal, registry


def check(state: State, folder: Path, recorded: Run) -> None:
    """What was answered is there, all else is as if nothing had happened, and it goes on."""
    recorded.recording.build(state, folder)
    shard, journal, registry = started(folder / power_run.DATA)
    try:
        promised = recorded.promised(state.moment)
        assert shard.sequence > promised.sequence, f"record {promised.sequence} was answered and is not there any more"
        compare_states(recovery.capture(shard), recorded.uninterrupted[shard.sequence])
        assert registry.view.index.active.get("pumps", 0) >= promised.version
        _go_on(shard, journal)
        saved = recovery.capture(shard)

    finally:
        journal.close()
    shard, journal, _ = started(folder / power_run.DATA)
    journal.close()
    compare_states(recovery.capture(shard), saved)


def _go_on(shard: Shard, journal: Journal) -> None:
    values = normal(fleet.model().detector, 3, 5)
    body = fleet.body(in_columns("m-0", SENSORS, LATER + SECOND * np.arange(5), values))
    journal.append(scoring.step(shard, [body], LATER).record)
    asyncio.run(journal.sync())


def check_all(states: list[State], folder: Path, recorded: Run) -> None:
    for number, state in enumerate(states):
        place = folder / str(number)
        try:
            check(state, place, recorded)
        except BaseException as error:
            error.add_note(f"state {number}: {described(state, recorded)}, in {place}")
            raise
        shutil.rmtree(place)


def described(state: State, recorded: Run) -> str:
    operations = recorded.recording.operations
    lost = [number for number, one in enumerate(operations) if one.began <= state.moment and number not in state.kept]
    return f"moment {state.moment}, lost {[_brief(operations[n]) for n in lost]}, torn {state.torn} {state.sectors}"


def _brief(operation: Operation) -> str:
    change = operation.change
    return f"write of {len(change.content)} to {change.file}" if isinstance(change, Write) else str(change)


@pytest.mark.prove
@needs_strace
def test_what_was_answered_survives_a_power_loss_at_any_moment(tmp_path: Path) -> None:
    assert sum("waiting" in state.arrays for state in run().uninterrupted.values()) > 20
    check_all(chosen(STATES, 1, run()), tmp_path, run())


@pytest.mark.prove_long
@needs_strace
@pytest.mark.parametrize("seed", range(2, 6))
def test_what_was_answered_survives_thousands_of_power_losses(tmp_path: Path, seed: int) -> None:
    check_all(chosen(STATES_LONG // 4, seed, run()), tmp_path, run())


@pytest.mark.prove
@needs_strace
@pytest.mark.parametrize("mistake", power_run.MISTAKES)
def test_a_sync_that_is_left_out_is_found(tmp_path: Path, mistake: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_all(chosen(STATES, 1, run(mistake)), tmp_path, run(mistake))
