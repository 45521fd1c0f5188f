"""Labels and scores -> the metrics of the field.

A tick is *detected* where score >= 1. Ticks without a score (NaN: warming, unscored) are left out of every figure and
counted as `ticks_left_out`. With TP, FP, FN, TN the ticks that are anomalous and detected, normal and detected,
anomalous and not, normal and not:

    precision = TP / (TP + FP)                 recall = TP / (TP + FN)         F1 = 2 TP / (2 TP + FP + FN)
    false_alarm_rate = FP / (FP + TN)          missed_alarm_rate = FN / (TP + FN) = 1 - recall
    average_precision = sum over thresholds k, falling, of (R_k - R_{k-1}) P_k

where P_k and R_k are precision and recall of "score >= k-th distinct score": ticks of equal score enter together, so
their order does not matter, and nothing is interpolated. No credit is given to the rest of an episode for one detected
tick of it ("point adjustment").

*Alarms* are counted beside ticks where they are given: an alarm episode runs from the tick that opened it to its last
tick with a score >= 1, and is false where it holds no anomalous tick. `normal_time_in_alarm` is the share of normal
ticks on which an alarm stood, the quiet time before it closed included; `false_alarms_per_machine_day` divides by the
judged normal time (normal ticks x the median step of their machine).

*Recovery* is what follows a labelled episode: its next RECOVERY_TICKS ticks, as far as they are normal. The longest
smoothing of the score is 30 ticks, so that a strong fault is remembered about so long, and a false alarm there is the
tail of a real one. Those ticks are counted as normal ones in every figure above; figures with `_in_recovery` are of
them alone, `false_alarm_rate_outside_recovery` is without them.

A ratio without a denominator is None, never 0: precision where nothing was detected; recall, missed-alarm rate, F1 and
average precision where no judged tick is anomalous; false-alarm rate where none is normal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from models.contract import MICROSECONDS, Array, Bools, DataError, Floats, Ints

RECOVERY_TICKS = 100
DAY = 86_400 * MICROSECONDS


class Part(NamedTuple):
    """One machine in one file: `score` (n,), `label` (n,), `time` (n,) microseconds, `alarm` (n,) whether one stood."""

    score: Array
    label: Array
    time: Ints | None = None
    alarm: Bools | None = None


@dataclass(frozen=True, slots=True)
class LabelledEpisode:
    """A run of anomalous rows of one part. `start` and `end` are rows, `end` the first after it; `end_time` is the time
    of its last row; `judged` of its ticks had a score, the highest of them `peak`, at row `peak_row`. The delay counts
    from its first row to its first detected one; None where it was missed, or where no tick of it was judged; times and
    seconds are None where no times were given.
    """

    part: int
    start: int
    end: int
    start_time: int | None
    end_time: int | None
    judged: int
    delay_ticks: int | None
    delay_seconds: float | None
    peak: float | None
    peak_row: int | None

    @property
    def detected(self) -> bool:
        """Whether any tick of it was."""
        return self.delay_ticks is not None


@dataclass(frozen=True, slots=True)
class AlarmCounts:
    """Alarm episodes: those raised, the false ones, and those of them that opened in recovery; None where undefined."""

    alarms: int
    false_alarms: int
    false_alarms_in_recovery: int
    false_alarms_per_machine_day: float | None
    normal_time_in_alarm: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How scores compare with labels; the module says what each figure is and when it is None."""

    f1: float | None
    precision: float | None
    recall: float | None
    false_alarm_rate: float | None
    missed_alarm_rate: float | None
    average_precision: float | None
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    ticks_left_out: int
    recovery_ticks: int
    false_positives_in_recovery: int
    false_alarm_rate_in_recovery: float | None
    false_alarm_rate_outside_recovery: float | None
    alarm_counts: AlarmCounts | None
    episodes: tuple[LabelledEpisode, ...]

    @property
    def ticks(self) -> int:
        """Ticks that were judged."""
        return self.true_positives + self.false_positives + self.false_negatives + self.true_negatives

    def as_dict(self) -> dict[str, Any]:
        """For JSON: plain numbers, None where undefined, times in RFC 3339."""
        found = asdict(self)
        found |= found.pop("alarm_counts") or {}
        found["ticks"] = self.ticks
        found["episodes"] = [
            {
                **asdict(episode),
                "start_time": _text(episode.start_time),
                "end_time": _text(episode.end_time),
                "detected": episode.detected,
            }
            for episode in self.episodes
        ]
        return found


def evaluate(score: Array, label: Array, time: Ints | None = None, warming: Bools | None = None) -> Evaluation:
    """One machine: `score` (n,), NaN = warming, `label` (n,) 0 = normal, else anomalous, `time` (n,) microseconds;
    `warming` (n,) marks further ticks to leave out. DataError where lengths differ or a label is missing.

    >>> found = evaluate(np.array([np.nan, 0.2, 1.5, 0.4, 1.2, 3.0]), np.array([0, 0, 0, 1, 1, 1]))
    >>> found.true_positives, found.false_positives, found.false_negatives, found.ticks_left_out
    (2, 1, 1, 1)
    >>> round(found.f1, 3), found.false_alarm_rate, found.episodes[0].delay_ticks
    (0.667, 0.5, 1)
    """
    score = np.asarray(score)
    if warming is not None:
        _same_length("warming", np.asarray(warming), score)
        score = np.where(warming, np.nan, score)
    return pool([Part(score, label, time)])


def pool(parts: Iterable[Part | tuple[Array, Array, Ints | None]]) -> Evaluation:
    """Several machines or files, every tick counted alike; average precision ranks all of them together, and no episode
    runs from one part into the next. Alarms are counted where every part has them."""
    scores, labels, recoveries, episodes = [np.empty(0)], [np.empty(0, np.bool_)], [np.empty(0, np.bool_)], []
    books: list[_Book | None] = []
    for number, given in enumerate(parts):
        part = Part(*given)
        score, anomalous = np.asarray(part.score), _anomalous(part.label)
        _same_length("label", anomalous, score)
        for name, array in (("time", part.time), ("alarm", part.alarm)):
            if array is not None:
                _same_length(name, np.asarray(array), score)
        recovery = in_recovery(anomalous)
        scores.append(score)
        labels.append(anomalous)
        recoveries.append(recovery)
        episodes += _labelled_episodes(number, score, anomalous, part.time)
        books.append(None if part.alarm is None else _book(part, score, anomalous, recovery))
    score, anomalous, recovery = np.concatenate(scores), np.concatenate(labels), np.concatenate(recoveries)
    judged = ~np.isnan(score)
    counts = _alarm_counts([book for book in books if book]) if books and all(books) else None
    left_out = int((~judged).sum())
    return _evaluation(score[judged], anomalous[judged], recovery[judged], left_out, counts, tuple(episodes))


def in_recovery(anomalous: Bools) -> Bools:
    """Normal ticks of one machine within RECOVERY_TICKS after an anomalous one.

    >>> np.flatnonzero(in_recovery(np.arange(300) == 50))[[0, -1]].tolist()
    [51, 150]
    """
    ticks = np.arange(len(anomalous))
    last = np.maximum.accumulate(np.where(anomalous, ticks, -RECOVERY_TICKS - 1))
    return ~anomalous & (ticks - last <= RECOVERY_TICKS)


def _evaluation(
    score: Floats,
    anomalous: Bools,
    recovery: Bools,
    left_out: int,
    counts: AlarmCounts | None,
    episodes: tuple[LabelledEpisode, ...],
) -> Evaluation:
    detected = score >= 1
    tp, fp = int((detected & anomalous).sum()), int((detected & ~anomalous).sum())
    fn, tn = int((~detected & anomalous).sum()), int((~detected & ~anomalous).sum())
    recovering, echoes = int(recovery.sum()), int((detected & recovery).sum())
    return Evaluation(
        f1=_ratio(2 * tp, 2 * tp + fp + fn) if tp + fn else None,
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
        false_alarm_rate=_ratio(fp, fp + tn),
        missed_alarm_rate=_ratio(fn, tp + fn),
        average_precision=average_precision(score, anomalous),
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        true_negatives=tn,
        ticks_left_out=left_out,
        recovery_ticks=recovering,
        false_positives_in_recovery=echoes,
        false_alarm_rate_in_recovery=_ratio(echoes, recovering),
        false_alarm_rate_outside_recovery=_ratio(fp - echoes, fp + tn - recovering),
        alarm_counts=counts,
        episodes=episodes,
    )


class _Book(NamedTuple):
    """The alarms of one part, and its judged normal ticks and time (microseconds; None: unknown)."""

    alarms: int
    false: int
    false_in_recovery: int
    normal: int
    normal_in_alarm: int
    time: float | None


def _book(part: Part, score: Floats, anomalous: Bools, recovery: Bools) -> _Book:
    alarm = np.asarray(part.alarm, np.bool_)
    runs, false = _runs(alarm), []
    for start, end in runs:
        over = np.flatnonzero(score[start:end] >= 1)
        last = start + (int(over[-1]) if len(over) else 0)
        if not anomalous[start : last + 1].any():
            false.append(start)
    normal = ~np.isnan(score) & ~anomalous
    step = None if part.time is None or len(score) < 2 else float(np.median(np.diff(part.time)))
    ticks = int(normal.sum())
    echoes = int(recovery[false].sum()) if false else 0
    span = None if step is None else step * ticks
    return _Book(len(runs), len(false), echoes, ticks, int((alarm & normal).sum()), span)


def _alarm_counts(books: list[_Book]) -> AlarmCounts:
    alarms, false, echoes, normal, in_alarm = (sum(column) for column in list(zip(*books, strict=True))[:5])
    spans = [book.time for book in books]
    days = None if None in spans else sum(span for span in spans if span is not None) / DAY
    return AlarmCounts(alarms, false, echoes, false / days if days else None, _ratio(in_alarm, normal))


def average_precision(score: Array, anomalous: Bools) -> float | None:
    """Area under the steps of precision over recall, exact with ties; None without anomalous ticks.

    >>> average_precision(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False]))
    0.8333333333333333
    """
    positives = int(anomalous.sum())
    if not positives:
        return None
    order = np.argsort(-score, kind="stable")
    ranked, hit = score[order], anomalous[order]
    last_of_ties = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    found = np.cumsum(hit)[last_of_ties]
    precision = found / (last_of_ties + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / positives)


def _labelled_episodes(part: int, score: Array, anomalous: Bools, time: Ints | None) -> list[LabelledEpisode]:
    return [_labelled_episode(part, start, end, score, time) for start, end in _runs(anomalous)]


def _runs(marked: Bools) -> list[tuple[int, int]]:
    """First row, and first row after it, of each run of marked ones."""
    edges = np.diff(marked.astype(np.int8), prepend=0, append=0)
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def _labelled_episode(part: int, start: int, end: int, score: Array, time: Ints | None) -> LabelledEpisode:
    own = score[start:end]
    over, judged = np.flatnonzero(own >= 1), int((~np.isnan(own)).sum())
    delay = int(over[0]) if len(over) else None
    highest = int(np.nanargmax(own)) if judged else None
    peak = None if highest is None else float(own[highest])
    peak_row = None if highest is None else start + highest
    first = last = seconds = None
    if time is not None:
        first, last = int(time[start]), int(time[end - 1])
        seconds = None if delay is None else (int(time[start + delay]) - first) / MICROSECONDS
    return LabelledEpisode(part, start, end, first, last, judged, delay, seconds, peak, peak_row)


def _anomalous(label: Array) -> Bools:
    values = np.asarray(label)
    bad = np.flatnonzero(~np.isfinite(values) | (values < 0)) if values.dtype != np.bool_ else np.empty(0, np.intp)
    if len(bad):
        raise DataError(
            f"label of row {bad[0]} is {values[bad[0]]}; expected 0 for normal or a positive number for anomalous"
        )
    return values != 0


def _same_length(name: str, array: Array, score: Array) -> None:
    if array.shape != score.shape:
        raise DataError(f"{name} has shape {array.shape}; expected that of the scores, {score.shape}")


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _text(time: int | None) -> str | None:
    if time is None:
        return None
    unit = "us" if time % MICROSECONDS else "s"
    return f"{np.datetime64(time, 'us').astype(f'datetime64[{unit}]')}Z"
