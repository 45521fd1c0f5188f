from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from service.client import ServiceError
from service.commands import demo
from service.commands.child import Child, serving
from tests.service.commandline import ROOT, limen
from tests.service.commands.test_child import alive


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that is trained and streamed in a moment."""
    monkeypatch.setattr(demo, "MACHINES", 2)
    monkeypatch.setattr(demo, "NORMAL_TICKS", 3000)
    monkeypatch.setattr(demo, "STREAM_TICKS", 1200)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The services that the demo starts."""
    found: list[Child] = []

    @contextmanager
    def noted(folder: Path, model: Path, port: int) -> Iterator[Child]:
        with serving(folder, model, port) as child:
            found.append(child)
            yield child

    monkeypatch.setattr(demo, "serving", noted)
    return found


@pytest.mark.usefixtures("small")
def test_the_demo_shows_everything_and_ends_by_itself(children: list[Child], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "STREAM_SHARE", 0.01)
    done = limen("demo", "--seconds", 60, "--port", 0)
    assert (done.status, done.err) == (0, "")
    url = children[0].url
    for text in (f"{url}/docs", f"{url}/v1/alarms", f"{url}/metrics", "2,400 of 2,400 readings in", "promised"):
        assert text in done.out
    assert re.search(r"^\d of 6 faults found, \d+ false alarm", done.out, re.MULTILINE)
    assert not [line for line in done.out.splitlines() if len(line) > 80 and "  alarm " not in line]
    assert "\x1b" not in done.out
    assert not alive(children[0].pid)
    assert not children[0].log.exists()


@pytest.mark.usefixtures("small")
def test_a_port_that_is_taken_is_left_to_its_owner(children: list[Child]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = limen("demo", "--seconds", 0.2, "--port", port)
    assert done.status == 0
    assert f"port {port} cannot be had (address already in use); taking a free one" in done.out
    assert not children[0].url.endswith(f":{port}")


@pytest.mark.usefixtures("small")
def test_a_service_that_dies_is_an_error_with_its_last_words(
    children: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    play = demo.play

    def killed(playback: demo.Playback, child: Child, seconds: float) -> None:
        os.kill(child.pid, signal.SIGKILL)
        play(playback, child, seconds)

    monkeypatch.setattr(demo, "play", killed)
    done = limen("demo", "--seconds", 1, "--port", 0)
    assert done.status == 1
    assert f"limen: error: the service (process {children[0].pid}) has ended with status -9" in done.err
    assert "listening on" in done.err


@pytest.mark.usefixtures("small")
def test_time_that_is_up_ends_it_and_what_was_not_streamed_is_not_called_missed(
    monkeypatch: pytest.MonkeyPatch, children: list[Child]
) -> None:
    monkeypatch.setattr(demo, "STREAM_SHARE", 1000.0)
    done = limen("demo", "--seconds", 0.3, "--port", 0)
    assert done.status == 0
    assert "not streamed yet" in done.out
    assert "missed" not in done.out


@pytest.mark.usefixtures("small")
def test_without_an_end_it_keeps_serving_until_ctrl_c(monkeypatch: pytest.MonkeyPatch, children: list[Child]) -> None:
    def interrupted(self: Child, grace_seconds: float = 0.0) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "STREAM_SECONDS", 0.2)
    monkeypatch.setattr(demo, "stay", lambda child: interrupted(child))
    done = limen("demo", "--port", 0)
    assert done.status == 0
    assert "faults found" in done.out
    assert done.out.endswith("\n\n"), "the next words of a terminal stand beside ^C"
    assert not alive(children[0].pid)


def test_staying_ends_when_the_service_does(live: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[float] = []

    def check(self: Child, grace_seconds: float = 0.0) -> None:
        checks.append(grace_seconds)
        if len(checks) == 3:
            raise ServiceError("it has ended")

    monkeypatch.setattr(Child, "check", check)
    with pytest.raises(ServiceError, match="it has ended"):
        demo.stay(live)
    assert checks == [demo.WATCH_SECONDS] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_block_and_is_then_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def block() -> None:
        with demo.ended_by_signals():
            signal.raise_signal(number)

    with pytest.raises(SystemExit) as ended:
        block()
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) is before


@pytest.mark.prove
def test_the_demo_finds_faults_in_twenty_seconds() -> None:
    command = [sys.executable, "-m", "service", "demo", "--port", "0"]
    environment = {**os.environ, "DEMO_SECONDS": "20"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = re.search(r"^(\d) of 6 faults found", done.stdout, re.MULTILINE)
    assert found
    assert int(found[1]) >= 4


def children_of(pid: int) -> list[int]:
    """Processes whose parent it is."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    return [int(found) for found in listed.stdout.split()]


@pytest.mark.prove
def test_sigterm_takes_the_service_with_it() -> None:
    command = [sys.executable, "-m", "service", "demo", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("stream  "):
                break
        pids = children_of(running.pid)
        assert pids
        running.terminate()
        running.stdout.read()
    assert running.returncode == 128 + signal.SIGTERM
    assert not any(alive(pid) for pid in pids)
