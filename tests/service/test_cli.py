from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from models.train import Options
from service import cli
from service.client import ServiceError
from tests.service.commandline import ROOT, limen, misused, process, refused
from tests.service.running import model_folder

PRINT_IMPORTED = "import sys; {}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
HEAVY = {"numpy", "polars", "scipy", "fastapi", "uvicorn"}


def imported_by(statement: str) -> set[str]:
    """Packages that are there after a statement, in a process of its own."""
    command = [sys.executable, "-c", PRINT_IMPORTED.format(statement)]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


def test_the_command_line_alone_imports_no_numerics() -> None:
    """Or it would be too late to settle the number of threads."""
    assert not HEAVY & imported_by("import service.cli")
    assert {"numpy", "polars"} <= imported_by("import service.commands.train")


@pytest.mark.parametrize("command", ["score", "evaluate", "serve", "train"])
def test_numerics_have_one_thread(command: str) -> None:
    """What the environment says at the moment numpy comes in."""
    words = {"serve": ["--config", "no.toml"], "train": ["no.csv"], "score": ["no", "no.csv"]}
    arguments = ["limen", command, *words.get(command, ["no", "no.csv", "--label", "y"])]
    program = (
        "import builtins, os, sys\n"
        "before = builtins.__import__\n"
        "def told(name, *rest):\n"
        "    if name.split('.')[0] == 'numpy' and 'numpy' not in sys.modules:\n"
        "        print(os.environ.get('OPENBLAS_NUM_THREADS'), os.environ.get('OMP_NUM_THREADS'))\n"
        "    return before(name, *rest)\n"
        "builtins.__import__ = told\n"
        f"sys.argv = {arguments!r}\n"
        "from service.cli import main\n"
        "main()\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("limen: error: ")
    assert done.stdout.splitlines()[0] == "1 1"


def test_the_defaults_of_train_are_those_of_the_model() -> None:
    parameters = typer.main.get_command(cli.app).commands["train"].params  # type: ignore[attr-defined]
    said = {parameter.name: parameter.default for parameter in parameters}
    assert [said[name] for name in ("memory", "memory_size", "window", "discount")] == ["auto", None, None, None]
    assert Options().false_alarm_rate == said["false_alarm_rate"]


def test_the_version_is_that_of_the_package() -> None:
    assert limen("version").out == limen("--version").out == f"{version('limen')}\n"


def test_the_module_is_the_command() -> None:
    done = process("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{version('limen')}\n", "")


def test_help_lists_every_command_with_a_sentence() -> None:
    done = limen("--help")
    assert done.status == 0
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    own = {
        "train",
        "score",
        "evaluate",
        "compare",
        "forecast",
        "serve",
        "simulate",
        "replay",
        "demo",
        "backup",
        "restore",
        "journal",
        "version",
    }
    assert set(commands) == own
    assert set(commands["journal"].commands) >= {"export", "verify", "inspect"}
    for name, command in {**commands, **commands["journal"].commands}.items():
        assert name in done.out or name in limen("journal", "--help").out
        assert command.help.endswith("."), name
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.help, f"{name} {parameter.name}"


def test_every_command_that_reads_files_has_the_same_data_options() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    wanted = {"--time", "--equipment", "--label", "--ignore", "--rows", "--map", "--time-format", "--timezone"}
    wanted |= {"--missing", "--running", "--settle", "--exclude", "--separator", "--encoding"}
    for name in ("train", "score", "evaluate", "replay"):
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert wanted <= options, name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("dance",), "No such command 'dance'"),
        (("train",), "Missing argument"),
        (("train", "x.csv", "--window", "0"), "--window"),
        (("train", "x.csv", "--fast"), "No such option"),
        (("score", "model"), "Missing argument"),
        (("evaluate", "model", "x.csv"), "--label"),
        (("replay", "x.csv", "--speed", "-1"), "--speed"),
        (("replay", "x.csv", "--url", "ftp://plant"), "is no address"),
        (("serve", "--port", "99999"), "--port"),
        (("serve", "--clock", "sundial"), "--clock"),
        (("demo", "--port", "-1"), "--port"),
        (("demo", "--seconds", "soon"), "--seconds"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_wrong(words: tuple[str, ...], expected: str) -> None:
    misused(limen(*words), expected)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServiceError("the service is gone"), "the service is gone"),
        (FileNotFoundError(2, "No such file or directory", "plant.csv"), "plant.csv: No such file or directory"),
        (OSError("strange"), "strange"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "invalid start byte"),
    ],
)
def test_what_fails_is_1_and_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    refused(limen(), expected)


def test_a_defect_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("shapes do not match")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(ValueError, match="shapes do not match"):
        limen()


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupt)
    assert limen().status == 130


def test_an_error_has_no_traceback_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = process("train", tmp_path / "none.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("limen: error: ")
    assert "Traceback" not in done.stderr
    assert "none.csv" in done.stderr


def test_a_closed_pipe_ends_it_without_a_word(tmp_path: Path) -> None:
    """As in `limen score ... | head -1`, with more lines than a pipe holds."""
    file = tmp_path / "long.csv"
    lines = [f"2026-01-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z,{n % 7},1,2,3" for n in range(5000)]
    file.write_text("time,sensor-0,sensor-1,sensor-2,sensor-3\n" + "\n".join(lines))
    command = [sys.executable, "-m", "service", "score", str(model_folder()), str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == "time,equipment,status,score,p_value,alarm,top_sensor\n"
        running.stdout.close()
        said = running.stderr.read()
    assert running.returncode == 1
    assert not [line for line in said.splitlines() if not line.startswith("limen: ")], said
    assert "error" not in said


def test_serve_obeys_its_options_and_ends_with_0_at_sigterm(tmp_path: Path) -> None:
    words = ["serve", "--model", str(model_folder()), "--data-dir", str(tmp_path / "data"), "--port", "0"]
    config = tmp_path / "limen.toml"
    config.write_text('log_json = true\nclock = "event"\n')
    command = [sys.executable, "-m", "service", *words, "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "listening on http://127.0.0.1:" in line:
                break
        running.send_signal(signal.SIGTERM)
        rest = running.stderr.read()
    assert running.returncode == 0
    assert line.startswith("{")
    assert '"stopped"' in rest
    assert (tmp_path / "data" / "models").is_dir()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--config", "none.toml"), "none.toml cannot be read"),
        (("--model", "nowhere"), "nowhere"),
        (("--host", "256.1.1.1"), "256.1.1.1"),
    ],
)
def test_serve_says_why_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "service", "serve", "--port", "0", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"limen: error: {expected}" in done.stderr or expected in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
