"""`limen journal export`: what a service took in comes out as Parquet, and trains the model that the original would."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

from models.data import DataOptions, read
from models.train import Options
from service.commands import train
from service.commands.stream import Machine
from service.ingest.times import time_texts
from service.lifecycle import Service
from service.settings import JOURNAL
from tests.builders import SMALL
from tests.service.commandline import limen, refused
from tests.service.commands.recordings import FAULT, SECOND, machine, write_csv
from tests.service.fleet import in_columns
from tests.service.running import SENSORS, check_sum, run, settings

MIDNIGHT = 1_790_035_200  # 2026-09-22T00:00:00Z
START = MIDNIGHT - 200


def recording() -> list[Machine]:
    """Two machines over midnight, one with a fault, both with missing cells."""
    made = [machine("pump-1", 5, start=START), machine("pump-2", 6, faulty=True, start=START)]
    rng = np.random.default_rng(0)
    for one in made:
        one.values[rng.random(one.values.shape) < 0.03] = np.nan
    return made


def served(folder: Path, made: list[Machine]) -> None:
    """A service that has taken a recording in, in bodies of 25 readings."""

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        for first in range(0, len(made[0].time), 25):
            part = slice(first, first + 25)
            batches = [in_columns(one.equipment, SENSORS, one.time[part], one.values[part]) for one in made]
            response = await client.post("/v1/readings", json={"batches": batches})
            check_sum(response.json())

    run(settings(folder), scenario)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    served(folder, recording())
    return folder


def exported(data: Path, out: Path, *words: str) -> list[Path]:
    done = limen("journal", "export", data, "--out", out, *words)
    assert done.status == 0, done.err
    return sorted(out.glob("*/*.parquet"))


def test_each_day_leaves_in_a_file_with_every_value_and_what_came_of_it(data: Path, tmp_path: Path) -> None:
    files = exported(data, tmp_path)
    assert [file.parent.name for file in files] == ["2026-09-21", "2026-09-22"]
    table = pl.concat(pl.read_parquet(file) for file in files).sort("equipment", "time")
    expected = recording()
    assert table["equipment"].to_list() == [one.equipment for one in expected for _ in one.time]
    assert table["time"].dt.epoch("us").to_list() == [int(time) for one in expected for time in one.time]
    values = np.concatenate([one.values for one in expected])
    assert np.array_equal(table.select(SENSORS).to_numpy(), values, equal_nan=True)
    assert set(table["status"]) == {"warming", "scored"}
    assert table.filter(pl.col("status") == "scored")["score"].null_count() == 0
    in_alarm = table.filter("alarm")
    assert set(in_alarm["equipment"]) == {"pump-2"}
    assert in_alarm["time"].dt.epoch("us").min() >= (START + FAULT.start) * SECOND
    assert set(table["flags"]) == {"", "imputed"}


def test_exported_files_train_the_model_that_the_original_values_train(data: Path, tmp_path: Path) -> None:
    files = exported(data, tmp_path / "out")
    original = write_csv(tmp_path / "original.csv", *recording())
    for name, source in (("a", [original]), ("b", files)):
        train.run(source, tmp_path / name, Options(SMALL, name="pumps"), DataOptions(), True)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_results_are_no_sensors_but_may_choose_rows(data: Path, tmp_path: Path) -> None:
    files = exported(data, tmp_path)
    assert read(files).sensors == SENSORS
    assert read(files, DataOptions(ignore=(SENSORS[1],))).sensors == (SENSORS[0], *SENSORS[2:])
    quiet = read(files, DataOptions(running="score < 1"))
    used = sum(int(one.use.sum()) for one in quiet.series)
    scores = pl.concat(pl.read_parquet(file) for file in files)["score"]
    assert 0 < used < scores.len()


def test_a_machine_and_a_time_can_be_chosen(data: Path, tmp_path: Path) -> None:
    first, last = time_texts(np.array([MIDNIGHT - 10, MIDNIGHT + 5]) * SECOND)
    files = exported(data, tmp_path, "--equipment", "pump-2", "--from", first, "--to", last)
    table = pl.concat(pl.read_parquet(file) for file in files)
    assert set(table["equipment"]) == {"pump-2"}
    assert table.height == 15
    assert {file.parent.name: pl.read_parquet(file).height for file in files} == {"2026-09-21": 10, "2026-09-22": 5}


def test_records_can_be_chosen_by_their_numbers(data: Path, tmp_path: Path) -> None:
    sequences = pl.concat(pl.read_parquet(file) for file in exported(data, tmp_path / "all"))["sequence"]
    first, last = int(sequences.min()) + 2, int(sequences.max()) - 1  # type: ignore[arg-type]
    files = exported(data, tmp_path / "some", "--from", str(first), "--to", str(last))
    table = pl.concat(pl.read_parquet(file) for file in files)
    assert set(table["sequence"]) == set(range(first, last + 1))
    assert set(table["equipment"]) == {"pump-1", "pump-2"}, "met for the first time in a record before"


def spoilt(data: Path, folder: Path, statement: str) -> Path:
    """A copy of a data folder without its snapshots, whose journal was damaged."""
    copy = shutil.copytree(data, folder)
    shutil.rmtree(copy / "snapshots")
    connection = sqlite3.connect(copy / JOURNAL)
    with connection:
        connection.execute(statement)
    connection.close()
    return copy


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE record SET received_at = 3 WHERE sequence = 5", "record 5 does not match its checksum; it is damaged"),
        ("DELETE FROM record WHERE sequence = 5", "record 5 is missing; the next one there is 6"),
    ],
)
def test_of_a_damaged_journal_what_is_whole_is_exported_and_the_rest_named(
    data: Path, tmp_path: Path, statement: str, sentence: str
) -> None:
    whole = pl.concat(pl.read_parquet(file) for file in exported(data, tmp_path / "whole"))
    copy = spoilt(data, tmp_path / "copy", statement)
    done = limen("journal", "export", copy, "--out", tmp_path / "out")
    assert done.status == 1
    assert done.err.startswith(f"limen: error: not all could be exported: {sentence} (after record 4 of 2")
    table = pl.concat(pl.read_parquet(file) for file in sorted((tmp_path / "out").glob("*/*.parquet")))
    assert done.out.startswith(f"{table.height} readings in ")
    assert 0 < table.height < whole.height
    keys = ["equipment", "time"]
    assert table.sort(keys).equals(whole.filter(pl.col("sequence") != 5).sort(keys))
    assert exported(copy, tmp_path / "later", "--from", "6")
    assert limen("journal", "export", copy, "--out", tmp_path / "later", "--from", "5").status == 1


def test_a_file_that_is_damaged_itself_is_exported_as_far_as_it_can_be_read(data: Path, tmp_path: Path) -> None:
    copy = spoilt(data, tmp_path / "copy", "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray((copy / JOURNAL).read_bytes())
    (page,) = sqlite3.connect(copy / JOURNAL).execute("PRAGMA page_size").fetchone()
    for start in range(len(content) // 2 // page * page, len(content), page):
        content[start : start + 64] = bytes(64)
    (copy / JOURNAL).write_bytes(content)
    done = limen("journal", "export", copy, "--out", tmp_path / "out")
    assert done.status == 1
    assert "limen: error: not all could be exported: " in done.err
    files = sorted((tmp_path / "out").glob("*/*.parquet"))
    assert sum(pl.read_parquet(file).height for file in files) > 0


def test_what_cannot_be_exported_is_refused_in_a_sentence(data: Path, tmp_path: Path) -> None:
    refused(limen("journal", "export", tmp_path, "--out", tmp_path), "there is no journal at")
    refused(limen("journal", "export", data, "--out", tmp_path, "--equipment", "fan"), "names fan")
    refused(
        limen("journal", "export", data, "--out", tmp_path, "--from", "yesterday"),
        "--from is 'yesterday'",
        "or the number",
    )
    refused(limen("journal", "export", data, "--out", tmp_path, "--from", "0"), "--from is record 0; expected a number")
    refused(limen("journal", "export", data, "--out", tmp_path, "--to", "2020-01-01T00:00:00Z"), "holds no reading")
