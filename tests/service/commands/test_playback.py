from __future__ import annotations

from collections import Counter

import pytest

from service.client import Client, ServiceError
from service.commands.playback import Latest, Playback
from service.commands.stream import RealWall
from tests.service.commands.answers import NO_ALARMS, taken
from tests.service.commands.recordings import FAULT, ROWS, machine, stream, warmup
from tests.service.running import SENSORS, time_of
from tests.service.scripted import answering


def test_every_reading_is_sent_once_and_counted_by_what_became_of_it(client: Client) -> None:
    playback = Playback(client, stream(machine("count-1"), machine("count-2")), 0, RealWall())
    latest = [one for step in playback.steps() for one in step.latest]
    tally = playback.tally
    assert (tally.sent, tally.total, tally.complete) == (2 * ROWS, 2 * ROWS, True)
    assert tally.statuses == Counter(scored=2 * (ROWS - warmup()), warming=2 * warmup())
    assert {one.equipment for one in latest} == {"count-1", "count-2"}
    assert all(one.status == "scored" and one.score is not None and not one.alarm for one in latest)
    assert tally.time is not None
    again = Playback(client, stream(machine("count-1")), 0, RealWall())
    assert [step.news for step in again.steps()][-1] == []
    assert sum(again.tally.statuses.values()) == again.tally.sent
    assert again.tally.statuses["duplicate"] > 0


def test_a_fault_is_news_when_it_opens_and_when_it_closes(client: Client) -> None:
    playback = Playback(client, stream(machine("broken", faulty=True), machine("sound")), 0, RealWall())
    news = [one for step in playback.steps() for one in step.news]
    assert [(one.event, one.alarm["equipment"]) for one in news] == [("opened", "broken"), ("closed", "broken")]
    assert time_of(FAULT.start) <= news[0].time <= time_of(FAULT.start + 8)
    assert news[0].alarm["sensors"][0]["sensor"] == SENSORS[2]
    assert (playback.tally.opened, playback.tally.closed) == (1, 1)
    assert [alarm["equipment"] for alarm in playback.watch.alarms] == ["broken"]
    assert playback.watch.open == []


def test_alarms_from_before_are_no_news(client: Client) -> None:
    for _ in Playback(client, stream(machine("old", faulty=True)), 0, RealWall()).steps():
        pass
    playback = Playback(client, stream(machine("old", faulty=True)), 0, RealWall())
    assert [one for step in playback.steps() for one in step.news] == []
    assert playback.watch.alarms == []


def test_a_service_that_goes_away_is_told_with_how_far_the_stream_got() -> None:
    posts = [taken("gone", 2000), None, None]
    with answering(lambda method, *rest: posts.pop(0) if method == "POST" else NO_ALARMS) as url:
        client = Client(url)
        playback = Playback(client, stream(machine("gone", rows=3000)), 0, RealWall())
        with pytest.raises(ServiceError, match=f"2,000 of 3,000 readings were streamed, up to {time_of(1999)}"):
            list(playback.steps())
        client.close()


def test_what_the_service_refuses_or_warns_of_is_told_once() -> None:
    refusal = {"row": 0, "field": "values", "reason": "bad_value", "detail": "sensor 'flow' is 1e999"}
    answer = taken("told", 2000, warnings=["sensor 'x' is unknown"], errors=[refusal, refusal])
    with answering(lambda method, *rest: answer if method == "POST" else NO_ALARMS) as url:
        client = Client(url)
        playback = Playback(client, stream(machine("told", rows=4000)), 0, RealWall())
        told = [complaint for step in playback.steps() for complaint in step.complaints]
        client.close()
    assert told == ["sensor 'x' is unknown", "sensor 'flow' is 1e999"]


def test_reasons_are_counted() -> None:
    answer = taken("reason", 3, reason=["no_model", "", "no_model"])
    with answering(lambda method, *rest: answer if method == "POST" else NO_ALARMS) as url:
        client = Client(url)
        playback = Playback(client, stream(machine("reason", rows=3)), 0, RealWall())
        steps = list(playback.steps())
        client.close()
    assert playback.tally.as_dict()["reasons"] == {"no_model": 2}
    assert steps[0].latest == [Latest("reason", "scored", 0.5, False)]
