"""`python -m service.followers NAME SETTINGS`: one follower in a process of its own, which ends with the service that
started it. SETTINGS are JSON."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import sqlite3
import sys
import threading
import time

from service.cli import one_blas_thread


def main(name: str, given: str) -> int:
    """Follow until told to stop; the exit status."""
    from service.commands.tether import hold
    from service.followers.follow import follow
    from service.followers.history import HistoryExport, store_path
    from service.followers.store import REMEDY, StoreError
    from service.journal_reader import JournalError, JournalFile
    from service.records import RecordError
    from service.serve import write_logs
    from service.settings import JOURNAL, Settings

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: None)  # the service is told, and tells us
    hold()
    settings = Settings(**json.loads(given))
    write_logs(settings)
    path = store_path(settings.data_dir, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    while not stopping.is_set():  # one that a killed service left is about to end
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.05)
    try:
        follower = HistoryExport(settings)
        follow(follower, JournalFile(settings.data_dir / JOURNAL), stopping)
        follower.store.close()
    except (JournalError, RecordError, StoreError, OSError) as error:
        logging.getLogger("limen").critical("follower %s cannot go on: %s", name, error)
        return 1
    except sqlite3.Error as error:
        told = f"{path} cannot be used: {error}; look whether the disk is full or fails; where it is damaged, {REMEDY}"
        logging.getLogger("limen").critical("follower %s cannot go on: %s", name, told)
        return 1
    return 0


if __name__ == "__main__":
    one_blas_thread()
    sys.exit(main(*sys.argv[1:]))
