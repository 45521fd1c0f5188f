"""`python -m service.commands.tether serve`: `limen` in a process that ends with the one that started it.

Whoever starts it holds the other end of its standard input and never writes there. The kernel closes that end with its
owner, even where the owner was killed; then the process tells itself SIGTERM.
"""

from __future__ import annotations

import os
import signal
import threading

STDIN = 0


def hold() -> None:
    """From now on, end when standard input does."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()


def _end_with_stdin() -> None:
    while os.read(STDIN, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from service.cli import main

    hold()
    main()
