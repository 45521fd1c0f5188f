import hashlib
import json
import re
import struct
import tracemalloc
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load, save

from models import artifact
from models.artifact import MANIFEST, TENSORS
from models.contract import ModelError
from models.manifest import hash_arrays, read_manifest
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


def test_a_model_says_for_how_long_each_value_may_be_held(folder: Path, training: Training) -> None:
    loaded = artifact.load(folder)
    assert loaded.holds.dtype == np.int64
    assert loaded.holds.tolist() == training.model.holds.tolist() == [2_000_000] * 4, (
        "each reading brings another value"
    )


def test_a_manifest_without_holds_keeps_its_id_and_holds_without_limit(folder: Path) -> None:
    found = json.loads((folder / MANIFEST).read_text())
    bare = [{name: value for name, value in sensor.items() if name != "hold"} for sensor in found["sensors"]]
    found |= {"sensors": bare, "artifact_id": ""}
    found["artifact_id"] = hashlib.sha256(json.dumps(found, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(found))
    loaded = artifact.load(folder)
    assert loaded.artifact_id == found["artifact_id"]
    assert loaded.holds.tolist() == [0] * 4


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
        ({"tolerance": -0.1}, "tolerance is -0.1; expected 0 to 2.0"),
        ({"tolerance": 1e308}, "tolerance is 1e\\+308; expected 0 to 2.0"),
        ({"requires": ["modes"]}, "requires modes"),
        ({"statistics": ["other"]}, "statistics are"),
        ({"version": 0}, "version is 0"),
        ({"winsor_cap": -1.0}, "winsor_cap"),
        ({"winsor_cap": 1e300}, "winsor_cap is 1e\\+300; expected a positive number within"),
        ({"combining_scale": 1e-60}, "combining_scale is 1e-60"),
        ({"warmup_ticks": 2**40}, "warmup_ticks is 1099511627776; expected 1 to"),
        ({"interval": 2**62}, "interval is 4611686018427387904 microseconds; expected 1 to"),
        ({"gap_reset": 2**80}, "gap_reset is 1208925819614629174706176 microseconds; expected 1 to"),
        ({"gap_reset": 366 * 86_400_000_000}, "gap_reset is .* expected 1 to 10000000000, 10000 intervals"),
        ({"kind": "lstn"}, "kind is 'lstn'; this program knows 'lmn'"),
        ({"kind": "pca"}, "holds an unknown tensor '"),
        ({"L": 0}, "L is 0; expected 1 or more"),
        ({"g": 0.0}, "g is 0.0; expected more than 0 and at most 1"),
        ({"g": 1.5}, "g is 1.5"),
        ({"basis_id": "other"}, "basis_id is 'other'; the tensors and sensors make it"),
        ({"memory_id": "other"}, "memory_id is 'other'"),
        ({"equipment": ["machine\n"]}, "expected a name without control characters"),
        ({"p": 2049}, "p is 2049; expected 1 to 2048"),
        ({"name": "index.json"}, "name is 'index.json'; expected letters, .* no '.json' at the end"),
        ({"name": "Pumps.JSON"}, "name is 'Pumps.JSON'"),
        ({"name": "pumps.partial"}, "name is 'pumps.partial'"),
        ({"p": 9}, r"tensor 'W_mm' is float32 \(8, 8\); expected float32 \(9, 9\)"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(folder: Path, changes: dict[str, object], reason: str) -> None:
    resign(folder, **changes)
    with pytest.raises(ModelError, match=reason):
        artifact.load(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": ""}, "sensor with an empty name"),
        ({"name": "flow\n"}, r"sensor 'flow\\n'; expected a name without control characters"),
        ({"name": "sensor-0"}, "sensor 'sensor-0' occurs twice"),
        ({"name": "x" * 2000}, "sensor name of 2000 characters"),
        ({"unit": "\x00"}, "expected no control characters"),
        ({"scale": 1e-320}, "bad scale: 1e-320; expected a positive number whose inverse is finite"),
        ({"scale": -1.0}, "bad scale"),
        ({"resolution": 0.0}, "bad resolution"),
        ({"hold": -1}, "sensor 'sensor-1': hold is -1 microseconds; expected 0 to"),
        ({"hold": 2**70}, "hold is 1180591620717411303424 microseconds"),
    ],
)
def test_a_sensor_that_no_reading_can_meet_is_refused(folder: Path, changes: dict[str, object], reason: str) -> None:
    sensors = json.loads((folder / MANIFEST).read_text())["sensors"]
    resign(folder, sensors=[sensors[0], sensors[1] | changes, *sensors[2:]])
    with pytest.raises(ModelError, match=reason):
        artifact.load(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"budget": 0.0}, "budget is 0.0; expected a share between 0 and 1"),
        ({"budget": 1.0}, "budget is 1.0"),
        ({"kept": 1.5}, "a share is not within 0 and 1"),
        ({"interval": [0.5, 0.9]}, "interval is .* expected it around kept"),
        ({"quantiles": []}, "quantiles do not ascend"),
        ({"quantiles": [[0.9, 0.8], [0.5, 0.9]]}, "quantiles do not ascend"),
        ({"quantiles": [[0.5, 0.8], [0.9, 0.7]]}, "quantiles do not ascend"),
        ({"block_length": 0}, "block_length is 0"),
    ],
)
def test_a_promise_that_is_none_is_refused(folder: Path, changes: dict[str, object], reason: str) -> None:
    (record,) = json.loads((folder / MANIFEST).read_text())["calibration"]
    resign(folder, calibration=[record | changes])
    with pytest.raises(ModelError, match=reason):
        artifact.load(folder)


def test_the_manifest_says_how_high_held_out_scores_are_and_what_the_blocks_kept(training: Training) -> None:
    (record,) = training.manifest.calibration
    assert [level for level, _ in record.quantiles] == [0.5, 0.9, 0.95, 0.99, 0.999]
    assert record.quantiles[3][1] == pytest.approx(np.quantile(training.calibration.scores, 0.99))
    assert record.interval == (min(record.block_kept), max(record.block_kept))
    assert record.interval[0] <= record.kept <= record.interval[1]


def test_an_unknown_field_is_refused(folder: Path) -> None:
    found = json.loads((folder / MANIFEST).read_text()) | {"surprise": 1}
    (folder / MANIFEST).write_text(json.dumps(found))
    with pytest.raises(ModelError, match="surprise"):
        artifact.load(folder)


def test_a_small_manifest_does_not_become_very_many_objects(folder: Path) -> None:
    real = (folder / MANIFEST).read_bytes()
    filler = b"[" + b"{}," * 1_000_000 + b"{}]"
    bombs = (
        b'{"format": 1, "x": ' + filler + b"}",
        b'{"format": ' + filler + b"}",
        real.replace(b'"parent": ""', b'"parent": ' + filler),
        filler,
    )
    for content in bombs:
        assert content != real
        tracemalloc.start()
        try:
            with pytest.raises(ModelError):
                read_manifest(content)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 3 * len(content)
    with pytest.raises(ModelError, match=r"has 5120001 bytes; expected at most 5120000"):
        read_manifest(b" " * 5_120_001)


@pytest.mark.parametrize("kind", ["BF16", "F8_E5M2"])
def test_tensors_of_a_type_that_numpy_does_not_have_are_refused(folder: Path, kind: str) -> None:
    header = json.dumps({"W_mm": {"dtype": kind, "shape": [2], "data_offsets": [0, 4 if kind == "BF16" else 2]}})
    blob = struct.pack("<Q", len(header)) + header.encode() + bytes(4 if kind == "BF16" else 2)
    (folder / TENSORS).write_bytes(blob)
    resign(folder, tensors_sha256=hashlib.sha256(blob).hexdigest())
    with pytest.raises(ModelError, match=f"holds a tensor of type '{kind}'; expected F32"):
        artifact.load(folder)


def test_a_tensor_file_with_a_long_header_is_refused(folder: Path) -> None:
    blob = struct.pack("<Q", 100_000) + b" " * 100_000
    (folder / TENSORS).write_bytes(blob)
    resign(folder, tensors_sha256=hashlib.sha256(blob).hexdigest())
    with pytest.raises(ModelError, match="has a header of 100000 bytes; expected at most 65536"):
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
        ({"precision": -np.eye(4, dtype=np.float32)}, "not positive definite"),
        ({"precision": np.zeros((4, 4), np.float32)}, "not positive definite"),
        ({"precision": np.eye(4, dtype=np.float32) * np.float32(1e38)}, "not finite when the model is tried out"),
        ({"quantiles": np.full(4, 3.4e38, np.float32)}, "not positive, or not finite once combined"),
        ({"drift.mean": np.zeros(9, np.float32)}, r"'drift.mean' is float32 \(9,\); expected float32 \(8,\)"),
        ({"drift.whitening": np.eye(9, dtype=np.float32)}, r"'drift.whitening' is float32 \(9, 9\)"),
        ({"drift.cells": np.zeros((3, 48), np.float32)}, r"'drift.cells' is float32 \(3, 48\)"),
        ({"drift.mean": np.zeros(8)}, "'drift.mean' is float64"),
        ({"drift.mean": None}, "no tensor 'drift.mean'"),
        ({"drift.foo": np.zeros(8, np.float32)}, "unknown tensor 'drift.foo'"),
        ({"W_mh": np.zeros((4, 8), np.float32)}, "W_mh has no use without W_xh"),
        ({"b_h": np.zeros(4, np.float32)}, "b_h has no use without W_xh"),
        ({"tanh": np.zeros(4, np.bool_)}, "tanh has no use without W_xh"),
    ],
)
def test_tensors_that_cannot_serve_are_refused(
    folder: Path, changes: dict[str, np.ndarray | None], reason: str
) -> None:
    retensor(folder, **changes)
    with pytest.raises(ModelError, match=reason):
        artifact.load(folder)


@pytest.mark.parametrize(("name", "factor"), [("W_mo", 1e38), ("W_mo", 1e25), ("W_hm", 1e30), ("b_o", 1e30)])
def test_finite_weights_whose_products_are_not_finite_are_refused(folder: Path, name: str, factor: float) -> None:
    weight = load((folder / TENSORS).read_bytes())[name]
    big = (weight / np.abs(weight).max() * factor).astype(np.float32)
    memory = {"W_hm": big} if name == "W_hm" else {}
    if memory:
        tensors = load((folder / TENSORS).read_bytes())
        resign(folder, memory_id=hash_arrays(big, tensors["W_mm"]))
    retensor(folder, **{name: big})
    with pytest.raises(ModelError, match="not finite when the model is tried out"):
        artifact.load(folder)


def test_a_model_that_runs_away_where_ticks_do_not_come_is_refused(folder: Path) -> None:
    tensors = load((folder / TENSORS).read_bytes())
    into = np.full_like(tensors["W_hm"], 1e4)
    resign(folder, memory_id=hash_arrays(into, tensors["W_mm"]), gap_reset=64_000_000)
    retensor(folder, W_hm=into, W_mo=np.full_like(tensors["W_mo"], 1e4))
    with pytest.raises(ModelError, match="tried out"):
        artifact.load(folder)


def test_other_centres_are_another_basis(folder: Path) -> None:
    centres = load((folder / TENSORS).read_bytes())["centres"]
    retensor(folder, centres=centres + 1)
    with pytest.raises(ModelError, match="basis_id"):
        artifact.load(folder)


def test_what_would_be_refused_is_not_saved(training: Training, tmp_path: Path) -> None:
    manifest = msgspec.structs.replace(training.manifest, warmup_ticks=2**40)
    with pytest.raises(ModelError, match="warmup_ticks"):
        artifact.save(manifest, training.detector, training.drift, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_file_that_is_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "TENSORS_BYTES_MAX", 100)
    with pytest.raises(ModelError, match="expected at most 100"):
        artifact.load(folder)


def test_errors_of_forecasts_are_saved_and_an_artifact_without_them_loads(training: Training, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    artifact.save(training.manifest, training.detector, training.drift, folder, training.horizons)
    loaded = artifact.load(folder)
    assert loaded.horizons is not None
    np.testing.assert_array_equal(loaded.horizons.widths, training.horizons.widths)
    retensor(folder, **{"forecast.widths": None, "forecast.levels": None})
    assert artifact.load(folder).horizons is None


def test_errors_of_forecasts_of_other_sensors_are_refused(training: Training, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    artifact.save(training.manifest, training.detector, training.drift, folder, training.horizons)
    retensor(folder, **{"forecast.widths": np.ones((2, 5, 3), np.float32)})
    with pytest.raises(ModelError, match="widths of forecasts are"):
        artifact.load(folder)
