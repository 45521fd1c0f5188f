"""Progress for a person on a terminal; silence in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Told(Protocol):
    """Called with what is being done and the share of it that is."""

    def __call__(self, stage: str, share: float) -> None: ...


@contextmanager
def progress(title: str) -> Iterator[Told]:
    """A bar on standard error while the block runs, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda stage, share: bar.update(task, description=f"{title}: {stage}", completed=share)


def facts(lines: list[tuple[str, str]]) -> None:
    """Lines of a name and what there is to say of it, aligned."""
    width = max((len(name) for name, _ in lines), default=0)
    for name, text in lines:
        print(f"{name:<{width}}  {text}")


def notice(text: str) -> None:
    """One line on standard error, beside the result."""
    print(f"limen: {text}", file=sys.stderr)
