"""Short runs in which any one change of the disk fails: `python -m tests.fault_run RUN HOME`, preloaded with
`failing_disk.c`.

It plays the run once on a sound disk, says how many changes that made, then reads one `Failure` a line (JSON) and says
what came of it (`Outcome`). Each is played in a process of its own that is forked off, and looked at in another one.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from tests import failing_disk
from tests.failing_disk import Failure

SECONDS_MAX = 60  # that playing or looking may take
PREPARED, SOUND, DISK = "prepared", "sound", "disk"


class Outcome(msgspec.Struct, frozen=True):
    """What came of a failure: what failed, how the run ended ("": in order), and what is not as it has to be."""

    failed: str
    told: str
    trouble: str


class Run(Protocol):
    """Something that changes files below the folder `DISK` of a place."""

    def prepare(self, place: Path) -> None:
        """Make what it begins with."""
        ...

    def play(self, place: Path) -> None:
        """Run it; raises what the command or the service would end with."""
        ...

    def check(self, place: Path, sound: Path, told: str) -> None:
        """Look at what it left, beside a run that nothing disturbed; AssertionError says what is wrong."""
        ...


def runs() -> dict[str, Run]:
    """All of them, by name."""
    from tests.fault_run_copies import Backup, Export, Follower, Restore
    from tests.fault_run_service import Careless, Living, Migrating

    return {
        "service": Living(), "migration": Migrating(), "backup": Backup(""), "backup as a file": Backup(".tar"),
        "restore": Restore(), "follower": Follower(), "export": Export(), "careless": Careless(),
    }  # fmt: skip


def apart(work: Callable[[], str]) -> str:
    """What some work says that is done in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(SECONDS_MAX)
        os.close(reading)
        os.dup2(2, 1)  # what is printed is no answer
        said = work()
        with open(writing, "w") as pipe:
            pipe.write(said)
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return said if not status else f"it ended with status {os.waitstatus_to_exitcode(status)}"


def played(run: Run, place: Path, failure: Failure) -> str:
    """Play a run; as JSON, how many changes there were, what failed, and what it ended with."""
    failing_disk.fail(place / DISK, failure)
    told, trouble = "", ""
    try:
        run.play(place)
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
        trouble = "" if is_sentence(error) else traceback.format_exc()
    changes, failed = failing_disk.changes(), failing_disk.what_failed()
    failing_disk.count_changes(Path("/nowhere"))
    return msgspec.json.encode((changes, Outcome(failed, told, trouble))).decode()


def is_sentence(error: BaseException) -> bool:
    """Whether an error is told in a sentence that names a file, not with its place in the program."""
    if isinstance(error, OSError):
        return bool(error.filename)
    return isinstance(error, ValueError) and type(error) is not ValueError


def checked(run: Run, place: Path, sound: Path, told: str) -> str:
    """What is not as it has to be; "" where all is."""
    try:
        run.check(place, sound, told)
    except BaseException:
        return traceback.format_exc()
    return ""


def outcome_of(run: Run, home: Path, failure: Failure) -> Outcome:
    """Play a run once more, with a failure."""
    place = home / "failing"
    shutil.copytree(home / PREPARED, place)
    said = apart(lambda: played(run, place, failure))
    try:
        _, outcome = msgspec.json.decode(said, type=tuple[int, Outcome])
    except msgspec.DecodeError:
        outcome = Outcome("", "", said)
    if not outcome.trouble:
        found = apart(lambda: checked(run, place, home / SOUND, outcome.told))
        outcome = msgspec.structs.replace(outcome, trouble=found)
    shutil.rmtree(place)
    return outcome


def prepared(run: Run, place: Path) -> str:
    """Make what a run begins with."""
    (place / DISK).mkdir(parents=True)
    run.prepare(place)
    return ""


def main(name: str, home: Path) -> None:
    """Play one run again and again."""
    run = runs()[name]
    if said := apart(lambda: prepared(run, home / PREPARED)):
        sys.exit(said)
    shutil.copytree(home / PREPARED, home / SOUND)
    changes, outcome = msgspec.json.decode(
        apart(lambda: played(run, home / SOUND, Failure(0, 0, False))), type=tuple[int, Outcome]
    )
    if outcome.told:
        sys.exit(outcome.told)
    print(changes, flush=True)
    for line in sys.stdin:
        failure = msgspec.json.decode(line, type=Failure)
        print(msgspec.json.encode(outcome_of(run, home, failure)).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
