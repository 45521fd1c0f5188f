from __future__ import annotations

import io

import pytest
from rich.console import Console

from service.client import Client
from service.commands.board import BAR_CELLS, MACHINES_SHOWN, bar, board_for, machine_table
from service.commands.playback import Latest, Playback, Step
from service.commands.stream import RealWall
from tests.service.commands.recordings import machine, stream


def shown(console: Console, playback: Playback) -> str:
    board = board_for(console)
    with board.live():
        for step in playback.steps():
            board.show(playback, step)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_machines_bars_and_alarms(client: Client) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    playback = Playback(client, stream(machine("seen", faulty=True), machine("well")), 0, RealWall())
    said = shown(console, playback)
    for text in ("seen", "well", "█", "alarm opened", "alarm closed", "sensor-2", "600 of 600 readings"):
        assert text in said


def test_without_a_terminal_there_are_plain_lines_of_alarms_only(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    playback = Playback(client, stream(machine("plain", faulty=True), machine("fine")), 0, RealWall())
    assert shown(console, playback) == ""
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("plain  alarm" in line and "\x1b" not in line for line in lines)


@pytest.mark.parametrize(
    ("score", "cells"), [(None, 0), (0.0, 0), (1.5, BAR_CELLS // 2), (3.0, BAR_CELLS), (99, BAR_CELLS)]
)
def test_a_bar_is_as_long_as_the_score_up_to_three_times_the_threshold(score: float | None, cells: int) -> None:
    found = bar(Latest("p1", "scored", score, False))
    assert found.plain.count("█") == cells
    assert len(found.plain) == BAR_CELLS


def test_a_bar_is_red_from_the_threshold_on() -> None:
    styles = [
        bar(Latest("p1", "scored", score, alarm)).style for score, alarm in ((0.99, False), (1.0, True), (0.5, True))
    ]
    assert styles == ["green", "red", "yellow"]


def test_a_large_fleet_is_cut_off_and_counted() -> None:
    machines = [Latest(f"p{number}", "warming", None, False) for number in range(MACHINES_SHOWN + 7)]
    table = machine_table("", machines, [])
    assert table.row_count == MACHINES_SHOWN
    assert table.caption == "and 7 more machines"


def test_a_step_without_news_is_silent_off_a_terminal(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    playback = Playback(client, stream(machine("quiet")), 0, RealWall())
    board_for(Console(file=io.StringIO())).show(playback, Step([], [], []))
    assert capsys.readouterr().out == ""
