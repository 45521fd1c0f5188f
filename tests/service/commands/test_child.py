from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from service.client import Client, ServiceError
from service.commands.child import Child, environment, serving, usable_port
from tests.service.commandline import ROOT
from tests.service.running import model_folder


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_service_is_ready_inside_the_block_and_gone_after_it(tmp_path: Path) -> None:
    with serving(tmp_path, model_folder(), 0) as child, closing(Client(child.url)) as client:
        assert client.ready()
        assert client.get("v1", "models")["models"][0]["default"]
    assert not alive(child.pid)
    assert child.process.returncode == 0
    assert "stopped" in child.log.read_text()


def test_an_error_in_the_block_ends_the_service_too(tmp_path: Path) -> None:
    pids = []

    def fail() -> None:
        with serving(tmp_path, model_folder(), 0) as child:
            pids.append(child.pid)
            raise ServiceError("enough")

    with pytest.raises(ServiceError, match="enough"):
        fail()
    assert pids
    assert not alive(pids[0])


def test_a_service_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from service.commands.child import serving\n"
        f"with serving(Path({str(tmp_path)!r}), Path({str(model_folder())!r}), 0) as child:\n"
        "    print(child.url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        with closing(Client(url)) as client:
            assert client.ready()
        parent.kill()
    until = time.monotonic() + 30
    while "] stopped" not in (said := (tmp_path / "serve.log").read_text()):
        assert time.monotonic() < until, said
        time.sleep(0.05)
    with closing(Client(url)) as client:
        assert not client.ready()


def test_a_service_that_cannot_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    empty = tmp_path / "no model"
    empty.mkdir()
    with (
        pytest.raises(ServiceError, match=r"ended with status 1; it said last:\n.*manifest\.json is not there"),
        serving(tmp_path, empty, 0),
    ):
        pass


def test_a_service_that_dies_is_told(live: Child, tmp_path: Path) -> None:
    live.check()
    with serving(tmp_path, model_folder(), 0) as child:
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ServiceError, match=rf"process {child.pid}\) has ended with status -9"):
            child.check(grace_seconds=10)
    assert not alive(child.pid)


def test_a_port_that_is_taken_is_told_and_any_free_one_taken() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert usable_port(port) == (0, f"port {port} cannot be had (address already in use)")
    assert usable_port(port) == (port, "")


def test_the_settings_of_another_service_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMEN_PORT", "1")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    found = environment()
    assert not any(name.startswith("LIMEN_") for name in found)
    assert found["PYTHONPATH"].endswith(os.pathsep + "elsewhere")
