"""Changed inputs for the small files of a data folder and of a backup, for cursors and for names of sources."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from service.backup import CONTENTS, BackupError, Contents, Copied, read_contents
from service.errors import BadRequest, Invalid
from service.journal_end import EndMark, mark_of, marked
from service.packing import PackingError, unpacked
from service.registry import INDEX, ActiveIndex, RegistryError, read_index
from service.score_history import Place
from service.sources import SOURCE_HEADER, source_of
from tests.fuzz import Parser, fuzz, in_bytes, in_json, rounds

Change = Callable[[bytes, random.Random], bytes]
SEALED = msgspec.json.encode(ActiveIndex(default="pumps", active={"pumps": 3, "fans": 1}).sealed())


def in_index(content: bytes, rng: random.Random) -> bytes:
    """Change an index, and give it the checksum of what it then holds where it still is one."""
    changed = in_json(content, rng)
    try:
        return msgspec.json.encode(msgspec.json.decode(changed, type=ActiveIndex).sealed())
    except (ValueError, RecursionError):
        return changed


@rounds(200)
@pytest.mark.parametrize("change", [in_json, in_index])
def test_any_index_of_models_is_read_or_refused(tmp_path: Path, inputs: int, change: Change) -> None:
    def read(content: bytes) -> None:
        (tmp_path / INDEX).write_bytes(content)
        assert isinstance(read_index(tmp_path), ActiveIndex)

    assert fuzz(Parser(read, (RegistryError,), (SEALED,), change), inputs) > inputs // 10


@rounds(200)
def test_any_end_mark_tells_what_was_written_or_nothing(tmp_path: Path, inputs: int) -> None:
    path = tmp_path / "shard-0.sqlite"
    EndMark(path, 1729).close()
    sound = mark_of(path).read_bytes()

    def read(content: bytes) -> None:
        mark_of(path).write_bytes(content)
        assert marked(path) == (1729 if content == sound else 0)

    fuzz(Parser(read, (), (sound,), in_bytes), inputs)


@rounds(200)
def test_any_contents_of_a_backup_are_read_or_refused(tmp_path: Path, inputs: int) -> None:
    copied = Copied(3, hashlib.sha256(b"abc").hexdigest())
    contents = Contents(
        format=1, program="1", created="2026-11-24T00:00:00Z", first=1, last=9, readings=90,
        settings={"a": [1, {"b": None}]}, models={"pumps": 3}, files={"journal/shard-0.sqlite": copied},
    )  # fmt: skip

    def read(content: bytes) -> None:
        (tmp_path / CONTENTS).write_bytes(content)
        read_contents(tmp_path)

    parser = Parser(read, (BackupError,), (msgspec.json.encode(contents),), in_json)
    assert fuzz(parser, inputs) > inputs // 10


def packed() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("backup.json", "journal/shard-0.sqlite", f"models/{'x' * 120}/1/manifest.json"):
            info = tarfile.TarInfo(name)
            info.size = 5
            archive.addfile(info, io.BytesIO(b"12345"))
    return buffer.getvalue()


def in_tar(content: bytes, rng: random.Random) -> bytes:
    """Change one of its blocks; where that is a header, mostly with a checksum that is right again."""
    at = 512 * rng.randrange(12)
    block = bytearray(in_bytes(content[at : at + 512], rng)[:512].ljust(512, b"\0"))
    if rng.random() < 0.7:
        total = sum(block[:148]) + 8 * 32 + sum(block[156:])
        block[148:156] = f"{total:06o}\0 ".encode()
    return content[:at] + block + content[at + 512 :]


@rounds(100)
def test_any_tar_is_unpacked_or_refused(tmp_path: Path, inputs: int) -> None:
    path = tmp_path / "backup.tar"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        with unpacked(path, tmp_path / "data") as folder:
            held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            assert held <= len(content)

    assert fuzz(Parser(read, (PackingError,), (packed(),), in_tar), inputs) > inputs // 10


@rounds(300)
def test_any_cursor_is_read_or_refused(inputs: int) -> None:
    sound = [Place(17, 1_500_000).text().encode(), Place(0, -(2**63)).text().encode()]

    def read(content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        assert Place.parse(text).text() == text

    assert fuzz(Parser(read, (Invalid,), sound, in_bytes), inputs) > inputs // 10


@rounds(300)
def test_any_name_of_a_source_is_taken_or_refused(inputs: int) -> None:
    def read(content: bytes) -> None:
        assert source_of({SOURCE_HEADER.lower().encode(): content}, None).encode() == content

    assert fuzz(Parser(read, (BadRequest,), (b"gateway-3", b"10.0.0.7:4711"), in_bytes), inputs) > inputs // 10
