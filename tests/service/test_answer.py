import json
from typing import Any

import numpy as np

from service.answer import encode
from service.ingest.batch import Body
from service.ingest.times import time_texts
from service.limits import ShardLimits
from service.scoring import step
from service.shard import Shard
from tests.service import fleet
from tests.service.fleet import START, in_columns, in_rows, normal, seconds
from tests.service.running import check_sum

MODEL = fleet.model()
SENSORS = MODEL.detector.sensors
X = normal(MODEL.detector, 3, 40)


def answered(shard: Shard, *found: Any, errors_max: int = 100) -> list[dict[str, Any]]:
    bodies = [fleet.body(one) for one in found]
    outcomes = step(shard, bodies, START).outcomes
    answers = [json.loads(encode(*pair, errors_max)) for pair in zip(bodies, outcomes, strict=True)]
    for answer in answers:
        check_sum(answer)
    return answers


def test_rows_are_answered_in_their_order_whatever_the_machines_and_sensors() -> None:
    readings: list[tuple[str, int, dict[str, float | None]]] = []
    for i in range(12):
        names = SENSORS if i % 3 else SENSORS[:2]
        readings.append((f"m{i % 4}", int(seconds(i, 1)[0]), {name: 1.0 + i for name in names}))
    (answer,) = answered(fleet.shard(), in_rows(readings))
    assert [(r["equipment"], r["time"]) for r in answer["results"]] == [
        (owner, time_texts(np.array([time]))[0]) for owner, time, _ in readings
    ]
    assert [r["status"] for r in answer["results"]] == ["warming"] * 12
    assert [r.get("flags") for r in answer["results"]] == [None if i % 3 else ["imputed"] for i in range(12)]
    assert "batches" not in answer


def test_columns_are_answered_as_columns_and_absent_numbers_are_null() -> None:
    (answer,) = answered(fleet.shard(), in_columns("p", SENSORS, seconds(0, 6), X[:6]))
    (batch,) = answer["batches"]
    assert batch["status"] == ["warming"] * 3 + ["scored"] * 3
    assert batch["score"][:3] == batch["p_value"][:3] == [None] * 3
    assert all(0 < p <= 1 for p in batch["p_value"][3:])
    assert batch["alarm"] == [False] * 6
    assert not {"reason", "flags", "sensors"} & set(batch)
    assert not {"results", "errors", "warnings"} & set(answer)


def test_scores_are_written_so_that_they_read_back_to_the_same_bits() -> None:
    body = in_columns("p", SENSORS, seconds(0, 40), X)
    (answer,) = answered(fleet.shard(), body)
    outcome = step(fleet.shard(), [fleet.body(body)], START).outcomes[0]
    np.testing.assert_array_equal(np.array(answer["batches"][0]["score"], np.float64), outcome.score.astype(np.float64))


def test_each_batch_has_its_own_part_and_reasons_only_where_there_are_some() -> None:
    good, late = in_columns("p", SENSORS, seconds(5, 3), X[:3]), in_columns("p", SENSORS, seconds(0, 2), X[:2])
    strange = in_columns("q", ["colour"], seconds(0, 1), X[:1, :1])
    empty = in_columns("e", SENSORS, seconds(0, 0), X[:0])
    holed = in_columns("r", SENSORS, seconds(0, 2), np.where([[True], [False]], X[:2], [[np.nan] + [0] * 3] * 2))
    (answer,) = answered(fleet.shard(), {"batches": [good, empty, late, strange, holed]})
    found = answer["batches"]
    assert [batch["equipment"] for batch in found] == ["p", "e", "p", "q", "r"]
    assert [len(batch["status"]) for batch in found] == [3, 0, 2, 1, 2]
    assert found[2]["status"] == ["late", "late"]
    assert [batch.get("reason") for batch in found] == [None, None, None, ["no_sensor"], None]
    assert [batch.get("flags") for batch in found] == [None, None, None, None, [[], ["imputed"]]]


def test_refusals_are_explained_up_to_a_bound_and_counted_all() -> None:
    body = in_rows([("p", int(seconds(i, 1)[0]), {"sensor-0": 1.0}) for i in range(6)])
    for reading in body["readings"][2:]:
        reading["values"]["sensor-0"] = "n/a"
    body["readings"][5] = 7
    (answer,) = answered(fleet.shard(), body, errors_max=2)
    assert answer["rejected"] == 4
    assert ["detail" in result for result in answer["results"]] == [False] * 2 + [True] * 2 + [False] * 2
    last = answer["results"][5]
    assert (last["equipment"], last["time"], last["reason"]) == ("", None, "bad_value")
    (answer,) = answered(fleet.shard(), body)
    assert answer["results"][5]["detail"].startswith("row 5: reading is 7")


def test_refusals_of_columns_are_explained_in_one_list_up_to_a_bound() -> None:
    body = in_columns("p", SENSORS, seconds(0, 6), X[:6])
    body["values"][2:] = [["n/a"]] * 4
    (answer,) = answered(fleet.shard(), body, errors_max=2)
    assert [error["row"] for error in answer["errors"]] == [2, 3]
    assert (answer["rejected"], answer["errors"][0]["equipment"]) == (4, "p")


def test_what_was_not_scored_says_what_to_do_about_it() -> None:
    values = dict(zip(SENSORS, X[0].tolist(), strict=True))
    shard = fleet.shard(limits=ShardLimits(future=fleet.SECOND, equipment_max=1))
    times = [START - 100 * fleet.SECOND, START - 50 * fleet.SECOND]
    answered(shard, in_rows([("p", time, values) for time in times]))
    readings = [
        ("p", times[1], {**values, "sensor-0": 9.0}),
        ("p", times[0] - 1, values),
        ("p", START + 3600 * fleet.SECOND, values),
        ("p", START, {"colour": 1.0}),
        ("q", START, values),
    ]
    (answer,) = answered(shard, in_rows(readings))
    found = [(result["status"], result.get("reason", ""), result["detail"]) for result in answer["results"]]
    assert [pair[:2] for pair in found] == [
        ("rejected", "conflict"),
        ("late", ""),
        ("rejected", "future"),
        ("rejected", "no_sensor"),
        ("rejected", "limit"),
    ]
    words = [
        "send each time once",
        "order of time",
        "LIMEN_FUTURE_SECONDS_MAX",
        "GET /v1/models",
        "no room",
    ]
    assert all(word in detail for word, (_, _, detail) in zip(words, found, strict=True))
    (again,) = answered(shard, in_rows(readings), errors_max=1)
    assert sum("detail" in result for result in again["results"]) == 1
    repeated = in_columns("p", SENSORS, np.array(times), X[:2])
    before = in_columns("p", SENSORS, np.array(times) - 1, X[:2])
    (answer,) = answered(shard, {"batches": [repeated, before, repeated]})
    told = [(one["equipment"], one["readings"], one["status"], one["reason"]) for one in answer["advice"]]
    assert told == [("p", 2, "rejected", "conflict"), ("p", 2, "late", "")]
    assert [one["detail"] for one in answer["advice"]] == [detail for _, _, detail in found[:2]]


def test_reasons_of_many_machines_are_told_up_to_a_bound() -> None:
    bodies = [in_columns(f"m{i}", ["colour"], seconds(0, 1), X[:1, :1]) for i in range(50)]
    (answer,) = answered(fleet.shard(), {"batches": bodies})
    assert [one["equipment"] for one in answer["advice"]] == [f"m{i}" for i in range(20)]
    assert all("GET /v1/models" in one["detail"] for one in answer["advice"])


def test_leading_sensors_have_shares_greatest_first_and_silent_ones_are_left_out() -> None:
    values = dict(zip(SENSORS, X[5].tolist(), strict=True)) | {"sensor-1": 1e5}
    shard = fleet.shard()
    answered(shard, in_columns("p", SENSORS, seconds(0, 5), X[:5]))
    (answer,) = answered(shard, in_rows([("p", int(seconds(5, 1)[0]), values)]))
    (result,) = answer["results"]
    assert result["sensors"][0]["sensor"] == "sensor-1"
    shares = [sensor["share"] for sensor in result["sensors"]]
    assert shares == sorted(shares, reverse=True)
    assert all(0.01 <= share <= 1 for share in shares)
    assert result["score"] > 1


def test_warnings_are_told() -> None:
    (answer,) = answered(fleet.shard(), in_rows([("p", START, {"sensor-0": 1.0, "colour": 1.0})]))
    assert answer["warnings"] == ["sensor 'colour' is not one of the model's; its values were left out"]


def test_an_empty_body_is_answered_with_nothing() -> None:
    rows, columns = answered(fleet.shard(), {"readings": []}, {"batches": []})
    assert (rows["received"], rows["results"]) == (0, [])
    assert (columns["received"], columns["batches"]) == (0, [])
    outcome = step(fleet.shard(), [Body("rows", 0, [])], START).outcomes[0]
    assert json.loads(encode(Body("rows", 0, []), outcome, 1))["received"] == 0
