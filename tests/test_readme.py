"""What README.md says of options, settings, metrics and errors is what the program has."""

from __future__ import annotations

from tests.readme import PARTS, README, marked, written


def test_the_readme_has_a_place_for_every_part_that_the_program_writes() -> None:
    assert sorted(marked(README.read_text("utf-8"))) == sorted(PARTS)


def test_the_parts_that_the_program_writes_are_up_to_date() -> None:
    text = README.read_text("utf-8")
    assert written(text) == text, "run: make docs"
