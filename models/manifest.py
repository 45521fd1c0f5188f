"""What a manifest holds, and every reason to refuse one before any tensor is looked at.

A value is refused where the program could not work with it: a number that overflows the arithmetic of the service, a
name that no reading can have, a promise that is none.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.baselines.methods import RIVAL_KINDS
from models.contract import MICROSECONDS, ModelError, brief
from models.detector import Detector
from models.holds import HOLD_MAX
from models.lmn import LinearMemoryNetwork
from models.network import MEMORY_MAX, Network
from models.score import STATISTICS

FORMAT = 1
KIND = "lmn"
KINDS = (KIND, *RIVAL_KINDS)
MANIFEST = "manifest.json"
SENSORS_MAX = 10_000
BYTES_MAX = 512 * SENSORS_MAX  # of a manifest; of one sensor it holds some 200
NAME_LENGTH_MAX = 128  # of a model
SENSOR_NAME_LENGTH_MAX = 1024
NAME_RULE = "letters, digits, '.', '_' or '-', and no '.json' at the end"
VERSION_MAX = 1_000_000_000
WARMUP_TICKS_MAX = 1_000_000
INTERVAL_MAX = 366 * 86_400 * MICROSECONDS
TOLERANCE, TOLERANCE_MAX = 0.5, 2.0  # of the interval; as a rule, and at most
GAP_TICKS_MAX = 10_000  # each is gone through, one by one, where it did not come
QUANTILE_LEVELS = (0.5, 0.9, 0.95, 0.99, 0.999)  # of the held-out scores, kept in the manifest
ROUNDING = 1e-9  # that shares of the same rows may differ by
RESERVED = (".json", ".partial")  # ends of names that a registry gives to files of its own
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Rule = tuple[bool, str]  # whether it holds, and the complaint where it does not


class Sensor(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """One input: its name and unit, and how its physical value becomes standard deviations of normal operation. `hold`
    is for how many microseconds a value may stand for the sensor (0: without limit); what is 0 is not written, so that
    manifests without it keep their ids."""

    name: str
    unit: str
    mean: float
    scale: float
    constant: bool
    resolution: float
    hold: int = 0


class CalibrationRecord(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Thresholds of one group of machines: what was promised, on how much data, and what held-out rows kept.

    `quantiles` are pairs (level, score) of the held-out scores; `interval` is the lowest and the highest share at or
    over the threshold that one of the blocks kept, around `kept`, the share of all of them."""

    group: str
    budget: float
    kept: float
    n: int
    block_length: int
    interval: tuple[float, float]
    quantiles: tuple[tuple[float, float], ...]
    supported: bool
    provisional: bool
    block_kept: tuple[float, ...]
    block_thresholds: tuple[float, ...]
    spread: float
    tail: str


class CandidateRecord(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A memory size, window and discount, and a number of features, that were tried: `memory_choice.Candidate`."""

    p: int
    L: int
    g: float
    error: float
    standard_error: float
    chosen: bool
    features: int = 0


class FitRecord(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What the model was fitted on, and the memories and numbers of features that it was chosen from: none where they
    were given, or in manifests of older programs, which keep their ids."""

    rows: int
    segments: int
    window: tuple[str, str]
    seed: int
    data_hash: str
    excluded: int
    memory_candidates: tuple[CandidateRecord, ...] = ()
    feature_candidates: tuple[CandidateRecord, ...] = ()


class Manifest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What `manifest.json` holds; times in microseconds.

    `tolerance` is relative: a machine that sends every interval times 1 + tolerance / 2, or divided by it, or anything
    between, sends at the interval of the model."""

    format: int
    artifact_id: str
    name: str
    version: int
    parent: str
    kind: str
    requires: tuple[str, ...]
    basis_id: str
    memory_id: str
    sensors: tuple[Sensor, ...]
    equipment: tuple[str, ...]
    interval: int
    tolerance: float
    gap_reset: int
    warmup_ticks: int
    p: int
    L: int
    g: float
    statistics: tuple[str, ...]
    combining_scale: float
    winsor_cap: float
    calibration: tuple[CalibrationRecord, ...]
    fit: FitRecord
    versions: dict[str, str]
    tensors_sha256: str


class _Head(msgspec.Struct):
    """What is read of a manifest first: other formats have other fields."""

    format: msgspec.Raw = msgspec.Raw(b"missing")


def versions() -> dict[str, str]:
    """Of what made the numbers."""
    return {"python": platform.python_version(), "numpy": np.__version__}


def identify(manifest: Manifest) -> str:
    """Hash of a manifest without its own id; the tensors are in it through their hash."""
    bare = msgspec.structs.replace(manifest, artifact_id="")
    return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()


def hash_arrays(*arrays: NDArray[np.generic]) -> str:
    """Short hash of arrays: content, shape and dtype."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def basis_id(detector: Detector) -> str:
    """Of how readings become standard deviations: models with the same one see the same z."""
    centres = () if detector.centres is None else (detector.centres,)
    return hash_arrays(detector.mean, detector.scale, detector.constant, *centres)


def memory_id(network: LinearMemoryNetwork | Network) -> str:
    """Of how z becomes memory: models with the same basis and this one have the same memories."""
    if not isinstance(network, LinearMemoryNetwork):
        kind = np.frombuffer(network.KIND.encode(), np.uint8)
        return hash_arrays(kind, np.array([network.memory_size]), *network.weights().values())
    functional = (network.W_xh, network.W_mh, network.b_h, network.tanh)
    return hash_arrays(network.W_hm, network.W_mm, *(weight for weight in functional if weight is not None))


def read_manifest(content: bytes) -> Manifest:
    """Decode and check `manifest.json` by itself. It is decoded by types only: a small file of anything else would
    become very many objects."""
    if len(content) > BYTES_MAX:
        raise ModelError(f"{MANIFEST} has {len(content)} bytes; expected at most {BYTES_MAX}")
    try:
        found = bytes(msgspec.json.decode(content, type=_Head).format)
        if found != str(FORMAT).encode():
            text = found[:20].decode(errors="replace")
            raise ModelError(f"{MANIFEST}: format is {text}; this program reads format {FORMAT}")
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{MANIFEST}: {brief(error)}; the file was changed or is incomplete") from None
    if identify(manifest) != manifest.artifact_id:
        raise ModelError(f"{MANIFEST}: its content does not match its artifact_id; the file was changed after training")
    check(manifest)
    return manifest


def check(manifest: Manifest) -> None:
    """ModelError names the first value that this program cannot work with."""
    for rules in (_of_model, _of_time, _of_sensors, _of_machines, _of_calibration):
        for holds, complaint in rules(manifest):
            if not holds:
                raise ModelError(f"{MANIFEST}: {complaint}")


def _of_model(manifest: Manifest) -> Iterator[Rule]:
    lacking = ", ".join(manifest.requires)
    yield valid_name(manifest.name), f"name is {manifest.name!r}; expected {NAME_RULE}"
    yield 1 <= manifest.version <= VERSION_MAX, f"version is {manifest.version}; expected 1 to {VERSION_MAX}"
    yield manifest.kind in KINDS, f"kind is {manifest.kind!r}; this program knows {', '.join(map(repr, KINDS))}"
    yield not manifest.requires, f"requires {lacking}, which this program does not have"
    yield 1 <= manifest.p <= MEMORY_MAX, f"p is {manifest.p}; expected 1 to {MEMORY_MAX}"
    yield manifest.L >= 1, f"L is {manifest.L}; expected 1 or more"
    yield 0 < manifest.g <= 1, f"g is {manifest.g}; expected more than 0 and at most 1"
    yield manifest.statistics == STATISTICS, f"statistics are {manifest.statistics}; this program knows {STATISTICS}"
    for name in ("combining_scale", "winsor_cap"):
        value = getattr(manifest, name)
        yield _positive_single(value), f"{name} is {value}; expected a positive number within the range of 32 bits"


def _of_time(manifest: Manifest) -> Iterator[Rule]:
    interval, gap, most = manifest.interval, manifest.gap_reset, GAP_TICKS_MAX * manifest.interval
    yield 1 <= interval <= INTERVAL_MAX, f"interval is {interval} microseconds; expected 1 to {INTERVAL_MAX}"
    yield 1 <= gap <= most, f"gap_reset is {gap} microseconds; expected 1 to {most}, {GAP_TICKS_MAX} intervals"
    ticks = manifest.warmup_ticks
    yield 1 <= ticks <= WARMUP_TICKS_MAX, f"warmup_ticks is {ticks}; expected 1 to {WARMUP_TICKS_MAX}"
    tolerance = manifest.tolerance
    yield 0 <= tolerance <= TOLERANCE_MAX, f"tolerance is {tolerance}; expected 0 to {TOLERANCE_MAX}"


def _of_sensors(manifest: Manifest) -> Iterator[Rule]:
    sensors = manifest.sensors
    yield 0 < len(sensors) <= SENSORS_MAX, f"{len(sensors)} sensors; expected 1 to {SENSORS_MAX}"
    yield from _of_names("sensor", [sensor.name for sensor in sensors])
    yield any(not s.constant for s in sensors), "all sensors are marked constant"
    for sensor in sensors:
        name = f"sensor {sensor.name!r}"
        yield not _CONTROL.search(sensor.unit), f"{name}: unit is {sensor.unit!r}; expected no control characters"
        yield bool(np.isfinite(sensor.mean)), f"{name}: mean is {sensor.mean}; expected a finite number"
        yield 0 <= sensor.hold <= HOLD_MAX, f"{name}: hold is {sensor.hold} microseconds; expected 0 to {HOLD_MAX}"
        for what, value in (("scale", sensor.scale), ("resolution", sensor.resolution)):
            yield _invertible(value), f"{name}: bad {what}: {value}; expected a positive number whose inverse is finite"


def _of_machines(manifest: Manifest) -> Iterator[Rule]:
    yield from _of_names("equipment", manifest.equipment)


def _of_names(what: str, names: Iterable[str]) -> Iterator[Rule]:
    seen: set[str] = set()
    for name in names:
        yield bool(name), f"{what} with an empty name; expected at least one character"
        yield len(name) <= SENSOR_NAME_LENGTH_MAX, f"{what} name of {len(name)} characters; expected at most 1024"
        yield not _CONTROL.search(name), f"{what} {name!r}; expected a name without control characters"
        yield name not in seen, f"{what} {name!r} occurs twice; expected each name once"
        seen.add(name)


def _of_calibration(manifest: Manifest) -> Iterator[Rule]:
    for record in manifest.calibration:
        group = f"calibration of {record.group!r}"
        low, high = record.interval
        shares = [low, record.kept, high, *record.block_kept]
        yield 0 < record.budget < 1, f"{group}: budget is {record.budget}; expected a share between 0 and 1"
        yield record.n >= 1, f"{group}: n is {record.n}; expected 1 or more"
        yield record.block_length >= 1, f"{group}: block_length is {record.block_length}; expected 1 or more"
        yield all(0 <= share <= 1 for share in shares), f"{group}: a share is not within 0 and 1"
        around = low - ROUNDING <= record.kept <= high + ROUNDING
        yield around, f"{group}: interval is {record.interval}; expected it around kept, which is {record.kept}"
        yield _ascending(record.quantiles), f"{group}: quantiles do not ascend as levels in 0 to 1 with scores of 0 up"


def _ascending(quantiles: tuple[tuple[float, float], ...]) -> bool:
    """Whether these are quantiles of scores, and some."""
    levels, scores = ([pair[i] for pair in quantiles] for i in (0, 1))
    within = all(0 < level < 1 for level in levels) and all(0 <= score < np.inf for score in scores)
    return bool(quantiles) and within and levels == sorted(set(levels)) and scores == sorted(scores)


def _positive_single(value: float) -> bool:
    with np.errstate(over="ignore", under="ignore"):
        return bool(0 < np.float32(value) < np.inf)


def _invertible(value: float) -> bool:
    with np.errstate(over="ignore", divide="ignore"):
        return bool(0 < value < np.inf and np.isfinite(np.float64(1) / np.float64(value)))


def valid_name(name: str) -> bool:
    """Whether a model may be called that: it becomes a folder, a metric label and part of an address."""
    plain = name.replace(".", "").replace("_", "").replace("-", "")
    own = name[:1] != "." and not name.lower().endswith(RESERVED)
    return 0 < len(name) <= NAME_LENGTH_MAX and plain.isascii() and plain.isalnum() and own
