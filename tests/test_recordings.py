"""What the `limen` command promises on public recordings, held: each bound is the one that the README states."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.detection import TENNESSEE_SHAPE, skab, tennessee

pytestmark = pytest.mark.prove


def folder(shared_data: Path, name: str) -> Path:
    found = shared_data / name
    if not found.is_dir():
        pytest.skip(f"no recordings at {found}")
    return found


@pytest.mark.parametrize("shape", [(), TENNESSEE_SHAPE], ids=["defaults", "chosen"])
def test_tennessee_eastman_faults_are_found_within_the_promised_false_alarms(
    shared_data: Path, shape: tuple[str, ...]
) -> None:
    figures = tennessee(folder(shared_data, "tep"), *shape)
    assert figures.false_alarm_rate <= 0.01
    assert figures.mean_found >= 0.985


def test_skab_valve_experiments_are_told_from_normal_and_their_budget_is_not_promised(shared_data: Path) -> None:
    figures = skab(folder(shared_data, "skab"))
    assert figures.evaluation.f1 is not None
    assert figures.evaluation.f1 >= 0.80
    assert figures.evaluation.average_precision is not None
    assert figures.evaluation.average_precision >= 0.90
    assert figures.supported == 0
