from __future__ import annotations

import errno
import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from models import artifact, disk
from models.contract import ModelError
from models.manifest import identify, read_manifest
from service.errors import Conflict, ModelRefused, UnknownModel
from service.lifecycle import Service
from service.registry import Registry, RegistryError, RegistryLimits, Routing, read_index
from tests.service.running import columns, model_folder, run, settings
from tests.service.test_app import is_problem


def upload(name: str = "pumps", seed: int = 0) -> bytes:
    """A zip of an artifact."""
    return zipped(model_folder(name, seed))


def zipped(folder: Path) -> bytes:
    """A zip of an artifact in a folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (artifact.MANIFEST, artifact.TENSORS):
            archive.write(folder / file, file)
    return buffer.getvalue()


def registry(folder: Path, *uploads: bytes, routing: Routing | None = None) -> Registry:
    found = Registry(folder, routing)
    for content in uploads:
        found.show(found.registration(content)[0])
    return found


def serving(found: Registry, equipment: str = "p1") -> tuple[str, int] | None:
    model = found.resolve(equipment)
    return None if model is None else (model.name, model.version)


def test_an_assignment_comes_before_patterns_and_they_before_the_default(tmp_path):
    routing = Routing({"fan-9": "a"}, {"fan-*": "b", "*-9": "a"}, "c")
    found = registry(tmp_path, upload("a"), upload("b"), upload("c"), routing=routing)
    names = {equipment: (serving(found, equipment) or ("", 0))[0] for equipment in ("fan-9", "fan-1", "x-9", "y")}
    assert names == {"fan-9": "a", "fan-1": "b", "x-9": "a", "y": "c"}


def test_equipment_assigned_to_a_model_that_is_not_there_has_none(tmp_path):
    found = registry(tmp_path, upload("a"), routing=Routing({}, {"fan-*": "nowhere"}))
    assert (serving(found, "fan-1"), serving(found, "p")) == (None, ("a", 1))


def test_the_first_model_serves_and_further_versions_wait(tmp_path):
    found = registry(tmp_path, upload(seed=0), upload(seed=1), upload("fans"))
    assert (found.default, serving(found)) == ("pumps", ("pumps", 1))
    assert {name: list(versions) for name, versions in found.view.versions.items()} == {"pumps": [1, 2], "fans": [1]}
    found.show(found.activation("pumps", 2))
    assert serving(found) == ("pumps", 2)


def test_the_same_content_again_changes_nothing(tmp_path):
    found = registry(tmp_path, upload(seed=0), upload(seed=1))
    view, name, number = found.registration(upload(seed=1))
    assert (view, name, number) == (found.view, "pumps", 2)


def test_what_serves_is_still_there_after_a_start(tmp_path):
    first = registry(tmp_path, upload(seed=0), upload(seed=1))
    first.show(first.activation("pumps", 2))
    again = Registry(tmp_path)
    assert (serving(again), again.default) == (("pumps", 2), "pumps")
    model = again.resolve("x")
    assert model is not None
    assert again.model_of(model.artifact_id) is model
    older = first.view.versions["pumps"][1].artifact_id
    found = again.model_of(older)
    assert found is not None
    assert (found.artifact_id, found.version) == (older, 1)
    assert again.model_of("gone") is None


def test_an_artifact_put_in_from_a_folder_becomes_the_default_and_active(tmp_path):
    found = registry(tmp_path, upload("a"))
    found.show(found.installation(model_folder("b", 1)))
    assert serving(found) == ("b", 1)
    found.show(found.installation(model_folder("b", 2)))
    assert serving(found) == ("b", 2)
    found.show(found.installation(model_folder("b", 1)))
    assert serving(found) == ("b", 1)


def test_a_view_does_not_change_while_somebody_reads_it(tmp_path):
    found = registry(tmp_path, upload(seed=0), upload(seed=1))
    before = found.view
    found.show(found.activation("pumps", 2))
    assert before.active["pumps"].version == 1


def test_leftovers_of_an_upload_are_removed_and_unnamed_versions_are_not_active(tmp_path):
    registry(tmp_path, upload(seed=0))
    (tmp_path / ".incoming-1").mkdir()
    shutil.copytree(model_folder(seed=1), tmp_path / "pumps" / "7")
    (tmp_path / "pumps" / "notes").mkdir()
    found = Registry(tmp_path)
    assert not (tmp_path / ".incoming-1").exists()
    assert (list(found.view.versions["pumps"]), serving(found)) == ([1, 7], ("pumps", 1))


def full_disk(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """No room for files whose name ends so."""
    write = disk.write_durably

    def fail(path: Path, content: bytes) -> None:
        if path.name.endswith(ending):
            path.with_name(f".{path.name}.partial").write_bytes(content[:9])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr("service.registry.write_durably", fail)


@pytest.mark.parametrize("ending", [artifact.TENSORS, artifact.MANIFEST, "index.json"])
def test_an_upload_that_finds_the_disk_full_is_told_so_and_leaves_nothing(tmp_path, monkeypatch, ending):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        with monkeypatch.context() as patched:
            full_disk(patched, ending)
            answer = await client.post("/v1/models", content=upload(), headers=ZIP)
            assert "the disk is full" in is_problem(answer, 503, "disk-full")["detail"]
            assert answer.headers["Retry-After"]
        assert (await client.post("/v1/models", content=upload(), headers=ZIP)).json()["version"] == 1
        assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["index.json", "pumps"]
        assert [path.name for path in (tmp_path / "models" / "pumps").iterdir()] == ["1"]
        await client.post("/v1/models", content=upload(seed=1), headers=ZIP)
        full_disk(monkeypatch, "index.json")
        answer = await client.put("/v1/models/pumps/active", json={"version": 2})
        is_problem(answer, 503, "disk-full")
        assert service.registry.view.active["pumps"].version == 1

    run(settings(tmp_path, model=None), scenario)


@pytest.mark.parametrize("ending", ["valves", "models"])
def test_an_upload_that_the_disk_fails_under_is_told_so_and_can_be_sent_again(tmp_path, monkeypatch, ending):
    """What cannot be synced is the folder of the new version, or that of the index: after its new content is there."""
    sync, content = disk.sync_folder, upload("valves")

    def fail(folder: Path) -> None:
        if folder.name == ending and (ending == "valves" or "valves" in read_index(folder).active):
            raise OSError(errno.EIO, "Input/output error", str(folder))
        sync(folder)

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("service.registry.sync_folder", fail)
            patched.setattr(disk, "sync_folder", fail)
            answer = await client.post("/v1/models", content=content, headers=ZIP)
            assert "Input/output error; look whether the disk fails" in is_problem(answer, 503, "unavailable")["detail"]
        again = Registry(tmp_path / "models")
        assert not again.notes
        assert again.view.active.keys() == again.view.index.active.keys(), "an active version is not there"
        answer = (await client.post("/v1/models", content=content, headers=ZIP)).json()
        assert answer["active"]
        assert answer["version"] == 1, "it is there twice"

    run(settings(tmp_path), scenario)


def test_a_model_given_at_the_start_that_finds_no_room_ends_the_start_with_a_sentence(tmp_path, monkeypatch):
    full_disk(monkeypatch, artifact.TENSORS)
    with pytest.raises(RegistryError, match="the disk is full"):
        Registry(tmp_path).installation(model_folder())


def test_leftovers_that_are_files_do_not_stop_the_start(tmp_path):
    for name in (".incoming-1", ".index.json.partial"):
        (tmp_path / name).write_bytes(b"half")
    Registry(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_active_version_that_is_damaged_stops_the_start_and_another_does_not(tmp_path):
    found = registry(tmp_path, upload(seed=0), upload(seed=1))
    (tmp_path / "pumps" / "2" / "manifest.json").write_text("{")
    again = Registry(tmp_path)
    assert "version 2 is damaged" in again.notes[0]
    assert serving(again) == ("pumps", 1)
    (tmp_path / "pumps" / "1" / "model.safetensors").write_bytes(b"")
    with pytest.raises(RegistryError, match="pumps version 1 is active and cannot be used"):
        Registry(tmp_path)
    (tmp_path / "pumps" / "1" / "manifest.json").write_text("{")
    with pytest.raises(RegistryError, match="pumps version 1 is active and damaged"):
        Registry(tmp_path)
    shutil.rmtree(tmp_path / "pumps" / "1")
    gone = Registry(tmp_path)
    assert "is gone" in " ".join(gone.notes)
    assert serving(gone) is None
    assert found.view


def test_a_number_that_a_damaged_version_has_is_not_given_again(tmp_path):
    registry(tmp_path, upload(seed=0), upload(seed=1))
    (tmp_path / "pumps" / "2" / "manifest.json").write_text("{")
    found = Registry(tmp_path)
    view, _, number = found.registration(upload(seed=2))
    assert (number, list(view.versions["pumps"])) == (3, [1, 3])
    assert (tmp_path / "pumps" / "2" / "manifest.json").read_text() == "{"


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 9}', '{"more": 1}', '{"active": {"a": "x"}}'])
def test_an_index_that_cannot_be_read_stops_the_start(tmp_path, content):
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(RegistryError, match=r"index\.json"):
        Registry(tmp_path)


def test_what_is_not_there_cannot_be_activated(tmp_path):
    found = registry(tmp_path, upload(seed=0), upload(seed=1))
    with pytest.raises(UnknownModel, match="no model 'fans'"):
        found.activation("fans", 1)
    with pytest.raises(UnknownModel, match="no version 3; it has 1, 2"):
        found.activation("pumps", 3)
    (tmp_path / "pumps" / "2" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelRefused):
        found.activation("pumps", 2)
    assert serving(found) == ("pumps", 1)


def test_the_registry_is_bounded(tmp_path):
    found = Registry(tmp_path, None, RegistryLimits(models=1, versions=1))
    found.show(found.registration(upload(seed=0))[0])
    with pytest.raises(Conflict, match="1 models"):
        found.registration(upload("fans"))
    with pytest.raises(Conflict, match="1 versions"):
        found.registration(upload(seed=1))


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError):
        Registry(tmp_path / "models").installation(tmp_path)


# -- over HTTP -------------------------------------------------------------------------------------------------------

ZIP = {"content-type": "application/zip"}


def test_a_model_is_put_in_and_switched_to_with_its_memory_starting_anew(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        first = await client.post("/v1/models", content=upload(seed=0), headers=ZIP)
        assert (first.status_code, first.json()["version"], first.json()["active"]) == (201, 1, True)
        await client.post("/v1/readings", json=columns("p1", 0, 20))
        second = (await client.post("/v1/models", content=upload(seed=1), headers=ZIP)).json()
        assert (second["version"], second["active"]) == (2, False)
        before = (await client.post("/v1/readings", json=columns("p1", 20, 5))).json()
        assert before["scored"] == 5
        switched = (await client.put("/v1/models/pumps/active", json={"version": 2})).json()
        assert (switched["active"], [v["active"] for v in switched["versions"]]) == (2, [False, True])
        warmup = service.registry.view.active["pumps"].detector.warmup
        after = (await client.post("/v1/readings", json=columns("p1", 25, warmup + 6))).json()
        assert after["batches"][0]["status"] == ["warming"] * warmup + ["scored"] * 6
        assert (await client.get("/v1/equipment/p1")).json()["version"] == 2
        assert 'limen_model_info{model="pumps",version="2"} 1.0' in (await client.get("/metrics")).text
        (entry,) = (await client.get("/v1/models")).json()["models"]
        assert (entry["name"], entry["default"], entry["active"]) == ("pumps", True, 2)

    run(settings(tmp_path, model=None), scenario)


@pytest.mark.parametrize(
    ("content", "headers", "status", "kind"),
    [
        (b"", ZIP, 422, "model-refused: the body is empty; expected a zip of exactly"),
        (b"PK", ZIP, 422, "model-refused"),
        (b"{}", {"content-type": "application/json"}, 415, "unsupported-media-type"),
        (b" " * 2_000_000, ZIP, 413, "body-too-large"),
    ],
)
def test_an_upload_that_is_no_model_is_refused(tmp_path, content, headers, status, kind):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        kind_only, _, sentence = kind.partition(": ")
        found = is_problem(await client.post("/v1/models", content=content, headers=headers), status, kind_only)
        assert sentence in found["detail"]

    run(settings(tmp_path, model=None, model_bytes_max=1_000_000), scenario)


def forged(**changes: np.ndarray) -> bytes:
    """A signed upload of a version of its own, with other tensors."""
    folder, buffer = model_folder("pumps", 0), io.BytesIO()
    tensors = load_tensors((folder / artifact.TENSORS).read_bytes()) | {
        k.replace("__", "."): v for k, v in changes.items()
    }
    blob = save_tensors(tensors)
    manifest = read_manifest((folder / artifact.MANIFEST).read_bytes())
    manifest = msgspec.structs.replace(manifest, tensors_sha256=hashlib.sha256(blob).hexdigest())
    manifest = msgspec.structs.replace(manifest, artifact_id=identify(manifest))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(artifact.MANIFEST, msgspec.json.encode(manifest))
        archive.writestr(artifact.TENSORS, blob)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"drift__mean": np.zeros(3, np.float32), "drift__whitening": np.eye(3, dtype=np.float32)},
        {"W_mo": np.full((4, 8), 1e38, np.float32)},
        {"precision": np.zeros((4, 4), np.float32)},
    ],
)
def test_an_upload_that_would_end_the_service_is_refused_and_readings_are_scored_after_it(tmp_path, changes):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        refused = await client.post("/v1/models", content=forged(**changes), headers=ZIP)
        is_problem(refused, 422, "model-refused")
        assert (await client.get("/v1/models")).json() == {"models": []}
        first = await client.post("/v1/models", content=upload(), headers=ZIP)
        assert (first.status_code, first.json()["active"]) == (201, True)
        assert (await client.post("/v1/readings", json=columns("p1", 0, 100))).json()["scored"] > 0
        assert (await client.post("/v1/readings", json=columns("p1", 100, 50))).json()["scored"] == 50

    run(settings(tmp_path, model=None), scenario)


def test_a_switch_to_a_word_names_it(tmp_path):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        found = is_problem(await client.put("/v1/models/pumps/active", json={"version": "latest"}), 422, "invalid")
        assert found["detail"] == """version is 'latest'; expected {"version": 2} with a number of 1 or more"""

    run(settings(tmp_path), scenario)


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (b'{"version": 9}', 404, "unknown-model"),
        (b'{"version": 17592186044415.0}', 404, "unknown-model"),
        (b'{"version": 1.5}', 422, "invalid"),
        (b'{"version": 1e400}', 422, "invalid"),
        (b'{"version": "1"}', 422, "invalid"),
        (b'{"version": true}', 422, "invalid"),
        (b'{"version": 0}', 422, "invalid"),
        (b'{"version": 1, "path": "/etc"}', 422, "invalid"),
        (b"[1]", 422, "invalid"),
        (b"{", 400, "not-json"),
        (b"", 400, "not-json"),
        (b" " * 5000, 413, "body-too-large"),
    ],
)
def test_a_switch_that_makes_no_sense_is_refused(tmp_path, content, status, kind):
    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        headers = {"content-type": "application/json"}
        is_problem(await client.put("/v1/models/pumps/active", content=content, headers=headers), status, kind)

    run(settings(tmp_path), scenario)
