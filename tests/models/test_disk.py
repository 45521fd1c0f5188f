import errno
import os

import pytest

from models import disk
from models.disk import make_folder, remove, remove_leftovers, write_durably


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "state"
    write_durably(path, b"old")
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_where_the_disk_fails_the_old_content_stands(tmp_path, monkeypatch):
    path = tmp_path / "state"
    write_durably(path, b"old")

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path], "what could not be written makes room again"


def test_the_name_of_a_new_folder_is_safe_before_anything_is_in_it(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(disk, "sync_folder", lambda folder: synced.append((folder, list(folder.iterdir()))))
    inner = tmp_path / "outer" / "inner"
    make_folder(inner)
    assert synced == [(tmp_path, [tmp_path / "outer"]), (tmp_path / "outer", [inner])]
    make_folder(inner)
    assert len(synced) == 2
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def fail_on(monkeypatch, path):
    """A disk that cannot sync that folder."""
    sync = os.fsync

    def failing(descriptor):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            raise OSError(errno.EIO, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)


def test_a_folder_whose_name_could_not_be_made_safe_is_made_again_by_the_next_try(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        fail_on(patched, tmp_path)
        with pytest.raises(OSError, match=f"Input/output error: '{tmp_path}'"):
            make_folder(tmp_path / "outer" / "inner")
        assert not list(tmp_path.iterdir())
    make_folder(tmp_path / "outer" / "inner")
    assert (tmp_path / "outer" / "inner").is_dir()


def test_an_error_of_the_disk_names_the_file(tmp_path, monkeypatch):
    fail_on(monkeypatch, tmp_path)
    with pytest.raises(OSError, match=f"Input/output error: '{tmp_path}'"):
        write_durably(tmp_path / "state", b"new")


def test_leftovers_are_removed_whatever_they_are_and_nothing_else(tmp_path):
    (tmp_path / ".a-file").write_bytes(b"")
    (tmp_path / ".a-folder").mkdir()
    (tmp_path / ".a-folder" / "inner").write_bytes(b"")
    (tmp_path / ".a-link").symlink_to(tmp_path)
    (tmp_path / ".b-file").write_bytes(b"")
    remove_leftovers(tmp_path, ".a-*")
    assert list(tmp_path.iterdir()) == [tmp_path / ".b-file"]
    remove(tmp_path / "nowhere")
