"""Files that Limen itself exported: readings with what came of them, in Parquet. Their metadata say what each column
is, so that results (score, status, ...) never become sensors, whatever a sensor is called.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl

from models.contract import DataError

KEY = "limen"  # of the metadata of a Parquet file
FORMAT = 1


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
        """For the file."""
        return {KEY: msgspec.json.encode(self).decode()}


def history_columns(path: Path) -> HistoryColumns | None:
    """What the columns of a Parquet file are; None where Limen did not export it. DataError where a newer one did."""
    found = pl.read_parquet_metadata(path).get(KEY)
    if found is None:
        return None
    try:
        columns = msgspec.json.decode(found, type=HistoryColumns)
    except msgspec.DecodeError as error:
        raise DataError(f"{path.name} was exported by Limen, but its metadata cannot be read: {error}") from None
    if columns.format != FORMAT:
        raise DataError(f"{path.name} was exported in format {columns.format}; this program reads {FORMAT}")
    return columns
