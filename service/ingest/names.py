"""Equipment ids and sensor names: text of a bounded length without control characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from service.errors import shown
from service.ingest.batch import Limits

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_REMEMBERED_SENSORS_MAX = 512


def complaint(name: object, characters_max: int) -> str | None:
    """What is wrong with a name, as the end of a sentence; None where nothing is.

    >>> complaint("pump-7", 256), complaint("a\\nb", 256)
    (None, "is 'a\\\\nb'; expected text without control characters")
    """
    if not isinstance(name, str):
        return f"is {shown(name)}; expected text"
    if not name:
        return "is empty; expected at least one character"
    if len(name) > characters_max:
        return f"has {len(name)} characters; expected at most {characters_max}"
    if _CONTROL.search(name):
        return f"is {shown(name)}; expected text without control characters"
    return None


def sound(names: Iterable[str], characters_max: int) -> bool:
    """Whether none of the names has anything wrong with it; nothing is said of which."""
    lengths = set(map(len, names))
    return not lengths or (min(lengths) > 0 and max(lengths) <= characters_max and not _CONTROL.search("".join(names)))


def sound_sensors(names: tuple[str, ...], limits: Limits) -> bool:
    """Whether these can be the sensors of a reading: not too many, each sound, none twice."""
    check = _remembered if len(names) <= _REMEMBERED_SENSORS_MAX else _sound_sensors
    return check(names, limits)


def _sound_sensors(names: tuple[str, ...], limits: Limits) -> bool:
    return (
        len(names) <= limits.sensors and len(set(names)) == len(names) and sound(names, limits.sensor_name_characters)
    )


_remembered = lru_cache(maxsize=256)(_sound_sensors)


def twice(names: Sequence[str]) -> str | None:
    """The first name that occurs a second time.

    >>> twice(["flow", "speed", "flow"])
    'flow'
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
