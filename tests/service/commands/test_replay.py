from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from service.client import Client
from service.commands import replay
from service.commands.child import Child
from service.commands.playback import Playback, Tally
from service.commands.stream import Machine
from tests.service.commandline import ROOT, limen, refused
from tests.service.commands.answers import refused as nothing_taken
from tests.service.commands.answers import serving, taken, told
from tests.service.commands.recordings import FAULT, ROWS, machine, warmup, write_csv
from tests.service.running import SENSORS, model_folder, time_of
from tests.service.scripted import answering
from tests.service.test_serve import process as service_of_its_own


def test_a_recording_is_streamed_and_its_alarms_told(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("replayed", faulty=True), machine("calm"))
    done = limen("replay", file, "--url", live.url, "--speed", 0)
    assert (done.status, done.err) == (0, "")
    opened, closed, *summary = done.out.splitlines()
    assert "replayed  alarm opened" in opened
    assert "replayed  alarm closed  after" in closed
    assert f"{SENSORS[2]} " in opened
    said = dict(line.split(maxsplit=1) for line in summary)
    assert said["readings"].startswith(f"{2 * ROWS} in ")
    assert (said["scored"], said["warming"]) == (f"{2 * (ROWS - warmup())}", f"{2 * warmup()}")
    assert said["alarms"] == "1 opened, 1 closed"


def test_the_score_at_which_an_alarm_opened_is_that_of_its_tick_whenever_one_looks(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("opened", faulty=True))
    told = limen("replay", file, "--url", live.url, "--speed", 0).out.splitlines()[0]
    scored = next(line for line in limen("score", model_folder(), file).out.splitlines() if line.split(",")[5] == "1")
    time, _, _, score, *_ = scored.split(",")
    assert told.startswith(f"{time}  opened  alarm opened  score {float(score):.2f}  {SENSORS[2]} ")


def test_a_program_gets_json_lines(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("lines", faulty=True))
    done = limen("replay", file, "--url", live.url, "--speed", 0, "--json")
    opened, closed, summary = map(json.loads, done.out.splitlines())
    assert (opened["event"], closed["event"], summary["event"]) == ("opened", "closed", "summary")
    assert opened["id"] == closed["id"]
    assert time_of(FAULT.start) <= opened["start"] <= time_of(FAULT.start + 8)
    assert closed["sensors"][0]["sensor"] == SENSORS[2]
    assert (summary["readings"], summary["scored"], summary["complete"]) == (ROWS, ROWS - warmup(), True)
    assert summary["until"] == time_of(ROWS - 1)


def test_missing_cells_rows_and_files_of_one_machine_arrive_as_they_are(live: Child, tmp_path: Path) -> None:
    one = machine("parts")
    one.values[50, 1] = np.nan
    whole = write_csv(tmp_path / "whole.csv", one).read_text().splitlines()
    files = [tmp_path / "late.csv", tmp_path / "early.csv"]
    files[0].write_text("\n".join([whole[0], *whole[101:]]))
    files[1].write_text("\n".join([whole[0], *whole[1:101]]))
    summary = json.loads(limen("replay", *files, "--url", live.url, "--speed", 0, "--json").out)
    assert (summary["scored"], summary["late"], summary["alarms_opened"]) == (ROWS - warmup(), 0, 0)
    again = limen("replay", *files, "--url", live.url, "--speed", 0, "--json", "--rows", "0:10")
    assert json.loads(again.out)["readings"] == 20


def test_times_without_a_zone_need_to_be_told_theirs(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "local.csv", machine("zoned"), zone="")
    refused(limen("replay", file, "--url", live.url, "--speed", 0), "--timezone", "local.csv")
    done = limen("replay", file, "--url", live.url, "--speed", 0, "--timezone", "Asia/Tokyo", "--json")
    assert json.loads(done.out)["until"] == time_of(ROWS - 1 - 9 * 3600)


def test_unknown_sensors_are_told_once_on_standard_error(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("unknown"))
    file.write_text(file.read_text().replace("sensor-3", "humidity"))
    done = limen("replay", file, "--url", live.url, "--speed", 0)
    assert done.status == 0
    assert done.err.count("humidity") == 1


def test_a_service_that_is_not_there_is_an_error_that_says_how_far_it_got(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    file = write_csv(tmp_path / "x.csv", machine("nobody"))
    done = limen("replay", file, "--url", f"127.0.0.1:{port}", "--speed", 0)
    assert done.status == 1
    assert "no answer from http://127.0.0.1" in done.err
    assert "Traceback" not in done.err


def test_rows_that_leave_nothing_are_refused(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("nothing"))
    refused(limen("replay", file, "--url", live.url, "--rows", "900:"), "no row")


def test_ctrl_c_tells_the_summary_so_far(live: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(self: Playback) -> object:
        steps = steps_before(self)
        yield next(steps)
        raise KeyboardInterrupt

    steps_before = Playback.steps
    monkeypatch.setattr(Playback, "steps", stopped)
    file = write_csv(tmp_path / "x.csv", machine("stopped", rows=2500))
    done = limen("replay", file, "--url", live.url, "--speed", 0, "--json")
    assert done.status == 130
    summary = json.loads(done.out.splitlines()[-1])
    assert (summary["event"], summary["readings"], summary["complete"]) == ("summary", 2000, False)


def test_a_service_that_goes_away_is_an_error_after_the_summary(tmp_path: Path) -> None:
    posts = [taken("gone", 2000), None, None]
    file = write_csv(tmp_path / "x.csv", machine("gone", rows=2500))
    with answering(lambda method, place, content: posts.pop(0) if method == "POST" else told(place)) as url:
        done = limen("replay", file, "--url", url, "--speed", 0)
    assert done.status == 1
    assert "2,000 of 2,500: not complete" in done.out
    assert f"2,000 of 2,500 readings were streamed, up to {time_of(1999)}" in done.err


def seen(client: Client, equipment: str) -> str:
    """Time of the last reading of a machine; empty where there is none yet."""
    found = client.get("v1", "equipment", limit=1000)["equipment"]
    return max((one["last_time"] for one in found if one["equipment"] == equipment), default="")


def test_ctrl_c_in_a_process_of_its_own_leaves_no_traceback(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("interrupted"))
    command = [sys.executable, "-m", "service", "replay", str(file), "--url", live.url, "--speed", "1", "--json"]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running,
        closing(Client(live.url)) as client,
    ):
        first = last = ""
        while (
            last == first
        ):  # a second body has been taken, which replay sends after it has read the answer to the first
            assert running.poll() is None
            last = seen(client, "interrupted")
            first = first or last
        os.kill(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 130
    summary = json.loads(out)
    assert 0 < summary["readings"] < ROWS
    assert err == ""


def test_an_incomplete_replay_says_so_and_lists_reasons() -> None:
    tally = Tally(10, sent=4, seconds=2.0)
    tally.statuses.update(rejected=3, scored=1)
    tally.reasons.update(no_model=3)
    lines = dict(replay.summary(tally))
    assert lines["readings"] == "4 of 10: not complete in 2.0 s, 2/s"
    assert lines["reasons"] == "no_model 3"


def test_a_service_without_a_model_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("alone", rows=50))
    with answering(lambda method, place, content: serving()) as url:
        done = limen("replay", file, "--url", url, "--speed", 0)
    refused(done, "no model serves these machines; limen serve --model FOLDER, or POST /v1/models")


def test_a_file_of_other_sensors_is_refused_and_both_are_named(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("foreign", rows=50))
    file.write_text(file.read_text().replace("sensor-", "tag-"))
    done = limen("replay", file, "--url", live.url, "--speed", 0)
    refused(done, "the model knows sensor-0, sensor-1", "the file has tag-0, tag-1")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("no_model", "no model serves these machines; limen serve --model FOLDER, or POST /v1/models"),
        ("limit", "none of 50 readings was scored, for the reason limit"),
    ],
)
def test_where_every_reading_was_refused_it_fails_and_says_what_to_do(
    tmp_path: Path, reason: str, expected: str
) -> None:
    file = write_csv(tmp_path / "x.csv", machine("refused", rows=50))
    answer = nothing_taken("refused", 50, reason)
    with answering(lambda method, place, content: answer if method == "POST" else told(place)) as url:
        done = limen("replay", file, "--url", url, "--speed", 0)
    assert done.status == 1
    assert done.err.startswith(f"limen: error: {expected}")
    assert f"reasons   {reason} 50" in done.out


@pytest.mark.parametrize("first", [0, 40])
def test_a_second_replay_says_that_the_service_has_seen_it(live: Child, tmp_path: Path, first: int) -> None:
    name = f"twice-{first}"
    file = write_csv(tmp_path / "x.csv", machine(name))
    limen("replay", file, "--url", live.url, "--speed", 0, "--rows", "0:200")
    done = limen("replay", file, "--url", live.url, "--speed", 0, "--rows", f"{first}:{first + 200}")
    assert done.status == 0
    assert done.err == (
        f"limen: {name} was already at {time_of(199)}: the service has seen this; to replay anew start it with "
        "another --data-dir\n"
    )


def test_a_file_that_goes_on_where_the_service_is_needs_no_notice(live: Child, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("onwards"))
    limen("replay", file, "--url", live.url, "--speed", 0, "--rows", "0:100")
    assert limen("replay", file, "--url", live.url, "--speed", 0, "--rows", "90:300").err == ""


def test_what_is_not_limen_is_called_that_and_its_page_is_not_shown(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", machine("stray", rows=50))
    for answer in ((200, {}, b"<html>welcome</html>"), (404, {}, b'{"detail": "Not Found"}'), (200, {}, b"{}")):
        with answering(lambda *rest, answer=answer: answer) as url:
            done = limen("replay", file, "--url", url, "--speed", 0)
        refused(done, "this is not Limen", url)
        assert "html" not in done.err


def test_a_file_of_another_pace_is_told(live: Child, tmp_path: Path) -> None:
    slow = machine("slow", rows=50)
    slow.time[:] = slow.time[0] + (slow.time - slow.time[0]) * 60
    done = limen("replay", write_csv(tmp_path / "x.csv", slow), "--url", live.url, "--speed", 0)
    assert done.status == 0
    assert "limen: the model was trained on one tick every 1 s, the file has one every 60 s" in done.err


def test_what_waits_at_the_end_of_a_replay_is_scored(tmp_path: Path) -> None:
    one = machine("tail")
    keep = np.arange(ROWS) != ROWS - 5  # the four after it wait for it
    file = write_csv(tmp_path / "x.csv", Machine("tail", one.time[keep], one.values[keep]))
    variables = {"LIMEN_REORDER_SECONDS": "60", "LIMEN_MODEL": str(model_folder())}
    with service_of_its_own(tmp_path / "data", **variables) as (_, url):
        done = limen("replay", file, "--url", url, "--speed", 0, "--json")
        assert done.status == 0
        assert json.loads(done.out.splitlines()[-1])["held"] == 4
        assert "4 ticks waited for readings that did not come; the clock of the service went on to 2" in done.err
        with closing(Client(url)) as client:
            assert client.get("v1", "clock")["held"] == 0
            recent = client.get("v1", "equipment", "tail", "scores")["scores"]
        assert [entry["status"] for entry in recent[-4:]] == ["scored"] * 4
        assert recent[-1]["time"] == time_of(ROWS - 1)
