"""The crash harness finds what it is there to find: a service with a planted mistake fails, the same one without
passes.

Commits are slow in both, so that a kill meets readings which are answered or seen before they are safe. What no kill
can show, a disk that loses what was not synced, is for the tests of power loss.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.records import RecordError
from tests.crash import Machine, Plant, crash_loop
from tests.planted import COMMIT_SECONDS, program
from tests.uninterrupted import check

SETTINGS = {"LIMEN_SNAPSHOT_READINGS_MAX": "1000"}  # some batches between two snapshots: a start has records to replay
NAMED = r"\bm-\d+|alarm 0-\d+-\d+|record \d+"  # what was lost or changed
FOUND = {
    "answer_before_sync": r"m-\d+, reading \d+ was answered and is not there any more",
    "readers_do_not_wait": "was seen and is not there any more|readings were counted",
    "snapshot_ahead_of_the_journal": r"record \d+ is missing",
    "snapshot_without_the_last_batch": NAMED,
    "snapshot_without_closed_alarms": NAMED,
    "watermark_not_restored": NAMED,
    "watermark_not_replayed": NAMED,
    "results_not_replayed": NAMED,
    "product_that_depends_on_the_batch": r"m-\d+, reading \d+ .*; uninterrupted: ",
    "alarms_numbered_from_the_start": NAMED,
    "record_out_of_order": NAMED,
    "record_without_its_last_reading": NAMED,
}


def killed(folder: Path, planted: str) -> None:
    plant = Plant([Machine.of(f"m-{number}", 900 + number, 150) for number in range(24)], 9)
    kills = crash_loop(folder, plant, 4, settings=SETTINGS, program=program(planted), linger_seconds=COMMIT_SECONDS)
    asyncio.run(kills)
    check(plant, folder)


@pytest.mark.prove
def test_a_service_without_a_mistake_passes(tmp_path: Path) -> None:
    killed(tmp_path, "")


@pytest.mark.prove
@pytest.mark.parametrize("planted", sorted(FOUND))
def test_a_planted_mistake_is_found(tmp_path: Path, planted: str) -> None:
    with pytest.raises((AssertionError, RecordError), match=FOUND[planted]):
        killed(tmp_path, planted)
