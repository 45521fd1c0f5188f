from __future__ import annotations

import json

from service import errors
from service.errors import Problem, from_status, shown, tree


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    lines = [line for line in (errors.__doc__ or "").splitlines() if "──" in line]
    named = {line.split("── ")[1].split()[0]: int(line.split("── ")[1].split()[1]) for line in lines}
    assert named == {kind.__name__: kind.status for kind in tree()}


def test_every_kind_has_a_name_and_a_title_of_its_own():
    kinds = list(tree())
    assert len({kind.kind for kind in kinds}) == len(kinds)
    assert all(kind.title and kind.kind for kind in kinds)


def test_a_problem_says_where_only_if_it_knows():
    assert set(Problem("x").details()) == {"type", "title", "status", "detail"}
    found = json.loads(errors.Invalid("x", field="values", row=3).encoded())
    assert (found["field"], found["row"]) == ("values", 3)


def test_what_can_be_tried_again_says_when():
    assert errors.QueueFull("x").headers == {"Retry-After": "1"}
    assert "Retry-After" not in errors.Invalid("x").headers


def test_statuses_of_the_framework_become_problems():
    assert isinstance(from_status(404, "x"), errors.NoRoute)
    assert isinstance(from_status(418, "x"), errors.BadRequest)
    assert isinstance(from_status(502, "x"), errors.InternalError)
    assert from_status(405, "x", {"Allow": "GET"}).headers["Allow"] == "GET"


def test_values_are_shown_short_and_without_control_characters():
    assert shown("a\x1b[31m") == "'a\\x1b[31m'"
    assert shown("\ud800") == "'\\ud800'"
    assert len(shown("x" * 10_000)) < 120
    assert len(shown(10**300)) < 120
    assert shown({"a": 1}) == "an object of 1"
