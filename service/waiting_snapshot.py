"""What waits, in a snapshot and back: one array of each kind over all machines, so that a copy is quickly made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.assembly import OpenTick, Waiting
from service.point_marks import PointMarks
from service.ring import RING_RESULTS

DTYPES = {
    "slot": "<i8",  # of a machine, as the next four
    "sensors": "<i4",  # which of the lists of names it has
    "joined": "u1",
    "marked": "u1",  # whether points of closed ticks are remembered
    "ticks": "<i4",  # how many wait
    "value": "<f8",  # of each sensor
    "stamp": "<i8",
    "mark_tick": "<i8",  # of each remembered tick
    "mark": "<u2",  # of each sensor there
    "time": "<i8",  # of a tick that waits
    "came": "<i8",
    "tick_value": "<f8",  # of each sensor there
    "tick_stamp": "<i8",
}


class _Saved(msgspec.Struct, array_like=True):
    names: list[tuple[str, ...]]
    arrays: dict[str, bytes]


def saved(machines: Mapping[int, Waiting]) -> bytes:
    """All that waits, for a snapshot."""
    ordered = [(slot, machines[slot]) for slot in sorted(machines)]
    every = [machine for _, machine in ordered]
    number = {names: place for place, names in enumerate(dict.fromkeys(machine.names for machine in every))}
    marks = [machine.marks for machine in every if machine.marks is not None]
    ticks = [machine.ticks[time] for machine in every for time in sorted(machine.ticks)]
    arrays: dict[str, Any] = {
        "slot": [slot for slot, _ in ordered],
        "sensors": [number[machine.names] for machine in every],
        "joined": [machine.joined for machine in every],
        "marked": [machine.marks is not None for machine in every],
        "ticks": [len(machine.ticks) for machine in every],
        "value": _together(machine.value for machine in every),
        "stamp": _together(machine.stamp for machine in every),
        "mark_tick": _together(mark.tick for mark in marks),
        "mark": _together(mark.mark for mark in marks),
        "time": [tick.time for tick in ticks],
        "came": [tick.came for tick in ticks],
        "tick_value": _together(tick.value for tick in ticks),
        "tick_stamp": _together(tick.stamp for tick in ticks),
    }
    written = {name: np.asarray(array, DTYPES[name]).view(np.uint8).data for name, array in arrays.items()}
    return msgspec.msgpack.encode((list(number), written))


def _together(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
    found = list(arrays)
    return np.concatenate(found, axis=None) if found else np.empty(0)


def restored(content: bytes) -> dict[int, Waiting]:
    """What `saved` gave. ValueError where that is not what it gave."""
    found = msgspec.msgpack.decode(content, type=_Saved)
    if found.arrays.keys() != DTYPES.keys():
        raise ValueError(f"arrays are {', '.join(found.arrays)}; expected {', '.join(DTYPES)}")
    arrays = {name: np.frombuffer(raw, DTYPES[name]).copy() for name, raw in found.arrays.items()}
    _check(arrays, len(found.names))
    width = np.array([len(names) for names in found.names], np.int64)[arrays["sensors"]]
    parts = {name: iter(_apart(arrays, name, size)) for name, size in _sizes(arrays, width).items()}
    machines: dict[int, Waiting] = {}
    whole = (arrays[name].tolist() for name in ("slot", "sensors", "joined", "marked", "ticks"))
    for slot, sensors, joined, marked, count in zip(*whole, strict=True):
        machine = machines[slot] = Waiting(found.names[sensors], bool(joined))
        machine.value, machine.stamp = next(parts["value"]), next(parts["stamp"])
        if marked:
            machine.marks = PointMarks(len(machine.names))
            machine.marks.tick = next(parts["mark_tick"])
            machine.marks.mark = next(parts["mark"]).reshape(RING_RESULTS, -1)
        ticks = [_tick(parts) for _ in range(count)]
        machine.ticks = {tick.time: tick for tick in ticks}
        if len(machine.ticks) < count:
            raise ValueError(f"a tick of slot {slot} is there twice")
    if len(machines) < len(arrays["slot"]):
        raise ValueError("a slot is there twice")
    return machines


def _tick(parts: Mapping[str, Iterator[NDArray[Any]]]) -> OpenTick:
    (time,), (came,) = next(parts["time"]).tolist(), next(parts["came"]).tolist()
    return OpenTick(time, came, next(parts["tick_value"]).copy(), next(parts["tick_stamp"]).copy())


def _check(arrays: Mapping[str, NDArray[Any]], lists: int) -> None:
    machines = len(arrays["slot"])
    for name in ("sensors", "joined", "marked", "ticks"):
        if len(arrays[name]) != machines:
            raise ValueError(f"{len(arrays[name])} of {name!r} and {machines} machines")
    sensors, ticks = arrays["sensors"], arrays["ticks"]
    if ((sensors < 0) | (sensors >= lists) | (ticks < 0)).any() or max(*arrays["joined"], *arrays["marked"], 0, 0) > 1:
        raise ValueError("numbers that there cannot be")


def _sizes(arrays: Mapping[str, NDArray[Any]], width: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """How long each part of an array is."""
    ticks, marked = np.repeat(width, arrays["ticks"]), width[arrays["marked"] > 0]
    one = np.ones(len(ticks), np.int64)
    return {
        "value": width,
        "stamp": width,
        "mark_tick": np.full(len(marked), RING_RESULTS),
        "mark": marked * RING_RESULTS,
        "time": one,
        "came": one,
        "tick_value": ticks,
        "tick_stamp": ticks,
    }


def _apart(arrays: Mapping[str, NDArray[Any]], name: str, sizes: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    """The parts of an array."""
    array, ends = arrays[name], np.cumsum(sizes).tolist()
    if len(array) != (ends[-1] if ends else 0):
        raise ValueError(f"{len(array)} of {name!r}; expected {ends[-1] if ends else 0}")
    return (array[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True))
