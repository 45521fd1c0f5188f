"""An uploaded model: a zip of exactly `model.safetensors` and `manifest.json`, never unpacked by name.

Before the directory of the zip is believed, its end record is checked: a short directory, no comment, no zip64. What
is inflated is bounded by the sizes declared, and they by a limit.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from models.artifact import TENSORS
from models.contract import brief
from models.manifest import BYTES_MAX as MANIFEST_BYTES_MAX
from models.manifest import MANIFEST
from service.errors import BodyTooLarge, ModelRefused, shown

EXPECTED = f"expected a zip of exactly {TENSORS} and {MANIFEST}"
ENTRIES_NAMED_MAX = 5
DIRECTORY_BYTES_MAX = 4096
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE, _ZIP64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_ENCRYPTED = 0x1


def unpack(content: bytes, inflated_bytes_max: int) -> tuple[bytes, bytes]:
    """The bytes of manifest and tensors. ModelRefused says what is wrong with the zip, BodyTooLarge its size."""
    if not content:
        raise ModelRefused(f"the body is empty; {EXPECTED}")
    _check_end(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            _check_entries(archive.infolist(), inflated_bytes_max)
            return archive.read(entries[MANIFEST]), archive.read(entries[TENSORS])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise ModelRefused(f"the zip cannot be read: {brief(error)}; {EXPECTED}") from None


def _check_end(content: bytes) -> None:
    """The end record is the last thing in the file and tells of a short directory."""
    if len(content) < _END.size or content[-_END.size :][:4] != _END_SIGNATURE:
        raise ModelRefused(f"the body is not a zip, or one with a comment; {EXPECTED}")
    locator = content[-_END.size - _ZIP64_LOCATOR_BYTES :][:4]
    _, disk, start, here, entries, size, _, comment = _END.unpack(content[-_END.size :])
    if locator == _ZIP64_LOCATOR or disk or start or comment or here != entries or size > DIRECTORY_BYTES_MAX:
        raise ModelRefused(f"the zip has several disks, zip64 or a directory of {size} bytes; {EXPECTED}")


def _check_entries(entries: list[zipfile.ZipInfo], inflated_bytes_max: int) -> None:
    found = sorted(entry.filename for entry in entries)
    if found != sorted((MANIFEST, TENSORS)):
        named = ", ".join(shown(name) for name in found[:ENTRIES_NAMED_MAX]) or "nothing"
        more = f" and {len(found) - ENTRIES_NAMED_MAX} more" if len(found) > ENTRIES_NAMED_MAX else ""
        folder = "; zip the two files, not the folder" if any("/" in name for name in found) else ""
        raise ModelRefused(f"the zip holds {named}{more}; {EXPECTED}{folder}")
    for entry in entries:
        if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelRefused(f"{entry.filename} is encrypted or packed by method {entry.compress_type}; use deflate")
        if entry.filename == MANIFEST and entry.file_size > MANIFEST_BYTES_MAX:
            raise BodyTooLarge(f"{MANIFEST} has {entry.file_size} bytes; expected at most {MANIFEST_BYTES_MAX}")
    total = sum(entry.file_size for entry in entries)
    if total > inflated_bytes_max:
        raise BodyTooLarge(f"the zip inflates to {total} bytes; expected at most {inflated_bytes_max}")
