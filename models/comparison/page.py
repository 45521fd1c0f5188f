"""The page of `limen compare`: one HTML file that a board can read, without a network and without a script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from models.comparison import plots
from models.comparison.page_words import WORDS

NONE = "\u2013"
FORMS: dict[str, str] = {
    "vus_pr": "{:.3f}",
    "average_precision": "{:.3f}",
    "f1": "{:.3f}",
    "kept_false_alarm_rate": "{:.2%}",
    "missed_alarm_rate": "{:.1%}",
    "found": "{}",
    "delay_ticks_median": "{:.0f}",
    "false_alarms_per_machine_week": "{:.1f}",
    "normal_time_in_alarm": "{:.1%}",
    "fit_seconds": "{:.3g}",
    "search_seconds": "{:.3g}",
    "retrain_seconds": "{:.3g}",
    "parameters": "{:,.0f}",
    "latency_p50_us": "{:,.0f}",
    "latency_p99_us": "{:,.0f}",
    "readings_per_second": "{:,.0f}",
    "bytes_per_machine": "{:,.0f}",
}
OF_LABELS = (
    "vus_pr",
    "average_precision",
    "f1",
    "missed_alarm_rate",
    "found",
    "delay_ticks_median",
    "false_alarms_per_machine_week",
)
STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--rule:#d9dee5;--accent:#0b6e8a;--shade:#f3c9a8;--alarm:#b3261e}
*{box-sizing:border-box}body{margin:0 auto;max-width:980px;padding:32px 20px 64px;color:var(--ink);background:#fff;
font:16px/1.6 system-ui,"Hiragino Sans","Yu Gothic UI","Noto Sans CJK JP",sans-serif}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .6em}h2{font-size:1.15rem;margin:2.2em 0 .5em}
h3{font-size:.95rem;margin:1.4em 0 .2em;font-weight:600}p{margin:.5em 0;max-width:46em}
.summary p{font-size:1.08rem}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums}
caption{position:absolute;clip-path:inset(50%)}
th,td{padding:.42em .6em;border-bottom:1px solid var(--rule);text-align:right;vertical-align:bottom}
th:first-child,td:first-child{text-align:left}th{font-weight:500}thead th{color:var(--soft)}
svg{width:100%;height:auto;display:block}svg text{font-size:12px;fill:var(--soft);font-family:inherit}
.grid{stroke:var(--rule)}.dot{fill:var(--accent)}.box{fill:#d4e8ee;stroke:var(--accent)}
.whisker,.median{stroke:var(--accent);stroke-width:1.5}.median{stroke-width:3}
.label{fill:var(--shade);opacity:.6}.score{fill:none;stroke:var(--accent);stroke-width:1.1}
.threshold{stroke:var(--soft);stroke-dasharray:4 4}.alarm{fill:var(--alarm)}.note{color:var(--soft);font-size:.9rem}
@media print{body{padding:0;max-width:none}.scroll{overflow:visible}table{font-size:.7rem}
h2{break-after:avoid}svg,table{break-inside:avoid}}
"""

Results = dict[str, Any]


def page(results: Results, language: str) -> str:
    """The page of `results` as in `results.json`, in one of LANGUAGES."""
    words = WORDS[language]
    parts = [
        f"<h1>{escape(words['title'])}</h1>",
        _summary(results, words),
        _figures(results, words),
        _plots(results, words),
        _agreement(results, words),
        _traces(results, words),
        _recordings(results, words),
        _left_out(results, words),
        _how(results, words),
    ]
    head = (
        f'<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(words['title'])}</title><style>{STYLE}</style></head><body><main>"
    )
    return head + "".join(parts) + "</main></body></html>\n"


def _summary(results: Results, words: dict[str, str]) -> str:
    methods, said = results["methods"], []
    if results["labelled"]:
        ranked = sorted((m for m in methods if m["vus_pr"] is not None), key=lambda m: -m["vus_pr"])
        if len(ranked) > 1:
            first, second = ranked[:2]
            said.append(
                words["best"].format(
                    method=first["method"],
                    value=f"{first['vus_pr']:.3f}",
                    second=second["method"],
                    other=f"{second['vus_pr']:.3f}",
                )
            )
    else:
        said.append(words["unlabelled"])
    kept = words["comma"].join(
        words["kept" if m["kept_false_alarm_rate"] <= results["promised"] else "broken"].format(
            method=m["method"], value=f"{m['kept_false_alarm_rate']:.2%}"
        )
        for m in methods
        if m["kept_false_alarm_rate"] is not None
    )
    if kept and results["labelled"]:
        said.append(words["promise"].format(promised=f"{results['promised']:.2%}", kept=kept))
    said += _speed(methods, words)
    if results["left_out"]:
        said.append(words["left"].format(count=len(results["left_out"])))
    return '<section class="summary">' + "".join(f"<p>{escape(one)}</p>" for one in said) + "</section>"


def _speed(methods: Sequence[Results], words: dict[str, str]) -> list[str]:
    """The LMN beside the rival that takes longest, and those that take less."""
    own = next((m for m in methods if m["method"] == "lmn"), None)
    others = [m for m in methods if m is not own and m["fit_seconds"]]
    if own is None or not own["fit_seconds"] or not others:
        return []
    slowest = max(others, key=lambda m: m["fit_seconds"])
    ratio = slowest["fit_seconds"] / own["fit_seconds"]
    times = {"own": f"{own['fit_seconds']:.3g} s", "other": f"{slowest['fit_seconds']:.3g} s"}
    said = [words["faster" if ratio > 1 else "slower"].format(**times, method=slowest["method"], ratio=f"{ratio:,.0f}")]
    quicker = [m for m in others if m["fit_seconds"] < own["fit_seconds"]]
    if quicker and ratio > 1:
        named = words["comma"].join(f"{m['method']} {m['fit_seconds']:.3g} s" for m in quicker)
        said.append(words["quicker"].format(methods=named))
    return said


def _figures(results: Results, words: dict[str, str]) -> str:
    shown = [name for name in FORMS if results["labelled"] or name not in OF_LABELS]
    methods = [{**one, "found": _share(one["episodes_found"], one["episodes"])} for one in results["methods"]]
    unlabelled = {} if results["labelled"] else {"kept_false_alarm_rate": "over", "normal_time_in_alarm": "in_alarm"}
    rows = [[words[unlabelled.get(name, name)], *(_cell(one[name], FORMS[name]) for one in methods)] for name in shown]
    return _table(words["table"], [words["method"], *(one["method"] for one in methods)], rows)


def _share(found: int | None, whole: int | None) -> str | None:
    return f"{found} / {whole}" if whole else None


def _cell(value: Any, form: str) -> str:
    return NONE if value is None else form.format(value)


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{escape(str(first))}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<h2>{escape(title)}</h2><div class="scroll"><table><caption>{escape(title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _plots(results: Results, words: dict[str, str]) -> str:
    methods = results["methods"]
    points = [
        (m["method"], m["fit_seconds"], m["vus_pr"]) for m in methods if m["vus_pr"] is not None and m["fit_seconds"]
    ]
    drawn = [(words["time_plot"], plots.scatter(points, words["time_plot"], words["time_axis"], "VUS-PR"))]
    spread = [(m["method"], [v for v in m["spread"]["vus_pr"] if v is not None]) for m in methods]
    drawn.append((words["spread_plot"], plots.boxes(spread, words["spread_plot"])))
    return "".join(f"<h2>{escape(title)}</h2>{drawing}" for title, drawing in drawn if drawing)


def _agreement(results: Results, words: dict[str, str]) -> str:
    rows = [
        [f"{one['a']} / {one['b']}", _cell(one["rank_correlation"], "{:.2f}"), _cell(one["jaccard"], "{:.0%}")]
        for one in results["agreement"]
    ]
    return (
        _table(words["agreement"], [words["method"], words["rank_correlation"], words["jaccard"]], rows) if rows else ""
    )


def _traces(results: Results, words: dict[str, str]) -> str:
    if not results["traces"]:
        return ""
    said = [f"<h2>{escape(words['traces'])}</h2>", f'<p class="note">{escape(words["traces_note"])}</p>']
    for one in results["traces"]:
        title = f"{one['series']}: {one['method']}"
        said += [f"<h3>{escape(title)}</h3>", plots.trace(one["score"], one["label"], one["alarm"], title)]
    return "".join(said)


def _recordings(results: Results, words: dict[str, str]) -> str:
    names = ("train_rows", "test_rows", *(("anomalous_rows", "episodes") if results["labelled"] else ()))
    rows = [[one["name"], *(_cell(one[name], "{:,}") for name in names)] for one in results["series"]]
    return _table(words["recordings"], [words["name"], *(words[name] for name in names)], rows)


def _left_out(results: Results, words: dict[str, str]) -> str:
    rows = [[one["series"], one["method"], str(one["seed"]), one["reason"]] for one in results["left_out"]]
    headings = [words["name"], words["method"], words["seed"], words["reason"]]
    return _table(words["left_out"], headings, rows) if rows else ""


def _how(results: Results, words: dict[str, str]) -> str:
    seeds = max((m["seeds"] for m in results["methods"]), default=1)
    done = words["done"].format(promised=f"{results['promised']:.2%}", hardware=results["hardware"], seeds=seeds)
    notes = "".join(f"<p>{escape(note)}</p>" for note in results["notes"])
    return f"<h2>{escape(words['how'])}</h2><p>{escape(done)}</p><p>{escape(words['terms'])}</p>{notes}"
