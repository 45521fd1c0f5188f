"""Small exports of a plant for the tests: written in any dialect, read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.data import DataOptions, Recording, read

HEADER = "time,flow,pressure"


def written(folder: Path, *lines: str, name: str = "pump-7.csv", code: str = "utf-8") -> Path:
    """A text file of `lines`, encoded by `code`."""
    path = folder / name
    path.write_bytes("".join(line + "\n" for line in lines).encode(code))
    return path


def recorded(folder: Path, *lines: str, name: str = "pump-7.csv", code: str = "utf-8", **options: object) -> Recording:
    """A text file of `lines`, read."""
    return read([written(folder, *lines, name=name, code=code)], DataOptions(**options))  # type: ignore[arg-type]


def minutes(count: int, first: int = 0) -> list[str]:
    """Times a minute apart.

    >>> minutes(2)
    ['2026-11-24T00:00:00Z', '2026-11-24T00:01:00Z']
    """
    return [f"2026-11-24T{i // 60:02}:{i % 60:02}:00Z" for i in range(first, first + count)]


def rows(count: int, first: int = 0) -> list[str]:
    """Lines under `HEADER`: flow counts up, pressure is its half."""
    return [f"{time},{i},{i / 2}" for i, time in enumerate(minutes(count, first), start=first)]


def kinds(recording: Recording) -> Sequence[str]:
    """The kinds of what was found, in order."""
    return [finding.kind for finding in recording.findings]
