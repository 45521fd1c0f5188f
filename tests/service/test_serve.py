from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.connection import HEARD_MAX
from service.serve import FILES_OWN, bounds_of, cut_off, listen, locked
from service.settings import Settings, SettingsError
from tests.service.running import SENSORS, WARMUP, columns, model_folder, rows, time_of

PROGRAM = "import sys; from service.serve import serve; from service.settings import load; sys.exit(serve(load()))"
TETHERED = f"from service.commands.tether import hold; hold(); {PROGRAM}"
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def process(
    data_dir: Path,
    lines: list[dict[str, Any]] | None = None,
    said: list[str] | None = None,
    program: str = TETHERED,
    **variables: str,
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service in a process of its own, and its address; its log up to that goes into `lines`, the rest into
    `said`."""
    given = {"LIMEN_DATA_DIR": str(data_dir), "LIMEN_PORT": "0", "LIMEN_CLOCK": "event", "LIMEN_LOG_JSON": "1"}
    environment = {**os.environ, **given, **variables}
    started = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,  # closed with the test run, even where that is killed
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdin is not None
    assert started.stderr is not None
    log = started.stderr
    reader = threading.Thread(target=lambda: (said if said is not None else []).append(log.read()))
    try:
        url, line = "", ""
        for line in log:
            if not line.startswith("{"):
                continue  # a traceback
            event = json.loads(line)["event"]
            if lines is not None:
                lines.append(json.loads(line))
            if event.startswith("listening on "):
                url = event.split()[2].rstrip(",")
                break
        assert url, f"the service ended before it listened: {line}"
        reader.start()
        yield started, url
    finally:
        if started.poll() is None:
            started.kill()
        started.wait(10)
        if reader.ident is not None:
            reader.join(10)
        started.stdin.close()
        started.stderr.close()


def wait_until_ready(client: httpx.Client) -> None:
    for _ in range(200):
        try:
            if client.get("/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("the service did not become ready")


def test_sigterm_answers_what_is_under_way_saves_and_ends_with_0(tmp_path):
    variables = {"LIMEN_MODEL": str(model_folder())}
    with process(tmp_path, **variables) as (started, url), httpx.Client(base_url=url, trust_env=False) as client:
        wait_until_ready(client)
        body = client.post("/v1/readings", json=columns("p1", 0, 30)).json()
        assert body["scored"] == 30 - WARMUP
        with pytest.raises(SettingsError, match=f"in use by process {started.pid}"), locked(tmp_path):
            pass
        half = socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 0))
        content = json.dumps(rows("p1", 30, 1)).encode()
        head = ["POST /v1/readings HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        head += [f"Content-Length: {len(content)}", "", ""]
        half.sendall("\r\n".join(head).encode() + content[:20])
        time.sleep(0.2)
        started.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        half.sendall(content[20:])
        answered = b""
        while piece := half.recv(65536):
            answered += piece
        half.close()
        assert started.wait(20) == 0
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")
    assert list((tmp_path / "snapshots").glob("snapshot-*.safetensors"))
    with process(tmp_path) as (started, url), httpx.Client(base_url=url, trust_env=False) as client:
        wait_until_ready(client)
        assert client.get("/v1/equipment").json()["total"] == 1
        assert client.post("/v1/readings", json=columns("p1", 30, 6)).json()["duplicate"] == 1
        started.send_signal(signal.SIGINT)
        assert started.wait(20) == 0


def test_the_log_says_at_the_start_what_is_served_and_from_where(tmp_path):
    given = {"LIMEN_MODEL": str(model_folder()), "LIMEN_MODEL_PATTERNS": "fan-*=fans"}
    lines: list[dict[str, Any]] = []
    with process(tmp_path, lines, **given) as (_, url):
        assert lines[-1]["event"].endswith(f"explained at {url}/docs")
    by_event = {line["event"]: line for line in lines}
    model = by_event["model pumps version 1 serves"]
    assert model["sensors"] == list(SENSORS)
    assert (model["false_alarm_rate"], model["interval_seconds"], model["default"]) == (0.01, 1.0, True)
    assert len(model["artifact_id"]) == 64
    assert f"data folder {tmp_path}, clock event, 0 machines restored" in by_event
    (warning,) = [line for line in lines if line["level"] == "warning"]
    assert warning["event"].startswith("LIMEN_MODEL_PATTERNS names the model 'fans', which does not exist")


def test_a_sender_that_writes_all_before_it_reads_is_told_that_its_body_is_too_large(tmp_path):
    with process(tmp_path, LIMEN_BODY_BYTES_MAX="3000000") as (_, url):
        body = b" " * 5_000_000
        request = urllib.request.Request(f"{url}/v1/readings", body, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(5):
            with pytest.raises(urllib.error.HTTPError) as refused:
                opener.open(request, timeout=20)
            with refused.value as answer:
                assert (answer.code, json.load(answer)["type"]) == (413, "/docs#body-too-large")


def test_a_data_folder_is_held_by_one_process_at_a_time(tmp_path):
    in_use = pytest.raises(SettingsError, match=f"in use by process {os.getpid()}")
    with locked(tmp_path), in_use, locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be used"), locked(tmp_path / "file" / "data"):
        pass


def test_an_address_that_is_taken_is_named():
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(SettingsError, match="choose another port"):
            listen("127.0.0.1", taken.getsockname()[1])


def test_a_model_that_cannot_be_used_ends_the_start_with_1(tmp_path):
    environment = {**os.environ, "LIMEN_DATA_DIR": str(tmp_path), "LIMEN_PORT": "0", "LIMEN_MODEL": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "manifest.json is not there" in ended.stderr


def test_a_second_signal_cuts_the_wait_for_answers_short_but_not_the_snapshot(tmp_path):
    variables = {"LIMEN_MODEL": str(model_folder())}
    with process(tmp_path, **variables) as (started, url), httpx.Client(base_url=url, trust_env=False) as client:
        wait_until_ready(client)
        assert client.post("/v1/readings", json=columns("p1", 0, 30)).json()["scored"] == 30 - WARMUP
        with socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 0)) as half:
            head = "POST /v1/readings HTTP/1.1|Host: localhost|Content-Type: application/json|Content-Length: 500||{"
            half.sendall(head.replace("|", "\r\n").encode())
            time.sleep(0.2)
            started.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            assert started.poll() is None
            started.send_signal(signal.SIGTERM)
            assert started.wait(10) == 0
    assert list((tmp_path / "snapshots").glob("snapshot-*.safetensors"))


def test_clients_that_do_not_send_or_read_do_not_hold_the_end_up(tmp_path):
    variables = {"LIMEN_MODEL": str(model_folder()), "LIMEN_STOP_SECONDS_MAX": "3"}
    said: list[str] = []
    with process(tmp_path, said=said, **variables) as (started, url), httpx.Client(base_url=url, trust_env=False) as c:
        wait_until_ready(c)
        times, values = [time_of(0)] * 60_000, [[1.0]] * 60_000
        body = {"equipment": "p1", "sensors": [SENSORS[0]], "times": times, "values": values}
        content = gzip.compress(json.dumps(body).encode())
        head = ["POST /v1/readings HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        head += ["Content-Encoding: gzip", f"Content-Length: {len(content)}", "", ""]
        peers = []
        for sent in (content, content[:-9]):
            peers.append(socket.socket())
            peers[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peers[-1].connect((httpx.URL(url).host, httpx.URL(url).port or 0))
            peers[-1].sendall("\r\n".join(head).encode() + sent)
        time.sleep(2)
        began = time.monotonic()
        started.send_signal(signal.SIGTERM)
        assert started.wait(20) == 0
        assert time.monotonic() - began < 4
        for peer in peers:
            peer.close()
    assert "stopped" in said[0]
    assert "Traceback" not in said[0]
    assert list((tmp_path / "snapshots").glob("snapshot-*.safetensors"))


def test_no_more_connections_are_taken_than_there_are_descriptors_for(monkeypatch, caplog):
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.setrlimit", lambda which, limits: raised.append(limits))
    found = []
    for limits in ((256, 512), (256, 100_000), (100_000, 100_000), (-1, -1)):
        monkeypatch.setattr("resource.getrlimit", lambda which, limits=limits: limits)
        found.append(bounds_of(Settings()).connections)
    wanted = 4096 + HEARD_MAX + FILES_OWN
    assert found == [512 - HEARD_MAX - FILES_OWN, 4096, 4096, 4096]
    assert raised == [(512, 512), (wanted, 100_000)]
    assert "connections_max is 4096; the process may hold 352" in caplog.text


def test_a_last_snapshot_that_cannot_be_saved_ends_with_1(tmp_path):
    with process(tmp_path, LIMEN_MODEL=str(model_folder())) as (started, url):
        with httpx.Client(base_url=url, trust_env=False) as client:
            wait_until_ready(client)
        (tmp_path / "snapshots").rmdir()
        (tmp_path / "snapshots").write_text("in the way")
        started.send_signal(signal.SIGTERM)
        assert started.wait(20) == 1


def test_a_part_of_the_data_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "snapshots").write_text("in the way")
    refused = pytest.raises(SettingsError, match=r"snapshots: File exists.* writable for user id \d+")
    with refused, locked(tmp_path):
        pass


@pytest.mark.parametrize(("error", "told"), [(asyncio.CancelledError(), False), (ValueError("no"), True)])
def test_a_request_that_is_cut_off_at_the_end_of_the_process_says_nothing(error: BaseException, told: bool) -> None:
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "failed", (), (type(error), error, None))
    assert cut_off(record) is not told
    assert not cut_off(logging.LogRecord("limen", logging.INFO, "", 0, "saved", (), None))
