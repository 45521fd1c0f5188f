"""The free space of the data folder. Where it is short, exported history makes room, oldest day first; where that is
not enough, nothing more is taken in until there is room again: a full disk would end the service."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from service import history
from service.errors import LowSpace
from service.history import HISTORY

LOOK_SECONDS = 5.0  # between two looks
MARGIN = 8  # a shortage ends with an eighth more than the bound: it does not begin again at once

log = logging.getLogger("limen")


def free_bytes(folder: Path) -> int:
    """What may still be written where the folder is."""
    return shutil.disk_usage(folder).free


class FreeSpace:
    """Watches over `bytes_min` free bytes for a data folder; `measure` tells how many there are."""

    def __init__(self, data_dir: Path, bytes_min: int, measure: Callable[[Path], int] = free_bytes) -> None:
        self.data_dir = data_dir
        self.bytes_min, self.bytes_enough = bytes_min, bytes_min + bytes_min // MARGIN
        self.measure = measure
        self.free: int | None = None  # at the last look
        self.short = False
        self._looking = threading.Lock()  # two looks at once would remove a day too many

    def check(self) -> None:
        """LowSpace while there is too little."""
        if self.short:
            raise LowSpace(
                f"{self.free} bytes are free for the data folder; expected {self.bytes_enough}: make room, or send "
                "again later"
            )

    def look(self) -> None:
        """Measure, and make room where it is short. Reads and removes files: not for the event loop."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        try:
            self.free = self.measure(self.data_dir)
            if self.free < (self.bytes_enough if self.short else self.bytes_min):
                self._make_room(self.free)
                self.free = self.measure(self.data_dir)
        except OSError as error:
            log.error("the free space of the data folder cannot be watched: %s", error)
        if self.free is not None:
            self._judge(self.free)

    def _make_room(self, free: int) -> None:
        if self.bytes_enough > shutil.disk_usage(self.data_dir).total:
            return  # no history that is removed could ever be enough
        for path in history.days(self.data_dir / HISTORY):
            if free >= self.bytes_enough:
                return
            free += history.remove_day(path)  # as counted: a file system may take its time
            log.warning("removed the history of %s: less than disk_free_bytes_min is free", path.name)

    def _judge(self, free: int) -> None:
        if not self.short and free < self.bytes_min:
            self.short = True
            log.error(
                "%d bytes are free for the data folder, less than disk_free_bytes_min, which is %d: no readings and no "
                "models are taken in until there are %d", free, self.bytes_min, self.bytes_enough,
            )  # fmt: skip
        elif self.short and free >= self.bytes_enough:
            self.short = False
            log.warning("%d bytes are free for the data folder: readings are taken in again", free)
