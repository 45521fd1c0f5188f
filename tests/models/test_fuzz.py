"""Changed inputs for what training reads: exports of plants, and models on disk."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest
from xlsxwriter import Workbook

from models import artifact
from models.artifact import TENSORS
from models.contract import DataError, ModelError
from models.data import DataOptions, read
from models.exports.tags import read_tags
from models.manifest import MANIFEST, Manifest, identify
from tests.builders import trained
from tests.fuzz import Parser, fuzz, in_bytes, in_values, rounds
from tests.models.exports.exporting import minutes
from tests.models.exports.test_corpus import CASES, CORPUS

ROWS = 12


def texts() -> list[bytes]:
    """The exports of the corpus that need no option."""
    return [(CORPUS / name).read_bytes() for name in CASES]


def parquet() -> list[bytes]:
    """The same readings, with two kinds of times."""
    times = pl.Series("time", minutes(ROWS))
    columns = {"time": times, "flow": [float(i) for i in range(ROWS)], "state": [0, 1] * (ROWS // 2)}
    made = []
    for frame in (pl.DataFrame(columns), pl.DataFrame({**columns, "time": times.str.to_datetime(time_zone="UTC")})):
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        made.append(buffer.getvalue())
    return made


def workbooks() -> list[bytes]:
    """A workbook of two sheets."""
    buffer = io.BytesIO()
    with Workbook(buffer) as book:
        sheet = book.add_worksheet("readings")
        sheet.write_row(0, 0, ["time", "flow (m3/h)", "pressure"])
        for row, time in enumerate(minutes(ROWS), 1):
            sheet.write_row(row, 0, [time, row / 2, row])
        book.add_worksheet("notes").write(0, 0, "nothing")
    return [buffer.getvalue()]


def in_zip(content: bytes, rng: random.Random) -> bytes:
    """Change the bytes of the file, or those of one of the files in it."""
    if rng.random() < 0.3:
        return in_bytes(content, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        chosen = rng.choice(old.namelist())
        for name in old.namelist():
            new.writestr(name, in_bytes(old.read(name), rng) if name == chosen else old.read(name))
    return buffer.getvalue()


@rounds(20)
@pytest.mark.parametrize(
    ("name", "sound", "change"),
    [
        ("pump-7.csv", texts, in_bytes),
        ("pump-7.parquet", parquet, in_bytes),
        ("pump-7.xlsx", workbooks, in_zip),
    ],
    ids=["text", "parquet", "workbook"],
)
def test_any_export_is_read_or_refused(
    tmp_path: Path,
    inputs: int,
    name: str,
    sound: Callable[[], list[bytes]],
    change: Callable[[bytes, random.Random], bytes],
) -> None:
    path = tmp_path / name

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        found = read([path], DataOptions())
        assert found.series
        assert len(found.row_time) == len(found.row_status) == found.rows

    assert fuzz(Parser(parse, (DataError,), sound(), change, 100_000), inputs) > inputs // 20


TAGS = (
    (CORPUS / "historian_tags.csv").read_bytes(),
    "tag;equipment;sensor;unit\nP7.FT;p-7;flow;m3/h\nAMB;p-7;ambient;°C\nAMB;p-8;ambient;°C\n".encode("cp1252"),
    "tag,センサ\nA-1,流量\nA-2,圧力\n".encode("cp932"),
)


@rounds(60)
def test_any_map_of_tags_is_read_or_refused(tmp_path: Path, inputs: int) -> None:
    path = tmp_path / "tags.csv"

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        found = read_tags(path)
        places = [(place.equipment, place.sensor) for own in found.values() for place in own]
        assert all(tag and sensor for tag, own in found.items() for sensor in (place.sensor for place in own))
        assert len(set(places)) == len(places)

    assert fuzz(Parser(parse, (DataError,), TAGS, in_bytes, 100_000), inputs) > inputs // 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The two files of a model."""
    folder, training = tmp_path_factory.mktemp("model"), trained()
    artifact.save(training.manifest, training.detector, training.drift, folder, training.horizons)
    return (folder / MANIFEST).read_bytes(), (folder / TENSORS).read_bytes()


def signed(found: object, tensors: bytes) -> bytes:
    """A manifest with the hashes that make it and the tensors agree, where it still is one."""
    if not isinstance(found, dict):
        return msgspec.json.encode(found)
    found = {**found, "tensors_sha256": hashlib.sha256(tensors).hexdigest()}
    try:
        return msgspec.json.encode({**found, "artifact_id": identify(msgspec.convert(found, Manifest))})
    except (msgspec.ValidationError, ValueError):
        return msgspec.json.encode(found)


def in_model(files: tuple[bytes, bytes], rng: random.Random) -> tuple[bytes, bytes]:
    """Change bytes of one of the files; or values of the manifest, or what the tensor file says of its tensors, and
    sign them again."""
    manifest, tensors = files
    match rng.randrange(5):
        case 0:
            return in_bytes(manifest, rng), tensors
        case 1:
            return manifest, in_bytes(tensors, rng)
        case 2:
            return signed(in_values(msgspec.json.decode(manifest), rng), tensors), tensors
        case 3:
            changed = in_bytes(tensors, rng)
        case _:
            size = int.from_bytes(tensors[:8], "little")
            header = msgspec.json.encode(in_values(msgspec.json.decode(tensors[8 : 8 + size]), rng))
            changed = len(header).to_bytes(8, "little") + header + tensors[8 + size :]
    return signed(msgspec.json.decode(manifest), changed), changed


@rounds(200)
def test_any_model_is_loaded_or_refused(model: tuple[bytes, bytes], inputs: int) -> None:
    parser = Parser(lambda files: artifact.parse(*files, "the upload"), (ModelError,), (model,), in_model, 20_000)
    assert fuzz(parser, inputs) > inputs // 2
