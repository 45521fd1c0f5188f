"""Volume under the surface of precision and recall (VUS-PR): a threshold-free figure that forgives small shifts.

Labelled episodes are widened on both sides by half a buffer of w ticks, where the label fades as sqrt(1 - distance /
w); with soft labels s_t, the P ticks labelled, and the n ticks at or over a threshold, at each of THRESHOLDS of them

    precision = sum over those n of s_t / n
    recall    = min(sum over those n of s_t / (P + half of what the widened part adds to it), 1)
                times the share of (widened, merged) episodes that hold at least one of the n.

The area under precision over recall is taken for each w in 0..L, and VUS-PR is their mean. Source: Paparrizos et al.
2022, "Volume Under the Surface"; the conventions at the edges are those of TSB-AD (Liu and Paparrizos 2024), with which
it agrees.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from models.contract import Array, Floats

THRESHOLDS = 250
LAGS_MAX, LAG_MIN = 400, 3
BUFFER_MAX, BUFFER_OTHERWISE = 300, 125  # ticks


def vus_pr(score: Array, label: Array, buffer: int, thresholds: int = THRESHOLDS) -> float | None:
    """Of scores (n,), higher = more anomalous, and labels (n,), not 0 = anomalous; `buffer` L in ticks. None where no
    tick is labelled.

    >>> round(vus_pr(np.array([0.1, 0.9, 0.8, 0.2]), np.array([0, 1, 1, 0]), buffer=0), 6)
    1.0
    """
    marked = np.asarray(label) != 0
    if not marked.any():
        return None
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    chosen = falling[np.linspace(0, len(score) - 1, thresholds).astype(int)]
    counts = np.searchsorted(-falling, -chosen, side="right")  # ticks at or over each
    episodes = runs(marked)
    areas = [_area(score, marked, episodes, window, order, chosen, counts) for window in range(buffer + 1)]
    return float(np.mean(areas))


def _area(
    score: Array,
    marked: Array,
    episodes: list[tuple[int, int]],
    window: int,
    order: Array,
    chosen: Array,
    counts: Array,
) -> float:
    soft = widened(marked, episodes, window)
    hits = np.cumsum(soft[order])[counts - 1]
    beside = np.cumsum(np.where(marked, 0.0, soft)[order])[counts - 1]
    highest = np.sort([score[start:end].max() for start, end in merged(episodes, window, len(score))])
    exist = 1 - np.searchsorted(highest, chosen, side="left") / len(highest)
    recall = np.minimum(hits / (marked.sum() + beside / 2), 1) * exist
    return float((np.diff(recall, prepend=0.0) * hits / counts).sum())


def runs(marked: Array) -> list[tuple[int, int]]:
    """Stretches of marked ticks, each from its first to one past its last.

    >>> runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.diff(np.concatenate([[0], marked.astype(int), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def widened(marked: Array, episodes: list[tuple[int, int]], window: int) -> Floats:
    """Labels (n,) in 0..1 that fade over half a window on both sides."""
    soft, half, n = marked.astype(float), window // 2, len(marked)
    for start, end in episodes:
        after = np.arange(end, min(end + half, n))
        soft[after] += np.sqrt(1 - (after - end + 1) / max(window, 1))
        before = np.arange(max(start - half, 0), start)
        soft[before] += np.sqrt(1 - (start - before) / max(window, 1))
    return np.minimum(soft, 1)


def merged(episodes: list[tuple[int, int]], window: int, n: int) -> list[tuple[int, int]]:
    """Episodes widened by half a window; those that then touch are one."""
    half, found = window // 2, [(max(episodes[0][0] - window // 2, 0), episodes[0][1])]
    for (_, end), (start, following) in pairwise(episodes):
        if end - 1 + half < start - half:
            found[-1] = (found[-1][0], end + half)
            found.append((start - half, following))
        else:
            found[-1] = (found[-1][0], following)
    found[-1] = (found[-1][0], min(episodes[-1][1] + half, n))
    return found


def buffer_of(x: Floats) -> int:
    """L for a recording whose first sensor is `x` (n,): its period, the lag of the highest local maximum of its
    autocorrelation; BUFFER_OTHERWISE where it has none."""
    x = np.nan_to_num(x[:20_000] - np.nanmean(x))
    size = 1 << (2 * len(x) - 1).bit_length()
    power = np.abs(np.fft.rfft(x, size)) ** 2
    found = np.fft.irfft(power, size)[LAG_MIN : min(LAGS_MAX + 1, len(x))]
    peaks = np.flatnonzero((found[1:-1] > found[:-2]) & (found[1:-1] > found[2:])) + 1
    if not len(peaks):
        return BUFFER_OTHERWISE
    lag = int(peaks[found[peaks].argmax()])
    return lag + LAG_MIN if LAG_MIN <= lag <= BUFFER_MAX else BUFFER_OTHERWISE
