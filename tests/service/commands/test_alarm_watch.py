from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from service.client import Client
from service.commands.alarm_watch import PAGE, AlarmWatch, News, sentence
from tests.service.running import time_of
from tests.service.scripted import Answer, answering


def alarm(number: int, end: int | None = None, equipment: str = "p1", kind: str = "process") -> dict[str, Any]:
    return {
        "id": f"0-{number}-0",
        "kind": kind,
        "equipment": equipment,
        "start": time_of(number),
        "end": None if end is None else time_of(end),
        "open": end is None,
        "peak": 2.0 if kind == "process" else None,
        "sensors": [{"sensor": "flow", "share": 0.75}, {"sensor": "speed", "share": 0.25}],
    }


@contextmanager
def watching(book: list[dict[str, Any]]) -> Iterator[tuple[AlarmWatch, list[str]]]:
    """A watch of p1 and p2 over this book, which a test may change, and the addresses that it asked for."""
    asked: list[str] = []

    def script(method: str, place: str, content: bytes) -> Answer:
        asked.append(place)
        query = {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}
        fitting = [found for found in book if found["open"] is (query["open"] == "true")]
        fitting.sort(key=lambda found: found["end"] or found["start"], reverse=True)
        first = int(query["offset"])
        page = fitting[first : first + int(query["limit"])]
        return 200, {}, json.dumps({"alarms": page, "total": len(fitting), "offset": first}).encode()

    with answering(script) as url, closing(Client(url)) as client:
        watch = AlarmWatch(client, ["p1", "p2"])
        asked.clear()
        yield watch, asked


def events(news: list[News]) -> list[tuple[str, str]]:
    return [(one.event, one.alarm["id"]) for one in news]


def test_an_alarm_is_news_once_when_it_opens_and_once_when_it_closes() -> None:
    book: list[dict[str, Any]] = []
    with watching(book) as (watch, _):
        assert watch.look() == []
        book[:] = [alarm(1)]
        assert events(watch.look()) == [("opened", "0-1-0")]
        assert watch.look() == []
        book[:] = [alarm(1, end=5)]
        assert events(watch.look()) == [("closed", "0-1-0")]
        assert watch.look() == []
        assert [found["end"] for found in watch.alarms] == [time_of(5)]


def test_an_alarm_that_opened_and_closed_between_two_looks_is_both() -> None:
    book: list[dict[str, Any]] = []
    with watching(book) as (watch, _):
        book[:] = [alarm(3, end=9), alarm(1, end=4, equipment="p2")]
        found = watch.look()
        assert events(found) == [("opened", "0-1-0"), ("opened", "0-3-0"), ("closed", "0-1-0"), ("closed", "0-3-0")]


def test_what_was_open_before_is_only_news_when_it_closes() -> None:
    book = [alarm(1), alarm(2, end=3)]
    with watching(book) as (watch, _):
        assert watch.look() == []
        assert [found["id"] for found in watch.open] == ["0-1-0"]
        book[0] = alarm(1, end=9)
        assert events(watch.look()) == [("closed", "0-1-0")]
        assert watch.alarms == []


def test_alarms_of_other_machines_are_none_of_ours() -> None:
    book: list[dict[str, Any]] = []
    with watching(book) as (watch, _):
        book[:] = [alarm(1, equipment="elsewhere"), alarm(2, end=3, equipment="elsewhere")]
        assert watch.look() == []


def test_more_than_a_page_of_alarms_are_all_seen() -> None:
    book: list[dict[str, Any]] = []
    with watching(book) as (watch, _):
        book[:] = [alarm(number) for number in range(2 * PAGE + 5)]
        book += [alarm(number, end=number + 1) for number in range(1000, 1000 + PAGE + 5)]
        found = watch.look()
        assert sum(one.event == "opened" for one in found) == 3 * PAGE + 10
        assert sum(one.event == "closed" for one in found) == PAGE + 5


def test_old_closed_alarms_are_not_asked_for_again() -> None:
    book = [alarm(number, end=number + 1) for number in range(10 * PAGE)]
    with watching(book) as (watch, asked):
        watch.look()
        assert len(asked) == 2


def test_a_closed_alarm_is_told_with_how_long_it_lasted() -> None:
    assert sentence(News("closed", alarm(0, end=5400))) == (
        f"{time_of(5400)}  p1  alarm closed  after 1 h 30 min  peak 2.00  flow 75%, speed 25%"
    )


def test_a_silent_machine_is_called_silent() -> None:
    silent = {**alarm(0, kind="silent"), "sensors": []}
    assert sentence(News("opened", silent)) == f"{time_of(0)}  p1  silence alarm opened"


def test_an_alarm_opens_with_the_score_of_its_opening_and_closes_with_its_peak() -> None:
    opening = {"score": 1.1, "sensors": [{"sensor": "speed", "share": 0.9}]}
    one = {**alarm(0, end=60), "opening": opening}
    assert sentence(News("opened", one)).endswith("alarm opened  score 1.10  speed 90%")
    assert sentence(News("closed", one)).endswith("after 1 min  peak 2.00  flow 75%, speed 25%")


def test_sensors_that_have_next_to_nothing_to_do_with_it_are_not_named() -> None:
    shares = [{"sensor": "flow", "share": 0.992}, {"sensor": "speed", "share": 0.008}]
    assert sentence(News("opened", {**alarm(0), "sensors": shares})).endswith("score 2.00  flow 99%")
