from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from service import client
from service.client import Client, ServiceError, address
from tests.service.scripted import Answer, answering


@contextmanager
def talking(*answers: Answer) -> Iterator[tuple[Client, list[tuple[str, str, bytes]]]]:
    """A client of a server that gives these answers in turn, and the requests that came."""
    left, requests = list(answers), []

    def script(method: str, place: str, content: bytes) -> Answer:
        requests.append((method, place, content))
        return left.pop(0)

    with answering(script) as url, closing(Client(url)) as found:
        yield found, requests


def json_answer(found: object, status: int = 200, **headers: str) -> Answer:
    return status, headers, json.dumps(found).encode()


def test_readings_are_posted_as_json_and_answered() -> None:
    with talking(json_answer({"received": 1})) as (found, requests):
        assert found.post_readings({"readings": [float("nan")]}) == {"received": 1}
    assert requests == [("POST", "/v1/readings", b'{"readings":[null]}')]


def test_a_full_queue_is_waited_for_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(client.time, "sleep", slept.append)
    busy = json_answer({"detail": "full"}, 503, **{"Retry-After": "3"})
    with talking(busy, json_answer({}, 503), json_answer({"received": 1})) as (found, requests):
        assert found.post_readings({}) == {"received": 1}
    assert slept == [3.0, client.PAUSE_SECONDS]
    assert len(requests) == 3


def test_a_queue_that_stays_full_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BUSY_SECONDS_MAX", 0.0)
    with (
        talking(json_answer({**PROBLEM, "detail": "the queue holds 9 readings"}, 503)) as (found, _),
        pytest.raises(ServiceError, match="answered 503: the queue holds 9 readings"),
    ):
        found.post_readings({})


def test_a_kept_connection_that_was_closed_meanwhile_is_opened_anew() -> None:
    with talking(json_answer({"n": 1}), None, json_answer({"n": 2})) as (found, requests):
        assert [found.get("v1", "alarms")["n"] for _ in range(2)] == [1, 2]
    assert len(requests) == 3


def test_a_service_that_closes_every_connection_is_an_error() -> None:
    with talking(None, None) as (found, _), pytest.raises(ServiceError, match="closed the connection"):
        found.get("v1", "alarms")


def test_a_service_that_is_not_there_is_named() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    found = Client(f"http://127.0.0.1:{port}")
    with pytest.raises(ServiceError, match=f"no answer from http://127.0.0.1:{port}: .*is the service running there"):
        found.get("v1", "alarms")
    assert not found.ready()


def test_parts_of_an_address_are_quoted_and_questions_appended() -> None:
    with talking(json_answer({})) as (found, requests):
        found.get("v1", "equipment", "a/b c", limit=3)
    assert requests[0][1] == "/v1/equipment/a%2Fb%20c?limit=3"


def test_a_service_behind_a_path_is_reached_there() -> None:
    requests = []

    def script(method: str, place: str, content: bytes) -> Answer:
        requests.append(place)
        return json_answer({})

    with answering(script) as url, closing(Client(f"{url}/limen/")) as found:
        found.get("v1", "alarms")
    assert requests == ["/limen/v1/alarms"]


PROBLEM = {"type": "/docs#not-found", "title": "Not found"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (json_answer(PROBLEM, 404), "answered 404: Not found"),
        (json_answer({**PROBLEM, "detail": "no machine 'p9'"}, 404), "answered 404: no machine 'p9'"),
        ((502, {}, b"<h1>Bad Gateway</h1>"), "answered 502 in place of Limen; is the service behind it running"),
        ((500, {}, b"<h1>oops</h1>"), "this is not Limen"),
        (json_answer({"detail": "Not Found"}, 404), "this is not Limen"),
        ((200, {}, b"<h1>some page</h1>"), "this is not Limen"),
        ((200, {}, b"[]"), "this is not Limen"),
    ],
)
def test_problems_are_told_as_they_are_and_strangers_as_strangers(answer: Answer, expected: str) -> None:
    with talking(answer) as (found, _), pytest.raises(ServiceError, match=expected) as told:
        found.get("v1", "alarms")
    assert "<h1>" not in str(told.value)


def test_json_that_lists_no_models_is_a_stranger_too() -> None:
    with talking(json_answer({"hello": "world"})) as (found, _), pytest.raises(ServiceError, match="not Limen"):
        found.models()


@pytest.mark.parametrize("url", ["ftp://plant", "http://", "", "http://plant:99999", "http://[::1", "//plant"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no address of a service"):
        address(url)
