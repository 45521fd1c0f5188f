import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.episodes import EpisodeRule
from service import phases
from service.admission import Pace, admit
from service.equipment import EquipmentTable
from service.ring import Prints
from tests import naive
from tests.service import fleet

RULE = EpisodeRule(2, 4, 3)
tick = st.sampled_from([(0.5, False), (0.9, False), (1.0, True), (2.0, True), (1.5, False), (float("nan"), False)])


def walked(table: EquipmentTable, counts: list[int], at: list[int], ticks: dict[int, list[tuple[float, bool]]]) -> list:
    """The next `counts` ticks of each machine as one micro-batch: what `phases` says of each."""
    slots = np.repeat(np.arange(len(counts)), counts)
    time = np.concatenate([np.arange(a, a + n) for a, n in zip(at, counts, strict=True)]).astype(np.int64)
    prints = Prints(np.ones(len(slots), np.uint64), np.ones((len(slots), 1), np.uint8))
    waves = admit(table.columns, slots, time, prints, None, Pace(1 << 40), lambda slot: prints.marks[:0]).admitted
    if not waves.sizes:
        return []
    detector = fleet.model().detector
    made = detector.run(np.zeros((len(slots), 4)))
    own = [ticks[int(slot)][int(t)] for slot, t in zip(waves.slot, waves.time, strict=True)]
    made.score = np.array([score for score, _ in own], np.float32)
    made.fresh = np.array([fresh for _, fresh in own])
    found = []
    for machine in phases.awake(table.columns, waves, made).tolist():
        for row, phase, transition in phases.walk(table.columns, RULE, waves, made, machine):
            if transition is not None:
                found.append((int(waves.slot[row]), transition, phase.opened, phase.last_over))
    table.columns["last_time"][waves.machines] = waves.time[waves.last()]
    return found


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    ticks=st.lists(st.lists(tick, max_size=40), min_size=1, max_size=4),
    cuts=st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), max_size=12),
)
def test_alarms_are_those_of_the_naive_rule_however_the_ticks_are_cut(ticks: list, cuts: list[list[int]]) -> None:
    table = EquipmentTable()
    for machine in range(len(ticks)):
        table.add(f"m{machine}")
    at, changes = [0] * len(ticks), []
    for counts in [*cuts, [100] * 4]:
        now = [min(n, len(own) - a) for n, own, a in zip(counts, ticks, at, strict=False)]
        changes += walked(table, now, at, dict(enumerate(ticks)))
        at = [a + n for a, n in zip(at, now, strict=True)]
    for machine, own in enumerate(ticks):
        wanted = naive.alarms(
            [(score, fresh, t) for t, (score, fresh) in enumerate(own)], RULE.needed, RULE.of, RULE.quiet
        )
        opened = [start for slot, transition, start, _ in changes if slot == machine and transition == "opened"]
        closed = [
            (start, last) for slot, transition, start, last in changes if slot == machine and transition == "closed"
        ]
        assert opened == [start for start, _ in wanted]
        assert closed == [span for span in wanted if span[1] is not None]
        phase = phases.load(table.columns, machine)
        assert phase.open == bool(wanted and wanted[-1][1] is None)
        assert table.columns["phase_awake"][machine] == (not phase.at_rest)


def test_a_phase_is_stored_and_loaded_whole() -> None:
    table = EquipmentTable()
    table.add("m")
    assert phases.load(table.columns, 0) == phases.REST
    phase = phases.Phase(True, 0b1011, 2, 1_790_000_000_000_000, 1_790_000_000_000_001, 1.25, 1_790_000_000_000_000)
    phases.store(table.columns, 0, phase)
    assert phases.load(table.columns, 0) == phase
    assert table.columns["phase_awake"][0]
