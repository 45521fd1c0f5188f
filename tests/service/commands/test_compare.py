"""`limen compare`: its files, what it refuses, and that it goes on where it was stopped."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.comparison.subject import Subject
from models.comparison.trials import Trial
from models.contract import ModelError
from service.commands import compare
from tests.builders import names, process
from tests.service.commandline import Done, limen, misused, refused
from tests.service.commandline import process as started

ROWS, TRAINED, FAULTY = 700, 450, slice(600, 640)
METHODS = "lmn,pca"


def recording(folder: Path, name: str = "a", seed: int = 0) -> Path:
    values = process(seed, ROWS)
    values[FAULTY, 1] += 6
    lines = ["time," + ",".join(names(4)) + ",fault,fit"]
    for row, cells in enumerate(values.tolist()):
        marks = f"{int(FAULTY.start <= row < FAULTY.stop)},{int(row < TRAINED)}"
        lines.append(f"2026-01-01T00:{row // 60:02}:{row % 60:02}Z," + ",".join(map(repr, cells)) + "," + marks)
    file = folder / f"{name}.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def compared(out: Path, *words: object) -> Done:
    return limen("compare", *words, "--label", "fault", "--methods", METHODS, "--out", out)


class Tags(HTMLParser):
    """Every tag is closed; what refers to anything outside is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "line", "rect", "circle", "polyline"):
            self.open.append(tag)
        self.outside += [name for name, _ in attrs if name in ("src", "href", "srcset", "xlink:href")]
        assert tag not in ("script", "link", "iframe", "img")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "line", "rect", "circle", "polyline"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parsed(page: Path) -> Tags:
    found, text = Tags(), page.read_text()
    found.feed(text)
    assert not found.open
    assert not found.outside
    assert "url(" not in text
    return found


def test_it_writes_table_page_and_results(tmp_path: Path) -> None:
    files = [recording(tmp_path, "a"), recording(tmp_path, "b", 1)]
    done = compared(tmp_path / "out", *files, "--train-column", "fit")
    assert done.status == 0, done
    assert "report.html" in done.out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [one["method"] for one in results["methods"]] == METHODS.split(",")
    assert [(one["train_rows"], one["episodes"]) for one in results["series"]] == [(TRAINED, 1)] * 2
    assert results["methods"][0]["vus_pr"] > 0.5
    assert results["left_out"] == []
    with (tmp_path / "out" / "results.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == METHODS.split(",")
    words = " ".join(parsed(tmp_path / "out" / "report.html").words)
    assert "Anomaly detection methods compared" in words
    assert f"{results['methods'][0]['vus_pr']:.3f}" in words


def test_the_page_can_be_japanese(tmp_path: Path) -> None:
    assert compared(tmp_path / "out", recording(tmp_path), "--train-rows", TRAINED, "--language", "ja").status == 0
    page = tmp_path / "out" / "report.html"
    assert "異常検知手法の比較レポート" in " ".join(parsed(page).words)
    assert '<html lang="ja">' in page.read_text()


def test_names_of_files_are_no_markup(tmp_path: Path) -> None:
    file = recording(tmp_path, "a<b onload=x>&amp")
    assert compared(tmp_path / "out", file, "--train-rows", TRAINED).status == 0
    assert "<b onload" not in (tmp_path / "out" / "report.html").read_text()
    parsed(tmp_path / "out" / "report.html")


def test_without_labels_it_tells_how_far_methods_agree(tmp_path: Path) -> None:
    options = ("--ignore", "fault", "--ignore", "fit", "--train-rows", TRAINED, "--methods", METHODS)
    done = limen("compare", recording(tmp_path), *options, "--out", tmp_path / "out", "--json")
    assert done.status == 0, done
    results = json.loads(done.out)
    assert results["methods"][0]["vus_pr"] is None
    assert -1 <= results["agreement"][0]["rank_correlation"] <= 1
    assert "no labels" in " ".join(parsed(tmp_path / "out" / "report.html").words)


def test_stopped_it_keeps_what_is_done_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, out = [recording(tmp_path, "a"), recording(tmp_path, "b", 1)], tmp_path / "out"
    real, asked = compare.run, []

    def run(*arguments: object) -> Trial:
        asked.append(arguments[1])
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(compare, "run", run)
    done = compared(out, *files, "--train-rows", TRAINED)
    assert done.status == 0
    assert "stopped" in done.err
    left = json.loads((out / "results.json").read_text())["left_out"]
    assert [(one["series"], one["reason"]) for one in left] == [("b", "stopped before it was run")] * 2
    assert "b" in " ".join(parsed(out / "report.html").words)
    refused(compared(out, *files, "--train-rows", TRAINED), "is not empty", "--resume")
    refused(compared(out, *files, "--train-rows", TRAINED - 1, "--resume"), "results of another split of the rows")
    (out / "runs" / "a.pca.0.npz").write_bytes(b"half")
    asked[:] = ["", "", "", ""]
    again = compared(out, *files, "--train-rows", TRAINED, "--resume")
    assert again.status == 0
    assert "a.pca.0.npz is damaged" in again.err
    assert asked[4:] == ["pca", "lmn", "pca"], "what was done is not run again"
    assert json.loads((out / "results.json").read_text())["left_out"] == []


def test_only_recordings_that_all_methods_have_done_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, out = [recording(tmp_path, "a"), recording(tmp_path, "b", 1)], tmp_path / "out"
    real = compare.run

    def run(subject: Subject, method: str, *rest: Any) -> Trial:
        if (subject.name, method) == ("b", "pca"):
            raise ModelError("too hard")
        return real(subject, method, *rest)

    monkeypatch.setattr(compare, "run", run)
    done = compared(out, *files, "--train-rows", TRAINED)
    assert done.status == 0
    assert "only what all methods have done is counted: 1 of 2 recordings" in done.out
    results = json.loads((out / "results.json").read_text())
    assert [one["series_done"] for one in results["methods"]] == [1, 1]
    assert [one["episodes"] for one in results["methods"]] == [1, 1]


def test_rows_that_count_otherwise_are_other_data(tmp_path: Path) -> None:
    file, out = recording(tmp_path), tmp_path / "out"
    assert compared(out, file, "--train-rows", TRAINED).status == 0
    refused(compared(out, file, "--train-rows", TRAINED, "--rows", f"0:{ROWS - 50}", "--resume"), "other data: a")


def test_what_does_not_fit_the_budget_is_told(tmp_path: Path) -> None:
    done = compared(tmp_path / "out", recording(tmp_path), "--train-rows", TRAINED, "--budget-minutes", 0)
    assert (done.status, done.out) == (1, "")
    assert "nothing could be compared: the 0 minutes of the budget were over" in done.err
    left = json.loads((tmp_path / "out" / "results.json").read_text())["left_out"]
    assert len(left) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--methods", "lmn,lstn"), "method is 'lstn'; this program knows 'lmn'"),
        (("--label", "no"), "no"),
        (("--train-column", "no"), "there is no column 'no'"),
        (("--train-rows", ROWS), "no row is left to judge"),
        (("--until", "soon"), "'soon' is no time"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_run(
    tmp_path: Path, options: tuple[object, ...], said: str
) -> None:
    given = ("--methods", METHODS, "--label", "fault", *options)
    refused(limen("compare", recording(tmp_path), "--out", tmp_path / "out", *given), said)
    assert not (tmp_path / "out").exists()


def test_without_torch_the_usual_methods_are_those_that_need_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert compare.usual_methods() == ("lmn", "pca", "dynamic-pca", "k-means")
    assert "rnn, lstm: left out, since torch is not installed" in capsys.readouterr().err
    with pytest.raises(ModelError, match="method 'lstm' is trained with torch, which is not installed"):
        compare.check_methods(["lstm"])


def test_two_ways_to_part_the_rows_are_one_too_many(tmp_path: Path) -> None:
    done = limen("compare", recording(tmp_path), "--train-rows", 10, "--until", "2026-01-01", "--out", tmp_path / "out")
    misused(done, "expected one of --train-rows")


def test_files_of_the_same_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [recording(tmp_path), recording(tmp_path / "other")]
    refused(compared(tmp_path / "out", *files, "--train-rows", TRAINED), "two files have the same name")


def test_a_method_that_cannot_be_fitted_is_left_out_with_its_reason(tmp_path: Path) -> None:
    done = compared(tmp_path / "out", recording(tmp_path), "--train-rows", 60)
    assert (done.status, done.out) == (1, "")
    assert "nothing could be compared" in done.err
    assert "usable rows are too few" in done.err
    assert "usable rows are too few" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.prove
def test_a_process_of_its_own_compares_recurrent_rivals_with_seeds(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    options = ("--label", "fault", "--train-column", "fit", "--methods", "lmn,lstm", "--seeds", "2")
    done = started("compare", recording(tmp_path), *options, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    lmn, lstm = json.loads(done.stdout)["methods"]
    assert (lmn["seeds"], lstm["seeds"]) == (1, 2)
    assert len(set(lstm["spread"]["vus_pr"])) == 2
    assert lmn["fit_seconds"] < lstm["fit_seconds"]
    assert np.isfinite(lstm["spread"]["fit_seconds"]).all()
