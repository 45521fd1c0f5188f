"""What was found in a recording that a person should know before trusting it: one sentence and its fields each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXAMPLES_MAX = 5  # that a sentence names and a finding keeps


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` for programs, `text` for people, how many (`count`), of which machine, and some `examples`.

    >>> Finding("duplicate", "2 rows repeat a time and its values", count=2).kind
    'duplicate'
    """

    kind: str
    text: str
    equipment: str = ""
    count: int = 0
    examples: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: str, text: str, names: Sequence[str]) -> Finding:
        """One that is about some things called `names`, of which it keeps the first few."""
        return cls(kind, text, count=len(names), examples=tuple(names[:EXAMPLES_MAX]))


def some(examples: Sequence[str], count: int | None = None) -> str:
    """A few examples in a sentence, and how many more there are.

    >>> some(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    shown = list(examples[:EXAMPLES_MAX])
    more = (len(examples) if count is None else count) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def verb(count: int, one: str, many: str) -> str:
    """The form of a verb that a number of things takes.

    >>> verb(1, "repeats", "repeat"), verb(2, "repeats", "repeat")
    ('repeats', 'repeat')
    """
    return one if count == 1 else many


def plural(count: int, noun: str, ending: str = "s") -> str:
    """A number with its noun.

    >>> plural(1, "row"), plural(1200, "row"), plural(2, "stretch", "es")
    ('1 row', '1,200 rows', '2 stretches')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{ending}"
