"""Slow, obvious versions of the numerics, for the fast ones to match."""

from __future__ import annotations

import itertools
import math

import numpy as np

from models.contract import Floats


def history_matrix(segments: list[Floats], window: int, discount: float) -> Floats:
    """Every discounted, zero-padded history as a row: (ticks, window * d)."""
    rows = []
    for h in segments:
        n, d = h.shape
        for t in range(n):
            row = np.zeros((window, d))
            for lag in range(min(window, t + 1)):
                row[lag] = discount**lag * h[t - lag]
            rows.append(row.ravel())
    return np.array(rows)


def laes(segments: list[Floats], memory_size: int, window: int, discount: float) -> tuple[Floats, Floats]:
    """A and B from a dense singular value decomposition of the history matrix."""
    d = segments[0].shape[1]
    vectors = np.linalg.svd(history_matrix(segments, window, discount), full_matrices=False)[2][:memory_size].T
    shift = np.zeros((window * d, window * d))
    for row in range(d, window * d):
        shift[row, row - d] = discount
    return vectors[:d].T, vectors.T @ shift @ vectors


def memories(into: Floats, keep: Floats, inputs: Floats) -> Floats:
    """m_t = A h_t + B m_{t-1}, a tick at a time."""
    held, memory = [], np.zeros(len(keep))
    for h in inputs:
        memory = into @ h + keep @ memory
        held.append(memory)
    return np.array(held)


def ridge(design: Floats, target: Floats, penalty: float) -> Floats:
    """Ridge read-out of one sensor by least squares on augmented rows."""
    wide = np.vstack([design, np.sqrt(penalty) * np.eye(design.shape[1])])
    return np.linalg.lstsq(wide, np.concatenate([target, np.zeros(design.shape[1])]), rcond=None)[0]


def generalised_cross_validation(design: Floats, target: Floats, penalty: float) -> float:
    """RSS / n / (1 - trace of the hat matrix / n)^2, the hat matrix written out."""
    inverse = np.linalg.inv(design.T @ design + penalty * np.eye(design.shape[1]))
    hat = design @ inverse @ design.T
    rss = float(((target - hat @ target) ** 2).sum())
    return rss / len(target) / (1 - np.trace(hat) / len(target)) ** 2


def statistics(residual: Floats, precision: Floats, cap: float) -> Floats:
    """q, its EWMAs over 8 and 30 ticks, and the MEWMA, a tick at a time."""
    d = residual.shape[1]
    rows: list[list[float]] = []
    slow, slower, vector = 1.0, 1.0, np.zeros(d)
    for e in residual:
        q = float(e @ precision @ e) / d
        capped = min(q, cap)
        slow = slow + (capped - slow) / 8
        slower = slower + (capped - slower) / 30
        vector = vector + (e * np.sqrt(capped / q) - vector) / 8
        rows.append([q, slow, slower, 15 * float(vector @ precision @ vector) / d])
    return np.array(rows)


def conditional(residual: Floats, missing: Floats, covariance: Floats) -> Floats:
    """Missing residuals of one tick as S_mo S_oo^-1 e_o."""
    seen = ~missing
    whole = residual.copy()
    if missing.any() and seen.any():
        among = covariance[np.ix_(seen, seen)]
        whole[missing] = covariance[np.ix_(missing, seen)] @ np.linalg.solve(among, residual[seen])
    elif missing.any():
        whole[missing] = 0.0
    return whole


def alarms(ticks: list[tuple[float, bool, int]], needed: int, of: int, quiet: int) -> list[tuple[int, int | None]]:
    """(start, end) of alarms: fresh exceedances counted in a window of scored ticks since the alarm before."""
    found: list[tuple[int, int | None]] = []
    window: list[bool] = []
    start, last, under = None, 0, 0
    for score, fresh, time in ticks:
        if score != score:
            continue
        window = [*window, fresh][-of:]
        if start is None:
            if sum(window) >= needed:
                start, last, under = time, time, 0
        elif score >= 1:
            last, under = time, 0
        else:
            under += 1
            if under == quiet:
                found.append((start, last))
                start, window = None, []
    return found if start is None else [*found, (start, None)]


def average_precision(score: list[float], anomalous: list[bool]) -> float:
    """Every distinct score as a threshold, falling; precision there, weighted by the recall that it adds."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        detected = [s >= threshold for s in score]
        hits = sum(d and a for d, a in zip(detected, anomalous, strict=True))
        recall = hits / sum(anomalous)
        total += (recall - before) * hits / sum(detected)
        before = recall
    return total


def longest_wait(values: list[float]) -> int:
    """The longest run of one value, or the longest way from one value to the next, in ticks, by looking at each."""
    longest = run = 1
    last, since = math.nan, 0
    for value in values:
        since += 1
        if math.isnan(value):
            continue
        run = run + 1 if since == 1 and value == last else 1
        longest = max(longest, run, 1 if math.isnan(last) else since)
        last, since = value, 0
    return longest


def off_pace(times: list[int], interval: int) -> tuple[int, list[tuple[int, int | None]]]:
    """The count of steps at another pace after the last of some readings, and the alarms (start, end) on the way."""
    count, alarms, open = 0, [], False
    for before, time in itertools.pairwise(times):
        within = 4 * interval <= 5 * (time - before) and 4 * (time - before) <= 5 * interval
        count = max(count - 1, 0) if within else min(count + 1, 64)
        if not open and count >= 32:
            open = True
            alarms.append((time, None))
        elif open and count == 0:
            open = False
            alarms[-1] = (alarms[-1][0], time)
    return count, alarms
