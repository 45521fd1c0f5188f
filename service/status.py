"""What became of a reading: its status, the reason for it, and flags. The numbers are stored: add, never renumber."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Status(IntEnum):
    """The seven ways a reading can end; over any body they sum to `received`."""

    SCORED = 0
    WARMING = 1  # admitted; the memory has not seen enough yet
    HELD = 2  # admitted; waiting to be joined or put in order
    UNSCORED = 3  # admitted without a score: no sensor left
    DUPLICATE = 4  # seen before; the answer repeats the stored result
    LATE = 5  # older than the last reading of its equipment
    REJECTED = 6


class Reason(IntEnum):
    """Why a reading ended as it did; NONE where the status says it all."""

    NONE = 0
    CONFLICT = 1  # same equipment and time, other values
    FUTURE = 2  # too far ahead of the clock
    TOO_OLD = 3
    UNKNOWN_EQUIPMENT = 4
    NO_MODEL = 5
    NO_SENSOR = 6  # no sensor of the model in the reading, or none with a value
    BAD_VALUE = 7  # refused by the decoder
    ALREADY_PROCESSED = 8
    GAP = 9  # the memory started anew after a gap
    STOPPED = 10
    LIMIT = 11  # a bound of the settings is reached


class Flag(IntFlag):
    """Bits of `flags`."""

    HISTORICAL = 1
    IMPUTED = 2  # a missing sensor was replaced by its estimate
    UNSEEN_MODE = 4
    MAINTENANCE = 8
    SENSOR_FAULT = 16


STATUS_NAMES = tuple(status.name.lower() for status in Status)
REASON_NAMES = tuple("" if reason is Reason.NONE else reason.name.lower() for reason in Reason)
FLAG_NAMES = {flag: str(flag.name).lower() for flag in Flag}


def flag_names(flags: int) -> list[str]:
    """Names of the bits that are set.

    >>> flag_names(Flag.IMPUTED | Flag.MAINTENANCE)
    ['imputed', 'maintenance']
    """
    return [name for flag, name in FLAG_NAMES.items() if flags & flag]
