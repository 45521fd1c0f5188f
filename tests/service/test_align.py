from hypothesis import given, settings
from hypothesis import strategies as st

from service.align import NEVER, Verdict, align

DEPTH = 4
readings = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=30)


def naive(sent: list[tuple[int, int]], horizon: int | None) -> list[tuple[Verdict, int]]:
    """Verdict of each reading and the reading it repeats, from a plain list of what was admitted."""
    admitted: list[int] = []
    found = []
    for index, (time, digest) in enumerate(sent):
        same = [i for i in admitted[-DEPTH:] if sent[i][0] == time]
        if horizon is not None and time > horizon:
            found.append((Verdict.FUTURE, -1))
        elif not admitted or time > sent[admitted[-1]][0]:
            admitted.append(index)
            found.append((Verdict.ADMITTED, -1))
        elif not same:
            found.append((Verdict.LATE, -1))
        elif sent[same[0]][1] != digest:
            found.append((Verdict.CONFLICT, -1))
        else:
            found.append((Verdict.DUPLICATE, same[0]))
    return found


@settings(max_examples=200, derandomize=True)
@given(sent=readings, horizon=st.none() | st.integers(0, 12))
def test_readings_are_judged_as_by_a_plain_list(sent: list[tuple[int, int]], horizon: int | None) -> None:
    verdicts, sources = align(NEVER, [], sent, horizon, DEPTH)
    assert list(zip(verdicts, sources, strict=True)) == naive(sent, horizon)


@settings(max_examples=100, derandomize=True)
@given(sent=readings, cut=st.integers(0, 30))
def test_a_cut_between_two_bodies_changes_no_verdict(sent: list[tuple[int, int]], cut: int) -> None:
    whole, _ = align(NEVER, [], sent, None, DEPTH)
    first, _ = align(NEVER, [], sent[:cut], None, DEPTH)
    kept = [reading for reading, verdict in zip(sent[:cut], first, strict=True) if verdict is Verdict.ADMITTED]
    last = kept[-1][0] if kept else NEVER
    second, sources = align(last, kept[-DEPTH:], sent[cut:], None, DEPTH)
    assert first + second == whole
    for source, verdict, (time, _) in zip(sources, second, sent[cut:], strict=True):
        if verdict is Verdict.DUPLICATE:
            assert [*kept[-DEPTH:], *sent[cut:]][source][0] == time


def test_a_future_reading_does_not_move_the_last_time() -> None:
    verdicts, _ = align(10, [], [(99, 1), (11, 1)], 50, DEPTH)
    assert verdicts == [Verdict.FUTURE, Verdict.ADMITTED]
