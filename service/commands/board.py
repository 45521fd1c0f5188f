"""What a person sees while a stream is played: a live table of machines and alarms; plain lines off a terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from service.commands.alarm_watch import AlarmJson, News, kind_word, sensors_text, sentence
from service.commands.playback import Latest, Playback, Step
from service.ingest.times import time_text

BAR_CELLS, BAR_SCORE_MAX = 30, 3.0  # the threshold, 1, is at a third
MACHINES_SHOWN, ALARMS_SHOWN = 20, 8
REFRESHES_PER_SECOND = 8


class Board(Protocol):
    """Shown step by step while the stream is played, inside its `with` block."""

    def live(self) -> AbstractContextManager[object]: ...
    def show(self, playback: Playback, step: Step) -> None: ...


def board_for(console: Console) -> Board:
    """The table where `console` is a terminal, else lines."""
    return MachineTable(console) if console.is_terminal else PlainLines()


class PlainLines:
    """Alarms as they open and close."""

    def live(self) -> AbstractContextManager[object]:
        return nullcontext()

    def show(self, playback: Playback, step: Step) -> None:
        for news in step.news:
            print(sentence(news), flush=True)


class MachineTable:
    """A table of machines with bars of their scores, and the last alarms below it."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=REFRESHES_PER_SECOND)
        self._latest: dict[str, Latest] = {}
        self._news: deque[News] = deque(maxlen=ALARMS_SHOWN)

    def live(self) -> AbstractContextManager[object]:
        return self._live

    def show(self, playback: Playback, step: Step) -> None:
        self._latest.update({latest.equipment: latest for latest in step.latest})
        self._news.extend(step.news)
        tally = playback.tally
        moment = "" if tally.time is None else time_text(tally.time)
        title = f"{moment}   {tally.sent:,} of {tally.total:,} readings, {tally.sent / max(tally.seconds, 1e-9):,.0f}/s"
        machines = machine_table(title, list(self._latest.values()), playback.watch.open)
        self._live.update(Group(machines, alarm_table(list(self._news))))


def machine_table(title: str, machines: Sequence[Latest], alarms: Sequence[AlarmJson]) -> Table:
    """One line a machine: its score as a bar, and its open alarm with the sensors that it is owed to."""
    columns = ("machine", Column("score", width=BAR_CELLS), "", Column("alarm", ratio=1))
    table = Table(*columns, title=title, expand=True)
    open_alarms = {alarm["equipment"]: alarm for alarm in alarms}
    for latest in machines[:MACHINES_SHOWN]:
        alarm = open_alarms.get(latest.equipment)
        owed = Text(f"{kind_word(alarm)}: {sensors_text(alarm['sensors'])}" if alarm else "", style="red")
        table.add_row(latest.equipment, bar(latest), figure(latest), owed)
    if len(machines) > MACHINES_SHOWN:
        table.caption = f"and {len(machines) - MACHINES_SHOWN} more machines"
    return table


def bar(latest: Latest) -> Text:
    """The score as a bar up to three times the threshold, with a mark at the threshold."""
    score = min(latest.score or 0.0, BAR_SCORE_MAX)
    filled, threshold = round(score / BAR_SCORE_MAX * BAR_CELLS), round(BAR_CELLS / BAR_SCORE_MAX)
    cells = ["█" if cell < filled else "│" if cell == threshold else " " for cell in range(BAR_CELLS)]
    return Text("".join(cells), style="red" if score >= 1 else "yellow" if latest.alarm else "green", no_wrap=True)


def figure(latest: Latest) -> str:
    """The score in figures, or the status where there is none."""
    return latest.status if latest.score is None else f"{latest.score:.2f}"


def alarm_table(news: Sequence[News]) -> Table:
    """The last alarms, newest first."""
    table = Table(title="alarms", show_header=False, expand=True)
    for one in reversed(news):
        table.add_row(Text(sentence(one), style="red" if one.event == "opened" else "dim"))
    if not news:
        table.add_row("none yet")
    return table
