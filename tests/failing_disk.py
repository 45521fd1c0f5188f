"""A disk that fails at one change, or at all from one on: `failing_disk.c`, built and steered.

Only a process that it was preloaded into (`preloaded`) can be steered.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

SOURCE = Path(__file__).with_suffix(".c")


@dataclass(frozen=True)
class Failure:
    """The change that fails, counted from 1 on, with an error number; `lasts`: all later ones, too."""

    at: int
    error: int
    lasts: bool


@cache
def library() -> Path | None:
    """The built library; None where there is no C compiler, or none that can build it."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    built = Path(mkdtemp(prefix="limen-test-")) / "failing_disk.so"
    done = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", built, SOURCE, "-ldl"], capture_output=True)
    return built if done.returncode == 0 else None


def preloaded() -> dict[str, str]:
    """The environment of a process that can be steered."""
    return {**os.environ, "LD_PRELOAD": str(library())}


def from_the_start(folder: Path, failure: Failure) -> dict[str, str]:
    """Variables that let changes below a folder fail in a process from its beginning on."""
    lasting = {"FAILING_LASTS": "1"} if failure.lasts else {}
    return {
        "LD_PRELOAD": str(library()),
        "FAILING_FOLDER": str(folder),
        "FAILING_AT": str(failure.at),
        "FAILING_ERROR": str(failure.error),
        **lasting,
    }


def count_changes(folder: Path) -> None:
    """Count changes below a folder from now on; none fails."""
    fail(folder, Failure(0, 0, False))


def fail(folder: Path, failure: Failure) -> None:
    """Count changes below a folder from now on, and let them fail."""
    ctypes.CDLL(None).failing_disk(os.fsencode(folder), ctypes.c_long(failure.at), failure.error, int(failure.lasts))


def changes() -> int:
    """How many there were."""
    return int(ctypes.CDLL(None).changes())


def what_failed() -> str:
    """Call and file of the first one that failed; "" where none did."""
    said = ctypes.CDLL(None).first_failure
    said.restype = ctypes.c_char_p
    found: bytes = said()
    return found.decode()
