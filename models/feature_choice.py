"""Whether the functional part of an LMN has tanh features, and how many, by the error of held-out rows.

Plain comes first: features are taken only where they make the error less by more than a standard error, by the same
criterion that the memory is chosen by, than plain memories of the same size.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.calibrate import CrossFit, Piece, settled
from models.contract import Bools, Floats, ModelError
from models.features import FEATURES_MAX, Features
from models.laes import Block
from models.memory_choice import BLOCKS_MIN, Candidate, judged, preferred

COUNTS = (0, 16, 32)  # of features that are tried, 0: plain
ROWS_MAX = 50_000  # that they are tried on; of more, the first rows of each stretch
WINDOWS_MIN = 8  # of a stretch that is cut short


def feature_counts(text: str) -> tuple[int, ...]:
    """Of `--features`: what is to be tried, or the one number that is given.

    >>> feature_counts("auto"), feature_counts("none"), feature_counts("24")
    ((0, 16, 32), (0,), (24,))
    """
    if text in ("auto", "none"):
        return COUNTS if text == "auto" else (0,)
    if not text.isdecimal() or not 0 <= int(text) <= FEATURES_MAX:
        raise ModelError(f"features are {text!r}; expected auto, none, or a number up to {FEATURES_MAX}")
    return (int(text),)


def choose_features(
    cross: CrossFit, counts: tuple[int, ...], growing: bool, seed: int
) -> tuple[CrossFit, tuple[Candidate, ...]]:
    """`cross` as it is, or with features: the only one of `counts`, or else the last of them, in turn, that held-out
    errors prefer to all before it; with the candidates that were tried. A `growing` memory has a value more for each
    feature, and features have to be better than a plain memory of that size, too."""
    if len(counts) == 1:
        return with_features(cross, cross, counts[0], growing, seed), ()
    trial = excerpt(cross, ROWS_MAX)
    tried, chosen = [trial], 0
    errors = [_errors(trial)]
    for count in filter(None, counts):
        lifted = with_features(trial, cross, count, growing, seed)
        plain = _of_size(trial, lifted.shape.memory_size)
        for one in (lifted,) if plain.shape in [c.shape for c in tried] else (plain, lifted):
            tried.append(one)
            errors.append(_errors(one))
        usable = ~np.isnan(errors).any(0)
        if usable.sum() < BLOCKS_MIN:
            return cross, ()
        if preferred(np.array(errors)[:, usable]) < len(tried) - 1:
            break
        chosen = len(tried) - 1
    best = tried[chosen]
    if chosen and trial is not cross:
        best = with_features(cross, cross, best.feature_count, growing, seed)
    candidates = judged([(c.shape, c.feature_count) for c in tried], np.array(errors)[:, usable], chosen)
    return best if chosen else cross, candidates


def _of_size(cross: CrossFit, size: int) -> CrossFit:
    most = cross.shape.window * cross.runs[0].shape[1]
    return cross.of_shape(replace(cross.shape, memory_size=max(min(size, most), cross.shape.memory_size)))


def with_features(cross: CrossFit, whole: CrossFit, count: int, growing: bool, seed: int) -> CrossFit:
    """The blocks of `cross` with as many features, fitted to the rows of `whole`."""
    if not count:
        return cross
    size = cross.shape.memory_size + count * growing
    return cross.lifted(Features.fit(whole.runs, count, seed), replace(cross.shape, memory_size=size))


def excerpt(cross: CrossFit, rows: int) -> CrossFit:
    """The first rows of every piece, in all about as many as `rows`; all where there are no more."""
    share = rows / sum(map(len, cross.runs))
    if share >= 1:
        return cross
    runs, seen = list[Floats](), list[Bools]()
    pieces, statistics = list[list[Piece]](), dict[Piece, Block]()
    for part in cross.pieces:
        pieces.append([])
        for run, start, stop in part:
            until = start + min(stop - start, max(int(share * (stop - start)), WINDOWS_MIN * cross.shape.window))
            piece = Piece(len(runs), 0, until - start)
            runs.append(cross.runs[run][start:until])
            if cross.seen is not None:
                seen.append(cross.seen[run][start:until])
            pieces[-1].append(piece)
            statistics[piece] = Block.of(runs[-1], cross.shape.window)
    return replace(cross, runs=runs, seen=seen or None, pieces=pieces, statistics=statistics, cores={})


def _errors(cross: CrossFit) -> Floats:
    """(K,) mean squared residual of the cells of each held-out block that were measured; NaN where there is none."""
    blocks = settled(cross.held_out(), cross.shape.window)
    squares = [np.concatenate(part) ** 2 if part else np.full((1, 1), np.nan) for part in blocks]
    return np.array([np.nanmean(part) if np.isfinite(part).any() else np.nan for part in squares])
