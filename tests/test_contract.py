"""schemathesis reads the OpenAPI document of a running service and asks everything that it allows, and much that it
does not: no answer is a 500, and every answer is one that the document tells of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.builders import process as readings_of
from tests.service.fleet import SECOND, START, in_columns
from tests.service.running import SENSORS
from tests.service.test_registry import upload
from tests.service.test_serve import ROOT
from tests.storm import Served, served

CONFIG = """
hooks = "tests.contract_hooks"

[generation]
deterministic = true
max-examples = {examples}

[warnings]
fail-on = ["missing_test_data", "missing_auth", "unused_openapi_auth"]

[checks]
ignored_auth.enabled = false
object_level_authorization.enabled = false

[parameters]
equipment = "{equipment}"
alarm_id = "{alarm}"
name = "pumps"

# One bad reading costs that reading, not the body; and times must be as many as values, which no schema can say.
[[operations]]
include-path = "/v1/readings"
checks.negative_data_rejection.enabled = false
checks.positive_data_acceptance.enabled = false

# A cursor comes from the answer before, and `to` must be after `from`, which no schema can say.
[[operations]]
include-path = "/v1/equipment/{{equipment}}/scores"
checks.positive_data_acceptance.enabled = false

# The sensors are those of the model that the machine follows, which no schema can say.
[[operations]]
include-path = "/v1/equipment/{{equipment}}/forecast"
checks.positive_data_acceptance.enabled = false

# Not every file is a model.
[[operations]]
include-path = "/v1/models"
include-method = "POST"
checks.positive_data_acceptance.enabled = false
"""


def with_an_alarm(service: Served) -> str:
    """Two versions of a model, and a machine that is in alarm: the id of the alarm."""
    assert service.put_in(upload("pumps", 1)) == 2
    x = readings_of(3, 100)
    x[60:] += 20
    service.post(in_columns("pump-7", SENSORS, START + SECOND * np.arange(100), x))
    (alarm,) = service.client.get("/v1/alarms").json()["alarms"]
    name: str = alarm["id"]
    return name


def ask_everything(folder: Path, examples: int) -> None:
    said: list[str] = []
    with served(folder / "data", said) as service:
        config = folder / "schemathesis.toml"
        config.write_text(CONFIG.format(examples=examples, equipment="pump-7", alarm=with_an_alarm(service)))
        program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
        command = [*program, f"{service.url}/openapi.json", "--no-color", "--continue-on-failure"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-5_000:]
        assert "Tested: 15" in ended.stdout
        assert service.client.get("/health/ready").status_code == 200
        service.end()
    assert "Traceback" not in said[0]


@pytest.mark.prove
def test_no_request_that_the_document_leads_to_is_answered_by_500(tmp_path: Path) -> None:
    ask_everything(tmp_path, 60)


@pytest.mark.prove_long
def test_no_request_of_very_many_is_answered_by_500(tmp_path: Path) -> None:
    ask_everything(tmp_path, 3_000)
