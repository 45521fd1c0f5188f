"""A `limen serve` of one's own: started, waited for, ended by its process id."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import service
from service.client import Client, ServiceError
from service.settings import PREFIX

HOST = "127.0.0.1"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
POLL_SECONDS = 0.05
LOG_LINES = 10
TETHER = "service.commands.tether"
LISTENING = re.compile(r"listening on (http://\S+)")


@dataclass(slots=True)
class Child:
    """A service that is running as process `pid`, at `url`."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self, grace_seconds: float = 0.0) -> None:
        """ServiceError with its last words where it has ended, or does within `grace_seconds`."""
        try:
            status = self.process.wait(grace_seconds) if grace_seconds else self.process.poll()
        except subprocess.TimeoutExpired:
            return
        if status is not None:
            lines = self.log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
            said = "".join(f"\n    {line}" for line in lines) or " nothing"
            raise ServiceError(f"the service (process {self.pid}) has ended with status {status}; it said last:{said}")

    def end(self) -> None:
        """SIGTERM, and where that is not heard, SIGKILL."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self.process.kill()
            self.process.wait()
        finally:
            if self.process.stdin:
                self.process.stdin.close()


@contextmanager
def serving(folder: Path, model: Path, port: int) -> Iterator[Child]:
    """A service with `model` whose clock is that of the data, ready, on `port` (0: any free one), its data and its log
    in `folder`; ended with the block, whatever ends that, and with this process."""
    log = folder / "serve.log"
    with log.open("wb") as file:
        options = {"model": model, "data-dir": folder / "data", "host": HOST, "port": port, "clock": "event"}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", TETHER, "serve", *(f"--{name}={value}" for name, value in options.items())],
            stdin=subprocess.PIPE,  # closed with us
            stdout=file,
            stderr=file,
            env=environment(),
            process_group=0,  # Ctrl-C is for us: we end it
        )
    child = Child(process, log)
    try:
        wait_until_ready(child)
        yield child
    finally:
        child.end()


def environment() -> dict[str, str]:
    """Ours, without the settings of another service, and such that the child finds this very code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    code = str(Path(service.__path__[0]).parent)
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, [code, kept.get("PYTHONPATH")]))}


def wait_until_ready(child: Child) -> None:
    """ServiceError where the service ends, or is not ready in time; then `child.url` is where it listens."""
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until:
        child.check()
        if not child.url and (found := LISTENING.search(child.log.read_text("utf-8", "replace"))):
            child.url = found[1]
        if child.url and _ready(child.url):
            return
        time.sleep(POLL_SECONDS)
    raise ServiceError(f"the service (process {child.pid}) was not ready within {START_SECONDS_MAX:g} s")


def _ready(url: str) -> bool:
    with closing(Client(url)) as client:
        return client.ready()


def usable_port(port: int) -> tuple[int, str]:
    """`port` and no words, or 0 and why not: somebody else has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError as error:
            return 0, f"port {port} cannot be had ({(error.strerror or str(error)).lower()})"
    return port, ""
