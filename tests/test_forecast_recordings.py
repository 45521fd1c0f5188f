"""What intervals of forecasts cover on a public recording that the model has not seen: the promise of the README."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.service.commandline import limen

HORIZONS = (1, 10, 50)


@pytest.mark.prove
@pytest.mark.parametrize(
    "shape", [(), ("--memory-size", 32, "--window", 20, "--discount", 1)], ids=["defaults", "chosen"]
)
def test_intervals_for_ninety_percent_cover_eighty_five_to_ninety_five(
    shared_data: Path, tmp_path: Path, shape: tuple[object, ...]
) -> None:
    folder = shared_data / "tep"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    model, label = tmp_path / "model", ("--label", "fault")
    assert limen("train", folder / "normal-train.csv", *label, "--out", model, *shape).status == 0
    done = limen("forecast", model, folder / "normal-test.csv", *label, "--horizon", 50, "--check", "--json")
    covered = {one["horizon"]: one["covered"] for one in json.loads(done.out)["horizons"]}
    for horizon in HORIZONS:
        assert 0.85 <= covered[horizon] <= 0.95, covered
