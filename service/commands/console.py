"""Progress for a person on a terminal; silence in a pipe."""

from __future__ import annotations

import os
import stat
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


class Told(Protocol):
    """Called with what is being done and the share of it that is; `aside` is for what is printed meanwhile."""

    def __call__(self, stage: str, share: float) -> None: ...
    def aside(self) -> AbstractContextManager[object]: ...


class _Bar:
    """A bar on standard error."""

    def __init__(self, title: str, bar: Progress) -> None:
        self._title, self._bar, self._task = title, bar, bar.add_task(title, total=1.0)

    def __call__(self, stage: str, share: float) -> None:
        self._bar.update(self._task, description=f"{self._title}: {stage}", completed=share)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The bar is gone, its line ended, while the block prints; then it is there again, below."""
        self._bar.stop()
        yield
        self._bar.start()


@contextmanager
def progress(title: str) -> Iterator[Told]:
    """A bar while the block runs, where standard error is a terminal and standard output no pipe: what comes out of
    that may well be shown on the same line."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    shown = console.is_terminal and not _piped(sys.stdout)
    with Progress(*columns, console=console, transient=True, disable=not shown, redirect_stdout=False) as bar:
        yield _Bar(title, bar)


def _piped(file: TextIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
    except OSError:  # no file at all
        return False


def facts(lines: list[tuple[str, str]]) -> None:
    """Lines of a name and what there is to say of it, aligned; on a terminal no word of them is broken."""
    if not sys.stdout.isatty():
        print("\n".join(aligned(lines)))
        return
    width, head = Console().width, max(len(name) for name, _ in lines) + 2
    print("\n".join(hanging(name.ljust(head), text, width) for name, text in lines))


def hanging(head: str, text: str, width: int) -> str:
    """`text` beside `head` in lines of at most `width`, broken between words.

    >>> print(hanging("pump-1  ", "found after 20 s", 18))
    pump-1  found
            after 20 s
    """
    return textwrap.fill(
        text,
        max(width, len(head) + 1),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines whose columns stand under each other.

    >>> aligned([("a", "long one", "x"), ("abc", "b", "y")])
    ['a    long one  x', 'abc  b         y']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def duration(seconds: float) -> str:
    """A length of time in its two largest units.

    >>> duration(42), duration(5400), duration(86_400 * 2 + 7200), duration(0.2)
    ('42 s', '1 h 30 min', '2 d 2 h', '0 s')
    """
    rest, parts = round(seconds), []
    for unit, size in UNITS:
        count, rest = divmod(rest, size)
        parts.append(f"{count} {unit}" if count else "")
    first = next((place for place, part in enumerate(parts) if part), None)
    return "0 s" if first is None else " ".join(filter(None, parts[first : first + 2]))


def notice(text: str) -> None:
    """One line on standard error, beside the result."""
    print(f"limen: {text}", file=sys.stderr)
