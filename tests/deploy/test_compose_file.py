"""What the compose file and the image promise, read from the files: nothing is started."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

GROUPS = yaml.safe_load((ROOT / "deploy/rules.yml").read_text("utf-8"))["groups"]
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}


def provisioned(kind: str) -> Any:
    (file,) = (ROOT / "deploy/grafana/provisioning" / kind).glob("*.yml")
    return yaml.safe_load(file.read_text("utf-8"))


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_change_nothing_but_its_volume(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_fill_neither_memory_nor_disk_of_its_host(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["pids_limit"] <= 1024
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert all("size=" in mount for mount in service.get("tmpfs", []))
    if name == "prometheus":
        assert any(part.startswith("--storage.tsdb.retention.size=") for part in service["command"])


def test_rules_warn_below_the_limits_that_they_name() -> None:
    from service.settings import Settings

    queue, memory = Settings.model_fields["queue_readings_max"].default, SERVICES["limen"]["mem_limit"]
    limits = {"LimenQueueFilling": queue, "LimenMemoryHigh": int(memory.removesuffix("g")) * 2**30}
    for name, limit in limits.items():
        rule = RULES[name]
        assert 0.4 * limit < float(rule["expr"].split(">")[1]) < 0.9 * limit
    disk = Settings.model_fields["disk_free_bytes_min"].default
    assert 2 * disk < float(RULES["LimenDiskFilling"]["expr"].split("<")[1])  # before anything is removed
    assert f"({queue} by default)" in RULES["LimenQueueFilling"]["annotations"]["action"]
    assert f"({memory} in docker-compose.yml)" in RULES["LimenMemoryHigh"]["annotations"]["action"]


def test_health_is_asked_for_alike_in_image_and_compose_file() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    (command,) = re.findall(r"^  CMD (\[.*\])$", text, re.MULTILINE)
    health = SERVICES["limen"]["healthcheck"]
    assert ["CMD", *json.loads(command)] == health["test"]
    for option in ("interval", "timeout", "start_period", "retries"):
        assert f"--{option.replace('_', '-')}={health[option]}" in text


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_images_of_others_are_pinned_to_a_version(name: str) -> None:
    assert re.fullmatch(r"docker\.io/\S+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_mounted_files_are_in_the_repository_and_volumes_are_declared(name: str) -> None:
    for mount in SERVICES[name]["volumes"]:
        source = mount.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], mount


def test_the_service_waits_for_its_stop_longer_than_it_may_take() -> None:
    from service.settings import Settings

    grace = int(SERVICES["limen"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["stop_seconds_max"].default


def test_prometheus_may_name_the_service_as_it_does() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text("utf-8"))
    (target,) = config["scrape_configs"][0]["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in SERVICES
    assert host in SERVICES["limen"]["environment"]["LIMEN_HOSTS_ALLOWED"]
    assert SERVICES["limen"]["ports"][0].endswith(f":{port}")


def test_grafana_finds_the_data_source_that_the_dashboard_names() -> None:
    (source,) = provisioned("datasources")["datasources"]
    dashboard = (ROOT / "deploy/grafana/dashboards/limen.json").read_text("utf-8")
    uids = {panel["datasource"]["uid"] for panel in json.loads(dashboard)["panels"] if "datasource" in panel}
    assert uids == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    (provider,) = provisioned("dashboards")["providers"]
    assert any(mount.split(":")[1] == provider["options"]["path"] for mount in SERVICES["grafana"]["volumes"])


def test_settings_in_the_image_and_the_compose_file_exist() -> None:
    from service.settings import unknown_variables

    text = (ROOT / "Dockerfile").read_text("utf-8")
    named = {*re.findall(r"\b(LIMEN_[A-Z_]+)=", text), *SERVICES["limen"]["environment"]}
    assert unknown_variables(dict.fromkeys(named, "x")) == []
