"""Verdicts on readings, compared with a plain list of what was admitted."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from service.align import NEVER, Past, Print, Verdict, align

DEPTH, STRIDE = 4, 2
prints = st.sampled_from(
    [Print(1, b"\1\1"), Print(2, b"\2\1"), Print(3, b"\1\0"), Print(4, b"\0\1"), Print(5, b"\0\2")]
)
Sent = list[tuple[int, Print]]
readings = st.lists(st.tuples(st.integers(0, 14), prints), max_size=40)


def naive(sent: Sent, horizon: int | None) -> list[tuple[Verdict, int]]:
    """Verdict of each reading and the reading it repeats, from a plain list of what was admitted."""
    admitted: list[int] = []
    found = []
    for index, (time, print) in enumerate(sent):
        same = [i for i in admitted[-DEPTH:] if sent[i][0] == time]
        times = [sent[i][0] for i in admitted]
        if horizon is not None and time > horizon:
            found.append((Verdict.FUTURE, -1))
        elif not admitted or time > times[-1]:
            admitted.append(index)
            found.append((Verdict.ADMITTED, -1))
        elif not same:
            since = [t for t in times if t > time]
            older = [t for t in times if t <= time]
            whole = older[-1:] + since
            unbroken = bool(older) and all(b - a <= STRIDE for a, b in pairwise(whole))
            beyond = len(admitted) >= DEPTH and time < times[-DEPTH]
            found.append((Verdict.REPEATED if unbroken and beyond else Verdict.LATE, -1))
        else:
            stored = sent[same[0]][1]
            both = [(a, b) for a, b in zip(print.marks, stored.marks, strict=True) if a]
            if print == stored:
                found.append((Verdict.DUPLICATE, same[0]))
            elif any(b and a != b for a, b in both):
                found.append((Verdict.CONFLICT, -1))
            elif any(not b for _, b in both):
                found.append((Verdict.CLOSED, -1))
            else:
                found.append((Verdict.DUPLICATE, same[0]))
    return found


def past() -> Past:
    return Past(NEVER, NEVER, STRIDE)


@settings(max_examples=300, derandomize=True)
@given(sent=readings, horizon=st.none() | st.integers(0, 14))
def test_readings_are_judged_as_by_a_plain_list(sent: Sent, horizon: int | None) -> None:
    verdicts, sources = align(past(), [], sent, horizon, DEPTH)
    assert list(zip(verdicts, sources, strict=True)) == naive(sent, horizon)


@settings(max_examples=100, derandomize=True)
@given(sent=readings, cut=st.integers(0, 40))
def test_a_cut_between_two_bodies_changes_no_verdict(sent: Sent, cut: int) -> None:
    whole, _ = align(past(), [], sent, None, DEPTH)
    so_far = past()
    first, _ = align(so_far, [], sent[:cut], None, DEPTH)
    kept = [reading for reading, verdict in zip(sent[:cut], first, strict=True) if verdict is Verdict.ADMITTED]
    second, sources = align(so_far, kept[-DEPTH:], sent[cut:], None, DEPTH)
    assert first + second == whole
    for source, verdict, (time, _) in zip(sources, second, sent[cut:], strict=True):
        if verdict is Verdict.DUPLICATE:
            assert [*kept[-DEPTH:], *sent[cut:]][source][0] == time


def test_a_future_reading_does_not_move_the_last_time() -> None:
    one = Print(1, b"1")
    verdicts, _ = align(Past(10), [], [(99, one), (11, one)], 50, DEPTH)
    assert verdicts == [Verdict.FUTURE, Verdict.ADMITTED]
