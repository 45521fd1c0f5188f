import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import ring
from service.columns import Columns
from service.ring import RING_RESULTS, digest_key, prints

KEYS = np.array([digest_key(f"sensor-{i}") for i in range(4)], np.uint64)


def results(rng: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
    return (
        rng.integers(1 << 40, size=count),
        rng.integers(1 << 60, size=count).astype(np.uint64),
        rng.random(count).astype(np.float32),
        rng.random(count).astype(np.float32),
        rng.integers(3, size=count).astype(np.uint8),
        rng.integers(9, size=count).astype(np.uint8),
        rng.choice([0, 2, ring.ALARM_BIT, ring.ALARM_BIT + 2], size=count).astype(np.uint16),
    )


@settings(deadline=None, max_examples=50, derandomize=True)
@given(batches=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=60), max_size=6), seed=st.integers(0, 1000))
def test_the_last_results_of_each_machine_are_kept_as_by_plain_lists(batches: list[list[int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = Columns(ring.RING_FIELDS)
    columns.add(3)
    kept: dict[int, list[tuple[object, ...]]] = {0: [], 1: [], 2: []}
    for owners in batches:
        slots, written = np.array(owners), results(rng, len(owners))
        rank = np.array([owners[:i].count(owner) for i, owner in enumerate(owners)])
        ring.write(columns, slots, rank, written)
        np.add.at(columns["ring_count"], slots, 1)
        for row, owner in enumerate(owners):
            kept[owner].append(tuple(part[row] for part in written))
    for slot, wanted in kept.items():
        found = ring.recent(columns, slot)
        assert len(found) == min(len(wanted), RING_RESULTS)
        for row, (*parts, flags) in enumerate(wanted[-RING_RESULTS:]):
            names = ("time", "digest", "score", "p_value", "status", "reason")
            assert [getattr(found, name)[row] for name in names] == parts
            assert found.flags[row] + ring.ALARM_BIT * found.alarm[row] == flags


def test_what_was_read_does_not_change_with_what_is_written_later() -> None:
    columns = Columns(ring.RING_FIELDS)
    columns.add()
    rng = np.random.default_rng(1)
    ring.write(columns, np.array([0]), 0, results(rng, 1))
    columns["ring_count"][0] = 1
    found = ring.recent(columns, 0)
    before = found.time.copy()
    ring.write(columns, np.array([0] * RING_RESULTS), np.arange(RING_RESULTS), results(rng, RING_RESULTS))
    np.testing.assert_array_equal(found.time, before)


def digest(*values: float | None) -> int:
    x = np.array([[np.nan if value is None else value for value in values]])
    return int(prints(x, np.isnan(x), KEYS[: len(values)]).digest[0])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *(((0.0, 1.0), (None, 1.0)), ((1.0, 2.0), (2.0, 1.0)), ((1.0, 2.0), (1.0, None)), ((0.0,), (None,))),
        *(((1.0,), (1.0000000000000002,)), ((0.0, None), (None, 0.0)), ((1.0, 1.0), (2.0, 2.0)), ((1.0,), (-1.0,))),
    ],
)
def test_other_values_have_another_digest(a: tuple[float | None, ...], b: tuple[float | None, ...]) -> None:
    assert digest(*a) != digest(*b)


def test_digests_hardly_ever_meet() -> None:
    x = np.random.default_rng(2).integers(0, 40, size=(20_000, 4)) / 4
    distinct = len(np.unique(x, axis=0))
    assert len(np.unique(prints(x, None, KEYS).digest)) == distinct


def test_the_order_of_sensors_and_the_sign_of_zero_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    x, order = rng.normal(size=(50, 4)), rng.permutation(4)
    missing = rng.random(x.shape) < 0.3
    x[missing] = np.nan
    np.testing.assert_array_equal(
        prints(x, missing, KEYS).digest, prints(x[:, order].copy(), missing[:, order].copy(), KEYS[order]).digest
    )
    assert digest(0.0, 3.0) == digest(-0.0, 3.0)
