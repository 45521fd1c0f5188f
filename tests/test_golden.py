"""What released versions have written is read, upgraded in place, and gone on from as they did (`tests/golden.py`)."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models.artifact import load
from models.backfill import score_series
from service import snapshot
from service.backup import read_contents
from service.journal_reader import JournalFile
from service.lifecycle import Service
from service.settings import JOURNAL, SNAPSHOTS
from service.sources import shifts_in
from service.status import STATUS_NAMES, Flag
from tests import golden
from tests.service.commandline import limen
from tests.service.running import run

VERSIONS = sorted(path.name for path in golden.GOLDEN.iterdir())
BYTES_MAX = 100_000  # of the files of one version
TOLERANCE = 1e-5  # on another engine


def compare(found: Any, wanted: Any, exactly: bool, place: str = "") -> None:
    """What was recorded is there, with its numbers; what a newer version says beside it does not matter."""
    if isinstance(wanted, dict):
        for name, value in wanted.items():
            assert name in found, f"{place} lacks {name}"
            compare(found[name], value, exactly, f"{place}/{name}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), place
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            compare(one, other, exactly, f"{place}/{number}")
    elif isinstance(wanted, float) and isinstance(found, float) and not exactly:
        assert math.isclose(found, wanted, rel_tol=TOLERANCE, abs_tol=TOLERANCE), f"{place}: {found}; then {wanted}"
    else:
        assert found == wanted, f"{place}: {found}; then {wanted}"


def expected(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((golden.GOLDEN / version / "expected.json").read_text())
    return found


@pytest.mark.parametrize("without_snapshots", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_released_version_is_gone_on_from_as_it_did(version: str, without_snapshots: bool, tmp_path: Path) -> None:
    wanted = expected(version)
    exactly = wanted["engine"] == snapshot.engine_id()
    done = limen("restore", golden.GOLDEN / version / "backup", "--data-dir", tmp_path / "data")
    assert done.status == 0, done
    if without_snapshots:
        shutil.rmtree(tmp_path / "data" / "snapshots")

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        compare(await golden.listed(client), wanted["lists"], exactly)
        compare(await golden.answered(client), wanted["answers"], exactly)

    run(golden.waiting(tmp_path / "data"), scenario)
    assert limen("journal", "verify", tmp_path / "data").status == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_the_outcomes_in_its_journal_are_those_of_this_program(version: str) -> None:
    backup = golden.GOLDEN / version / "backup"
    exactly = expected(version)["engine"] == snapshot.engine_id()
    models = {model.artifact_id: model for model in map(load, (backup / "models" / "pumps").iterdir())}
    readings: dict[tuple[str, int], list[tuple[int, Any, str, float]]] = {}
    for record in JournalFile(backup / JOURNAL).read():
        for part in record.readings:
            rows = zip(part.slot.tolist(), part.time.tolist(), part.values, part.status, part.score, strict=True)
            for slot, time, values, status, score in rows:
                kept = readings.setdefault((part.artifact_id, slot), [])
                kept.append((time, values, STATUS_NAMES[status], float(score)))
    assert len(readings) == 8, "six machines, two of them with two models"
    for (artifact_id, slot), kept in readings.items():
        times, values, status, score = zip(*kept, strict=True)
        again = score_series(models[artifact_id].detector, f"slot-{slot}", np.array(times), np.array(values))
        assert again.status == list(status)
        tolerance = 0 if exactly else TOLERANCE
        np.testing.assert_allclose(again.score, score, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_files_are_small_and_of_that_version(version: str) -> None:
    folder = golden.GOLDEN / version
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < BYTES_MAX
    assert read_contents(folder / "backup").program == version


def test_golden_files_can_be_written_anew(tmp_path: Path) -> None:
    golden.write(tmp_path)
    found = json.loads((tmp_path / "expected.json").read_text())
    batches = [batch for answer in found["answers"] for batch in answer.get("batches", [])]
    statuses = {status for batch in batches for status in batch["status"]}
    assert {"scored", "warming", "duplicate", "rejected", "late"} <= statuses
    records = list(JournalFile(tmp_path / "backup" / JOURNAL).read())
    assert {record.kind for record in records} == {"settings", "activate", "readings", "event"}
    assert any(record.held for record in records)
    assert any(shifts_in(record) for record in records)
    assert any((part.flags & Flag.HISTORICAL).any() for record in records for part in record.readings)
    (path,) = snapshot.paths(tmp_path / "backup" / SNAPSHOTS)
    assert {"waiting", "shifts"} <= snapshot.read(path).arrays.keys()
