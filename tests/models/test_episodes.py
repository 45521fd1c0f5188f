import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.episodes import Episode, EpisodeRule, Phase, advance, episodes, fold
from tests import naive

RULE = EpisodeRule(needed=3, of=8, quiet=5)


def alarms(scores: list[float], fresh: list[bool] | None = None) -> list[Episode]:
    marks = [s >= 1 for s in scores] if fresh is None else fresh
    return episodes(np.array(scores), np.array(marks), np.arange(len(scores)), RULE)


def test_three_fresh_exceedances_in_eight_ticks_open_an_alarm() -> None:
    assert alarms([0, 2, 0, 0, 2, 0, 3, 0])[0].start == 6
    assert alarms([2, 0, 0, 0, 2, 0, 0, 0, 2]) == []


def test_one_spike_that_lingers_in_a_smoothed_statistic_opens_nothing() -> None:
    assert alarms([5.0, 4, 3, 2, 1.5, 1.2, 1.1], fresh=[True] + [False] * 6) == []


def test_an_alarm_closes_a_quiet_time_after_its_last_exceedance() -> None:
    found = alarms([2, 2, 2, 4, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0])
    assert found == [Episode(start=2, end=7, peak=4.0, peak_time=3)]


def test_an_alarm_that_is_not_over_stays_open() -> None:
    assert alarms([2, 2, 2, 0, 0])[0].end is None


def test_ticks_without_a_score_change_nothing() -> None:
    phase = Phase(bits=3)
    assert advance(RULE, phase, math.nan, False, 9) == (phase, None)


ticks = st.lists(st.tuples(st.one_of(st.floats(0, 5), st.just(math.nan)), st.booleans()), max_size=80)


@given(ticks)
def test_episodes_are_in_order_apart_and_hold_their_peak(drawn: list[tuple[float, bool]]) -> None:
    found = fold(((s, f and s >= 1, t) for t, (s, f) in enumerate(drawn)), RULE)
    for episode in found:
        assert episode.peak >= 1
        assert episode.start <= episode.peak_time <= (len(drawn) if episode.end is None else episode.end)
    for before, after in itertools.pairwise(found):
        assert before.end is not None
        assert before.end + RULE.quiet < after.start


@given(ticks)
def test_a_machine_at_rest_is_left_as_it_is_by_a_quiet_tick(drawn: list[tuple[float, bool]]) -> None:
    phase = Phase()
    for t, (score, fresh) in enumerate(drawn):
        phase, _ = advance(RULE, phase, score, fresh and score >= 1, t)
        if phase.at_rest:
            assert advance(RULE, phase, 0.5, False, t + 1) == (phase, None)


rules = st.builds(
    lambda needed, more, quiet: EpisodeRule(needed, needed + more, quiet),
    st.integers(1, 4), st.integers(0, 8), st.integers(1, 12),
)  # fmt: skip


@given(ticks, rules)
def test_episodes_are_those_of_counting_in_a_window(drawn: list[tuple[float, bool]], rule: EpisodeRule) -> None:
    rows = [(score, fresh and score >= 1, t) for t, (score, fresh) in enumerate(drawn)]
    assert [(e.start, e.end) for e in fold(rows, rule)] == naive.alarms(rows, rule.needed, rule.of, rule.quiet)


@given(ticks, rules)
def test_an_alarm_opens_only_on_fresh_evidence(drawn: list[tuple[float, bool]], rule: EpisodeRule) -> None:
    rows = [(score, fresh and score >= 1, t) for t, (score, fresh) in enumerate(drawn)]
    assert all(rows[episode.start][1] for episode in fold(rows, rule))


@pytest.mark.parametrize("numbers", [(0, 8, 5), (9, 8, 5), (3, 64, 5), (3, 8, 0)])
def test_a_rule_that_cannot_work_is_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        EpisodeRule(*numbers)
