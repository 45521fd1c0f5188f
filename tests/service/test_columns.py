import numpy as np
import pytest

from service.columns import FIRST_ROWS, Columns, Field

FIELDS = {
    "time": Field("int64", (), -1),
    "ring": Field("float32", (3,), np.nan),
    "home": Field("float32", (2,), [1, 2]),
}


def test_new_rows_hold_defaults_and_old_ones_survive_growth() -> None:
    columns = Columns(FIELDS)
    for row in range(3 * FIRST_ROWS):
        assert columns.add() == row
        assert (columns["time"][row], columns["home"][row].tolist()) == (-1, [1.0, 2.0])
        assert np.isnan(columns["ring"][row]).all()
        columns["time"][row], columns["ring"][row] = row, row
    np.testing.assert_array_equal(columns.saved()["time"], np.arange(3 * FIRST_ROWS))
    np.testing.assert_array_equal(columns.saved()["ring"][:, 2], np.arange(3 * FIRST_ROWS))


def test_many_rows_are_added_at_once() -> None:
    columns = Columns(FIELDS)
    assert [columns.add(1000), columns.add(0), columns.add(2)] == [0, 1000, 1000]
    assert len(columns.saved()["time"]) == 1002


def test_a_cleared_row_is_as_new_and_its_neighbours_are_not() -> None:
    columns = Columns(FIELDS)
    columns.add(3)
    columns["time"][:3] = 7
    columns.clear(1)
    assert columns["time"][:3].tolist() == [7, -1, 7]


def test_what_a_snapshot_lacks_takes_its_default() -> None:
    columns = Columns(FIELDS)
    columns.add(5)
    columns["time"][:5] = 9
    columns.restore({"ring": np.ones((2, 3), np.float32)}, 2)
    assert columns.used == 2
    assert columns["time"][:2].tolist() == [-1, -1]
    assert columns["ring"][:2].tolist() == [[1, 1, 1]] * 2
    assert columns.add() == 2


@pytest.mark.parametrize(("fields", "size"), [(FIELDS, 8 + 12 + 8), ({}, 0), ({"flag": Field("bool")}, 1)])
def test_the_bytes_of_a_row_are_those_of_its_fields(fields: dict[str, Field], size: int) -> None:
    assert Columns(fields).row_bytes == size


@pytest.mark.parametrize("more", [0, FIRST_ROWS, FIRST_ROWS + 1])
def test_a_copy_into_room_that_was_made_before_is_a_copy(more: int) -> None:
    columns = Columns(FIELDS)
    columns.add(100)
    columns.make_room()
    columns.add(more)
    for name in FIELDS:
        columns[name][: columns.used] = 7
    first, second = columns.copied(), columns.copied()
    for name, array in columns.saved().items():
        np.testing.assert_array_equal(first[name], array)
        assert first[name].flags.c_contiguous
    for name in FIELDS:
        columns[name][: columns.used] = 8
    assert all((copies[name] == 7).all() for copies in (first, second) for name in FIELDS), "none is shared"
    assert not any(np.shares_memory(first[name], second[name]) for name in FIELDS)
