"""A disk that fails: nothing that is not on disk is answered, the service ends, and the next one goes on unharmed."""

from __future__ import annotations

import asyncio
import re
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest

from service import snapshot
from tests.faults import DATABASE, LOG, Disk, Fault, Lives, bounded_files, can_inject, injected
from tests.service.running import columns, model_folder
from tests.service.test_serve import process
from tests.test_crash import plant
from tests.uninterrupted import check

needs_injection = pytest.mark.skipif(not can_inject(), reason="no strace, or it may not trace: no faults injected")
ENDING = [
    Fault("fdatasync", "EIO", "1", LOG),
    Fault("pwrite64", "ENOSPC", "1", LOG),
    Fault("pwrite64", "ENOSPC", "13", LOG),
    Fault("fdatasync", "ENOSPC", "8+", LOG),
    Fault("pwrite64", "EIO", "40+", LOG),
    Fault("fdatasync", "EIO", "1", DATABASE),  # the log is moved into it
    Fault("pwrite64", "EIO", "5", DATABASE),
]
NO_SNAPSHOT, NO_CHECKPOINT = "no snapshot could be saved", "the log of the journal could not be moved"
BORNE = [
    (Fault("fsync", "EIO", "1+3"), NO_SNAPSHOT),
    (Fault("rename", "EIO", "1+2"), NO_SNAPSHOT),
    (Fault("unlink", "EIO", "1+2"), NO_SNAPSHOT),  # of one that is not kept any longer
    (Fault("pwrite64", "ENOSPC", "3+4", DATABASE), NO_CHECKPOINT),
]
SMALL = "from service import journal; journal.CHECKPOINT_BYTES = 100_000; "
OFTEN = {"LIMEN_SNAPSHOT_READINGS_MAX": "300"}


@pytest.mark.prove
@needs_injection
def test_every_write_of_the_log_may_fail_and_the_service_ends_and_goes_on_unharmed(tmp_path: Path) -> None:
    found = plant(3)
    lives = Lives(tmp_path, found, before=SMALL)

    async def play() -> None:
        for fault in ENDING:
            await lives.until_it_ends(lambda pid, fault=fault: injected(pid, tmp_path, fault))
        await lives.to_the_end()

    asyncio.run(play())
    for fault, said in zip(ENDING, lives.said, strict=False):
        reason = "No space left on device" if fault.error == "ENOSPC" and fault.call == "pwrite64" else "Input/output"
        assert f"the service cannot go on: [Errno {28 if 'space' in reason else 5}] {reason}" in said
        assert "Traceback" not in said
        assert "the next start goes on from the journal" in said
    check(found, tmp_path)


@pytest.mark.prove
@needs_injection
@pytest.mark.parametrize(("fault", "told"), BORNE, ids=str)
def test_a_snapshot_or_a_checkpoint_that_fails_stops_nothing_and_harms_nothing(
    tmp_path: Path, fault: Fault, told: str
) -> None:
    found = plant(4, machines=8, ticks=300)
    lives = Lives(tmp_path, found, OFTEN, before=SMALL)

    async def play() -> None:
        await lives.to_the_end(lambda pid: injected(pid, tmp_path, fault))

    asyncio.run(play())
    (said,) = lives.said
    assert told in said
    assert "Traceback" not in said
    for path in snapshot.paths(tmp_path / "snapshots"):
        snapshot.read(path)
    assert not list((tmp_path / "snapshots").glob(".*"))
    check(found, tmp_path)


@pytest.mark.prove
@needs_injection
def test_what_waits_for_a_sync_that_fails_is_answered_with_503(tmp_path: Path) -> None:
    async def play(url: str, pid: int) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            assert (await client.post("/v1/readings", json=columns("p0", 0, 9))).status_code == 200
            with injected(pid, tmp_path, Fault("fdatasync", "EIO", "1", LOG, delay_seconds=2)):
                posts = [client.post("/v1/readings", json=columns(f"p{number}", 9, 9)) for number in range(9)]
                return await asyncio.gather(*posts)

    with process(tmp_path, LIMEN_MODEL=str(model_folder())) as (started, url):
        answers = asyncio.run(play(url, started.pid))
        assert started.wait(30) == 1
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"].startswith("the service could not make")
    with process(tmp_path) as (_, url), httpx.Client(base_url=url, trust_env=False) as client:
        assert client.post("/v1/readings", json=columns("p0", 0, 9)).json()["duplicate"] == 9
        assert client.post("/v1/readings", json=columns("p0", 9, 9)).json()["received"] == 9


@pytest.mark.prove
def test_a_log_that_may_not_grow_ends_the_service_and_the_next_one_goes_on_unharmed(tmp_path: Path) -> None:
    found = plant(5, ticks=300)
    lives = Lives(tmp_path, found)

    async def play() -> None:
        for size in (50_001, 333_333, 500_000):
            await lives.until_it_ends(lambda pid, size=size: bounded_files(pid, size))
        await lives.to_the_end()

    asyncio.run(play())
    check(found, tmp_path)


@pytest.mark.prove
def test_a_full_disk_ends_the_service_and_once_there_is_room_the_next_one_goes_on_unharmed(tmp_path: Path) -> None:
    disk, found = Disk(tmp_path / "data"), plant(6)
    lives = Lives(disk.folder, found, {**OFTEN, "LIMEN_DISK_FREE_BYTES_MIN": "0"})

    async def play() -> None:
        for size in (700_000, 1_300_000):
            disk.resize(size)
            await lives.until_it_ends(lambda pid: nullcontext())
            with disk.full():
                said = lives.refused()
            assert re.fullmatch(r"limen: error: .*(make room|look whether the disk is full).*\n", said), said
        disk.resize(50_000_000)
        await lives.to_the_end()

    with disk.mounted(700_000) as mounted:
        if not mounted:
            pytest.skip("no right to mount: no full disk")
        asyncio.run(play())
        for said in lives.said[:-1]:
            assert "the service cannot go on: [Errno 28] No space left on device" in said
            assert "Traceback" not in said
        check(found, disk.folder)
