"""The history of a machine: whole, in order, without repeats, wherever its records are and however it is asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.contract import MICROSECONDS
from service import score_history
from service.exported import Wanted, chosen
from service.journal_reader import JournalFile
from service.lifecycle import Service
from service.records import RecordError
from service.score_history import FIRST, LAST, Place, ScoreHistory, Span
from service.settings import JOURNAL, Settings
from service.views import ScoreEntry
from tests.service.followers.test_history_export import MIDNIGHT, Plant
from tests.service.running import columns, run, settings, time_of
from tests.service.test_app import is_problem
from tests.service.test_journal import edit

SCORES = "/v1/equipment/p1/scores"
HOUR = 3600


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path)
    yield made
    made.follower.store.close()
    made.journal.close()


def span(plant: Plant, equipment: str, first: int = FIRST, end: int = LAST, limit: int = 1_000) -> Span:
    slot = plant.shard.equipment_table.slot(equipment)
    assert slot is not None
    return Span(equipment, slot, first, end, limit)


def all_pages(
    history: ScoreHistory, wanted: Span, after: Callable[[int], object] = lambda number: None
) -> list[ScoreEntry]:
    """Page by page, as a client asks; `after` is called after each with its number."""
    found: list[ScoreEntry] = []
    place: Place | None = None
    for number in range(10_000):
        entries, place = history.page(wanted, place)
        after(number)
        assert len(entries) <= wanted.limit
        found += entries
        if place is None:
            return found
        place = Place.parse(place.text())
    raise AssertionError("there is always a next page")


def recorded(plant: Plant, wanted: Span) -> list[ScoreEntry]:
    """The same from all records, one after the other."""
    everything = Wanted(wanted.equipment, wanted.slot, wanted.first - 1, wanted.end, LAST)
    parts = [part for record in plant.reader.read() for part in record.readings]
    return [entry for part in parts for _, entry in chosen(everything, part)]


def without_nan(entries: list[ScoreEntry]) -> list[str]:
    """As an answer has them: there is no NaN in JSON."""
    return [repr(entry).replace("nan", "None") for entry in entries]


# -- wherever the records are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_the_history_is_whole_whatever_was_exported_and_removed(plant: Plant, seed: int) -> None:
    """Two days in uneven bodies of three machines. Records leave the journal at random; what the follower has read of
    them is exported, or waits for the end of its day."""
    rng = random.Random(seed)
    at = dict.fromkeys("abc", -HOUR)
    for _ in range(40):
        equipment, count = rng.choice("abc"), rng.randint(1, 30)
        plant.post(equipment, at[equipment], count)
        at[equipment] += count + rng.choice((0, 0, 5, HOUR))
    machines = [name for name in "abc" if at[name] > -HOUR]
    low, high = sorted(rng.sample(range(-HOUR, 4 * HOUR), 2))
    wanted = [
        span(plant, name, first, end, limit)
        for name in machines
        for first, end in ((FIRST, LAST), (MIDNIGHT + low * MICROSECONDS, MIDNIGHT + high * MICROSECONDS))
        for limit in (3, 1_000)
    ]
    expected = [without_nan(recorded(plant, one)) for one in wanted]
    assert sum(map(len, expected)) > 500
    history = ScoreHistory(plant.settings)
    for before in (1, rng.randint(5, 20), rng.randint(21, 35)):
        plant.follow()
        plant.journal.prune(before)
        assert [without_nan(all_pages(history, one)) for one in wanted] == expected
    assert plant.files()
    assert plant.follower.store.connection.execute("SELECT count(*) FROM waiting").fetchone()[0]


def test_records_that_are_removed_between_two_pages_are_found_where_they_were_exported(plant: Plant) -> None:
    for first in range(-60, 0, 10):
        plant.post("a", first, 10)
    plant.post("b", 2 * HOUR, 1)
    wanted = span(plant, "a", limit=15)
    expected = without_nan(recorded(plant, wanted))
    plant.follow()
    found = all_pages(ScoreHistory(plant.settings), wanted, lambda number: plant.journal.prune(4 + 2 * number))
    assert without_nan(found) == expected


def test_records_that_are_removed_while_a_page_is_read_are_looked_for_again(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service import journal_reader

    monkeypatch.setattr(journal_reader, "READ_RECORDS", 2)
    for first in range(-60, 0, 10):
        plant.post("a", first, 10)
    plant.post("b", 2 * HOUR, 1)
    plant.follow()
    wanted = span(plant, "a")
    expected = without_nan(recorded(plant, wanted))
    take, taken = score_history.chosen, []

    def removing(*given: Any) -> Any:
        taken.append(given)
        if len(taken) == 2:
            plant.journal.prune(5)
        return take(*given)

    monkeypatch.setattr(score_history, "chosen", removing)
    history = ScoreHistory(plant.settings)
    head, place = history.page(wanted, None)
    assert (len(head), place and place.sequence) == (20, 3)
    assert without_nan(head + history.page(wanted, place)[0]) == expected


def test_readings_are_looked_for_from_the_first_record_on_that_may_have_them(plant: Plant) -> None:
    """By the clock of the wall a reading comes in later than its time less what it may be ahead."""
    for first in (0, 1_000, 2_000):
        plant.post("a", first, 10)
    wall = Settings(data_dir=plant.settings.data_dir, future_seconds_max=100.0)
    reader = JournalFile(plant.settings.data_dir / JOURNAL)

    def beginning(second: int, given: Settings) -> int:
        wanted = span(plant, "a", MIDNIGHT + second * MICROSECONDS)
        return ScoreHistory(given)._beginning(reader, wanted, 1)

    assert [beginning(second, wall) for second in (0, 109, 110, 1_109, 1_110, 9_999)] == [0, 0, 2, 2, 3, 4]
    assert beginning(9_999, plant.settings) == 0  # by the clock of the data it may have come in at any time


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_page_looks_at_a_bounded_part_and_says_where_to_go_on(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.post("a", 0, 5)
    for first in range(0, 60, 10):
        plant.post("b", first, 10)
    plant.post("a", 50, 5)
    history, wanted = ScoreHistory(plant.settings), span(plant, "a")
    expected = without_nan(recorded(plant, wanted))
    for name, value in (("JOURNAL_BYTES", 1), ("JOURNAL_RECORDS", 1)):
        with monkeypatch.context() as patched:
            patched.setattr(score_history, name, value)
            entries, place = history.page(wanted, Place(2, FIRST))
            assert (entries, place) == ([], Place(3, FIRST))
            assert without_nan(all_pages(history, wanted)) == expected


def test_days_without_the_machine_are_passed_in_bounded_steps(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.post("a", -3 * 24 * HOUR, 5)
    for day in (-2, -1):
        plant.post("b", day * 24 * HOUR, 5)
    plant.post("a", 0, 5)
    plant.post("b", 30 * HOUR, 5)
    wanted = span(plant, "a")
    expected = without_nan(recorded(plant, wanted))
    plant.follow()
    plant.journal.prune(5)
    monkeypatch.setattr(score_history, "EXPORTED_BYTES", 1)
    assert without_nan(all_pages(ScoreHistory(plant.settings), wanted)) == expected


def test_nothing_is_looked_at_after_the_machine_has_passed_the_end(plant: Plant) -> None:
    for first in range(0, 40, 10):
        plant.post("a", first, 10)
    wanted = span(plant, "a", end=MIDNIGHT + 15 * MICROSECONDS)
    edit(plant.settings.data_dir / JOURNAL, "UPDATE record SET payload = zeroblob(9) WHERE sequence = 3")
    history = ScoreHistory(plant.settings)
    entries, place = history.page(wanted, None)
    assert (len(entries), place) == (15, None)
    with pytest.raises(RecordError, match="record 3 does not match its checksum"):
        history.page(span(plant, "a"), None)


# -- over HTTP ---------------------------------------------------------------------------------------------------------


def test_pages_tell_what_was_answered_and_the_answer_without_parameters_stays_as_it_was(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        answered: list[tuple[Any, ...]] = []
        for first in range(0, 150, 15):
            body = columns("p1", first, 15)
            (found,) = (await client.post("/v1/readings", json=body)).json()["batches"]
            answered += zip(
                body["times"], *(found[name] for name in ("status", "score", "p_value", "alarm")), strict=True
            )
            await client.post("/v1/readings", json=columns("p2", first, 15, seed=9))
        ring = (await client.get(SCORES)).json()
        assert ring.keys() == {"equipment", "scores"}
        told: list[dict[str, Any]] = []
        asked: dict[str, Any] = {"limit": 40}
        while True:
            page = (await client.get(SCORES, params=asked)).json()
            told += page["scores"]
            if page["next"] is None:
                break
            asked["cursor"] = page["next"]
        assert [tuple(entry[n] for n in ("time", "status", "score", "p_value", "alarm")) for entry in told] == answered
        assert told[-len(ring["scores"]) :] == ring["scores"]
        between = (await client.get(SCORES, params={"from": time_of(20), "to": time_of(50)})).json()
        assert between["scores"] == told[20:50]
        assert (await client.get(SCORES, params={"to": time_of(-5)})).json()["scores"] == []

    run(settings(tmp_path), scenario)


def test_readings_that_waited_are_told_in_the_order_of_their_times(tmp_path: Path) -> None:
    """They are put in order before they are scored, and only then are they in the history."""

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        for first in (0, 8, 4, 12, 20, 16):
            await client.post("/v1/readings", json=columns("p1", first, 4))
        told = (await client.get(SCORES, params={"limit": 1})).json()
        rest = (await client.get(SCORES, params={"cursor": told["next"]})).json()
        scores = told["scores"] + rest["scores"]
        assert [entry["time"] for entry in scores] == [time_of(second) for second in range(24)]
        assert scores == (await client.get(SCORES)).json()["scores"]

    run(settings(tmp_path, reorder_seconds=6.0), scenario)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-11-24T00:00:00"}, "to"),
        ({"from": time_of(9), "to": time_of(9)}, "to"),
        ({"limit": 0}, "limit"),
        ({"limit": 1_001}, "limit"),
        ({"cursor": "MTcuMTUwMDAwMA=="}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"cursor": ""}, "cursor"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(tmp_path: Path, asked: dict[str, Any], field: str) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 5))
        refused = await client.get(SCORES, params=asked)
        is_problem(refused, 422, "invalid")
        assert refused.json()["field"] == field

    run(settings(tmp_path), scenario)


def test_a_plus_that_came_as_a_space_is_explained(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 5))
        refused = await client.get(f"{SCORES}?from=2026-02-02T00:00:00+09:00")
        is_problem(refused, 422, "invalid")
        assert "written %2B" in refused.json()["detail"]
        assert (await client.get(f"{SCORES}?from=2026-02-02T00:00:00%2B09:00")).status_code == 200

    run(settings(tmp_path), scenario)


def test_there_is_no_history_of_an_unknown_machine_or_without_a_journal(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        await client.post("/v1/readings", json=columns("p1", 0, 5))
        is_problem(await client.get("/v1/equipment/p2/scores?limit=5"), 404, "unknown-equipment")
        assert len((await client.get(SCORES)).json()["scores"]) == 5
        is_problem(await client.get(f"{SCORES}?limit=5"), 409, "conflict")

    run(settings(tmp_path, journal=False), scenario)
