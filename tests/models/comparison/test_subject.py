"""How a recording is parted into rows to train on and rows to judge."""

from __future__ import annotations

import numpy as np
import pytest

from models.comparison.subject import Split, Subject, subject_of
from models.contract import DataError
from models.exports.series import Series

SENSORS = ("a", "b", "fit")


def series(rows: int = 90, label: bool = True) -> Series:
    values = np.random.default_rng(0).normal(size=(rows, 3))
    values[:, 2] = np.arange(rows) < 40
    marks = (np.arange(rows) % 30 == 29).astype(float) if label else None
    use = np.arange(rows) != 5
    return Series("pump", np.arange(rows) * 1_000_000, values, marks, np.arange(rows), use)


def parted(split: Split, labelled: bool = True) -> Subject:
    return subject_of("file", SENSORS, 1_000_000, [series(label=labelled)], split, labelled)


@pytest.mark.parametrize(
    ("split", "trained"),
    [(Split(rows=20), 20), (Split(until=50_000_000), 49), (Split(column="fit"), 39), (Split(), 29)],
)
def test_every_row_that_counts_is_trained_on_or_judged(split: Split, trained: int) -> None:
    found = parted(split)
    assert found.train[0].sum() == trained
    assert found.judged(0).sum() == 89 - trained
    assert not (found.train[0] & found.judged(0)).any()
    assert not (found.train[0] | found.judged(0))[5]


def test_the_column_that_parts_the_rows_is_no_sensor() -> None:
    found = parted(Split(column="fit"))
    assert found.sensors == ("a", "b")
    assert found.series[0].values.shape == (90, 2)


def test_rows_labelled_as_faulty_are_not_trained_on() -> None:
    segments = parted(Split(rows=60)).normal
    assert sum(len(one.x) for one in segments) < 60
    assert all(len(one.x) <= 29 for one in segments)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (Split(column="none"), "there is no column 'none'"),
        (Split(rows=90), "no row is left to judge"),
        (Split(until=0), "no row is left to train on"),
    ],
)
def test_what_cannot_be_parted_is_refused(split: Split, said: str) -> None:
    with pytest.raises(DataError, match=f"file: {said}"):
        parted(split)


def test_labels_are_asked_for_where_they_are_named() -> None:
    with pytest.raises(DataError, match="has no labels"):
        subject_of("file", SENSORS, 1_000_000, [series(label=False)], Split(rows=20), labelled=True)


def test_other_data_or_another_split_is_another_digest() -> None:
    assert parted(Split(rows=20)).digest() == parted(Split(rows=20)).digest()
    assert len({parted(split).digest() for split in (Split(rows=20), Split(rows=21), Split(column="fit"))}) == 3
