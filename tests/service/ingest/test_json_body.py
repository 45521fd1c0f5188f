from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import BodyTooLarge, Invalid, NotJson, Problem
from service.ingest import json_rows
from service.ingest.batch import Body, Limits
from service.ingest.json_body import decode, decode_strictly
from service.ingest.times import time_text
from service.status import Reason

T = "2026-11-24T00:00:00Z"
LIMITS = Limits()


def reading(**changed: Any) -> dict[str, Any]:
    return {"equipment": "pump-7", "time": T, "values": {"pressure": 1.2, "flow": None}, **changed}


def columns(**changed: Any) -> dict[str, Any]:
    return {"equipment": "pump-7", "sensors": ["a", "b"], "times": [T, T], "values": [[1, 2], [3, None]], **changed}


def of(found: Any, limits: Limits = LIMITS) -> Body:
    return decode(found if isinstance(found, bytes) else json.dumps(found).encode(), limits)


def cells(body: Body) -> dict[int, tuple[str, int, dict[str, float]]]:
    """Every admitted reading: row -> equipment, time, values that are there."""
    found = {}
    for batch in body.batches:
        owners = [owner for owner, count in zip(batch.equipment, batch.counts, strict=True) for _ in range(count)]
        assert len(owners) == len(batch.times) == len(batch.rows) == len(batch.values)
        assert batch.values.shape == (len(owners), len(batch.sensors))
        assert (batch.values.dtype, batch.times.dtype, batch.rows.dtype) == (np.float64, np.int64, np.int64)
        for row, owner, time, values in zip(batch.rows, owners, batch.times, batch.values, strict=True):
            there = {name: value for name, value in zip(batch.sensors, values, strict=True) if value == value}
            found[int(row)] = (owner, int(time), there)
    return found


def same(a: Body, b: Body) -> bool:
    return (a.form, a.received, a.sizes, a.owners, a.refused) == (
        b.form,
        b.received,
        b.sizes,
        b.owners,
        b.refused,
    ) and (cells(a) == cells(b))


# -- what is accepted ------------------------------------------------------------------------------------------------

NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30)
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=6)
TIMES = st.integers(-(10**15), 10**16).map(time_text)
READINGS = st.builds(
    lambda equipment, time, values: {"equipment": equipment, "time": time, "values": values},
    NAMES,
    TIMES,
    st.dictionaries(NAMES, NUMBERS, max_size=6),
)


@st.composite
def columns_bodies(draw: st.DrawFn) -> dict[str, Any]:
    sensors = draw(st.lists(NAMES, max_size=4, unique=True))
    times = draw(st.lists(TIMES, max_size=7))
    values = [[draw(NUMBERS) for _ in sensors] for _ in times]
    return {"equipment": draw(NAMES), "sensors": sensors, "times": times, "values": values}


BODIES = (
    st.lists(READINGS, max_size=20).map(lambda found: {"readings": found})
    | columns_bodies()
    | st.lists(columns_bodies(), max_size=4).map(lambda found: {"batches": found})
)


@given(BODIES, st.booleans(), st.booleans())
@settings(deadline=None)
def test_the_fast_way_and_the_slow_way_decode_alike(body, ascii_only, spaced):
    content = json.dumps(body, ensure_ascii=ascii_only, separators=None if spaced else (",", ":")).encode()
    slow = json_rows.decode(content, LIMITS)
    assert not slow.refused
    fast = decode_strictly(content, LIMITS)
    if b"\\\\" not in content:
        assert fast is not None
    if fast is not None:
        assert same(fast, slow)


def test_rows_keep_their_order_whatever_their_sensors():
    found = of({"readings": [reading(equipment=f"p{i}", values={f"s{i % 2}": i}) for i in range(6)]})
    assert len(found.batches) == 2
    assert {row: owner for row, (owner, _, _) in cells(found).items()} == {i: f"p{i}" for i in range(6)}


def test_columns_become_one_run():
    found = of(columns())
    (batch,) = found.batches
    assert (found.form, found.received, batch.sensors, batch.equipment, batch.counts) == (
        "columns",
        2,
        ("a", "b"),
        ["pump-7"],
        [2],
    )
    np.testing.assert_array_equal(batch.values, [[1, 2], [3, np.nan]])


def test_batches_with_the_same_sensors_lie_in_one():
    found = of(
        {"batches": [columns(equipment="a"), columns(equipment="b", sensors=["x", "y"]), columns(equipment="c")]}
    )
    assert [batch.equipment for batch in found.batches] == [["a", "c"], ["b"]]
    assert [batch.rows.tolist() for batch in found.batches] == [[0, 1, 4, 5], [2, 3]]
    assert (found.sizes, found.owners) == ([2, 2, 2], ["a", "b", "c"])


def test_readings_that_leave_out_sensors_share_batches():
    rng = np.random.default_rng(0)
    sensors = [f"s{i}" for i in range(20)]
    readings = [reading(values={s: 1.0 for s in sensors if rng.random() > 0.3}) for _ in range(300)]
    found = of({"readings": readings})
    assert len(found.batches) <= 4
    assert [there for _, _, there in dict(sorted(cells(found).items())).values()] == [one["values"] for one in readings]


def test_too_many_sets_of_sensors_cost_only_the_readings_beyond():
    found = of({"readings": [reading(values={f"s{i}": 1.0}) for i in range(20)]}, Limits(sensor_sets=15))
    assert (len(found.batches), len(found.refused)) == (15, 5)
    assert {refusal.reason for refusal in found.refused} == {Reason.LIMIT}


def test_padding_of_shared_batches_stays_bounded():
    readings = [reading(values=dict.fromkeys((f"s{i}" for i in range(n)), 1.0)) for n in range(1, 200)] + [
        reading(values={"s0": 1.0}) for _ in range(5_000)
    ]
    found = of({"readings": readings})
    assert sum(batch.values.size for batch in found.batches) <= 4 * sum(len(one["values"]) for one in readings)


@pytest.mark.parametrize("empty", [{"readings": []}, {"batches": []}, columns(times=[], values=[])])
def test_an_empty_batch_is_received_as_nothing(empty):
    found = of(empty)
    assert (found.received, len(found.refused), cells(found)) == (0, 0, {})


# -- what costs one row ----------------------------------------------------------------------------------------------

BAD_READINGS = [
    (reading(values={"flow": "1.5"}), "sensor 'flow' is '1.5'; expected a number or null"),
    (reading(values={"flow": True}), "sensor 'flow' is true; expected a number or null"),
    (reading(values={"flow": float("nan")}), "sensor 'flow' is NaN; expected a number or null"),
    (reading(values={"flow": float("-inf")}), "sensor 'flow' is -Infinity; expected a number or null"),
    (reading(values={"flow": [1]}), "sensor 'flow' is an array of 1; expected a number"),
    (reading(values={"flow": 10**400}), "sensor 'flow' is too large for a 64-bit float"),
    (reading(values={"": 1}), "names a sensor that is empty"),
    (reading(values={"a\u0000b": 1}), "expected text without control characters"),
    (reading(values={"x" * 257: 1}), "has 257 characters; expected at most 256"),
    (reading(values=[1, 2]), "values is an array of 2; expected an object"),
    (reading(values=None), "values is null; expected an object"),
    (reading(time="2026-11-24T00:00:00"), "which has no zone"),
    (reading(time=1732406400), "time is 1732406400; expected a time with a zone"),
    (reading(time="yesterday"), "time is 'yesterday'"),
    (reading(equipment=""), "equipment is empty"),
    (reading(equipment=7), "equipment is 7; expected text"),
    (reading(equipment="x" * 10_000), "equipment has 10000 characters; expected at most 256"),
    (reading(equipment="pump\n7"), "equipment is 'pump\\n7'; expected text without control characters"),
    (reading(equipment="\ud800"), "expected text without control characters"),
    (reading(colour="red"), "colour is an unknown field"),
    ({"equipment": "a", "time": T}, "values is missing"),
    ("text", "reading is 'text'; expected an object"),
    ([[[]]], "reading is an array of 1"),
]


@pytest.mark.parametrize(("bad", "sentence"), BAD_READINGS)
def test_a_bad_reading_costs_one_row_and_is_named(bad, sentence):
    found = of({"readings": [reading(), bad, reading(equipment="pump-8")]})
    (refusal,) = found.refused
    assert (found.received, len(found.refused), sorted(cells(found))) == (3, 1, [0, 2])
    assert (refusal.row, refusal.reason) == (1, Reason.BAD_VALUE)
    assert sentence in refusal.detail
    json.dumps(refusal.detail).encode()
    (refusal.detail + refusal.field + refusal.equipment).encode()


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5_000, "NaN", "Infinity"])
def test_numbers_that_json_or_a_float_does_not_have_cost_one_row(number):
    content = json.dumps({"readings": [reading(), reading(values={"flow": 12345})]}).replace("12345", number)
    found = of(content.encode())
    assert [refusal.row for refusal in found.refused] == [1]


def test_the_largest_numbers_are_kept():
    found = of({"readings": [reading(values={"a": 1e308, "b": -1e308, "c": 5e-324, "d": 10**300})]})
    assert cells(found)[0][2] == {"a": 1e308, "b": -1e308, "c": 5e-324, "d": 1e300}


def test_a_sensor_named_twice_in_one_reading_costs_that_reading():
    content = json.dumps({"readings": [reading(), reading(values={"a": 1, "b": 2})]}).replace('"b"', '"a"')
    (refusal,) = of(content.encode()).refused
    assert (refusal.row, refusal.detail) == (1, "row 1: values names sensor 'a' twice; expected once")


def test_a_key_repeated_under_another_spelling_is_seen():
    content = b'{"readings":[{"equipment":"p","time":"%s","values":{"a":1,"\\u0061":2}}]}' % T.encode()
    (refusal,) = of(content).refused
    assert "twice" in refusal.detail


@pytest.mark.parametrize("key", ["equipment", "time", "values"])
def test_a_field_given_twice_costs_that_reading(key):
    one = json.dumps(reading())
    twice = one[:-1] + f', "{key}": ' + json.dumps(reading()[key]) + "}"
    (refusal,) = of(f'{{"readings": [{one}, {twice}]}}'.encode()).refused
    assert (refusal.row, "twice" in refusal.detail) == (1, True)


def test_too_many_sensors_cost_that_reading():
    wide = dict.fromkeys((f"s{i}" for i in range(10_001)), 1.0)
    found = of({"readings": [reading(), reading(values=wide)]})
    (refusal,) = found.refused
    assert refusal.reason == Reason.LIMIT
    assert "10001 sensors; expected at most 10000" in refusal.detail


def test_refused_readings_keep_equipment_and_time_where_they_are_sound():
    found = of({"readings": [reading(values={"a": "x"}), reading(time="x"), reading(equipment=1, values=None)]})
    assert [(r.equipment, r.time) for r in found.refused] == [
        ("pump-7", 1_795_478_400_000_000),
        ("pump-7", None),
        ("", 1_795_478_400_000_000),
    ]


BAD_CELLS: list[tuple[Any, str]] = [
    ([1], "row 1: values has 1 values; expected 2, one a sensor"),
    ([1, 2, 3], "row 1: values has 3 values; expected 2, one a sensor"),
    ([1, "2"], "row 1: values of sensor 'b' is '2'; expected a number or null"),
    ([False, 2], "row 1: values of sensor 'a' is false; expected a number or null"),
    (None, "row 1: values is null; expected an array of 2"),
]


@pytest.mark.parametrize(("cells_of_row", "sentence"), BAD_CELLS)
def test_a_bad_row_of_columns_costs_that_row(cells_of_row, sentence):
    found = of(columns(values=[[1, 2], cells_of_row]))
    (refusal,) = found.refused
    assert (found.received, len(found.refused), refusal.equipment, refusal.detail) == (2, 1, "pump-7", sentence)


def test_a_bad_time_of_columns_costs_that_row():
    (refusal,) = of(columns(times=["2026-11-24", T])).refused
    assert refusal.row == 0
    assert "no zone" in refusal.detail


def test_a_batch_with_a_bad_head_costs_its_own_rows():
    bad = columns(sensors=["a", "a"])
    found = of({"batches": [columns(), bad, 5, columns(equipment="pump-9")]})
    assert (found.received, found.sizes, found.owners) == (7, [2, 2, 1, 2], ["pump-7", "pump-7", "", "pump-9"])
    assert sorted(cells(found)) == [0, 1, 5, 6]
    assert [refusal.row for refusal in found.refused] == [2, 3, 4]
    assert found.refused[0].detail == "batch 1: sensors names 'a' twice; expected once"


def test_an_empty_batch_with_a_bad_head_costs_one_reading_that_says_so():
    found = of({"batches": [columns(), columns(times=[], values=[], colour="red"), columns(equipment="pump-9")]})
    assert (found.received, found.sizes) == (5, [2, 1, 2])
    assert sorted(cells(found)) == [0, 1, 3, 4]
    assert [(refusal.row, refusal.field) for refusal in found.refused] == [(2, "colour")]


# -- what is refused as a whole ----------------------------------------------------------------------------------------

BAD_BODIES: list[tuple[Any, type[Problem], str]] = [
    (b"", NotJson, "the body is empty"),
    (b"{", NotJson, "line 1, column 2"),
    (b"hello", NotJson, "line 1, column 1"),
    (b"\xff\xfe{", NotJson, "not UTF-8: byte 0 is 0xff"),
    (json.dumps(columns(sensors=["a", "b?"])).encode().replace(b"?", b"\xff"), NotJson, "not UTF-8: byte"),
    (b"[" * 100_000, NotJson, "nested too deeply"),
    (b'{"readings":' + b"[" * 100_000 + b"]" * 100_000 + b"}", NotJson, "nested too deeply"),
    (b"[]", Invalid, "the body is an array of 0"),
    (b"5", Invalid, "the body is 5"),
    (b"{}", Invalid, "(none)"),
    (b'{"readings": 5}', Invalid, "readings is 5; expected an array"),
    (b'{"readings": [], "x": 1}', Invalid, "unknown field 'x'"),
    (b'{"readings": [], "batches": []}', Invalid, "unknown field 'batches'"),
    (b'{"readings": [], "readings": []}', Invalid, "'readings' occurs twice"),
    (b'{"readings": [], "\\ud800": 1}', Invalid, "unknown field '\\ud800'"),
    (columns(sensors=["a", "a"]), Invalid, "sensors names 'a' twice"),
    (columns(sensors=["a", 5]), Invalid, "sensors[1] is 5; expected text"),
    (columns(sensors=["a"] * 10_001), Invalid, "names 10001 sensors; expected at most 10000"),
    (columns(sensors="ab"), Invalid, "sensors is 'ab'; expected an array"),
    (columns(times=[T]), Invalid, "values has 2 rows and times has 1"),
    (columns(equipment="a\tb"), Invalid, "control characters"),
    (columns(extra=1), Invalid, "unknown field"),
    ({"equipment": "a", "values": []}, Invalid, "sensors is missing"),
]


@pytest.mark.parametrize(("content", "kind", "sentence"), BAD_BODIES)
def test_a_body_without_a_shape_is_refused_as_a_whole(content, kind, sentence):
    with pytest.raises(kind) as refused:
        of(content)
    assert sentence in refused.value.detail
    assert refused.value.encoded()


@pytest.mark.parametrize(
    "body", [{"readings": [reading()] * 4}, columns(times=[T] * 4, values=[[1, 2]] * 4), {"batches": [columns()] * 2}]
)
def test_too_many_readings_are_refused_as_a_whole(body):
    with pytest.raises(BodyTooLarge, match="4 readings; expected at most 3"):
        of(body, Limits(readings=3))
    with pytest.raises(BodyTooLarge):
        json_rows.decode(json.dumps(body).encode(), Limits(readings=3))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just(T),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["readings", "batches", "equipment", "sensors", "times", "values", "time", "x"])
NEARLY = st.recursive(
    JSON_VALUES, lambda inner: st.dictionaries(FIELDS, inner, max_size=5) | st.lists(inner, max_size=3), max_leaves=20
)


@given(NEARLY | st.lists(READINGS | JSON_VALUES, max_size=5).map(lambda found: {"readings": found}))
@settings(deadline=None)
def test_anything_is_either_refused_or_accounted_for(found):
    content = json.dumps(found).encode()
    refused = ""
    try:
        body = of(content)
    except (NotJson, Invalid) as problem:
        refused = problem.encoded().decode()
    if not refused:
        rows = sorted([*cells(body), *(refusal.row for refusal in body.refused)])
        assert rows == list(range(body.received))
        assert sum(body.sizes) == body.received or body.form == "rows"


@given(st.binary(max_size=200))
def test_bytes_that_are_no_json_are_refused(content):
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        with pytest.raises(Problem):
            of(content)
