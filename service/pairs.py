"""Pairs and name patterns as a setting has them."""

from __future__ import annotations

import json

from service.errors import shown


def pairs_from(text: str) -> dict[str, str]:
    """`a=b,c=d` or a JSON object of texts; ValueError says what is expected.

    >>> pairs_from("pump-*=pumps, fan-*=fans"), pairs_from('{"a=1": "b"}')
    ({'pump-*': 'pumps', 'fan-*': 'fans'}, {'a=1': 'b'})
    """
    if text.lstrip().startswith("{"):
        try:
            found: dict[str, str] = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"no JSON: {error.msg} at column {error.colno}") from None
        except RecursionError:
            raise ValueError("no JSON object of texts: it is nested too deeply") from None
        return found
    pairs = [[part.strip() for part in pair.partition("=")] for pair in text.split(",") if pair.strip()]
    for left, equals, right in pairs:
        if not (left and equals and right):
            raise ValueError(f"in {shown(left + equals + right)} one side of '=' is missing")
    return {left: right for left, _, right in pairs}


def check_pattern(pattern: str) -> None:
    """ValueError where a name pattern is empty or has a `[` that no `]` closes: it would stand for itself.

    >>> check_pattern("pump-[!0-9]*[]]")
    >>> check_pattern("pump-[12")
    Traceback (most recent call last):
    ValueError: in 'pump-[12' no ']' closes the '[' at character 6; '[[]' stands for the character itself
    """
    if not pattern:
        raise ValueError("a pattern is empty")
    place = pattern.find("[")
    while place >= 0:
        first = place + (2 if pattern[place + 1 : place + 2] == "!" else 1)
        end = pattern.find("]", first + 1)  # the first character of a set may be a ']'
        if end < 0:
            closes = f"no ']' closes the '[' at character {place + 1}; '[[]' stands for the character itself"
            raise ValueError(f"in {shown(pattern)} {closes}")
        place = pattern.find("[", end)
