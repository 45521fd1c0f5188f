"""`limen demo`: a simulated fleet, trained on, served and streamed on this machine, for everybody to see.

    simulate normal days -> train -> serve in a process of its own -> stream a day with faults -> alarms beside faults

Nothing here knows the results: the service finds what it finds.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from rich.console import Console

from models import artifact
from models.contract import MICROSECONDS
from models.preprocess import Segment
from models.simulate import Fleet, simulate
from models.train import Options, Training, train
from service.client import Client, ServiceError
from service.commands.board import board_for
from service.commands.child import Child, serving, usable_port
from service.commands.console import duration, hanging
from service.commands.fault_report import compare, lines
from service.commands.playback import Playback
from service.commands.stream import Machine, RealWall, Stream

MACHINES, INTERVAL_SECONDS, SEED = 6, 10, 0
NORMAL_TICKS, NORMAL_START = 20_000, "2026-03-02T00:00:00Z"  # 2.3 days to train on
STREAM_TICKS, STREAM_START = 8_640, "2026-03-09T00:00:00Z"  # a day, a week later
FAULTS_AFTER = 0.1  # of that day
OPTIONS = Options(false_alarm_rate=0.002, name="pumps")
STREAM_SECONDS = 120.0  # where the demo does not end by itself
STREAM_SHARE = 0.95  # of --seconds; the rest is for a slow machine
WATCH_SECONDS = 0.5
STEP_WIDTH = 10  # of the words at the start of a line


def run(seconds: float, port: int) -> None:
    """The demo; with `seconds` it ends by itself after about that time and the setting up, else at Ctrl-C.
    ServiceError where the service does not live."""
    with ended_by_signals(), tempfile.TemporaryDirectory(prefix="limen-demo-") as name:
        folder = Path(name)
        model = prepare(folder / "pumps")
        port, refusal = usable_port(port)
        if refusal:
            say("note", f"{refusal}; taking a free one")
        with serving(folder, model, port) as child:
            say("serving", f"{child.url}   look at {child.url}/docs  {child.url}/v1/alarms  {child.url}/metrics")
            with suppress(KeyboardInterrupt):
                show(child, seconds)
                if not seconds:
                    stay(child)
            if not seconds:
                print()  # after the ^C that a terminal shows


def prepare(out: Path) -> Path:
    """Simulate normal operation and train on it; the folder of the model."""
    say("simulate", f"{MACHINES} pumps, {NORMAL_TICKS:,} readings each, one every {INTERVAL_SECONDS} s, nothing wrong")
    fleet = simulate(MACHINES, NORMAL_TICKS, INTERVAL_SECONDS, NORMAL_START, faults=(), seed=SEED)
    training = trained(fleet)
    calibration, manifest = training.calibration, training.manifest
    say(
        "train",
        f"{manifest.fit.rows:,} rows x {len(manifest.sensors)} sensors in {training.seconds:.1f} s: memory of "
        f"{manifest.p} values; {calibration.kept:.2%} of held-out rows over the threshold "
        f"({calibration.budget:.2%} promised), blocks {'agree' if calibration.supported else 'do not agree'}",
    )
    artifact.save(manifest, training.detector, training.drift, out, training.horizons)
    return out


def trained(fleet: Fleet) -> Training:
    """A model of the whole fleet."""
    machines = [Segment(name, values) for name, values in zip(fleet.equipment, fleet.values, strict=True)]
    return train(machines, fleet.sensors, INTERVAL_SECONDS * MICROSECONDS, OPTIONS, fleet.units)


def show(child: Child, seconds: float) -> None:
    """Stream a day with faults, show it, and say what was found; at Ctrl-C, of what was streamed."""
    fleet = simulate(MACHINES, STREAM_TICKS, INTERVAL_SECONDS, STREAM_START, fault_after=FAULTS_AFTER, seed=SEED)
    machines = [Machine(*one) for one in zip(fleet.equipment, [fleet.time] * MACHINES, fleet.values, strict=True)]
    stream = Stream(fleet.sensors, machines)
    span = STREAM_TICKS * INTERVAL_SECONDS
    speed = span / (seconds * STREAM_SHARE if seconds else STREAM_SECONDS)
    say("stream", f"a later day with {len(fleet.faults)} faults, {duration(span)} at {speed:,.0f} times real speed")
    client = Client(child.url)
    playback = Playback(client, stream, speed, RealWall())
    try:
        play(playback, child, seconds)
    finally:
        tell(playback, fleet)
        client.close()


def play(playback: Playback, child: Child, seconds: float) -> None:
    """Play it on the board, no longer than `seconds` (0: to its end)."""
    board, until = board_for(Console()), time.monotonic() + seconds
    with board.live():
        try:
            for step in playback.steps():
                board.show(playback, step)
                if seconds and time.monotonic() >= until and not playback.tally.complete:
                    break
        except ServiceError:
            child.check(grace_seconds=2.0)
            raise


def tell(playback: Playback, fleet: Fleet) -> None:
    """The summary: what was streamed, and alarms beside the faults that were simulated."""
    with suppress(ServiceError):
        playback.news()
    tally = playback.tally
    rate = tally.sent / tally.seconds if tally.seconds else 0.0
    print()
    say("streamed", f"{tally.sent:,} of {tally.total:,} readings in {tally.seconds:.1f} s, {rate:,.0f} a second")
    print("\n".join(lines(compare(fleet, playback.watch.alarms, tally.time), Console().width)), flush=True)


def stay(child: Child) -> None:
    """Until Ctrl-C, or the service ends."""
    say("serving", f"still at {child.url}; Ctrl-C ends it")
    while True:
        child.check(grace_seconds=WATCH_SECONDS)


def say(step: str, text: str) -> None:
    """What is being done, at once, in lines that no terminal breaks inside a word."""
    print(hanging(step.ljust(STEP_WIDTH), text, Console().width), flush=True)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as an exception, so that nothing is left behind."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
