"""The `limen` command: options in, one function of `service/commands/` each.

Numerics are imported by the command that needs them, after the number of BLAS threads is settled: one, so that scores
do not depend on neighbours in a batch, nor models on the number of cores. Training has threads of its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from service.client import ServiceError, address
from service.commands import journal
from service.commands import options as o

app = typer.Typer(
    name="limen",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(journal.app)


def _say_version(wanted: bool) -> None:
    if wanted:
        show_version()
        raise typer.Exit


@app.callback()
def limen(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """Industrial anomaly detection with Linear Memory Networks."""


def main() -> None:
    """Run `limen`; exit status 0 done, 1 refused or failed, 2 wrong usage."""
    one_blas_thread()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has gone; nobody is left to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, ServiceError) as error:
        if type(error) is ValueError:  # not a DataError, ModelError or SettingsError: a defect, and its place matters
            raise
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _fail(text: str) -> None:
    print(f"limen: error: {text}", file=sys.stderr)
    sys.exit(1)


def one_blas_thread() -> None:
    """Before numpy is imported: what is computed then does not depend on threads."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _address(url: str) -> str:
    try:
        address(url)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return url


@app.command()
@o.reads_files
def train(
    data: o.Data,
    flags: o.DataFlags,
    out: Annotated[Path, typer.Option("--out", help="Folder for the model.")] = Path("model"),
    name: Annotated[str, typer.Option("--name", help="Name of the model; else that of the folder.")] = "",
    false_alarm_rate: Annotated[float, typer.Option("--false-alarm-rate", help="Promised share of ticks.")] = 0.01,
    memory: Annotated[
        Literal["auto", "fixed"], typer.Option("--memory", help="auto: what is not given below is chosen by the data.")
    ] = "auto",
    memory_size: Annotated[
        int | None, typer.Option("--memory-size", min=1, max=2048, help="Values in the memory; fixed: 52.")
    ] = None,
    window: Annotated[
        int | None, typer.Option("--window", min=1, max=1000, help="Ticks that the memory looks back; fixed: 10.")
    ] = None,
    discount: Annotated[
        float | None, typer.Option("--discount", help="Weight of each tick further back, 0 to 1; fixed: 0.95.")
    ] = None,
    features: Annotated[
        str, typer.Option("--features", help="tanh features beside the sensors: auto, none, or how many.")
    ] = "auto",
    method: Annotated[str, typer.Option("--method", help="lmn, lmn-gradient, or a rival; see the README.")] = "lmn",
    as_json: o.Json = False,
) -> None:
    """Train a model on files of normal operation."""
    from models.feature_choice import feature_counts
    from models.memory_choice import choices_of
    from models.train import Options
    from service.commands import train as command

    shape, choices = choices_of(memory == "auto" and method == "lmn", memory_size, window, discount)
    counts = feature_counts(features)
    options = Options(shape, false_alarm_rate, name=name, method=method, choices=choices, features=counts)
    command.run(data, out, options, flags.options(), as_json)


@app.command()
@o.reads_files
def score(
    model: o.Model,
    data: o.Data,
    flags: o.DataFlags,
    out: Annotated[Path | None, typer.Option("--out", help="CSV file; else standard output.")] = None,
) -> None:
    """Score files with a model: CSV, a line for each input row in its order."""
    from service.commands import score as command

    command.score(model, data, out, flags.options())


@app.command()
@o.reads_files
def evaluate(model: o.Model, data: o.Data, flags: o.DataFlags, as_json: o.Json = False) -> None:
    """Compare the scores of labelled files with their labels; --label names their column."""
    if flags.label is None:
        raise typer.BadParameter("expected the column that is 1 where the machine was faulty", param_hint="--label")
    from service.commands import evaluate as command

    command.run(model, data, flags.options(), as_json)


@app.command()
@o.reads_files
def compare(
    data: o.Data,
    flags: o.DataFlags,
    out: Annotated[Path, typer.Option("--out", help="Folder for table, page and results.")] = Path("comparison"),
    train_rows: Annotated[
        int | None, typer.Option("--train-rows", min=1, help="First rows of each machine to train on; else a third.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Time that the rows to train on come before.")] = None,
    train_column: Annotated[
        str | None, typer.Option("--train-column", help="Column that is not 0 in rows to train on.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option("--methods", help="With commas; else lmn, pca, dynamic-pca, k-means, and with torch rnn, lstm."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Of methods that draw at random.")] = 3,
    false_alarm_rate: Annotated[float, typer.Option("--false-alarm-rate", help="Promised share of ticks.")] = 0.01,
    budget_minutes: Annotated[
        float | None, typer.Option("--budget-minutes", min=0.0, help="After which nothing more is begun.")
    ] = None,
    language: Annotated[Literal["en", "ja"], typer.Option("--language", help="Of the page.")] = "en",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in the folder.")] = False,
    as_json: o.Json = False,
) -> None:
    """Compare the LMN with other methods on your own recording: a table, and a page to show."""
    from models.comparison.subject import Split
    from models.exports.selection import instant
    from service.commands import compare as command

    if sum(given is not None for given in (train_rows, until, train_column)) > 1:
        raise typer.BadParameter("expected one of --train-rows, --until and --train-column")
    options = flags.options()
    before = None if until is None else instant(until, "--until: ", options.timezone or "UTC")
    split = Split(train_rows, before, train_column)
    names = tuple(name.strip() for name in (methods or "").split(",") if name.strip()) or command.usual_methods()
    plan = command.Plan(names, split, seeds, false_alarm_rate, budget_minutes, language)
    command.compare(data, options, plan, out, resume, as_json)


@app.command()
@o.reads_files
def forecast(
    model: o.Model,
    data: o.Data,
    flags: o.DataFlags,
    horizon: Annotated[int, typer.Option("--horizon", min=1, max=10_000, help="Ticks to look ahead.")] = 100,
    coverage: Annotated[
        float, typer.Option("--coverage", min=0.5, max=0.99, help="Share of values that intervals are to cover.")
    ] = 0.9,
    sensor: Annotated[list[str] | None, typer.Option("--sensor", help="Sensor to forecast (repeatable).")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option("--limit", help="Tell when a sensor reaches a value (repeatable).", metavar="SENSOR=VALUE"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Forecast within the files; tell how many values were covered.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="CSV file; else standard output.")] = None,
    as_json: o.Json = False,
) -> None:
    """Forecast each sensor after the end of files, with intervals: CSV, a line for each time and sensor."""
    from service.commands import forecast as command
    from service.outlook import Wanted, parse_limit

    wanted = Wanted(horizon, coverage, tuple(sensor or ()), tuple(map(parse_limit, limit or ())))
    command.run(model, data, wanted, check, out, flags.options(), as_json)


@app.command()
def serve(
    model: Annotated[Path | None, typer.Option("--model", help="Artifact to put in as the default model.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", readable=False, help="Folder for models and state.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on; loopback by default.")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65_535, help="Port to listen on; 0: any.")] = None,
    clock: Annotated[
        Literal["wall", "event"] | None, typer.Option("--clock", help="event: time is what the data says.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")] = None,
) -> None:
    """Serve: readings in over HTTP, scores and alarms out."""
    from service.commands import serve as command

    given = {"data_dir": data_dir, "host": host, "port": port, "clock": clock}
    command.run(model, config, {name: value for name, value in given.items() if value is not None})


@app.command()
def simulate(
    out: Annotated[Path, typer.Option("--out", help="CSV file to write.")],
    machines: Annotated[int, typer.Option("--machines", min=1, max=10_000, help="Pump skids.")] = 6,
    ticks: Annotated[int, typer.Option("--ticks", min=10, help="Readings of each machine.")] = 20_000,
    interval_seconds: Annotated[int, typer.Option("--interval-seconds", min=1, help="Time between readings.")] = 10,
    start: Annotated[str, typer.Option("--start", help="Time of the first reading.")] = "2026-01-01T00:00:00Z",
    normal: Annotated[bool, typer.Option("--normal", help="Without faults.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another one is another fleet.")] = 0,
    as_json: o.Json = False,
) -> None:
    """Simulate a fleet of pump skids with labelled faults, as a CSV file."""
    from service.commands import simulate as command

    command.run(out, machines, ticks, interval_seconds, start, normal, seed, as_json)


@app.command()
def backup(
    data_dir: Annotated[Path, typer.Argument(help="Data folder of the service.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="New folder, or NAME.tar; where it is there, a new one in it.")],
) -> None:
    """Copy a data folder, while the service runs or not, and verify the copy."""
    from service.commands import backup as command

    command.run(data_dir, out)


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="Folder or .tar of a backup.", show_default=False)],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Data folder; no service may use it.")],
    force: Annotated[bool, typer.Option("--force", help="Put aside what is in the data folder.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of settings, to compare with.")] = None,
) -> None:
    """Put a backup into a data folder, verified before anything is touched; `limen serve` goes on from there."""
    from service.commands import restore as command

    command.run(backup, data_dir, force, config)


@app.command()
@o.reads_files
def replay(
    data: o.Data,
    flags: o.DataFlags,
    url: Annotated[str, typer.Option("--url", help="Of the service.", callback=_address)] = "http://127.0.0.1:8000",
    speed: Annotated[float, typer.Option("--speed", min=0, help="Times real speed; 0: as fast as it goes.")] = 1.0,
    as_json: o.Json = False,
) -> None:
    """Stream files to a service and print alarms as they open and close."""
    from service.commands import replay as command

    command.run(data, url, speed, flags.options(), as_json)


@app.command()
def demo(
    seconds: Annotated[
        float, typer.Option("--seconds", envvar="DEMO_SECONDS", min=0, help="End by itself after that; 0: never.")
    ] = 0.0,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="Of the service; 0, or where it is taken: any free one.")
    ] = 8000,
) -> None:
    """Simulate a fleet, train, serve, stream and watch, on this machine."""
    from service.commands import demo as command

    command.run(seconds, port)


@app.command(name="version")
def show_version() -> None:
    """Print the version; so does `limen --version`."""
    from importlib.metadata import version

    print(version("limen"))
