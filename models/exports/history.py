"""Files that Limen itself exported: readings with what came of them, in Parquet. Their metadata say what each column
is, so that results (score, status, ...) never become sensors, whatever a sensor is called. A checksum over all else in
the file is among them, so that no damaged value is taken for one that was measured.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import polars as pl

from models.contract import DataError

KEY = "limen"  # of the metadata of a Parquet file
SEAL = "limen.sha256"  # likewise; 64 characters, over all other bytes of the file
FORMAT = 2
UNSEALED = 1  # format without it
_BLANK = "0" * 64


class HistoryColumns(msgspec.Struct, frozen=True):
    """What the columns of an exported file are: names of the time, the machine and the sensors, and their units. All
    others are results."""

    format: int
    model: str
    version: int
    artifact_id: str
    time: str
    equipment: str
    sensors: list[str]
    units: list[str]

    def metadata(self) -> dict[str, str]:
        """For the file, which is then to be sealed."""
        return {KEY: msgspec.json.encode(self).decode(), SEAL: _BLANK}


def sealed(content: bytes) -> bytes:
    """The content of a file with these metadata, with its checksum."""
    place = content.index(_BLANK.encode(), content.rindex(SEAL.encode()))
    digest = hashlib.sha256(content[:place] + content[place + len(_BLANK) :]).hexdigest().encode()
    return content[:place] + digest + content[place + len(_BLANK) :]


def _check_seal(path: Path) -> bool:
    """Whether a file has a checksum. DataError where it does not match."""
    size, end = path.stat().st_size, 8  # the length of the metadata, and four letters
    with path.open("rb") as file:
        file.seek(max(size - end, 0))
        length = int.from_bytes(file.read(4), "little") + end
        file.seek(max(size - length, 0))
        metadata = file.read()
        key = metadata.rfind(SEAL.encode())
        if key < 0:
            return False
        place = key + len(SEAL)
        while place < len(metadata) and metadata[place : place + 1] not in b"0123456789abcdef":
            place += 1  # the length of the text
        digest = metadata[place : place + len(_BLANK)]
        file.seek(0)
        content = file.read()
    start = len(content) - len(metadata) + place
    if hashlib.sha256(content[:start] + content[start + len(_BLANK) :]).hexdigest().encode() != digest:
        raise DataError(f"{path.name} does not match its checksum; it is damaged")
    return True


def history_columns(path: Path) -> HistoryColumns | None:
    """What the columns of a Parquet file are; None where Limen did not export it. DataError where a newer one did,
    or where it is damaged."""
    checked = _check_seal(path)
    found = pl.read_parquet_metadata(path).get(KEY)
    if found is None and not checked:
        return None
    try:
        columns = msgspec.json.decode(found or "", type=HistoryColumns)
    except msgspec.DecodeError as error:
        raise DataError(f"{path.name} was exported by Limen, but its metadata cannot be read: {error}") from None
    if columns.format not in (UNSEALED, FORMAT):
        raise DataError(f"{path.name} was exported in format {columns.format}; this program reads {FORMAT}")
    if columns.format == FORMAT and not checked:
        raise DataError(f"{path.name} has lost its checksum; it is damaged")
    return columns
