"""The page of made-up results: what it says, in both languages, with nothing undefined shown as a number."""

from __future__ import annotations

from typing import Any

import pytest

from models.comparison.page import page
from models.comparison.page_words import LANGUAGES, WORDS
from models.comparison.plots import boxes, scatter, trace

FIGURES = (
    "vus_pr", "average_precision", "f1", "kept_false_alarm_rate", "missed_alarm_rate", "delay_ticks_median",
    "false_alarms_per_machine_week", "normal_time_in_alarm", "fit_seconds", "search_seconds", "retrain_seconds",
    "parameters", "latency_p50_us", "latency_p99_us", "readings_per_second", "bytes_per_machine", "episodes_found",
    "episodes",
)  # fmt: skip


def method(name: str, **known: Any) -> dict[str, Any]:
    bare = {**dict.fromkeys(FIGURES), "method": name, "seeds": 1, "spread": {"vus_pr": [], "fit_seconds": []}}
    return {**bare, **known}


def results(*methods: dict[str, Any], **other: Any) -> dict[str, Any]:
    series = {"name": "pump", "train_rows": 1000, "test_rows": 500, "anomalous_rows": 20, "episodes": 2}
    return {
        "promised": 0.01, "labelled": True, "hardware": "2 cores", "methods": list(methods), "series": [series],
        "agreement": [], "traces": [], "left_out": [], "notes": [],
    } | other  # fmt: skip


def test_both_languages_have_the_same_words() -> None:
    assert WORDS["en"].keys() == WORDS["ja"].keys()
    assert set(WORDS) == set(LANGUAGES)


def test_the_summary_says_who_kept_the_promise_and_who_is_faster() -> None:
    lmn = method("lmn", vus_pr=0.9, kept_false_alarm_rate=0.005, fit_seconds=0.01)
    lstm = method("lstm", vus_pr=0.8, kept_false_alarm_rate=0.05, fit_seconds=2.0)
    pca = method("pca", vus_pr=0.7, fit_seconds=0.001)
    found = page(results(pca, lstm, lmn), "en")
    assert "lmn ranks anomalies best (VUS-PR 0.900); lstm follows with 0.800." in found
    assert "lstm 5.00% (not kept), lmn 0.50% (kept)." in found
    assert "trained in 0.01 s, 200 times as fast as lstm (2 s)." in found
    assert "Trained faster still: pca 0.001 s." in found


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_undefined_is_a_dash_and_empty_lists_are_no_trouble(language: str) -> None:
    found = page(results(method("lmn")), language)
    assert "None" not in found
    assert "nan" not in found
    assert found.count("<td>\u2013</td>") >= len(FIGURES) - 2
    assert page(results(), language).startswith("<!DOCTYPE html>")


def test_without_labels_nothing_is_called_a_false_alarm() -> None:
    found = page(results(method("lmn", kept_false_alarm_rate=0.3), labelled=False), "en")
    assert "readings over the threshold" in found
    assert "false alarms kept" not in found


def test_plots_show_every_method_and_mark_alarms_and_labels() -> None:
    assert scatter([], "t", "x", "y") == boxes([("lmn", [])], "t") == ""
    found = scatter([("a", 0.01, 0.5), ("b", 10.0, 0.9)], "t", "x", "y")
    assert found.count("<circle") == 2
    assert boxes([("a", [0.1, 0.2]), ("b", [0.3])], "t").count('class="median"') == 2
    drawn = trace([0.1, 2.0, 9.0, 0.2], [0, 1, 1, 0], [0, 0, 1, 0], "t")
    assert drawn.count('class="label"') == drawn.count('class="alarm"') == 1
