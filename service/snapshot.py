"""The state of a shard on disk: one safetensors file a snapshot, the newest `kept` of them.

A file is written under another name, synced, renamed, and its folder synced: a crash leaves the file whole or not
there. A checksum over header and arrays says so for certain. A field that is missing takes its default, an unknown one
is refused: a newer program reads older snapshots, an older one does not guess at newer ones.
"""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from models.contract import brief
from models.disk import PARTIAL, make_folder, remove_leftovers, write_durably
from service.columns import Columns, Field
from service.errors import shown

FORMAT = 1
NAME = re.compile(r"snapshot-(\d{20})\.safetensors")
LEFTOVERS = f".snapshot-*{PARTIAL}"
ASIDE = "refused-"
HEADER_KEY = "limen"

Arrays = dict[str, NDArray[Any]]


class SnapshotError(ValueError):
    """A snapshot that cannot be used; the text says which and why."""


class NewerSnapshot(SnapshotError):
    """A snapshot of a newer program, which that can use: it stays where it is."""


class FieldRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One array over slots, as it was written."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    default: Any


class BankRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The states of one model's machines: arrays `bank.<number>.<field>`, free rows among them."""

    number: int
    artifact_id: str
    rows: int
    free: tuple[int, ...]
    fields: tuple[FieldRecord, ...]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the arrays mean. `sequence` is that of the next record."""

    format: int
    shard: int
    sequence: int
    engine: str
    equipment: int
    fields: tuple[FieldRecord, ...]
    banks: tuple[BankRecord, ...]
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Header and arrays: `equipment.<field>`, `bank.<number>.<field>`, `drift.<number>.<name>`, and as UTF-8 JSON bytes
    `ids` (by slot), `alarms`, `configuration` and, where there are any, `shifts` (of `service/sources.py`)."""

    header: Header
    arrays: Arrays


def engine_id() -> str:
    """Of what made the numbers: on the same engine, scores go on bit for bit."""
    python, numpy = platform.python_version(), np.__version__
    return f"{platform.machine()} {_processor()} python {python} numpy {numpy} limen {metadata.version('limen')}"


@cache
def _processor() -> str:
    """The model of the processor, which chooses what BLAS runs."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or "unknown"


def describe(columns: Columns) -> tuple[FieldRecord, ...]:
    """The fields of some columns, for a header."""
    return tuple(FieldRecord(n, f.dtype, f.shape, _plain(f.default)) for n, f in columns.fields.items())


def _plain(default: Any) -> Any:
    """A default for JSON; what a row of an array or NaN starts with is not written."""
    plain = default.item() if isinstance(default, np.generic) else default
    return None if isinstance(plain, np.ndarray) or plain != plain else plain


def text(content: bytes) -> NDArray[np.uint8]:
    """Bytes as an array."""
    return np.frombuffer(content, np.uint8)


# -- writing ---------------------------------------------------------------------------------------------------------


def write(folder: Path, snapshot: Snapshot, kept: int = 2) -> Path:
    """Write a snapshot into `folder` (made if absent) and remove all but the newest `kept`. Returns its path."""
    make_folder(folder)
    remove_leftovers(folder, LEFTOVERS)
    header = msgspec.structs.replace(snapshot.header, sha256=checksum(snapshot))
    path = folder / f"snapshot-{header.sequence:020d}.safetensors"
    metadata = {HEADER_KEY: msgspec.json.encode(header).decode()}
    arrays = {name: np.ascontiguousarray(array) for name, array in snapshot.arrays.items()}
    write_durably(path, to_safetensors(arrays, metadata))
    for old in [other for other in paths(folder) if other != path][kept - 1 :]:
        old.unlink()
    return path


def checksum(snapshot: Snapshot) -> str:
    """SHA-256 over header (without checksum) and all arrays with their names, types and shapes."""
    bare = msgspec.structs.replace(snapshot.header, sha256="")
    digest = hashlib.sha256(msgspec.json.encode(bare))
    for name in sorted(snapshot.arrays):
        array = np.ascontiguousarray(snapshot.arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def paths(folder: Path) -> list[Path]:
    """Snapshots in a folder, newest first."""
    return sorted((path for path in folder.glob("snapshot-*") if NAME.fullmatch(path.name)), reverse=True)


def put_aside(path: Path) -> Path:
    """Rename a snapshot that cannot be used, for somebody to look at; its path, the old one where that fails."""
    try:
        return path.rename(path.with_name(f"{ASIDE}{path.name}"))
    except OSError:
        return path


def sequence_of(path: Path) -> int:
    """The sequence that a snapshot's name tells: that of the record after it.

    >>> sequence_of(Path("snapshot-00000000000000000062.safetensors"))
    62
    """
    found = NAME.fullmatch(path.name)
    if found is None:
        raise ValueError(f"{path.name} is not the name of a snapshot")
    return int(found[1])


# -- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path) -> Snapshot:
    """One snapshot, checked. SnapshotError says what is wrong with it."""
    try:
        with safe_open(path, framework="numpy") as file:
            header = _header((file.metadata() or {}).get(HEADER_KEY, ""), path)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        if isinstance(error, SnapshotError):
            raise
        raise SnapshotError(f"{path.name} cannot be read: {brief(error)}; it is incomplete or damaged") from None
    snapshot = Snapshot(header, arrays)
    if checksum(snapshot) != header.sha256:
        raise SnapshotError(f"{path.name} does not match its checksum; it is damaged")
    if sequence_of(path) != header.sequence:
        raise SnapshotError(f"{path.name} says in its header that it is snapshot {header.sequence}; it was renamed")
    return snapshot


def newest_ids(folder: Path) -> dict[int, str]:
    """Equipment ids by slot, as far as the newest snapshot that can be read knows them; slots never change."""
    for path in paths(folder):
        try:
            with safe_open(path, framework="numpy") as file:
                return dict(enumerate(msgspec.json.decode(file.get_tensor("ids").tobytes(), type=list[str])))
        except (SafetensorError, OSError, ValueError):
            continue
    return {}


def _header(content: str, path: Path) -> Header:
    try:
        found = msgspec.json.decode(content)
        number = found.get("format") if isinstance(found, dict) else None
        if number != FORMAT:
            kind = NewerSnapshot if isinstance(number, int) and number > FORMAT else SnapshotError
            raise kind(f"{path.name} has format {shown(number)}; this program reads format {FORMAT}")
        return msgspec.convert(found, Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"{path.name} has a header that this program does not know: {brief(error)}") from None


def take(arrays: Arrays, prefix: str, written: tuple[FieldRecord, ...], fields: dict[str, Field], rows: int) -> Arrays:
    """The arrays `prefix<field>` for columns of `rows` rows. Missing ones are left to their defaults; unknown ones and
    those of another type or shape are refused."""
    for record in written:
        field = fields.get(record.name)
        if field is None:
            raise NewerSnapshot(f"the snapshot holds an unknown field {record.name!r}; a newer program wrote it")
        array = arrays.get(prefix + record.name)
        wanted = (np.dtype(field.dtype), (rows, *field.shape))
        if array is None or (array.dtype, array.shape) != wanted:
            found = "absent" if array is None else f"{array.dtype} {array.shape}"
            raise SnapshotError(f"field {record.name!r} of the snapshot is {found}; expected {wanted[0]} {wanted[1]}")
        if array.dtype == np.bool_ and (array.view(np.uint8) > 1).any():
            raise SnapshotError(f"field {record.name!r} of the snapshot holds what is neither true nor false")
    return {record.name: arrays[prefix + record.name] for record in written}
