"""Power loss in a backup, a restore, an export: what was told to be done is there, all else can be done again."""

from __future__ import annotations

import random
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests import power, power_copies
from tests.fault_run import runs
from tests.power import Recording, State

RUNS = ("backup", "backup as a file", "restore", "follower", "export")
STATES, STATES_LONG = 8, 120  # of each
MISTAKES = [("backup as a file", "copies"), ("follower", "exports")]

needs_strace = pytest.mark.skipif(not power.can_record(), reason="no strace, or it may not trace: power loss not tried")


@dataclass(frozen=True)
class Played:
    """A recorded run: what it left, and the moments when it began and when it was told to be done."""

    place: Path
    recording: Recording
    began: int
    done: int

    def states(self, count: int, seed: int) -> list[State]:
        """States by chance, spread evenly over the moments at which something changed or was safe."""
        rng, operations = random.Random(seed), self.recording.operations
        changes = {one.began for one in operations} | {one.safe for one in operations} - {power.NEVER}
        moments = sorted(moment for moment in changes if moment > self.began)
        found = []
        for part in range(count):
            last = part == count - 1  # what is there once all is done
            moment = self.done if last else moments[(2 * part + 1) * len(moments) // (2 * count)]
            lost, kept, *mixed = self.recording.states(moment, rng)
            found.append(lost if last else rng.choice([lost, kept, *rng.choices(mixed or [lost], k=4)]))
        return found


@cache
def played(name: str, mistake: str = "") -> Played:
    home = Path(mkdtemp(prefix="limen-test-"))
    place = home / "played"
    place.mkdir()
    program = [sys.executable, "-m", "tests.power_copies", name, str(place)]
    steps = [([*program, step, mistake], "") for step in ("prepare", "play")]
    recording = power.record(steps, place, home / "trace")
    noted = {name: when for when, name, _ in recording.noted}
    return Played(place, recording, noted[power_copies.PREPARED], noted[power_copies.DONE])


def check_all(name: str, folder: Path, count: int, seed: int, mistake: str = "") -> None:
    """What is left of a run after power losses is as its check demands."""
    run, found = runs()[name], played(name, mistake)
    for state in found.states(count, seed):
        place = folder / "left"
        found.recording.build(state, place)
        try:
            run.check(place, found.place, "" if state.moment >= found.done else "the power was lost")
        except BaseException as error:
            error.add_note(f"moment {state.moment} of {found.began} to {found.done}")
            raise
        shutil.rmtree(place)


@pytest.mark.prove
@needs_strace
@pytest.mark.parametrize("name", RUNS)
def test_what_was_told_to_be_done_survives_a_power_loss_and_all_else_can_be_done_again(
    tmp_path: Path, name: str
) -> None:
    check_all(name, tmp_path, STATES, 1)


@pytest.mark.prove_long
@needs_strace
@pytest.mark.parametrize("name", RUNS)
def test_what_was_told_to_be_done_survives_many_power_losses(tmp_path: Path, name: str) -> None:
    check_all(name, tmp_path, STATES_LONG, 2)


@pytest.mark.prove
@needs_strace
@pytest.mark.parametrize(("name", "mistake"), MISTAKES)
def test_a_sync_that_is_left_out_is_found(tmp_path: Path, name: str, mistake: str) -> None:
    with pytest.raises((AssertionError, ValueError, OSError)):
        check_all(name, tmp_path, STATES, 1, mistake)
