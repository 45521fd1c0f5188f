"""What all tests share: one BLAS thread, the recordings where there are any, and one line on what could not be run."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pytest

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported: as in serving

ROOT = Path(__file__).resolve().parent.parent
HAS_TORCH = importlib.util.find_spec("torch") is not None
IMPORTS_TORCH = re.compile(r"^(import torch|from torch|from models\.(gradient|baselines\.recurrent) )", re.MULTILINE)
NO_TORCH = "torch is not installed"
NO_RECORDINGS = "no recordings"


def pytest_configure(config: pytest.Config) -> None:
    """Without torch, files that cannot even be imported are left out; `pytest_terminal_summary` counts them."""
    if not HAS_TORCH:
        files = [file for folder in ("models", "tests") for file in (ROOT / folder).rglob("*.py")]
        without = [str(file) for file in files if IMPORTS_TORCH.search(file.read_text("utf-8"))]
        config.option.ignore = [*(config.option.ignore or []), *without]
        config.stash[LEFT_OUT] = len(without)


LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `torch` are skipped where it is missing."""
    if not HAS_TORCH:
        for item in items:
            if item.get_closest_marker("torch"):
                item.add_marker(pytest.mark.skip(reason=NO_TORCH))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for each thing that was missing."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    if not HAS_TORCH:
        tests = sum("torch" in reason for reason in reasons)
        files = config.stash.get(LEFT_OUT, 0)
        terminalreporter.write_line(
            f"{NO_TORCH}: what needs it was not run (tests: {tests}, files: {files}); pip install torch, then run again"
        )
    if tests := sum(NO_RECORDINGS in reason for reason in reasons):
        terminalreporter.write_line(f"{NO_RECORDINGS}: tests not run: {tests}; set LIMEN_DATA to their folder")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public recordings (tep/, skab/, ...): LIMEN_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("LIMEN_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"{NO_RECORDINGS} at {folder}: set LIMEN_DATA to the folder that holds tep/ and skab/")
    return folder
