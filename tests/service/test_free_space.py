"""Free space: exported history makes room first, then the service says so, and goes on by itself."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from service import free_space, history
from service.errors import LowSpace
from service.free_space import FreeSpace, free_bytes
from service.history import HISTORY
from service.journal_reader import JournalFile
from service.lifecycle import Service
from service.settings import JOURNAL
from tests.service.running import columns, rows, run, settings
from tests.service.test_app import is_problem
from tests.service.test_registry import upload

MIB = 1024 * 1024
DAYS = ("2026-11-22", "2026-11-23", "2026-11-24")


def exported(data_dir: Path, size: int) -> None:
    """Exported days of one file each."""
    for name in DAYS:
        (data_dir / HISTORY / name).mkdir(parents=True)
        (data_dir / HISTORY / name / "pumps-v1-000000000001.parquet").write_bytes(bytes(size))


def names(data_dir: Path) -> list[str]:
    return [path.name for path in history.days(data_dir / HISTORY)]


class Disk:
    """A disk of a size, on which there are the days of a folder and something else."""

    def __init__(self, size: int) -> None:
        self.size, self.other = size, 0

    def free(self, data_dir: Path) -> int:
        files = (file for path in history.days(data_dir / HISTORY) for file in path.iterdir())
        return self.size - self.other - sum(file.stat().st_size for file in files)


def test_a_bound_beyond_the_whole_disk_costs_no_history(tmp_path: Path) -> None:
    day = tmp_path / "history" / "2026-01-01"
    day.mkdir(parents=True)
    (day / "pumps-v1-1.parquet").write_bytes(b"x")
    space = FreeSpace(tmp_path, 10**15)
    space.look()
    assert space.short
    assert day.exists()


def test_days_are_removed_from_the_oldest_on_until_there_is_enough(tmp_path: Path) -> None:
    exported(tmp_path, 100)
    disk = Disk(1_000)
    space = FreeSpace(tmp_path, 400, disk.free)
    space.look()
    assert (names(tmp_path), space.free) == (list(DAYS), 700)
    disk.other = 301  # 399 are free, and 450 are enough
    space.look()
    assert (names(tmp_path), space.free) == (list(DAYS[1:]), 499)
    space.check()


def test_where_no_day_is_left_it_is_short_until_there_is_an_eighth_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exported(tmp_path, 100)
    disk = Disk(1_000)
    space = FreeSpace(tmp_path, 400, disk.free)
    for other, short in ((600, False), (601, True), (551, True), (550, False), (600, False)):
        disk.other = other
        space.look()
        assert space.short == short, other
        if short:
            with pytest.raises(LowSpace, match=f"{1_000 - other} bytes are free for the data folder; expected 450"):
                space.check()
    assert names(tmp_path) == []
    assert "no readings and no models are taken in until there are 450" in caplog.text
    assert "550 bytes" not in caplog.text
    assert "450 bytes are free for the data folder: readings are taken in again" in caplog.text


def test_a_disk_that_frees_late_costs_no_more_days_than_one_that_does_at_once(tmp_path: Path) -> None:
    exported(tmp_path, 100)
    FreeSpace(tmp_path, 400, lambda folder: 399).look()
    assert names(tmp_path) == list(DAYS[1:])


def test_a_disk_that_cannot_be_measured_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    space = FreeSpace(tmp_path / "gone", 400)
    space.look()
    space.check()
    assert space.free is None
    assert "cannot be watched" in caplog.text


def test_a_service_without_space_refuses_readings_and_models_and_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_space, "LOOK_SECONDS", 0.01)
    disk = Disk(1_000)

    async def until(client: httpx.AsyncClient, status: int) -> None:
        async with asyncio.timeout(30):
            while (await client.get("/health/ready")).status_code != status:
                await asyncio.sleep(0.01)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        service.space.measure = disk.free
        assert (await client.post("/v1/readings", json=rows("p1", 0, 5))).status_code == 200
        disk.other = 700
        await until(client, 503)
        refused = await client.post("/v1/readings", json=rows("p1", 5, 5))
        is_problem(refused, 503, "low-space")
        assert refused.headers["Retry-After"] == "30"
        zipped = {"Content-Type": "application/zip"}
        is_problem(await client.post("/v1/models", content=upload("pumps", 1), headers=zipped), 503, "low-space")
        for path in ("/health/live", "/v1/equipment/p1", "/v1/alarms"):
            assert (await client.get(path)).status_code == 200
        assert "limen_disk_free_bytes 300.0" in (await client.get("/metrics")).text
        disk.other = 0
        await until(client, 200)
        assert (await client.post("/v1/readings", json=rows("p1", 5, 5))).json()["duplicate"] == 0

    run(settings(tmp_path, disk_free_bytes_min=400), scenario)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = None
    with suppress(OSError):
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "limen-test", folder], capture_output=True)
    if made is None or made.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.prove
def test_a_real_disk_that_fills_costs_exported_days_first_and_never_a_reading(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else fills the disk, a MiB after each post, until the service takes no more: there is as much left as
    was asked for, all days are gone, and everything that was answered is in the journal."""
    monkeypatch.setattr(free_space, "LOOK_SECONDS", 0.01)
    data_dir, filler = small_disk / "data", small_disk / "filler"
    exported(data_dir, 8 * MIB)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        posted, kept, left = 0, set[tuple[str, ...]](), 0
        with filler.open("wb") as file:
            while (await client.post("/v1/readings", json=columns("p1", posted, 1))).status_code == 200:
                posted += 1
                kept.add(tuple(names(data_dir)))
                left = free_bytes(data_dir)
                file.write(bytes(MIB))
                file.flush()
                await asyncio.to_thread(service.space.look)
        assert {DAYS[number:] for number in range(4)} <= kept
        assert left > 32 * MIB > free_bytes(data_dir) > 28 * MIB
        is_problem(await client.get("/health/ready"), 503, "low-space")
        written = [part for record in JournalFile(data_dir / JOURNAL).read() for part in record.readings]
        assert sum(len(part.time) for part in written) == posted
        filler.unlink()
        async with asyncio.timeout(30):
            while (await client.get("/health/ready")).status_code != 200:
                await asyncio.sleep(0.01)
        assert (await client.post("/v1/readings", json=columns("p1", posted, 1))).json()["received"] == 1

    run(settings(data_dir, disk_free_bytes_min=32 * MIB), scenario)
