"""A warning that comes again and again is one line and a count."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from service.repeats import RepeatsHandler
from service.serve import write_logs
from service.settings import Settings


class Log:
    """A logger of its own on a handler whose clock is set by hand."""

    def __init__(self, kinds_max: int = 100, window_seconds: float = 60.0) -> None:
        self.stream, self.now = io.StringIO(), 0.0
        self.handler = RepeatsHandler(self.stream, window_seconds, kinds_max, lambda: self.now)
        self.logger = logging.Logger("limen.test")
        self.logger.addHandler(self.handler)

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    yield made
    made.handler.close()


def test_the_first_is_written_and_the_others_are_counted(log: Log) -> None:
    for _ in range(10_000):
        log.logger.warning("the disk is slow")
    assert log.lines() == ["the disk is slow"]
    log.now = 60.0
    log.logger.info("saved")
    told = "the disk is slow ... 9,999 more like the first in 60 s, this the last"
    assert log.lines() == ["the disk is slow", told, "saved"]
    log.logger.warning("the disk is slow")
    assert log.lines()[3:] == ["the disk is slow"], "in a new minute it is written again"


def test_lines_of_different_machines_are_the_same_line(log: Log) -> None:
    for number in range(3):
        log.logger.error("machine %s cannot be copied: %s", f"pump-{number}", "no room")
    log.handler.close()
    first, last = log.lines()
    assert first == "machine pump-0 cannot be copied: no room"
    assert last.startswith("machine pump-2 cannot be copied: no room ... 2 more like the first in 0 s")


def test_other_texts_levels_and_loggers_are_other_lines(log: Log) -> None:
    log.logger.warning("one")
    log.logger.error("one")
    log.logger.warning("two")
    for sentence in ("first", "second"):
        log.logger.warning("%s", sentence)
    other = logging.Logger("uvicorn")
    other.addHandler(log.handler)
    other.warning("one")
    assert log.lines() == ["one", "one", "two", "first", "second", "one"]


def test_what_is_no_warning_is_written_one_by_one(log: Log) -> None:
    for number in range(3):
        log.logger.info("model %d serves", number)
    assert len(log.lines()) == 3


def fail(how: type[Exception]) -> None:
    raise how("no")


def test_other_exceptions_and_places_are_other_lines(log: Log) -> None:
    def elsewhere() -> None:
        raise ValueError("no")

    for work in (lambda: fail(ValueError), lambda: fail(KeyError), elsewhere, lambda: fail(ValueError)):
        try:
            work()
        except Exception as error:
            log.logger.error("%s failed", "POST", exc_info=error)
    assert [line for line in log.lines() if not line.startswith((" ", "Traceback"))] == [
        "POST failed", "ValueError: no", "POST failed", "KeyError: 'no'", "POST failed", "ValueError: no",
    ]  # fmt: skip
    log.handler.close()
    assert log.lines()[-1].startswith("POST failed ... 1 more like the first")


def test_no_more_kinds_are_counted_than_there_is_room_for() -> None:
    log = Log(kinds_max=10)
    for number in range(1000):
        for _ in range(2):
            log.logger.warning(f"text {number}")
        assert len(log.handler._counted) <= 10
    log.handler.close()
    assert len(log.lines()) == 2000, "each is written, and each repeat told, at the latest at the end"
    assert not log.handler._counted


def test_a_count_is_told_in_time_where_nothing_else_is_logged() -> None:
    told = threading.Event()

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            if "1 more like the first" in text:
                told.set()
            return super().write(text)

    now = [0.0]
    handler = RepeatsHandler(Stream(), 0.01, clock=lambda: now[0])
    logger = logging.Logger("limen.test")
    logger.addHandler(handler)
    for _ in range(2):
        logger.warning("slow")
    now[0] = 1.0
    assert told.wait(20)
    handler.close()


@pytest.mark.parametrize("as_json", [True, False])
def test_in_the_log_of_the_service(as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, root, own = io.StringIO(), logging.getLogger(), logging.getLogger("limen")
    before = root.handlers[:], root.level, own.level
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        write_logs(Settings(log_json=as_json))
        for number in range(5):
            own.warning("machine %d is odd", number)
        for handler in root.handlers:
            handler.close()
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        own.setLevel(before[2])
    first, last = stream.getvalue().splitlines()
    assert "machine 0 is odd" in first
    assert "machine 4 is odd ... 4 more like the first" in last
    if as_json:
        assert json.loads(last)["repeated"] == 4
        assert json.loads(last)["level"] == "warning"
