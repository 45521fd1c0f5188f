"""Debian's Prometheus with the shipped configuration and rules, against a service that really runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.deploy.outside import columns_body, free_port, model_zip, post, request, wait_for

pytestmark = pytest.mark.prove
ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = ROOT / "docker-compose.yml"


def promtool(*arguments: str | Path, text: bytes | None = None) -> str:
    """What promtool prints; fails where it complains."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not on PATH (Debian: apt-get install prometheus)")
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with a model, a machine and a follower; its address."""
    folder = tmp_path_factory.mktemp("service")
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--data-dir", str(folder / "data")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "LIMEN_HISTORY": "true"})
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health/live")
        status, answer = request(f"{url}/v1/models", model_zip(folder), "application/zip")
        assert status in (200, 201), answer
        post(f"{url}/v1/readings", columns_body("pump-1", 0, 300))
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (folder / "log").read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def prometheus(service: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prometheus that scrapes the service by the shipped configuration and options, but for places; its address."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not on PATH (Debian: apt-get install prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    shipped = (DEPLOY / "prometheus.yml").read_text("utf-8")
    assert "limen:8000" in shipped
    (folder / "prometheus.yml").write_text(shipped.replace("limen:8000", service.removeprefix("http://")))
    shutil.copy(DEPLOY / "rules.yml", folder)
    port = free_port()
    options = " ".join(yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]["prometheus"]["command"])
    options = options.replace("=/etc/prometheus", f"={folder}").replace("=/prometheus", f"={folder / 'data'}")
    command = ["prometheus", *options.split(), f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"})
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/-/ready")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def ask(prometheus: str, query: str) -> list[dict[str, Any]]:
    """The samples of an instant query, once there are any (a rate needs two scrapes)."""
    for _ in range(160):
        status, answer = request(f"{prometheus}/api/v1/query?query={quote(query)}")
        assert status == 200, answer
        if found := json.loads(answer)["data"]["result"]:
            return list(found)
        time.sleep(0.25)
    raise AssertionError(f"nothing was scraped for {query}")


def test_the_shipped_configuration_and_rules_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "config", DEPLOY / "prometheus.yml")
    assert "SUCCESS" in promtool("check", "rules", DEPLOY / "rules.yml")


def test_every_rule_fires_and_keeps_silent_as_it_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", DEPLOY / "rules_test.yml")
    rules = set(re.findall(r"- alert: (\w+)", (DEPLOY / "rules.yml").read_text("utf-8")))
    tested = set(re.findall(r"alertname: (\w+)", (DEPLOY / "rules_test.yml").read_text("utf-8")))
    assert rules == tested


def test_the_metrics_page_is_as_prometheus_wants_it(service: str) -> None:
    status, page = request(f"{service}/metrics")
    assert status == 200
    promtool("check", "metrics", text=page)


def test_prometheus_scrapes_the_service_and_finds_what_came_in(prometheus: str) -> None:
    (up,) = ask(prometheus, "up")
    assert (up["metric"]["job"], up["value"][1]) == ("limen", "1")
    (machines,) = ask(prometheus, "limen_equipment")
    assert machines["value"][1] == "1"
    (scored,) = ask(prometheus, 'limen_readings_total{status="scored"}')
    assert 0 < int(scored["value"][1]) <= 300
    (model,) = ask(prometheus, "limen_model_info")
    assert model["metric"]["model"] == "pumps"


def test_everything_that_rules_and_dashboard_ask_for_is_scraped(prometheus: str) -> None:
    ask(prometheus, "up")
    status, answer = request(f"{prometheus}/api/v1/label/__name__/values")
    assert status == 200
    there = set(json.loads(answer)["data"])
    for name in ("rules.yml", "grafana/dashboards/limen.json"):
        wanted = set(re.findall(r"\b(?:limen|process)_[a-z_]+\b(?=[{\[) ])", (DEPLOY / name).read_text("utf-8")))
        assert wanted <= there, f"{name} asks for {sorted(wanted - there)}"


def test_every_query_of_the_dashboard_finds_something(prometheus: str) -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/limen.json").read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(queries) > 20
    for query in queries:
        assert ask(prometheus, query.replace("$instance", ".*")), query


def test_every_rule_is_evaluated_without_error(prometheus: str) -> None:
    for _ in range(120):
        _, answer = request(f"{prometheus}/api/v1/rules")
        rules = [rule for group in json.loads(answer)["data"]["groups"] for rule in group["rules"]]
        if all(rule["health"] != "unknown" for rule in rules):
            break
        time.sleep(0.25)
    assert {rule["name"]: rule["health"] for rule in rules} == {rule["name"]: "ok" for rule in rules}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
