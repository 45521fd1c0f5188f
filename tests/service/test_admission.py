import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service import ring
from service.admission import Admission, Pace, admit
from service.align import NEVER, Verdict
from service.equipment import EquipmentTable
from service.ring import Prints

GAP = 5
Arrived = list[tuple[int, int, int]]  # machine, time, digest


def table_of(known: Arrived, machines: int) -> EquipmentTable:
    """Machines that have the `known` readings in their rings."""
    table = EquipmentTable()
    for machine in range(machines):
        slot, own = table.add(f"m{machine}"), [reading for reading in known if reading[0] == machine]
        columns = table.columns
        for rank, (_, time, digest) in enumerate(own):
            nothing = [np.zeros(1, columns[name].dtype) for name in ring.RESULT_FIELDS[2:]]
            ring.write(columns, np.array([slot]), rank, (np.array([time]), np.array([digest], np.uint64), *nothing))
        columns["ring_count"][slot] = len(own)
        columns["last_time"][slot] = columns["valued_time"][slot] = own[-1][1] if own else NEVER
    return table


def admitted_of(
    table: EquipmentTable,
    sent: Arrived,
    horizon: int | None = None,
    interval: int = 0,
    valued: list[bool] | None = None,
) -> Admission:
    """What is admitted of readings of one sensor, whose mark is its digest."""
    slots, times = np.array([r[0] for r in sent], np.intp), np.array([r[1] for r in sent], np.int64)
    digest = np.array([r[2] for r in sent], np.uint64)
    prints = Prints(digest, digest.astype(np.uint8)[:, None])

    def marks(slot: int) -> np.ndarray:
        return ring.recent(table.columns, slot).digest.astype(np.uint8)[:, None]

    some = None if valued is None else np.array(valued)
    return admit(table.columns, slots, times, prints, horizon, Pace(GAP, interval), marks, some)


def naive(
    known: Arrived, sent: Arrived, horizon: int | None
) -> tuple[dict[int, str], dict[int, list[tuple[int, bool]]]]:
    """What became of each reading, and the admitted ones of each machine with whether a gap came before."""
    memory = {machine: {time: digest for m, time, digest in known if m == machine} for machine in range(9)}
    found: dict[int, str] = {}
    admitted: dict[int, list[tuple[int, bool]]] = {}
    for row, (machine, time, digest) in enumerate(sent):
        own = memory[machine]
        last = max(own, default=NEVER)
        if horizon is not None and time > horizon:
            found[row] = "future"
        elif time > last:
            admitted.setdefault(machine, []).append((row, bool(own) and time - last > GAP))
            own[time] = digest
        elif time not in own:
            found[row] = "late"
        else:
            found[row] = "duplicate" if own[time] == digest else "conflict"
    return found, admitted


ascending = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(1, 2)), max_size=25, unique_by=lambda r: r[:2]
)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    known=ascending.map(lambda readings: sorted(readings, key=lambda r: r[1])),
    sent=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 45), st.integers(1, 2)), max_size=25),
    tidy=st.booleans(),
    horizon=st.none() | st.integers(10, 40),
)
def test_readings_are_admitted_as_by_a_plain_loop(
    known: Arrived, sent: Arrived, tidy: bool, horizon: int | None
) -> None:
    if tidy:  # the way of nearly all batches: times that go up
        sent = sorted(set(sent), key=lambda reading: reading[1])
    table = table_of(known, 4)
    times = np.array([r[1] for r in sent], np.int64)
    admission = admitted_of(table, sent, horizon)
    found, admitted = naive(known, sent, horizon)

    words = {Verdict.CONFLICT: "conflict", Verdict.LATE: "late", Verdict.FUTURE: "future"}
    told = {row: words[verdict] for row, verdict in admission.refused}
    told |= {row: "duplicate" for row, _ in admission.repeated} | {row: "duplicate" for row, *_ in admission.stored}
    assert told == found
    for row, source in admission.repeated:
        assert sent[row] == sent[source]
        assert source not in found
    for row, slot, place in admission.stored:
        recent = ring.recent(table.columns, slot)
        assert (slot, recent.time[place], recent.digest[place]) == sent[row]

    waves = admission.admitted
    assert waves.sizes == [
        sum(len(own) > k for own in admitted.values()) for k in range(max(map(len, admitted.values()), default=0))
    ]
    assert dict(zip(waves.machines.tolist(), waves.counts.tolist(), strict=True)) == {
        m: len(own) for m, own in admitted.items()
    }
    for place, machine in enumerate(waves.machines.tolist()):
        rows = waves.rows_of(place)
        assert waves.rows[rows].tolist() == [row for row, _ in admitted[machine]]
        assert (waves.slot[rows] == machine).all()
        np.testing.assert_array_equal(waves.time[rows], times[waves.rows[rows]])
        reset = [False] * len(rows) if waves.reset is None else waves.reset[rows].tolist()
        assert reset == [gap for _, gap in admitted[machine]]
        assert waves.last()[place] == rows[-1]
        if waves.rank is not None:
            assert waves.rank[rows].tolist() == list(range(len(rows)))
        else:
            assert len(rows) == 1


def test_readings_without_any_value_do_not_end_a_silence_and_start_nothing_anew() -> None:
    table = table_of([(0, 1, 1)], 2)
    sent = [(0, time, 1) for time in (2, 3, 3 + GAP, 4 + GAP, 5 + GAP)]
    admitted = admitted_of(table, sent, interval=1, valued=[True, False, False, True, True]).admitted
    assert admitted.reset is not None
    assert admitted.reset.tolist() == [False, False, False, True, False]


def test_ticks_that_did_not_come_are_counted_but_not_before_the_first_value() -> None:
    table = table_of([(0, 1, 1)], 2)
    sent = [(0, 3, 1), (0, 4, 1), (0, 9, 1), (1, 5, 1), (1, 9, 1)]
    admitted = admitted_of(table, sent, interval=1).admitted
    found = dict(zip(admitted.rows.tolist(), np.asarray(admitted.skipped).tolist(), strict=True))
    assert found == {0: 1, 1: 0, 2: 4 if GAP >= 5 else 0, 3: 0, 4: 3 if GAP >= 4 else 0}


def test_machines_beyond_the_quick_sort_are_kept_apart() -> None:
    table = table_of([], 2)
    table.columns.add((1 << 16) + 5)
    admission = admitted_of(table, [(1 << 16, 1, 1), (0, 1, 1), (1 << 16, 2, 1), (0, 2, 1)])
    assert sorted(admission.admitted.machines.tolist()) == [0, 1 << 16]
    assert admission.admitted.sizes == [2, 2]
