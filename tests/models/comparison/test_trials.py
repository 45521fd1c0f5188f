"""One method on one recording, and what is made of several."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from models.baselines.methods import METHODS
from models.comparison import summary
from models.comparison.costs import costs_of
from models.comparison.subject import Split, Subject, subject_of
from models.comparison.trials import Trial, run
from models.comparison.tuning import FIXED, SIZED, WINDOWED, WINDOWS, tune
from models.contract import ModelError
from models.evaluate import pool
from models.exports.series import Series
from tests.builders import names, need, process, trained

ROWS, TRAINED, FAULTY = 900, 500, slice(700, 760)


@cache
def subject(name: str = "file", seed: int = 0) -> Subject:
    values = process(seed, ROWS)
    values[FAULTY, 1] += 6
    label = np.zeros(ROWS)
    label[FAULTY] = 1
    series = Series("pump", np.arange(ROWS) * 1_000_000, values, label, np.arange(ROWS), np.ones(ROWS, bool))
    return subject_of(name, names(4), 1_000_000, [series], Split(rows=TRAINED), labelled=True)


@cache
def trial(method: str, seed: int = 0, name: str = "file") -> Trial:
    return run(subject(name, len(name)), method, seed, 0.01)


@pytest.mark.parametrize("method", ["lmn", "pca", "k-means"])
def test_a_trial_judges_the_rows_that_were_not_trained_on(method: str) -> None:
    done = trial(method)
    assert [len(part.score) for part in done.parts] == [ROWS - TRAINED]
    assert np.isfinite(done.parts[0].score).all(), "the memory has been through the rows before"
    assert pool(done.parts).recall > 0.2  # type: ignore[operator]
    assert 0 < done.facts["vus_pr"] <= 1
    assert 0 < done.facts["fit_seconds"] < done.facts["retrain_seconds"]
    assert done.facts["parameters"] > 0


def test_what_is_found_does_not_depend_on_the_labels() -> None:
    known = subject()
    series = known.series[0]
    bare = Series(series.equipment, series.time, series.values, None, series.row, series.use)
    blind = Subject(known.name, known.sensors, known.interval, (bare,), known.train)
    done = run(blind, "pca", 0, 0.01)
    np.testing.assert_array_equal(done.parts[0].score, run(known, "pca", 0, 0.01).parts[0].score)
    assert done.facts["vus_pr"] is None


def test_a_trial_comes_back_from_its_file_as_it_was() -> None:
    done = trial("pca")
    back = Trial.of_bytes(done.as_bytes())
    assert back.facts == done.facts
    for one, other in zip(back.parts, done.parts, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ModelError, match="no result of a comparison"):
        Trial.of_bytes(done.as_bytes()[:200])


def test_too_few_rows_are_told() -> None:
    known = subject()
    short = Subject(known.name, known.sensors, known.interval, known.series, (np.arange(ROWS) < 15,))
    with pytest.raises(ModelError, match="no stretch of rows to train on is longer than 20 ticks"):
        run(short, "lmn", 0, 0.01)


def test_tuning_chooses_the_least_held_out_error_of_its_trials() -> None:
    found = tune("k-means", subject().normal, names(4), 0)
    assert [shape for shape, _ in found.trials] == list(WINDOWED)
    assert dict(found.trials)[found.shape] == min(error for _, error in found.trials)
    assert found.seconds > 0
    assert tune("pca", subject().normal, names(4), 0).trials == ()


@pytest.mark.parametrize("method", [name for name in METHODS if name not in FIXED])
def test_trials_of_a_method_differ(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In what its fit reads of the shape: a search that tries the same thing again is none."""
    shapes = WINDOWED if method in WINDOWS else SIZED
    read = {"window"} if method in WINDOWS else {"memory_size"}
    seen: set[str] = set()

    class Watched:
        def __getattr__(self, name: str) -> object:
            seen.add(name)
            return getattr(shapes[0], name)

    need(method)
    METHODS[method].fit([process(0, 60)], None, Watched(), 0)  # type: ignore[arg-type]
    assert read <= seen
    assert len({getattr(shape, name) for shape in shapes for name in read}) == len(shapes)


def test_costs_are_those_of_the_model() -> None:
    training = trained()
    found = costs_of(training.detector, process(0))
    lmn = training.detector.linear
    weights = lmn.W_hm.size + lmn.W_mm.size + lmn.W_mo.size + lmn.b_o.size
    assert found.parameters == weights + 16
    assert 0 < found.latency_p50_us <= found.latency_p99_us
    assert found.readings_per_second > 0
    assert found.bytes_per_machine > 4 * lmn.memory_size


def test_figures_pool_recordings_and_average_seeds() -> None:
    trials = [trial("lmn"), trial("lmn", name="another")]
    found = summary.figures_of("lmn", trials, labelled=True)
    both = pool([part for one in trials for part in one.parts])
    assert found["f1"] == pytest.approx(both.f1)
    assert found["kept_false_alarm_rate"] == pytest.approx(both.false_alarm_rate)
    assert (found["series_done"], found["seeds"], found["episodes"]) == (2, 1, 2)
    assert found["vus_pr"] == pytest.approx(np.mean([one.facts["vus_pr"] for one in trials]))
    assert found["fit_seconds"] == pytest.approx(sum(one.facts["fit_seconds"] for one in trials))
    unlabelled = summary.figures_of("lmn", trials, labelled=False)
    assert unlabelled["vus_pr"] is unlabelled["f1"] is unlabelled["episodes"] is None


def test_a_method_agrees_with_itself() -> None:
    found = summary.agreement({"a": [trial("lmn")], "b": [trial("lmn")], "c": [trial("pca")]})
    itself, other = found[0], found[1]
    assert itself["rank_correlation"] == pytest.approx(1)
    assert itself["jaccard"] == 1
    assert other["rank_correlation"] < 1
    assert 0 <= other["jaccard"] < 1


def test_traces_keep_the_highest_of_each_few_ticks() -> None:
    found = summary.traces({"lmn": [trial("lmn")]}, labelled=True)[0]
    score = trial("lmn").parts[0].score
    assert found["ticks_per_point"] == 1
    assert max(found["score"]) == pytest.approx(float(score.max()), abs=1e-3)
    assert sum(found["label"]) == FAULTY.stop - FAULTY.start
