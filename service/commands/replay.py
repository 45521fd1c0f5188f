"""`limen replay`: a recording, streamed to a service in order of time; alarms as they open and close."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import typer

from models.contract import DataError
from models.data import DataOptions, Recording, Series, read
from service.client import Client, ServiceError
from service.commands.alarm_watch import News, sentence
from service.commands.console import Told, aligned, notice, progress
from service.commands.playback import Playback, Step, Tally
from service.commands.remedy import mismatch, pace, refusal, seen_before
from service.commands.stream import Machine, RealWall, Stream
from service.status import STATUS_NAMES

INTERRUPTED = 130


class Output(Protocol):
    """How the replay is told."""

    def news(self, news: News) -> None: ...
    def summary(self, tally: Tally) -> None: ...


def run(data: Sequence[Path], url: str, speed: float, data_options: DataOptions, as_json: bool) -> None:
    """Stream and tell. DataError where the files cannot be read, ServiceError where the service is gone, or cannot
    score any of them."""
    output: Output = JsonLines() if as_json else Lines()
    client = Client(url)
    try:
        with progress("replay") as told:
            told("reading", 0.0)
            recording = read(data, data_options)
            stream, models = stream_of(recording), client.models()
            check(mismatch(models, stream.sensors))
            with told.aside():
                tell(pace(models, recording.interval))
            playback = Playback(client, stream, speed, RealWall())
            try:
                play(playback, output, told)
            finally:
                with told.aside():
                    output.summary(playback.tally)
        tell(seen_before(playback.tally))
        check(refusal(playback.tally, models, stream.sensors))
    finally:
        client.close()


def play(playback: Playback, output: Output, told: Told) -> None:
    """To its end, or to Ctrl-C."""
    try:
        for step in playback.steps():
            if step.complaints or step.news:
                with told.aside():
                    show(step, output)
            told("streaming", playback.tally.sent / max(playback.tally.total, 1))
    except KeyboardInterrupt:
        with told.aside():
            show(Step([], playback.news(), []), output)
        raise typer.Exit(INTERRUPTED) from None


def show(step: Step, output: Output) -> None:
    """What it has brought."""
    for complaint in step.complaints:
        notice(complaint)
    for news in step.news:
        output.news(news)


def check(obstacle: str) -> None:
    """ServiceError where there is one."""
    if obstacle:
        raise ServiceError(obstacle)


def tell(text: str) -> None:
    """A notice, where there is something to say."""
    if text:
        notice(text)


def stream_of(recording: Recording) -> Stream:
    """The rows to use of every machine. DataError where their times have no zone: a service must not guess."""
    for finding in recording.findings:
        if finding.kind == "zone":
            raise DataError(
                "say --timezone, such as --timezone UTC or --timezone Asia/Tokyo: replay sends no time whose zone is a "
                f"guess ({finding.text})"
            )
    parts: dict[str, list[Series]] = {}
    for series in recording.series:
        parts.setdefault(series.equipment, []).append(series)
    stream = Stream(recording.sensors, [joined(equipment, own) for equipment, own in parts.items()])
    if not len(stream):
        raise DataError("no rows left to stream; check --rows, --running and --exclude")
    return stream


def joined(equipment: str, parts: Sequence[Series]) -> Machine:
    """The rows to use of one machine, of one file or several, in order of time."""
    time = np.concatenate([part.time[part.use] for part in parts])
    order = np.argsort(time, kind="stable")
    return Machine(equipment, time[order], np.concatenate([part.values[part.use] for part in parts])[order])


class Lines:
    """For a person."""

    def news(self, news: News) -> None:
        print(sentence(news), flush=True)

    def summary(self, tally: Tally) -> None:
        print("\n".join(aligned(summary(tally))), flush=True)


class JsonLines:
    """For a program: one object a line."""

    def news(self, news: News) -> None:
        print(json.dumps({"event": news.event, **news.alarm}), flush=True)

    def summary(self, tally: Tally) -> None:
        print(json.dumps({"event": "summary", **tally.as_dict()}), flush=True)


def summary(tally: Tally) -> list[tuple[str, str]]:
    """What became of it, line by line; statuses that did not occur are left out."""
    rate = f", {tally.sent / tally.seconds:,.0f}/s" if tally.seconds else ""
    rest = "" if tally.complete else f" of {tally.total:,}: not complete"
    lines = [("readings", f"{tally.sent:,}{rest} in {tally.seconds:.1f} s{rate}")]
    lines += [(status, f"{tally.statuses[status]:,}") for status in STATUS_NAMES if tally.statuses[status]]
    if tally.reasons:
        lines.append(("reasons", ", ".join(f"{reason} {count:,}" for reason, count in tally.reasons.most_common())))
    lines.append(("alarms", f"{tally.opened:,} opened, {tally.closed:,} closed"))
    return lines
