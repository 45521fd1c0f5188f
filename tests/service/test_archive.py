from __future__ import annotations

import io
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.archive import unpack
from service.errors import BodyTooLarge, ModelRefused

GOOD = {"manifest.json": b"{}", "model.safetensors": b"tensors"}
LIMIT = 1_000_000


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.comment = comment
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_the_two_files_come_out(method):
    assert unpack(zipped(GOOD, method), LIMIT) == (b"{}", b"tensors")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"manifest.json": b"{}"},
        {**GOOD, "notes.txt": b""},
        {"pumps/manifest.json": b"", "pumps/model.safetensors": b""},
        {"../manifest.json": b"", "model.safetensors": b""},
        {"/manifest.json": b"", "model.safetensors": b""},
        {"manifest.json": b"", "model.pickle": b""},
        {"manifest.json": b"", "MODEL.SAFETENSORS": b""},
    ],
)
def test_anything_but_the_two_files_is_refused(files):
    with pytest.raises(ModelRefused, match="expected a zip of exactly"):
        unpack(zipped(files), LIMIT)


def test_a_zip_of_a_folder_is_told_apart():
    folder = {"pumps/": b"", **{f"pumps/{name}": content for name, content in GOOD.items()}}
    with pytest.raises(
        ModelRefused, match=r"holds 'pumps/', 'pumps/manifest\.json'.*zip the two files, not the folder"
    ):
        unpack(zipped(folder), LIMIT)
    with pytest.raises(ModelRefused, match=r"'0', '1', '10', '11', '12' and 15 more"):
        unpack(zipped({str(i): b"" for i in range(20)}), LIMIT)


def test_the_same_file_twice_is_refused():
    content = zipped({"manifest.json": b"a", "manifest.jsoN": b"b"}).replace(b"manifest.jsoN", b"manifest.json")
    with pytest.raises(ModelRefused, match="expected a zip of exactly"):
        unpack(content, LIMIT)


def test_a_bomb_is_refused_before_it_is_inflated():
    with pytest.raises(BodyTooLarge, match="inflates to 50000002 bytes"):
        unpack(zipped({"manifest.json": b"{}", "model.safetensors": bytes(50_000_000)}), LIMIT)


def test_a_manifest_that_is_too_long_is_refused_before_it_is_inflated():
    with pytest.raises(BodyTooLarge, match=r"manifest.json has 6000000 bytes; expected at most 5120000"):
        unpack(zipped({"manifest.json": bytes(6_000_000), "model.safetensors": b""}), 10_000_000)


def test_sizes_that_lie_are_found_out():
    content = bytearray(zipped({"manifest.json": b"{}", "model.safetensors": bytes(5_000_000)}))
    place = content.rfind(b"PK\x01\x02") + 24
    content[place : place + 4] = (10).to_bytes(4, "little")
    with pytest.raises(ModelRefused, match="cannot be read"):
        unpack(bytes(content), LIMIT)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_pack_are_refused(method):
    with pytest.raises(ModelRefused, match="packed by method"):
        unpack(zipped(GOOD, method), LIMIT)


def test_encrypted_files_are_refused():
    content = bytearray(zipped(GOOD))
    place = content.find(b"PK\x01\x02") + 8
    content[place] |= 1
    with pytest.raises(ModelRefused, match="encrypted"):
        unpack(bytes(content), LIMIT)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip" * 10, zipped(GOOD)[:-1], zipped(GOOD, comment=b"hello")])
def test_what_is_no_plain_zip_is_refused(content):
    with pytest.raises(ModelRefused):
        unpack(content, LIMIT)


@given(st.data())
def test_a_damaged_zip_gives_the_files_or_is_refused(data):
    content = bytearray(zipped(GOOD))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    result = GOOD["manifest.json"], GOOD["model.safetensors"]
    with suppress(ModelRefused, BodyTooLarge):
        result = unpack(bytes(content), LIMIT)
    assert result == (GOOD["manifest.json"], GOOD["model.safetensors"])
