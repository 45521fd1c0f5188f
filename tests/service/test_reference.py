from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import httpx
import msgspec
import pytest

from models.score import MOVED, STATISTICS
from service import answer, openapi, reference, vocabulary
from service.alarms import KINDS
from service.app import create_app
from service.lifecycle import Service
from service.settings import Settings
from service.status import FLAG_NAMES, REASON_NAMES, STATUS_NAMES
from tests.service.running import run, settings


@cache
def document() -> dict[str, Any]:
    return create_app(Settings(model=None)).openapi()


@cache
def page() -> str:
    return reference.page(document())


def test_every_word_of_an_answer_is_explained() -> None:
    assert tuple(vocabulary.STATUS) == STATUS_NAMES
    assert tuple(vocabulary.REASON) == REASON_NAMES[1:]
    assert tuple(vocabulary.FLAGS) == tuple(FLAG_NAMES.values())
    assert tuple(vocabulary.LEADING) == (*STATISTICS, MOVED)
    assert tuple(vocabulary.KIND) == KINDS
    for words in vocabulary.WORDS.values():
        for word, meaning in words.items():
            assert f"<td><code>{word}</code>" in page()
            assert meaning.endswith(".")


def test_every_type_and_field_that_is_explained_is_there() -> None:
    schemas = document()["components"]["schemas"]
    assert set(vocabulary.TYPES) <= set(schemas)
    fields = {field for name in vocabulary.TYPES for field in schemas[name]["properties"]}
    assert {name.split(".")[-1] for name in vocabulary.FIELDS} <= fields
    assert "sum to it" in schemas["SensorView"]["properties"]["contribution"]["description"]
    assert "mewma: " in schemas["EquipmentDetail"]["properties"]["leading"]["description"]


def test_no_backtick_is_left_and_no_name_of_a_type_leads_nowhere() -> None:
    assert "`" not in page()
    schemas = set(document()["components"]["schemas"])
    assert set(re.findall("#type-([A-Za-z]+)", page())) <= schemas
    assert set(re.findall("<code>([A-Z][a-z]+[A-Z][A-Za-z.]+)</code>", page())) <= schemas
    for target in re.findall("href='#([^']+)'", page()):
        assert re.search(f"id='?{target}\\b", page()), target


def test_defaults_and_bounds_of_parameters_are_told() -> None:
    assert "<code>limit</code><td>query<td>integer, 1 to 1000<td>100<td>" in page()
    assert "<code>offset</code><td>query<td>integer, 0 to 1000000000<td>0<td>" in page()
    assert "The last 32 readings at most, oldest first." in page()


@pytest.mark.parametrize("form", openapi.BODY_EXAMPLES)
def test_the_examples_of_bodies_are_taken_and_shown(tmp_path, form):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        found = await client.post("/v1/readings", json=openapi.BODY_EXAMPLES[form])
        assert found.status_code == 200, found.text
        assert found.json()["received"] >= 1
        assert not any(error["reason"] == "bad_value" for error in found.json().get("errors", ()))

    run(settings(tmp_path), scenario)
    assert f"Example: {form}" in page()


@pytest.mark.parametrize("example", openapi.ANSWER_EXAMPLES.values())
def test_the_examples_of_answers_are_answers(example):
    found = msgspec.json.decode(json.dumps(example), type=answer.Answer)
    assert sum(getattr(found, name) for name in STATUS_NAMES) == found.received
    assert set(msgspec.to_builtins(found)) == set(example)
