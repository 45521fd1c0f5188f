"""All bodies of one micro-batch as flat arrays: what makes one reading cheap is that thousands are handled at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from models.contract import Bools, Floats
from service.ingest.batch import Body


@dataclass(slots=True)
class Part:
    """All readings of the micro-batch that came with one tuple of sensors."""

    flat: list[tuple[int, int]] = field(default_factory=list)  # ranges of flat readings, one a batch
    blocks: list[Floats] = field(default_factory=list)  # (hi - lo, sensors) each
    bodies: list[int] = field(default_factory=list)  # that each block came in
    absent: dict[int, Bools] = field(default_factory=dict)  # by block: (hi - lo, sensors) that a reading came without

    def values(self) -> Floats:
        """(n, sensors): the blocks one after the other."""
        return self.blocks[0] if len(self.blocks) == 1 else np.concatenate(self.blocks)

    def indices(self) -> NDArray[np.intp]:
        """Flat readings that the rows of `values` belong to."""
        return np.concatenate([np.arange(lo, hi) for lo, hi in self.flat])

    def without(self, columns: NDArray[np.intp]) -> NDArray[np.intp]:
        """Flat readings that came with none of the sensors in `columns`."""
        if not len(columns):
            return self.indices()
        bare = [self.flat[block][0] + np.flatnonzero(a[:, columns].all(1)) for block, a in self.absent.items()]
        return np.concatenate(bare) if bare else np.empty(0, np.intp)


@dataclass(slots=True)
class MicroBatch:
    """Readings of several bodies, flat: body after body, batch after batch, run after run.

    The *place* of a reading is where its outcome goes: offset of its body plus its row in the body. `place` (n,) is
    None where it is the flat index itself. `arrival` (n,) lists flat readings in order of arrival, None likewise.
    """

    offsets: list[int]  # place of the first reading of each body, and the end
    equipment: list[str]  # one id a run
    counts: list[int]  # readings of each run, one at least
    time: NDArray[np.int64]
    place: NDArray[np.intp] | None
    arrival: NDArray[np.intp] | None
    parts: dict[tuple[str, ...], Part]

    @property
    def received(self) -> int:
        return self.offsets[-1]

    @property
    def readings(self) -> int:
        """Readings that the decoder let through."""
        return len(self.time)

    def places(self, flat: NDArray[np.intp]) -> NDArray[np.intp]:
        """Places of flat readings."""
        return flat if self.place is None else self.place[flat]

    def per_reading(self, of_run: NDArray[np.intp]) -> NDArray[np.intp]:
        """A value a run (r,) -> a value a reading (n,)."""
        return of_run if len(of_run) == self.readings else np.repeat(of_run, self.counts)


def gather(bodies: Sequence[Body]) -> MicroBatch:
    """Lay the readings of all bodies side by side."""
    offsets = list(accumulate((body.received for body in bodies), initial=0))
    equipment: list[str] = []
    counts: list[int] = []
    times: list[NDArray[np.int64]] = []
    places: list[NDArray[np.intp]] = []
    parts: dict[tuple[str, ...], Part] = {}
    flat = 0
    whole, ascending = True, True
    for number, body in enumerate(bodies):
        ascending &= len(body.batches) <= 1
        for batch in body.batches:
            size = len(batch.times)
            if 0 in batch.counts:  # a machine without readings is not one of the runs
                equipment += [name for name, count in zip(batch.equipment, batch.counts, strict=True) if count]
                counts += [count for count in batch.counts if count]
            else:
                equipment += batch.equipment
                counts += batch.counts
            times.append(batch.times)
            places.append(batch.rows)
            whole &= size == body.received
            part = parts.setdefault(batch.sensors, Part())
            if batch.absent is not None:
                part.absent[len(part.blocks)] = batch.absent
            part.flat.append((flat, flat + size))
            part.blocks.append(batch.values)
            part.bodies.append(number)
            flat += size
    if not times:
        return MicroBatch(offsets, [], [], np.empty(0, np.int64), None, None, {})
    time = times[0] if len(times) == 1 else np.concatenate(times)
    if whole and flat == offsets[-1]:
        return MicroBatch(offsets, equipment, counts, time, None, None, parts)
    starts = [offsets[number] for number, body in enumerate(bodies) for _ in body.batches]
    place = np.concatenate([rows + start for rows, start in zip(places, starts, strict=True)])
    arrival = None if ascending else np.argsort(place, kind="stable")
    return MicroBatch(offsets, equipment, counts, time, place, arrival, parts)
