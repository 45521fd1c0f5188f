"""Arrays with one row a slot that grow together: the form in which the shard keeps everything (structure of arrays)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]  # rows, slots or places, to index arrays with
FIRST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Field:
    """One array: its dtype, the shape of a row, and what a new row holds (a scalar, or an array of that shape)."""

    dtype: str
    shape: tuple[int, ...] = ()
    default: Any = 0

    @property
    def row_bytes(self) -> int:
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=int))


class Columns:
    """Named arrays of equal length; rows 0 to `used` - 1 are in use, the others are spare."""

    def __init__(self, fields: dict[str, Field]) -> None:
        self.fields = fields
        self.used = 0
        self._capacity = 0
        self._room: dict[str, NDArray[Any]] = {}
        self._arrays: dict[str, NDArray[Any]] = {n: np.empty((0, *f.shape), f.dtype) for n, f in fields.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row over all arrays."""
        return sum(field.row_bytes for field in self.fields.values())

    def add(self, rows: int = 1) -> int:
        """Take `rows` more rows into use, filled with defaults; returns the first of them."""
        first = self.used
        self.used += rows
        if self.used > self._capacity:
            self._grow(max(FIRST_ROWS, self.used, self._capacity + self._capacity // 2))
        self.clear(slice(first, self.used))
        return first

    def clear(self, rows: Any) -> None:
        """Set rows back to their defaults."""
        for name, field in self.fields.items():
            self._arrays[name][rows] = field.default

    def _grow(self, capacity: int) -> None:
        for name, field in self.fields.items():
            larger = np.zeros((capacity, *field.shape), field.dtype)
            larger[: self._capacity] = self._arrays[name]
            self._arrays[name] = larger
        self._capacity = capacity

    def saved(self) -> dict[str, NDArray[Any]]:
        """The rows in use, by name; views, not copies."""
        return {name: array[: self.used] for name, array in self._arrays.items()}

    def make_room(self) -> None:
        """Take memory for the next `copied`, from any thread: most of the time of a copy goes into new memory."""
        rows = self.used + FIRST_ROWS
        room = {name: np.empty((rows, *field.shape), field.dtype) for name, field in self.fields.items()}
        for array in room.values():
            array.fill(0)
        self._room = room

    def copied(self) -> dict[str, NDArray[Any]]:
        """Copies of the rows in use, by name; quick after `make_room`."""
        room, self._room = self._room, {}
        copies = {}
        for name, array in self.saved().items():
            place = room.get(name)
            if place is None or len(place) < len(array):
                copies[name] = array.copy()
            else:
                copies[name] = place[: len(array)]
                copies[name][...] = array
        return copies

    def restore(self, saved: dict[str, NDArray[Any]], rows: int) -> None:
        """Take `rows` rows from a snapshot; an array that it lacks takes its defaults."""
        self.__init__(self.fields)  # type: ignore[misc]
        self.add(rows)
        for name, array in saved.items():
            self._arrays[name][:rows] = array
