import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load, save

from models import artifact
from models.artifact import MANIFEST, TENSORS
from models.contract import ModelError
from models.train import Training
from tests.builders import process, trained


@pytest.fixture(scope="module")
def training() -> Training:
    return trained()


@pytest.fixture
def folder(training: Training, tmp_path: Path) -> Path:
    artifact.save(training.manifest, training.detector, training.drift, tmp_path / "model")
    return tmp_path / "model"


def resign(folder: Path, **changes: object) -> None:
    """Change fields of the manifest and give it an id that matches again."""
    found = json.loads((folder / MANIFEST).read_text()) | changes
    manifest = artifact.msgspec.convert(found, artifact.Manifest)
    manifest = msgspec.structs.replace(manifest, artifact_id=artifact.identify(manifest))
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def retensor(folder: Path, **changes: np.ndarray | None) -> None:
    """Change tensors and sign the manifest again."""
    tensors = load((folder / TENSORS).read_bytes()) | changes
    blob = save({k: v for k, v in tensors.items() if v is not None})
    (folder / TENSORS).write_bytes(blob)
    resign(folder, tensors_sha256=artifact.hashlib.sha256(blob).hexdigest())


def test_a_loaded_model_gives_the_same_scores_bit_for_bit(folder: Path, training: Training) -> None:
    x = process(9, 200)
    loaded = artifact.load(folder)
    for field in ("score", "p_value", "memory", "residual"):
        np.testing.assert_array_equal(getattr(loaded.detector.run(x), field), getattr(training.detector.run(x), field))
    assert loaded.drift.as_arrays().keys() == training.drift.as_arrays().keys()


def test_the_same_training_gives_the_same_artifact_id(folder: Path, tmp_path: Path) -> None:
    again = trained()
    manifest = artifact.save(again.manifest, again.detector, again.drift, tmp_path / "again")
    assert manifest.artifact_id == artifact.load(folder).artifact_id


def test_saving_over_a_model_leaves_the_new_one(folder: Path) -> None:
    other = trained(seed=5)
    manifest = artifact.save(other.manifest, other.detector, other.drift, folder)
    assert artifact.load(folder).artifact_id == manifest.artifact_id
    assert sorted(p.name for p in folder.iterdir()) == [MANIFEST, TENSORS]


@pytest.mark.parametrize("name", [MANIFEST, TENSORS])
def test_a_folder_without_one_of_its_files_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is not there"):
        artifact.load(folder)


@pytest.mark.parametrize("name", [MANIFEST, TENSORS])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(folder: Path, name: str, share: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError):
        artifact.load(folder)


def test_any_flipped_byte_of_the_tensors_is_refused(folder: Path) -> None:
    content = bytearray((folder / TENSORS).read_bytes())
    for place in range(0, len(content), len(content) // 20):
        flipped = content.copy()
        flipped[place] ^= 1
        (folder / TENSORS).write_bytes(flipped)
        with pytest.raises(ModelError, match="does not match the hash"):
            artifact.load(folder)


def test_a_changed_field_is_refused(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    changed = re.sub(r'"warmup_ticks": \d+', '"warmup_ticks": 1', text)
    assert changed != text
    (folder / MANIFEST).write_text(changed)
    with pytest.raises(ModelError, match="changed after training"):
        artifact.load(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "format is 2; this program reads format 1"),
        ({"name": "../etc"}, "name is '../etc'"),
        ({"name": ""}, "name is ''"),
        ({"interval": 0}, "interval is 0"),
        ({"warmup_ticks": 0}, "warmup_ticks is 0"),
        ({"requires": ["modes"]}, "requires modes"),
        ({"statistics": ["other"]}, "statistics are"),
        ({"version": 0}, "version is 0"),
        ({"winsor_cap": -1.0}, "winsor_cap"),
        ({"p": 9}, r"tensor 'W_mm' is float32 \(8, 8\); expected float32 \(9, 9\)"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(folder: Path, changes: dict[str, object], reason: str) -> None:
    resign(folder, **changes)
    with pytest.raises(ModelError, match=reason):
        artifact.load(folder)


def test_an_unknown_field_is_refused(folder: Path) -> None:
    found = json.loads((folder / MANIFEST).read_text()) | {"surprise": 1}
    (folder / MANIFEST).write_text(json.dumps(found))
    with pytest.raises(ModelError, match="surprise"):
        artifact.load(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}'])
def test_a_manifest_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(ModelError, match=MANIFEST):
        artifact.load(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"W_mm": np.full((8, 8), np.nan, np.float32)}, "W_mm.* not finite"),
        ({"W_mm": np.eye(8, dtype=np.float32) * 1.5}, "spectral radius"),
        ({"W_mm": np.eye(8)}, "W_mm.* float64"),
        ({"W_mo": None}, "no tensor 'W_mo'"),
        ({"W_hm": None}, "no tensor 'W_hm'"),
        ({"b_o": np.zeros(3, np.float32)}, r"b_o.*\(3,\)"),
        ({"surprise": np.zeros(3, np.float32)}, "unknown tensor 'surprise'"),
        ({"knots": np.array([2, 1], np.float32), "p_values": np.array([1, 0.5, 0.1], np.float32)}, "knots"),
        ({"quantiles": np.array([1, 1, 0, 1], np.float32)}, "not positive"),
        ({"precision": np.triu(np.ones((4, 4), np.float32))}, "not symmetric"),
    ],
)
def test_tensors_that_cannot_serve_are_refused(
    folder: Path, changes: dict[str, np.ndarray | None], reason: str
) -> None:
    retensor(folder, **changes)
    with pytest.raises(ModelError, match=reason):
        artifact.load(folder)


def test_a_file_that_is_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "TENSORS_BYTES_MAX", 100)
    with pytest.raises(ModelError, match="expected at most 100"):
        artifact.load(folder)
