"""Linear autoencoder for sequences (LAES): the closed-form linear memory.

    m_t = A h_t + B m_{t-1}

With h_t (d,) the inputs, L the window and g in (0, 1] the discount, the history of tick t is the vector
(h_t, g h_{t-1}, ..., g^(L-1) h_{t-L+1}), zero before the start. U holds the p leading eigenvectors of the second moment
C of all histories, (L d) x (L d): the leading left singular vectors of the history matrix, which is never built, since

    C_ij = g^(i+j) G_(j-i),     G_k = sum_t h_t h_{t-k}^T

minus the products of histories that would reach past the last row. Then A = (first d rows of U)^T and B = U^T R U, R
the one-tick shift scaled by g. Decoding: h_{t-k} = g^(-2k) A^T (B^T)^k m_t.

Sources: Sperduti 2013 ("Linear autoencoder networks for structured data"); Bacciu, Carta, Sperduti 2018, arXiv
1811.03356, section 3; discount and lag covariances: this project.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy.linalg import eigh

from models.contract import Floats, ModelError
from models.lmn import linear_scan


@dataclass(slots=True)
class LagStatistics:
    """Sums over rows from which a LAES is fitted; those of separate segments add and subtract.

    `rows` n, `total` (d,) sum of the inputs, `lags` (L, d, d) the products G_k, `edge` (L d, L d) the products of
    histories that reach past the end of a segment.
    """

    rows: int
    total: Floats
    lags: Floats
    edge: Floats

    @classmethod
    def empty(cls, inputs: int, window: int) -> Self:
        size = inputs * window
        return cls(0, np.zeros(inputs), np.zeros((window, inputs, inputs)), np.zeros((size, size)))

    def __add__(self, other: LagStatistics) -> LagStatistics:
        return LagStatistics(
            self.rows + other.rows, self.total + other.total, self.lags + other.lags, self.edge + other.edge
        )

    def __sub__(self, other: LagStatistics) -> LagStatistics:
        return LagStatistics(
            self.rows - other.rows, self.total - other.total, self.lags - other.lags, self.edge - other.edge
        )

    def history_products(self, discount: float) -> Floats:
        """C (L d, L d): exactly the zero-padded, discounted history matrix times its transpose."""
        window, d = self.lags.shape[:2]
        blocks = np.empty((window, d, window, d))
        for i in range(window):
            for j in range(window):
                blocks[i, :, j] = self.lags[j - i] if j >= i else self.lags[i - j].T
        products = blocks.reshape(window * d, window * d) - self.edge
        weights = np.repeat(discount ** np.arange(window), d)
        return products * weights[:, None] * weights


@dataclass(slots=True)
class Block:
    """Lag statistics of one contiguous run of rows, with its first and last L-1 rows, so that two runs that follow
    each other join exactly: no product at their border is lost."""

    rows: int
    total: Floats
    lags: Floats
    head: Floats = field(repr=False)  # (<= L-1, d)
    tail: Floats = field(repr=False)

    @classmethod
    def of(cls, h: Floats, window: int) -> Self:
        """Statistics of one run: `h` (n, d)."""
        n, d = h.shape
        lags = np.zeros((window, d, d))
        for k in range(min(window, n)):
            lags[k] = h[k:].T @ h[: n - k]
        keep = min(window - 1, n)
        return cls(n, h.sum(0), lags, h[:keep].copy(), h[n - keep :].copy())

    def joined(self, after: Block) -> Block:
        """Statistics of this run continued by `after`."""
        lags = self.lags + after.lags
        window = len(lags)
        bridge = np.vstack([self.tail, after.head])
        split = len(self.tail)
        for k in range(1, window):
            first, end = max(split, k), min(len(bridge), split + k)
            if first < end:
                lags[k] += bridge[first:end].T @ bridge[first - k : end - k]
        head = np.vstack([self.head, after.head])[: window - 1] if self.rows < window - 1 else self.head
        tail = np.vstack([self.tail, after.tail])[-(window - 1) :] if window > 1 else after.tail
        return Block(self.rows + after.rows, self.total + after.total, lags, head, tail)

    def narrowed(self, window: int) -> Block:
        """This run with a narrower window: bit for bit what `of` makes of it."""
        keep = min(window - 1, self.rows)
        head, tail = self.head[:keep], self.tail[len(self.tail) - keep :]
        return Block(self.rows, self.total, self.lags[:window].copy(), head.copy(), tail.copy())

    def closed(self) -> LagStatistics:
        """This run as a segment of its own: with what histories past its end would have added."""
        window, d = self.lags.shape[:2]
        past = np.zeros((max(window - 1, 0), window, d))
        for beyond in range(1, window):
            for lag in range(beyond, window):
                if lag - beyond < len(self.tail):
                    past[beyond - 1, lag] = self.tail[len(self.tail) - 1 - (lag - beyond)]
        flat = past.reshape(len(past), window * d)
        return LagStatistics(self.rows, self.total, self.lags, flat.T @ flat)


def lag_statistics(segments: list[Floats], window: int) -> LagStatistics:
    """Of separate segments (n, d); no product crosses their borders."""
    total = LagStatistics.empty(segments[0].shape[1], window)
    for h in segments:
        total = total + Block.of(h, window).closed()
    return total


class LinearAutoencoder:
    """LAES of `memory_size` p, `window` L and `discount` g; `fit` leaves `A_` (p, d) and `B_` (p, p).

    >>> h = np.random.default_rng(0).normal(size=(200, 2))
    >>> laes = LinearAutoencoder(memory_size=6, window=3).fit([h])
    >>> bool(np.allclose(laes.decode(laes.encode(h)[-1], 3), h[:-4:-1]))
    True
    """

    def __init__(self, memory_size: int, window: int, discount: float = 1.0) -> None:
        self.memory_size, self.window, self.discount = memory_size, window, discount

    def fit(self, segments: list[Floats]) -> Self:
        """From segments (n, d); no product crosses their borders."""
        return self.fit_statistics(lag_statistics(segments, self.window))

    def fit_statistics(self, statistics: LagStatistics) -> Self:
        """From lag statistics; raises ModelError where there is nothing to learn from."""
        if not 0 < self.discount <= 1:
            raise ModelError(f"discount is {self.discount}; expected a number in (0, 1]")
        if statistics.rows < 1:
            raise ModelError("no rows to fit the memory on; give it at least one")
        d = len(statistics.total)
        size = d * self.window
        p = min(self.memory_size, size)
        products = statistics.history_products(self.discount) / statistics.rows
        vectors = eigh(products, subset_by_index=[size - p, size - 1], check_finite=False)[1][:, ::-1]
        signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(p)])
        basis = vectors * signs
        shifted = np.vstack([np.zeros((d, p)), self.discount * basis[:-d]])
        self.A_: Floats = np.ascontiguousarray(basis[:d].T)
        self.B_: Floats = basis.T @ shifted
        return self

    def leading(self, memory_size: int) -> LinearAutoencoder:
        """The memory of the leading `memory_size` directions: what `fit` makes of the same statistics, as a part of
        this greater one."""
        part = LinearAutoencoder(memory_size, self.window, self.discount)
        part.A_, part.B_ = self.A_[:memory_size], self.B_[:memory_size, :memory_size]
        return part

    def step(self, memory: Floats, h: Floats) -> Floats:
        """The next memory (p,) or (n, p) from the memory before it and the input (d,) or (n, d)."""
        return h @ self.A_.T + memory @ self.B_.T

    def encode(self, h: Floats, memory: Floats | None = None) -> Floats:
        """All memories (n, p) of a run (n, d), from the `memory` (p,) before it (default empty)."""
        start = np.zeros(len(self.B_)) if memory is None else memory
        return linear_scan(h @ self.A_.T, self.B_.T, start)

    def decode(self, memory: Floats, ticks: int) -> Floats:
        """Past inputs held in one memory (p,): (ticks, d), newest first."""
        held, past = memory, []
        for k in range(ticks):
            past.append(self.discount ** (-2 * k) * (held @ self.A_))
            held = held @ self.B_
        return np.stack(past) if past else np.empty((0, self.A_.shape[1]))
