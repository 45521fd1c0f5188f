"""What a test outside the service needs: a model to upload, a free port, HTTP."""

from __future__ import annotations

import io
import json
import socket
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

from models.artifact import save
from tests.builders import SMALL, names, process, trained

SENSORS = names(4)
START = 1_767_225_600  # 2026-01-01T00:00:00Z; the models of the tests have a reading a second


def model_zip(folder: Path, name: str = "pumps") -> bytes:
    """A small model trained now, as `POST /v1/models` takes it."""
    training = trained(name=name)
    save(training.manifest, training.detector, training.drift, folder / name)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in sorted((folder / name).iterdir()):
            archive.write(file, file.name)
    return content.getvalue()


def columns_body(equipment: str, first: int, last: int) -> dict[str, Any]:
    """Readings `first` to `last` of a machine that runs as in training, the last at the present second."""
    values = process(0, rows=last)[first:]
    now = int(time.time())
    times = [rfc3339(now - (last - 1 - i)) for i in range(first, last)]
    return {"equipment": equipment, "sensors": list(SENSORS), "times": times, "values": values.tolist()}


def rfc3339(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(url: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
    """Status and body of the answer; GET without a body, else POST."""
    asked = urllib.request.Request(url, body, {"Content-Type": kind} if body is not None else {})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    status, answer = request(url, json.dumps(body).encode())
    assert status == 200, answer
    return dict(json.loads(answer))


def wait_for(url: str, seconds: float = 60.0) -> None:
    """Until the address answers 200."""
    last: object = None
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            last = request(url)
            if last[0] == 200:
                return
        except OSError as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"{url} did not answer 200 within {seconds:g} s; the last answer was {last}")


WARMUP = SMALL.window * 10
