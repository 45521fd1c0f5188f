from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np

from models.artifact import LoadedModel
from service import views
from service.shard import Shard
from tests.builders import process, trained
from tests.service import fleet
from tests.service.fleet import START, in_columns, in_rows, post, seconds

TRAINED = LoadedModel(trained().manifest, trained().detector, trained().drift)


def plain(found: msgspec.Struct | None) -> Any:
    """As it is answered."""
    return json.loads(msgspec.json.encode(found))


def lived() -> Shard:
    """One machine in alarm and silent, one that warms up; one that has sent nothing of use is none."""
    shard = fleet.shard(TRAINED)
    x = process(5, 60)
    x[40:, 2] += 50
    x[59, 1] = np.nan
    post(shard, in_columns("in alarm", TRAINED.detector.sensors, seconds(0, 60), x), now=START)
    post(shard, in_columns("warming", TRAINED.detector.sensors, seconds(0, 2), x[:2]), now=START + 10**8)
    post(shard, in_rows([("useless", START, {"colour": 1.0})]), now=START + 10**8)
    shard.columns["heard"][0] = START
    shard.sweep(START + 10**8 + 1)
    return shard


def test_machines_are_listed_with_their_last_result() -> None:
    page = plain(views.equipment_page(lived(), 0, 10))
    assert (page["total"], page["offset"]) == (2, 0)
    alarmed, warming = page["equipment"]
    assert (alarmed["status"], alarmed["alarm"], alarmed["silent"]) == ("scored", True, True)
    assert alarmed["score"] >= 1
    assert alarmed["last_time"] == "2026-09-21T14:14:19Z"
    assert (warming["status"], warming["score"], warming["p_value"], warming["silent"]) == (
        "warming",
        None,
        None,
        False,
    )
    assert (warming["model"], warming["version"]) == ("model", 1)


def test_pages_beyond_the_end_are_empty() -> None:
    page = plain(views.equipment_page(lived(), 7, 10))
    assert (page["equipment"], page["total"], page["offset"]) == ([], 2, 7)
    assert [one["equipment"] for one in plain(views.equipment_page(lived(), 1, 1))["equipment"]] == ["warming"]


def test_one_machine_is_shown_with_its_alarm() -> None:
    shard = lived()
    found = plain(views.equipment_detail(shard, "in alarm"))
    assert found["last_time"] == "2026-09-21T14:14:19Z"
    assert found["alarm"]["id"] == views.alarm_view(shard.book.select(kind="process")[0][0]).id
    assert found["alarm"]["open"]
    assert found["alarm"]["end"] is None
    assert found["flags"] == ["imputed"]
    assert found["sensors"][1]["actual"] is None
    assert views.equipment_detail(shard, "nobody") is None
    assert views.equipment_detail(shard, "useless") is None


def test_the_ring_is_listed_oldest_first() -> None:
    shard = lived()
    found = plain(views.recent_scores(shard, "in alarm"))
    assert len(found["scores"]) == 32
    times = [entry["time"] for entry in found["scores"]]
    assert times == sorted(times)
    last = found["scores"][-1]
    assert (last["alarm"], last["flags"], last["reason"], last["status"]) == (True, ["imputed"], "", "scored")
    assert plain(views.recent_scores(shard, "warming"))["scores"][0]["score"] is None
    assert views.recent_scores(shard, "useless") is None
    assert views.recent_scores(shard, "nobody") is None


def test_an_alarm_is_shown_with_text_for_times() -> None:
    shard = lived()
    process_alarm, silent = plain(views.alarm_page(*shard.book.select(), 0))["alarms"]
    assert (silent["kind"], silent["peak"], silent["peak_time"], silent["sensors"]) == ("silent", None, None, [])
    assert silent["opening"] is None
    assert set(process_alarm["opening"]) == {"score", "sensors"}
    assert silent["start"] == "2026-09-21T14:13:20Z"
    assert process_alarm["peak_time"] <= "2026-09-21T14:14:19Z"
    assert process_alarm["sensors"][0]["sensor"] == "sensor-2"
    shard.book.close("in alarm", "process", int(seconds(70, 1)[0]))
    (closed,) = plain(views.alarm_page(*shard.book.select(open=False), 0))["alarms"]
    assert (closed["open"], closed["end"]) == (False, "2026-09-21T14:14:30Z")
