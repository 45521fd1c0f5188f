"""The `limen` command as a person meets it: words in; exit status, standard output and standard error out."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from service import cli

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


def limen(*words: object) -> Done:
    """Run it in this process; a traceback of it is one of the test."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "argv", ["limen", *map(str, words)]):
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Done(status, out.getvalue(), err.getvalue())


def process(*words: object, **given: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m service` in a process of its own."""
    command = [sys.executable, "-m", "service", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **given)


def refused(done: Done, *expected: str) -> None:
    """Exit status 1, one sentence on standard error that has all of `expected`, nothing on standard output."""
    assert (done.status, done.out) == (1, ""), done
    assert done.err.startswith("limen: error: ")
    assert done.err.count("limen: error") == 1
    for text in expected:
        assert text in done.err, done.err


def misused(done: Done, *expected: str) -> None:
    """Exit status 2 and how to use it."""
    assert (done.status, done.out) == (2, ""), done
    for text in expected:
        assert text in done.err, done.err
