from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BodyTooLarge
from service.ingest.batch import Limits
from service.ingest.containers import AROUND, PER_READING, check_containers, containers
from service.ingest.json_body import decode

VALUES = st.recursive(
    st.none() | st.floats() | st.text(st.sampled_from('a"\\[]{}é\n'), max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


def counted(found: Any) -> int:
    if isinstance(found, dict):
        return 1 + sum(map(counted, found.values()))
    return 1 + sum(map(counted, found)) if isinstance(found, list) else 0


@given(VALUES, st.booleans())
def test_what_is_counted_is_what_there_is(found: Any, ascii_only: bool) -> None:
    assert containers(json.dumps(found, ensure_ascii=ascii_only).encode()) == counted(found)


def test_the_most_readings_fit_in_every_form() -> None:
    limits, time = Limits(readings=50), "2026-11-24T00:00:00Z"
    one = {"equipment": "[p] {1}", "sensors": ["a"], "times": [time], "values": [[1.0]]}
    reading = {"equipment": "[p] {1}", "time": time, "values": {"pressure [bar] {g}": 1.0}}
    for body in ({"batches": [one] * 50}, {"readings": [reading] * 50}, {**one, "times": [time] * 50}):
        if "times" in body:
            body["values"] = [[1.0]] * 50
        assert decode(json.dumps(body).encode(), limits).received == 50


def test_brackets_in_names_are_not_counted() -> None:
    check_containers(b'{"' + b"[" * 10_000 + b'": 1}', Limits(readings=1))


@pytest.mark.parametrize(
    ("start", "piece", "end"),
    [
        (b'{"readings":[', b"{}", b"]}"),
        (b'{"batches":[', b"[]", b"]}"),
        (b'{"equipment":"p","sensors":["a"],"times":[],"values":[', b"[]", b"]}"),
        (b'{"readings":[{"equipment":"p","time":"","values":{"a":[', b"{}", b"]}}]}"),
        (b"[", b'{"a":{}}', b"]"),
    ],
)
def test_a_body_of_very_many_empty_things_is_refused_before_they_are_made(
    start: bytes, piece: bytes, end: bytes
) -> None:
    content = start + b",".join([piece] * 1_000_000) + end
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge, match="objects and arrays; expected"):
            decode(content, Limits())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(content)


def test_the_bound_follows_the_readings() -> None:
    most = AROUND + PER_READING * 10
    check_containers(b"[" * most, Limits(readings=10))
    with pytest.raises(BodyTooLarge, match=f"holds {most + 1} objects and arrays; expected {most} or fewer"):
        check_containers(b"[" * (most + 1), Limits(readings=10))
