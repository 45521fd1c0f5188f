"""Plots of the comparison page: SVG within the page, no script, nothing loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT, MARGIN = 720, 300, 56
TRACE_HEIGHT = 76
CEILING = 5.0  # thresholds: what is higher is drawn there

Point = tuple[str, float, float]


def svg(width: int, height: int, title: str, inner: Sequence[str]) -> str:
    """A drawing with its text alternative."""
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}">'
    return "".join([head, f"<title>{escape(title)}</title>", *inner, "</svg>"])


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{kind}"/>'


def scatter(points: Sequence[Point], title: str, across: str, up: str) -> str:
    """Named points (name, x > 0, y in 0..1), x on a logarithmic axis."""
    known = [(name, max(x, 1e-6), y) for name, x, y in points]
    if not known:
        return ""
    low = math.floor(math.log10(min(x for _, x, _ in known)))
    high = max(math.ceil(math.log10(max(x for _, x, _ in known))), low + 1)
    inside, tall = WIDTH - 2 * MARGIN - 60, HEIGHT - 2 * MARGIN

    def place(x: float, y: float) -> tuple[float, float]:
        return MARGIN + inside * (math.log10(x) - low) / (high - low), HEIGHT - MARGIN - tall * y

    inner = []
    for power in range(low, high + 1):
        x, _ = place(10.0**power, 0)
        inner += [
            line(x, MARGIN, x, HEIGHT - MARGIN, "grid"),
            text(x, HEIGHT - MARGIN + 16, f"{10.0**power:g}", "middle"),
        ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        _, y = place(1, share)
        inner += [line(MARGIN, y, MARGIN + inside, y, "grid"), text(MARGIN - 6, y + 4, f"{share:g}", "end")]
    for name, x, y in known:
        cx, cy = place(x, y)
        inner += [f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="5" class="dot"/>', text(cx + 8, cy - 6, name)]
    inner += [text(MARGIN + inside / 2, HEIGHT - 12, across, "middle"), text(MARGIN - 40, MARGIN - 18, up)]
    return svg(WIDTH, HEIGHT, title, inner)


def boxes(groups: Sequence[tuple[str, Sequence[float]]], title: str) -> str:
    """Of each name, its values: from lowest to highest, with quartiles and the median; one line each."""
    known = [(name, values) for name, values in groups if len(values)]
    if not known:
        return ""
    low = min(min(values) for _, values in known)
    high = max(max(values) for _, values in known)
    pad = max(high - low, 0.02) * 0.1
    low, high, left, row = low - pad, high + pad, 150, 34
    height = 30 + row * len(known) + 20

    def place(value: float) -> float:
        return left + (WIDTH - left - 40) * (value - low) / (high - low)

    inner = []
    for number, (name, values) in enumerate(known):
        y = 24 + row * number
        a, q1, middle, q3, b = np.percentile(values, [0, 25, 50, 75, 100])
        box = rect(place(q1), y - 8, max(place(q3) - place(q1), 2), 16, "box")
        inner += [text(left - 12, y + 4, name, "end"), line(place(a), y, place(b), y, "whisker"), box]
        inner.append(line(place(middle), y - 8, place(middle), y + 8, "median"))
    for value in np.linspace(low + pad, high - pad, 3):
        inner.append(text(place(float(value)), height - 6, f"{value:.3f}", "middle"))
    return svg(WIDTH, height, title, inner)


def trace(score: Sequence[float], label: Sequence[int] | None, alarm: Sequence[int], title: str) -> str:
    """Scores over time: labelled stretches shaded, the threshold, alarms below."""
    n, base = max(len(score), 1), TRACE_HEIGHT - 14
    step = (WIDTH - 20) / n

    def x(place: float) -> float:
        return 10 + step * place

    inner = []
    for start, end in stretches(label or []):
        inner.append(
            f'<rect x="{x(start):.1f}" y="4" width="{step * (end - start):.1f}" height="{base - 4}" class="label"/>'
        )
    points = " ".join(f"{x(i):.1f},{base - (base - 8) * min(v, CEILING) / CEILING:.1f}" for i, v in enumerate(score))
    threshold = base - (base - 8) / CEILING
    inner += [line(10, threshold, WIDTH - 10, threshold, "threshold"), f'<polyline points="{points}" class="score"/>']
    for start, end in stretches(alarm):
        inner.append(rect(x(start), base + 4, max(step * (end - start), 1.5), 6, "alarm"))
    return svg(WIDTH, TRACE_HEIGHT, title, inner)


def stretches(marks: Sequence[int]) -> list[tuple[int, int]]:
    """Where marks are set: from the first to one past the last.

    >>> stretches([0, 1, 1, 0, 1])
    [(1, 3), (4, 5)]
    """
    edges = np.diff(np.concatenate([[0], np.asarray(marks, int) > 0, [0]]).astype(int))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))
