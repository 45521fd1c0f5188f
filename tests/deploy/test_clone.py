"""The two commands of the README from an empty clone, with nothing but Python: minutes each, and downloads."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.prove_long
ROOT = Path(__file__).resolve().parents[2]


def pythons() -> list[str]:
    """Every usable Python of 3.11 to 3.13, on PATH or kept by pyenv."""
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [shutil.which(f"python3.{minor}") for minor in (11, 12, 13)]
    candidates += sorted(str(path / "bin" / "python3") for path in kept.glob("3.1[123].*"))
    found: dict[str, str] = {}
    for candidate in filter(None, candidates):
        said = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False).stdout
        if version := re.match(r"Python (3\.\d+)", said):
            found.setdefault(version[1], candidate)
    return list(found.values())


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What is committed, and nothing else."""
    if not all(map(shutil.which, ("git", "make"))):
        pytest.skip("git and make are needed")
    folder = tmp_path / "limen"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def make(folder: Path, *arguments: str) -> str:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "COV_", "MAKE"))}
    done = subprocess.run(
        ["make", *arguments], cwd=folder, env=plain, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_make_demo_from_an_empty_clone_ends_by_itself(clone: Path) -> None:
    said = make(clone, "demo", "DEMO_SECONDS=20")
    assert "http://127.0.0.1" in said


@pytest.mark.parametrize("python", pythons())
def test_make_test_from_an_empty_clone_passes_without_torch(clone: Path, python: str) -> None:
    said = make(clone, "test", f"PYTHON={python}")
    assert "torch is not installed: what needs it was not run" in said
