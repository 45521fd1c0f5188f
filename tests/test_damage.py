"""Torn and flipped bytes: always named, or without any effect; never another score."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from service import snapshot
from service.journal import JournalError, SqliteJournal
from service.settings import JOURNAL
from service.snapshot import Snapshot
from tests.damage import INDEX, LOG, MARK, Damage, by_chance, files, killed, start, what_comes_of, whole
from tests.uninterrupted import compare_states

PLACES, PLACES_LONG = 30, 1_000  # in each file
PAGE, FRAME, LOG_HEADER = 4096, 4096 + 24, 32
MODEL = "models/pumps/1"
END_IS_GONE = "records up to 31 were acknowledged: its end is damaged or gone"
LOG_PLACES = {
    "magic": Damage(LOG, "bit", 3, 4),
    "size of pages": Damage(LOG, "bit", 10, 4),
    "salt": Damage(LOG, "bit", 17, 2),
    "checksum of the header": Damage(LOG, "bit", 30),
    "header": Damage(LOG, "empty", 0),
    "page number of a frame": Damage(LOG, "bit", LOG_HEADER + 3),
    "size in a frame": Damage(LOG, "bit", LOG_HEADER + FRAME + 7),
    "salt of a frame": Damage(LOG, "bit", LOG_HEADER + FRAME + 9),
    "checksum of a frame": Damage(LOG, "bit", LOG_HEADER + 2 * FRAME + 20),
    "page in a frame": Damage(LOG, "bit", LOG_HEADER + 3 * FRAME + 24 + 3000, 5),
    "torn page in a frame": Damage(LOG, "empty", LOG_HEADER + 3 * FRAME - 300),
    "a byte after the header": Damage(LOG, "cut", LOG_HEADER + 1),
    "within a frame": Damage(LOG, "cut", LOG_HEADER + FRAME + 99),
    "between frames": Damage(LOG, "cut", LOG_HEADER + 2 * FRAME),
    "all": Damage(LOG, "cut", 0),
}


@pytest.mark.parametrize("place", LOG_PLACES)
def test_a_log_that_sqlite_would_cut_short_without_a_word_is_refused(tmp_path: Path, place: str) -> None:
    assert END_IS_GONE in what_comes_of(LOG_PLACES[place], tmp_path / "data")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (Damage(JOURNAL, "cut", PAGE), "cannot be used as a journal"),
        (Damage(INDEX, "bit", 14), "index.json"),
        (Damage(f"{MODEL}/manifest.json", "bit", 700), "model pumps version 1 is active and"),
        (Damage(f"{MODEL}/model.safetensors", "bit", 3000), "does not match the hash"),
        (Damage(f"{MODEL}/model.safetensors", "cut", 3000), "does not match the hash"),
        (Damage("models/fans/1/model.safetensors", "empty", 3000), "does not match the hash"),
    ],
    ids=str,
)
def test_damage_that_a_start_cannot_go_on_from_is_named(tmp_path: Path, damage: Damage, told: str) -> None:
    assert told in what_comes_of(damage, tmp_path / "data")


@pytest.mark.parametrize("kind", ["bit", "empty", "cut"])
@pytest.mark.parametrize("place", [0, 40, 9_000])
def test_a_damaged_snapshot_is_put_aside_and_the_one_before_it_leads_to_the_same_state(
    tmp_path: Path, place: int, kind: str
) -> None:
    older, newest = (name for name in files() if name.startswith("snapshots"))
    assert what_comes_of(Damage(newest, kind, place), tmp_path / "data") == ""
    folder = tmp_path / "data" / "snapshots"
    assert [path.name for path in folder.glob(f"{snapshot.ASIDE}*")] == [f"{snapshot.ASIDE}{Path(newest).name}"]
    assert [path.name for path in snapshot.paths(folder)] == [Path(older).name]


@pytest.mark.parametrize("damage", [Damage(MARK, "bit", 4), Damage(MARK, "cut", 7), Damage(MARK, "cut", 0)], ids=str)
def test_a_damaged_mark_of_the_end_changes_nothing(tmp_path: Path, damage: Damage) -> None:
    assert what_comes_of(damage, tmp_path / "data") == ""


@pytest.mark.parametrize("file", range(10))
def test_damage_at_some_places_is_named_or_changes_nothing(tmp_path: Path, file: int) -> None:
    sweep(tmp_path, file, 1, 1)


@pytest.mark.prove
@pytest.mark.parametrize("file", range(10))
def test_damage_at_many_places_is_named_or_changes_nothing(tmp_path: Path, file: int) -> None:
    sweep(tmp_path, file, PLACES, 2)
    sweep(tmp_path, file, PLACES, 3, without_snapshots=True)


@pytest.mark.prove_long
@pytest.mark.parametrize("file", range(10))
def test_damage_at_any_place_is_named_or_changes_nothing(tmp_path: Path, file: int) -> None:
    sweep(tmp_path, file, PLACES_LONG, 4)
    sweep(tmp_path, file, PLACES_LONG, 5, without_snapshots=True)


def sweep(folder: Path, file: int, places: int, seed: int, without_snapshots: bool = False) -> None:
    """Damage to a file, each time in a whole folder; without snapshots, the journal is replayed from record 1 on."""
    name = files()[file]
    assert len(files()) == 10
    if without_snapshots and not name.startswith("journal"):
        return
    for damage in by_chance(name, random.Random(seed), places):
        try:
            what_comes_of(damage, folder / "sweep", without_snapshots)
        except BaseException as error:
            error.add_note(str(damage))
            raise
        shutil.rmtree(folder / "sweep")


# -- snapshots that cannot be used -------------------------------------------------------------------------------------


def removed(path: Path) -> None:
    path.unlink()


def half_written(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def left_before_its_name(path: Path) -> None:
    half_written(path)
    path.rename(path.with_name(f".{path.name}.partial"))


def of_a_newer_program(path: Path) -> None:
    found = snapshot.read(path)
    header = msgspec.structs.replace(found.header, format=snapshot.FORMAT + 1)
    snapshot.write(path.parent, Snapshot(header, found.arrays))


UNUSABLE = [removed, half_written, left_before_its_name, of_a_newer_program]


def folder_with(tmp_path: Path, spoil: Callable[[Path], None], count: int, pruned: bool) -> Path:
    """A data folder whose newest snapshots, so many, are spoilt; `pruned`: without the records that they hold."""
    folder = shutil.copytree(killed(), tmp_path / "data")
    if pruned:
        with closing(SqliteJournal(folder / JOURNAL)) as journal:
            journal.prune(min(map(snapshot.sequence_of, snapshot.paths(folder / "snapshots"))))
    for path in snapshot.paths(folder / "snapshots")[:count]:
        spoil(path)
    return folder


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("spoil", UNUSABLE)
def test_where_the_newest_snapshot_cannot_be_used_the_one_before_it_leads_to_the_same_state(
    tmp_path: Path, spoil: Callable[[Path], None], pruned: bool
) -> None:
    state, _ = start(folder_with(tmp_path, spoil, 1, pruned))
    compare_states(state, whole()[0])


@pytest.mark.parametrize("spoil", UNUSABLE)
def test_where_no_snapshot_can_be_used_the_journal_alone_leads_to_the_same_state(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    state, _ = start(folder_with(tmp_path, spoil, 2, pruned=False))
    compare_states(state, whole()[0])


@pytest.mark.parametrize("spoil", UNUSABLE)
def test_where_no_snapshot_can_be_used_and_records_were_removed_a_start_says_which_and_ends(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = folder_with(tmp_path, spoil, 2, pruned=True)
    for _ in range(2):
        with pytest.raises(
            JournalError, match=r"^records 1 to 9 are neither in a snapshot nor in the journal: put back the snapshots"
        ):
            start(folder)
