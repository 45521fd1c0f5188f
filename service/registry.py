"""Which artifact serves which equipment: an assignment, the first name pattern that fits, or the default model.

    data_dir/models/<name>/<version>/model.safetensors, manifest.json
    data_dir/models/index.json                            which version of each name is active, and the default name

The folders say what there is; the index says what serves. A change loads and checks the model, writes files and index
(temp, fsync, rename, fsync of the folder), and then is shown by replacing one object: readers see all of it or nothing.
A crash leaves the old index or the new one; a folder that no index names is a version that is not active, and
`.incoming-*` is what an upload left behind, removed at the next start or change.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from models.artifact import TENSORS, LoadedModel, load, parse
from models.contract import ModelError, brief
from models.disk import PARTIAL, make_folder, remove, remove_leftovers, sync_folder, write_durably
from models.manifest import MANIFEST, Manifest, read_manifest, valid_name
from service.archive import unpack
from service.errors import Conflict, DiskFull, ModelRefused, Unavailable, UnknownModel
from service.settings import default

INDEX = "index.json"
FORMAT = 1
INCOMING = ".incoming-"
LEFTOVERS = (f"{INCOMING}*", f".{INDEX}{PARTIAL}")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RegistryError(ValueError):
    """A registry that cannot be served from; the text says which folder and what to do."""


class ActiveIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `index.json` holds: `active` version by model, `default` model ("" where there is none). A file that says
    `sha256` is held to it."""

    format: int = FORMAT
    default: str = ""
    active: dict[str, int] = {}
    sha256: str | None = None

    def sealed(self) -> ActiveIndex:
        """The same with its checksum."""
        bare = msgspec.structs.replace(self, sha256=None)
        return msgspec.structs.replace(self, sha256=hashlib.sha256(msgspec.json.encode(bare)).hexdigest())


@dataclass(frozen=True, slots=True)
class Routing:
    """Equipment -> model, as the settings have it: exact ids, then patterns in their order, then `default` ("": the
    default of the index)."""

    assignments: Mapping[str, str] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    default: str = ""

    def name_for(self, equipment: str) -> str:
        """The model that an equipment follows; "" for the default of the index.

        >>> Routing({"pump-7": "old"}, {"pump-*": "pumps"}).name_for("pump-7")
        'old'
        """
        name = self.assignments.get(equipment)
        if name is None:
            matches = (name for pattern, name in self.patterns.items() if fnmatchcase(equipment, pattern))
            name = next(matches, self.default)
        return name


@dataclass(frozen=True, slots=True)
class RegistryLimits:
    """Bounds of the registry."""

    archive_inflated_bytes: int = default("model_inflated_bytes_max")
    models: int = default("models_max")
    versions: int = default("model_versions_max")


@dataclass(frozen=True, slots=True)
class View:
    """The registry at one moment."""

    index: ActiveIndex
    versions: Mapping[str, Mapping[int, Manifest]]  # by name and number
    active: Mapping[str, LoadedModel]  # by name


class Registry:
    """The models of one service. `resolve` is what the shard asks; what changes files returns a `View` to be shown."""

    def __init__(self, folder: Path, routing: Routing | None = None, limits: RegistryLimits | None = None) -> None:
        """Read what is in `folder` (made if absent). RegistryError where an active version cannot be loaded."""
        self.folder = folder
        self.routing = routing or Routing()
        self.limits = limits or RegistryLimits()
        self.notes: list[str] = []  # sentences on what was found and left aside
        make_folder(folder)
        remove_leftovers(folder, *LEFTOVERS)
        self.view = self._read()

    def resolve(self, equipment: str) -> LoadedModel | None:
        """The model that serves an equipment now; None where there is none."""
        view = self.view
        return view.active.get(self.routing.name_for(equipment) or view.index.default)

    @property
    def default(self) -> str:
        """The name of the default model; "" where there is none."""
        return self.routing.default or self.view.index.default

    def model_of(self, artifact_id: str) -> LoadedModel | None:
        """The model with that id, active or not; None where it is gone or damaged."""
        for model in self.view.active.values():
            if model.artifact_id == artifact_id:
                return model
        for name, number, manifest in self._all():
            if manifest.artifact_id == artifact_id:
                try:
                    return self._load(name, number)
                except ModelError as error:
                    self.notes.append(str(error))
        return None

    def show(self, view: View) -> None:
        """Serve by another view from now on."""
        self.view = view

    # -- changes: they write, and return what is then to be shown ------------------------------------------------------

    def activation(self, name: str, number: int) -> View:
        """Make a version the active one. UnknownModel, ModelRefused, DiskFull or Unavailable."""
        if name not in self.view.versions:
            raise UnknownModel(f"there is no model {name!r}; GET /v1/models lists them", field="name")
        if number not in self.view.versions[name]:
            known = ", ".join(map(str, sorted(self.view.versions[name])))
            raise UnknownModel(f"model {name!r} has no version {number}; it has {known}", field="version")
        try:
            model = self._load(name, number)
        except ModelError as error:
            raise ModelRefused(str(error)) from None
        return self._written(name, number, model, self.view.index.default)

    def registration(self, content: bytes) -> tuple[View, str, int]:
        """Take in an uploaded zip: the view, and the name and number that it got. The first version of a name becomes
        active, the first model the default; others wait to be activated. The same content again changes nothing.
        ModelRefused, BodyTooLarge, Conflict, DiskFull or Unavailable."""
        manifest, tensors = unpack(content, self.limits.archive_inflated_bytes)
        try:
            model = parse(manifest, tensors, "the upload")
        except ModelError as error:
            raise ModelRefused(str(error)) from None
        number = self._number_of(model)
        if number is not None:
            return self.view, model.name, number
        view, number = self._stored(model, manifest, tensors)
        if model.name in self.view.active:
            return view, model.name, number
        model = _numbered(model, number)
        try:
            return self._written(model.name, number, model, view.index.default or model.name, view), model.name, number
        except Unavailable:
            if read_index(self.folder).active.get(model.name) != number:
                remove(self.folder / model.name / str(number))  # or it would be there twice once it is sent again
            raise

    def installation(self, folder: Path) -> View:
        """Put in an artifact from a folder, as the active version of its name and the default model. RegistryError
        where it cannot be stored."""
        try:
            return self._installed(folder)
        except (Conflict, Unavailable) as error:
            raise RegistryError(error.detail) from None

    def _installed(self, folder: Path) -> View:
        model = load(folder)
        number, view = self._number_of(model), self.view
        if number is None:
            view, number = self._stored(model, (folder / MANIFEST).read_bytes(), (folder / TENSORS).read_bytes())
        return self._written(model.name, number, _numbered(model, number), model.name, view)

    # -- files -------------------------------------------------------------------------------------------------------

    def _all(self) -> Iterator[tuple[str, int, Manifest]]:
        for name, versions in self.view.versions.items():
            for number, manifest in versions.items():
                yield name, number, manifest

    def _number_of(self, model: LoadedModel) -> int | None:
        versions = self.view.versions.get(model.name, {})
        return next((n for n, manifest in versions.items() if manifest.artifact_id == model.artifact_id), None)

    def _stored(self, model: LoadedModel, manifest: bytes, tensors: bytes) -> tuple[View, int]:
        """Write a new version, under its own number or, where that is taken, the next free one."""
        versions = self.view.versions.get(model.name, {})
        if not versions and len(self.view.versions) >= self.limits.models:
            raise Conflict(
                f"the registry holds {len(self.view.versions)} models; expected at most {self.limits.models}"
            )
        if len(versions) >= self.limits.versions:
            raise Conflict(
                f"model {model.name!r} has {len(versions)} versions; expected at most {self.limits.versions}"
            )
        home = self.folder / model.name
        taken = {int(path.name) for path in home.glob("*") if path.name.isdecimal()}  # by damaged versions, too
        number = model.version if model.version not in taken else max(taken) + 1
        remove_leftovers(self.folder, *LEFTOVERS)
        incoming, placed = self.folder / f"{INCOMING}{uuid.uuid4().hex}", home / str(number)
        with _stored_or_told(f"model {model.name!r}"):
            if (left := self._left_behind(model, taken - versions.keys())) is not None:
                sync_folder(home)
                sync_folder(self.folder)
                return self._with(model, left), left
            try:
                incoming.mkdir()
                write_durably(incoming / TENSORS, tensors)
                write_durably(incoming / MANIFEST, manifest)
                home.mkdir(exist_ok=True)
                sync_folder(self.folder)
                incoming.rename(placed)
                sync_folder(home)
                sync_folder(self.folder)
            except OSError:
                remove(incoming)
                remove(placed)  # or it would be there twice once it is sent again
                raise
        return self._with(model, number), number

    def _left_behind(self, model: LoadedModel, numbers: set[int]) -> int | None:
        """Under which of the `numbers` the model lies whole on disk, from when the disk failed after it was stored."""
        for number in sorted(numbers):
            with contextlib.suppress(ModelError, OSError):
                if self._load(model.name, number).artifact_id == model.artifact_id:
                    return number
        return None

    def _with(self, model: LoadedModel, number: int) -> View:
        """The view with one more version."""
        versions = {**self.view.versions.get(model.name, {}), number: model.manifest}
        return dataclasses.replace(self.view, versions={**self.view.versions, model.name: versions})

    def _written(self, name: str, number: int, model: LoadedModel, default: str, view: View | None = None) -> View:
        """Write the index with another active version."""
        view = view or self.view
        index = ActiveIndex(FORMAT, default, {**view.index.active, name: number}).sealed()
        with _stored_or_told("the index of the models"):
            write_durably(self.folder / INDEX, msgspec.json.format(msgspec.json.encode(index), indent=1))
        return View(index, view.versions, {**view.active, name: model})

    def _load(self, name: str, number: int) -> LoadedModel:
        return _numbered(load(self.folder / name / str(number)), number)

    def _read(self) -> View:
        index, versions = read_index(self.folder), self._read_versions()
        active: dict[str, LoadedModel] = {}
        self.view = View(index, versions, active)
        for name, number in index.active.items():
            if number not in versions.get(name, {}):
                self.notes.append(f"model {name} version {number} was active and is gone; its equipment has no model")
                continue
            try:
                active[name] = self._load(name, number)
            except ModelError as error:
                raise RegistryError(f"model {name} version {number} is active and cannot be used: {error}") from None
        return self.view

    def _read_versions(self) -> dict[str, dict[int, Manifest]]:
        versions: dict[str, dict[int, Manifest]] = {}
        for folder in sorted(self.folder.glob("*/*")):
            name = folder.parent.name
            if not (folder.is_dir() and folder.name.isdecimal() and valid_name(name)):
                continue
            try:
                versions.setdefault(name, {})[int(folder.name)] = read_manifest((folder / MANIFEST).read_bytes())
            except (ModelError, OSError) as error:
                if read_index(self.folder).active.get(name) == int(folder.name):
                    raise RegistryError(f"model {name} version {folder.name} is active and damaged: {error}") from None
                self.notes.append(f"model {name} version {folder.name} is damaged and left aside: {error}")
        return {name: dict(sorted(numbers.items())) for name, numbers in versions.items() if numbers}


def read_index(folder: Path) -> ActiveIndex:
    """The index of a folder of models; an empty one where there is none. RegistryError where it cannot be read."""
    path = folder / INDEX
    if not path.exists():
        return ActiveIndex()
    try:
        index = msgspec.json.decode(path.read_bytes(), type=ActiveIndex)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise RegistryError(f"{path} cannot be read: {brief(error)}; put it back from a backup") from None
    if index.format != FORMAT:
        raise RegistryError(f"{path} has format {index.format}; this program reads format {FORMAT}")
    if index.sha256 is not None and index != index.sealed():
        hint = "put it back from a backup; where it was changed by hand, take its sha256 out"
        raise RegistryError(f"{path} does not match its checksum; {hint}")
    return index


@contextmanager
def _stored_or_told(what: str) -> Iterator[None]:
    """DiskFull where what is written in it finds no room, Unavailable where the disk fails."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            text = f"{what} cannot be stored: {error.strerror}; look whether the disk fails, then send it again"
            raise Unavailable(text) from None
        raise DiskFull(f"{what} cannot be stored: the disk is full; make room and send it again") from None


def _numbered(model: LoadedModel, number: int) -> LoadedModel:
    """The model under the number that it has here; its id stays."""
    if model.version == number:
        return model
    return dataclasses.replace(model, manifest=msgspec.structs.replace(model.manifest, version=number))
