from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.ingest.batch import Body
from service.micro_batch import MicroBatch, gather
from tests.service.fleet import body, in_columns, in_rows, seconds

SETS = [("a",), ("b", "a"), ("c",), ("a", "c"), ()]


def laid_out(batch: MicroBatch) -> dict[int, tuple[str, int, dict[str, float]]]:
    """By place: equipment, time and values of each reading."""
    runs = batch.per_reading(np.arange(len(batch.equipment)))
    places = batch.places(np.arange(batch.readings))
    found = {}
    for sensors, part in batch.parts.items():
        for flat, row in zip(part.indices().tolist(), part.values().tolist(), strict=True):
            values = {name: value for name, value in zip(sensors, row, strict=True) if value == value}
            found[int(places[flat])] = batch.equipment[runs[flat]], int(batch.time[flat]), values
    return found


def sent_as(draw: Any) -> tuple[list[Body], dict[int, tuple[str, int, dict[str, float]]]]:
    bodies, wanted, offset = [], {}, 0
    for number in range(draw(st.integers(0, 5))):
        rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
        readings: list[tuple[str, int, dict[str, float]]] = []
        if rng.random() < 0.5:
            for row in range(int(rng.integers(0, 30))):
                names = SETS[rng.integers(len(SETS))]
                readings.append(
                    (f"m{rng.integers(3)}", int(seconds(row, 1)[0]), {n: float(rng.random()) for n in names})
                )
            bodies.append(in_rows(readings))
        else:
            batches = []
            for _ in range(int(rng.integers(1, 5))):
                names, owner = SETS[rng.integers(len(SETS))], f"m{rng.integers(3)}"
                times, values = seconds(number, int(rng.integers(0, 4))), rng.random((4, len(names)))
                batches.append(in_columns(owner, names, times, values[: len(times)]))
                readings += [
                    (owner, int(t), dict(zip(names, row, strict=True))) for t, row in zip(times, values, strict=False)
                ]
            bodies.append({"batches": batches})
        wanted |= dict(enumerate(readings, start=offset))
        offset += len(readings)
    return [body(one) for one in bodies], wanted


@settings(deadline=None, max_examples=100, derandomize=True)
@given(data=st.data())
def test_every_reading_keeps_its_machine_time_values_and_place(data: Any) -> None:
    bodies, wanted = sent_as(data.draw)
    batch = gather(bodies)
    assert laid_out(batch) == wanted
    assert batch.received == len(wanted)
    arrival = np.arange(batch.readings) if batch.arrival is None else batch.arrival
    for lo, hi in zip(batch.offsets, batch.offsets[1:], strict=False):
        places = [place for place in batch.places(arrival).tolist() if lo <= place < hi]
        assert places == sorted(places), "readings of one body arrive in its order"


def test_a_machine_without_readings_does_not_shift_its_neighbours() -> None:
    nothing = in_columns("empty", ["a"], seconds(0, 0), np.empty((0, 1)))
    something = in_columns("full", ["a"], seconds(0, 2), np.ones((2, 1)))
    batch = gather([body({"batches": [nothing, something]})])
    assert [owner for owner, _, _ in laid_out(batch).values()] == ["full", "full"]
    assert batch.equipment == ["full"]


def test_refused_readings_leave_holes() -> None:
    bad = in_rows([("m", int(t), {"a": 1.0}) for t in seconds(0, 3)])
    bad["readings"][1]["time"] = "yesterday"
    batch = gather([body(bad), body(in_rows([("n", int(seconds(0, 1)[0]), {"a": 2.0})]))])
    assert sorted(laid_out(batch)) == [0, 2, 3]
    assert (batch.received, batch.readings, batch.offsets) == (4, 3, [0, 3, 4])


def test_nothing_gathers_to_nothing() -> None:
    assert (gather([]).received, gather([Body("rows", 0, [])]).readings) == (0, 0)
