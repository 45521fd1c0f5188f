"""`limen journal verify`: whether a data folder is whole."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from service.commands.console import aligned, progress
from service.verification import Report, verify


def run(data_dir: Path, as_json: bool) -> None:
    """Look at everything and tell it; exit status 1 where something is damaged."""
    with progress("verify") as told:
        report = verify(data_dir, told)
    print(json.dumps(as_dict(report), indent=1) if as_json else "\n".join(lines(report)))
    if report.damage:
        raise typer.Exit(1)


def as_dict(report: Report) -> dict[str, object]:
    """For a program."""
    findings = [{"part": one.part, "damage": one.damage, "text": one.text} for one in report.findings]
    counts = {"records": report.records, "readings": report.readings, "first": report.first, "last": report.last}
    return {"whole": not report.damage, **counts, "findings": findings}


def lines(report: Report) -> list[str]:
    """One for each finding, and the verdict."""
    found = aligned([(one.part, "DAMAGED" if one.damage else "ok", one.text) for one in report.findings])
    damaged = len(report.damage)
    return [*found, f"{damaged} damaged: put them back from a backup" if damaged else "everything is whole"]
