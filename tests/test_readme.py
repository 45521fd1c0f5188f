"""What README.md says of options, settings, metrics and errors is what the program has."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme import PARTS, README, marked, written


def test_the_readme_has_a_place_for_every_part_that_the_program_writes() -> None:
    assert sorted(marked(README.read_text("utf-8"))) == sorted(PARTS)


def test_the_parts_that_the_program_writes_are_up_to_date() -> None:
    text = README.read_text("utf-8")
    assert written(text) == text, "run: make docs"


def tour() -> str:
    """The commands of the tour, as one would copy them."""
    section = README.read_text("utf-8").split("\n## A tour in ten lines\n")[1]
    return section.split("```\n")[1]


def test_the_tour_has_a_data_folder_of_its_own_and_waits_for_the_service() -> None:
    lines = tour().splitlines()
    serve = next(n for n, line in enumerate(lines) if line.startswith("limen serve"))
    assert "--data-dir tour-data" in lines[serve]
    assert "--retry-connrefused" in lines[serve + 1]


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (README.parent / page).read_text("utf-8"))
    assert [link for link in links if not (README.parent / link).exists()] == []


@pytest.mark.prove
def test_the_tour_does_what_it_says_when_it_is_pasted_as_a_block(tmp_path: Path) -> None:
    """On port 8000, which has to be free."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    given = {**os.environ, "PATH": path, "PYTHONPATH": str(README.parent)}
    words = ["bash", "-c", tour()]
    done = subprocess.run(words, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    ready, answer, alarms, machine = (json.loads(found) for found in re.findall(r"^\{.*\}$", done.stdout, re.MULTILINE))
    assert ready["status"] == "ready"
    assert (answer["scored"], answer["results"][0]["status"]) == (1, "scored")
    assert alarms["total"] > 0
    assert machine["last_time"] == answer["results"][0]["time"]
    assert "6 of 6 detected" in done.stdout
