from __future__ import annotations

import dataclasses
import logging

import httpx
import msgspec
import pytest

from service import announce
from service.lifecycle import Service
from service.registry import Registry
from tests.service import fleet
from tests.service.running import model_folder, run, settings
from tests.service.test_registry import ZIP, upload


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "limen")


async def nothing(client: httpx.AsyncClient, service: Service) -> None:
    pass


def test_a_service_without_a_model_says_what_to_do(tmp_path, caplog):
    run(settings(tmp_path, model=None), nothing)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "no model is there" in warning
    assert "POST /v1/models or limen serve --model FOLDER" in warning


def test_every_setting_that_names_a_model_that_is_not_there_is_named(tmp_path):
    given = settings(
        tmp_path,
        model_default="a",
        model_patterns={"x-*": "b", "y-*": "pumps", "z-*": "b"},
        model_assignments={"k": "c"},
    )
    registry = Registry(tmp_path / "models")
    registry.show(registry.installation(model_folder()))
    told = list(announce.missing(given, registry.view))
    wanted = (("MODEL_DEFAULT", "a"), ("MODEL_PATTERNS", "b"), ("MODEL_ASSIGNMENTS", "c"))
    assert [line.split(", which")[0] for line in told] == [f"LIMEN_{name} names the model {m!r}" for name, m in wanted]
    assert all(line.endswith("(models there: pumps)") for line in told)


def test_a_default_model_that_is_replaced_by_the_option_is_named(tmp_path, caplog):
    run(settings(tmp_path, model=model_folder("fans")), nothing)
    assert "--model made" not in caplog.text
    run(settings(tmp_path), nothing)
    assert "--model made pumps the default model; it was fans" in caplog.text


def test_an_option_that_a_setting_overrules_is_named(tmp_path, caplog):
    run(settings(tmp_path, model=model_folder("fans")), nothing)
    run(settings(tmp_path, model_default="fans"), nothing)
    assert "--model put in pumps, and the default model stays fans, as LIMEN_MODEL_DEFAULT says" in caplog.text


def test_uploads_and_switches_are_logged(tmp_path, caplog):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/models", content=upload(seed=0), headers=ZIP)
        await client.post("/v1/models", content=upload(seed=1), headers=ZIP)
        await client.put("/v1/models/pumps/active", json={"version": 2})

    run(settings(tmp_path, model=None), scenario)
    assert "model pumps version 1 was uploaded and serves" in caplog.text
    assert "model pumps version 2 was uploaded and waits for PUT /v1/models/pumps/active" in caplog.text
    assert "model pumps version 2 serves; before it, version 1" in caplog.text


def test_a_model_of_many_sensors_is_told_in_a_bounded_line():
    model = fleet.model(sensors=30)
    sensors = tuple(msgspec.structs.replace(model.manifest.sensors[0], name=f"s{i}") for i in range(30))
    wide = dataclasses.replace(model, manifest=msgspec.structs.replace(model.manifest, sensors=sensors))
    assert announce.facts(wide, True)["sensors"] == [f"s{i}" for i in range(20)] + ["and 10 more"]
