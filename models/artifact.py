"""One model on disk: a folder with `model.safetensors` and `manifest.json`; never pickle.

The manifest says what the tensors mean, holds the hash of the tensor file and, as `artifact_id`, the hash of itself. A
folder is refused, with the reason, when a file is absent or too large, when a hash, shape, dtype or finite check
fails, when a field is unknown or the format newer than this program, when the memory is unstable, and when the model,
tried out on a few ticks (`trial.py`), gives numbers that are none. The same is asked of a model before it is saved.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from models.baselines.methods import METHODS
from models.contract import Floats, Ints, ModelError, brief
from models.detector import Detector, Scoring
from models.disk import write_durably
from models.drift import EDGES, DriftReference
from models.horizons import HorizonErrors
from models.lmn import LinearMemoryNetwork
from models.manifest import BYTES_MAX, KIND, MANIFEST, Manifest, basis_id, check, identify, memory_id, read_manifest
from models.network import Network
from models.score import STATISTICS, positive_definite
from models.trial import try_out

TENSORS = "model.safetensors"
TENSORS_BYTES_MAX = 512 * 1024 * 1024
HEADER_BYTES_MAX = 64 * 1024  # of the tensor file, which names some twenty tensors
WEIGHTS = tuple(field.name for field in fields(LinearMemoryNetwork))  # tensors of the same name
DRIFT = "drift."  # before the names of the tensors of the drift reference
RIVAL = "network."  # before those of the weights of a network that is not the LMN
FORECAST = "forecast."  # before those of the errors of forecasts, which older artifacts do not have


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An artifact in memory, ready to serve."""

    manifest: Manifest
    detector: Detector
    drift: DriftReference
    horizons: HorizonErrors | None = None  # of forecasts; None: not known

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> int:
        return self.manifest.version

    @property
    def artifact_id(self) -> str:
        return self.manifest.artifact_id

    @property
    def holds(self) -> Ints:
        """For how long a value may stand for each sensor, (d,) microseconds; 0: without limit."""
        return np.array([sensor.hold for sensor in self.manifest.sensors], np.int64)


def save(
    manifest: Manifest,
    detector: Detector,
    drift: DriftReference,
    folder: Path,
    horizons: HorizonErrors | None = None,
) -> Manifest:
    """Write an artifact into `folder` (made if absent) and return its manifest, hashes filled in. The manifest is
    written last, so that an interrupted save leaves a folder that is refused. ModelError, and nothing written, where
    `load` would refuse it."""
    tensors = _tensors(detector) | {DRIFT + name: array for name, array in drift.as_arrays().items()}
    if horizons is not None:
        tensors |= {FORECAST + name: array for name, array in horizons.as_arrays().items()}
    blob = save_tensors(tensors)
    manifest = msgspec.structs.replace(manifest, tensors_sha256=hashlib.sha256(blob).hexdigest())
    manifest = msgspec.structs.replace(manifest, artifact_id=identify(manifest))
    check(manifest)
    assemble(manifest, blob, manifest.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    write_durably(folder / TENSORS, blob)
    write_durably(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return manifest


def _tensors(detector: Detector) -> dict[str, NDArray[np.generic]]:
    network, scoring = detector.network, detector.scoring
    if isinstance(network, LinearMemoryNetwork):
        weights = {name: getattr(network, name) for name in WEIGHTS}
    else:
        weights = {RIVAL + name: value for name, value in network.weights().items()}
    tensors = {
        **weights,
        "precision": scoring.precision,
        "quantiles": scoring.quantiles,
        "knots": scoring.knots,
        "p_values": scoring.p_values,
        "centres": detector.centres,
    }
    return {name: np.ascontiguousarray(value) for name, value in tensors.items() if value is not None}


def load(folder: Path) -> LoadedModel:
    """Read and check an artifact. ModelError says what is wrong with it."""
    manifest = read_manifest(_bounded(folder / MANIFEST, BYTES_MAX))
    blob = _bounded(folder / TENSORS, TENSORS_BYTES_MAX)
    return assemble(manifest, blob, str(folder))


def parse(manifest: bytes, tensors: bytes, where: str) -> LoadedModel:
    """An artifact from the bytes of its two files; `where` names it in errors."""
    return assemble(read_manifest(manifest), tensors, where)


def _bounded(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise ModelError(f"{path} is not there; a model is a folder with {MANIFEST} and {TENSORS}")
    if path.stat().st_size > limit:
        raise ModelError(f"{path} has {path.stat().st_size} bytes; expected at most {limit}")
    return path.read_bytes()


def assemble(manifest: Manifest, blob: bytes, where: str) -> LoadedModel:
    """Check the tensors against the manifest and put the detector together."""
    if hashlib.sha256(blob).hexdigest() != manifest.tensors_sha256:
        raise ModelError(
            f"{where}: {TENSORS} does not match the hash in {MANIFEST}; the file was changed or is incomplete"
        )
    header = int.from_bytes(blob[:8], "little")
    if header > HEADER_BYTES_MAX:
        raise ModelError(f"{where}: {TENSORS} has a header of {header} bytes; expected at most {HEADER_BYTES_MAX}")
    try:
        tensors = load_tensors(blob)
    except KeyError as error:
        raise ModelError(f"{where}: {TENSORS} holds a tensor of type {error}; expected F32, F64 or BOOL") from None
    except (SafetensorError, ValueError, TypeError) as error:
        raise ModelError(f"{where}: {TENSORS}: {brief(error)}") from None
    try:
        _check_tensors(manifest, tensors)
        detector = _detector(manifest, tensors)
        detector.network.check()
        _check_ids(manifest, detector)
        drift = DriftReference.from_arrays(_under(DRIFT, tensors))
        errors = _under(FORECAST, tensors)
        horizons = HorizonErrors.from_arrays(errors, len(detector.live)) if errors else None
        try_out(detector, drift)
    except (ModelError, ValueError) as error:
        raise ModelError(f"{where}: {error}") from None
    return LoadedModel(manifest, detector, drift, horizons)


def _under(prefix: str, tensors: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _check_ids(manifest: Manifest, detector: Detector) -> None:
    for name, own in (("basis_id", basis_id(detector)), ("memory_id", memory_id(detector.network))):
        found = getattr(manifest, name)
        if found != own:
            raise ModelError(f"{name} is {found[:80]!r}; the tensors and sensors make it {own!r}")


def _detector(manifest: Manifest, tensors: dict[str, NDArray[np.generic]]) -> Detector:
    """The detector of tensors that have been checked."""
    sensors = manifest.sensors
    return Detector(
        sensors=tuple(s.name for s in sensors),
        units=tuple(s.unit for s in sensors),
        mean=np.array([s.mean for s in sensors], np.float64),
        scale=np.array([s.scale for s in sensors], np.float64),
        constant=np.array([s.constant for s in sensors], np.bool_),
        resolution=np.array([s.resolution for s in sensors], np.float64),
        network=_network(manifest, tensors),
        scoring=Scoring(
            precision=tensors["precision"],
            cap=np.float32(manifest.winsor_cap),
            quantiles=tensors["quantiles"],
            combine=np.float32(manifest.combining_scale),
            knots=tensors["knots"],
            p_values=tensors["p_values"],
        ),
        warmup=manifest.warmup_ticks,
        interval=manifest.interval,
        gap_reset=manifest.gap_reset,
        equipment=manifest.equipment,
        centres=tensors["centres"],
    )


def _network(manifest: Manifest, tensors: dict[str, NDArray[Any]]) -> LinearMemoryNetwork | Network:
    if manifest.kind == KIND:
        return LinearMemoryNetwork(**{name: tensors[name] for name in WEIGHTS if name in tensors})
    live = sum(not s.constant for s in manifest.sensors)
    return METHODS[manifest.kind].network.of_weights(_under(RIVAL, tensors), live, manifest.p)


def _check_tensors(manifest: Manifest, tensors: dict[str, NDArray[np.generic]]) -> None:
    live = sum(not s.constant for s in manifest.sensors)
    p, d, knots = manifest.p, len(manifest.sensors), np.size(tensors.get("knots", ()))
    wanted: dict[str, tuple[tuple[int, ...], str]] = {}
    optional = {FORECAST + name: "float32" for name in ("levels", "widths")}
    if manifest.kind == KIND:
        wanted |= {"W_mm": ((p, p), "float32"), "W_mo": ((live, p), "float32"), "b_o": ((live,), "float32")}
        optional |= {"W_hm": "float32", "W_xh": "float32", "W_mh": "float32", "b_h": "float32", "tanh": "bool"}
    else:
        optional |= {name: "float32" for name in tensors if name.startswith(RIVAL)}  # the network knows which
    wanted |= {
        "precision": ((live, live), "float32"),
        "quantiles": ((len(STATISTICS),), "float32"),
        "knots": ((max(knots, 1),), "float32"),
        "p_values": ((knots + 1,), "float32"),
        "centres": ((len(manifest.equipment), d), "float64"),
        DRIFT + "cells": ((d, len(EDGES) + 1), "float32"),
        DRIFT + "mean": ((p,), "float32"),
        DRIFT + "whitening": ((p, p), "float32"),
    }
    for name, (shape, dtype) in wanted.items():
        if name not in tensors:
            raise ModelError(f"{TENSORS} has no tensor {name!r}")
        if tensors[name].shape != shape or tensors[name].dtype != dtype:
            found = f"{tensors[name].dtype} {tensors[name].shape}"
            raise ModelError(f"tensor {name!r} is {found}; expected {dtype} {shape}")
    for name, tensor in tensors.items():
        if name not in wanted and name not in optional:
            raise ModelError(f"{TENSORS} holds an unknown tensor {name!r}")
        if name in optional and tensor.dtype != optional[name]:
            raise ModelError(f"tensor {name!r} is {tensor.dtype}; expected {optional[name]}")
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ModelError(f"tensor {name!r} holds values that are not finite; train the model again")
    if manifest.kind == KIND and "W_hm" not in tensors:
        raise ModelError(f"{TENSORS} has no tensor 'W_hm'")
    _check_scoring(tensors, manifest.combining_scale)


def _check_scoring(tensors: dict[str, NDArray[np.generic]], combining_scale: float) -> None:
    knots, p_values, quantiles = (np.asarray(tensors[n], np.float64) for n in ("knots", "p_values", "quantiles"))
    if (np.diff(knots) < 0).any():
        raise ModelError("tensor 'knots' does not ascend")
    if (np.diff(p_values) > 0).any() or not ((p_values > 0) & (p_values <= 1)).all():
        raise ModelError("tensor 'p_values' does not descend between 1 and 0")
    with np.errstate(over="ignore", under="ignore"):
        thresholds = np.float32(quantiles) * np.float32(combining_scale)
    if not ((quantiles > 0) & (thresholds > 0) & np.isfinite(thresholds)).all():
        raise ModelError("tensor 'quantiles' holds a threshold that is not positive, or not finite once combined")
    precision: Floats = np.asarray(tensors["precision"], np.float64)
    if not np.allclose(precision, precision.T, rtol=1e-3, atol=1e-5 * float(np.abs(precision).max())):
        raise ModelError("tensor 'precision' is not symmetric")
    if not positive_definite(precision):
        raise ModelError("tensor 'precision' is not positive definite; expected the inverse of a covariance")
    if (np.asarray(tensors[DRIFT + "cells"]) < 0).any():
        raise ModelError(f"tensor '{DRIFT}cells' holds a negative share")
