from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.commands.child import Child
from service.commands.console import hanging
from tests.service.commandline import ROOT
from tests.service.commands.recordings import machine, write_csv

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(words: list[str], stdout: int | None = None) -> tuple[str, str]:
    """What `limen` shows on a terminal, and what it writes to standard output where that is another."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "service", *words]
    given = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(command, cwd=ROOT, stdout=stdout or theirs, stderr=theirs, env=given, text=True) as running:
        os.close(theirs)
        piped = running.stdout.read() if running.stdout else ""
        shown = b""
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:  # the terminal has nobody left who writes
            pass
    os.close(ours)
    assert running.returncode == 0
    return shown.decode(), piped


def test_nothing_is_glued_to_the_text_of_a_progress_bar(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("glued", faulty=True))
    shown, _ = on_a_terminal(["replay", str(file), "--url", live.url, "--speed", "0"])
    lines = [line for line in re.split(r"[\r\n]+", CONTROL.sub("", shown)) if line]
    assert any(line.startswith("replay: reading") for line in lines)
    assert any("alarm opened" in line for line in lines)
    assert not [line for line in lines if "replay:" in line and ("alarm" in line or "readings" in line)]
    bare = [line for line in shown.split("\n") if "alarm opened" in line]
    assert [CONTROL.sub("", line).strip()[:4] for line in bare] == ["2026"], "the line of the bar was not ended"


def test_there_is_no_bar_beside_a_pipe(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("piped", faulty=True))
    shown, piped = on_a_terminal(["replay", str(file), "--url", live.url, "--speed", "0"], subprocess.PIPE)
    assert shown == ""
    assert "alarm opened" in piped


@pytest.mark.parametrize("width", [10, 40, 80])
def test_a_word_is_never_broken(width: int) -> None:
    text = "bearing_temperature_de 12%, motor_current"
    lines = hanging("pump-1  ", text, width).splitlines()
    assert " ".join(line[8:] for line in lines) == text
