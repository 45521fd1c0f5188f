"""One process that serves: a lock on its data folder, uvicorn, and an end that loses nothing.

SIGTERM or SIGINT: take no more connections, answer what is under way, save a snapshot, exit 0. Clients that are slow to
send or to read are dropped before `stop_seconds_max`; a second signal does not wait for them. Where readings or the
last snapshot cannot be made safe, the process ends with 1.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
from contextlib import closing
from functools import partial
from types import FrameType

import structlog
import uvicorn

from service import announce
from service.app import create_app
from service.connection import HEARD_MAX, Bounds, bounded
from service.lifecycle import Service
from service.lock import check_restored, locked
from service.repeats import RepeatsHandler
from service.settings import Settings, SettingsError, unknown_variables

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
PATIENCE = 0.8  # of the time to stop, after which clients that are slow are dropped
FILES_OWN = 128  # descriptors that are no connections

log = logging.getLogger("limen")


class Server(uvicorn.Server):
    """uvicorn, but a signal that was obeyed is not raised again: the exit status is 0."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; the second signal cuts the wait for answers short, not the snapshot, which uvicorn would leave out."""
        patience = PATIENCE * (self.config.timeout_graceful_shutdown or 1)
        dropping = asyncio.get_running_loop().call_later(patience, self.drop_connections)
        await super().shutdown(sockets)
        dropping.cancel()
        if self.force_exit:
            self.drop_connections()
            await asyncio.sleep(0)  # their requests end
            await self.lifespan.shutdown()

    def drop_connections(self) -> None:
        """End all connections now: their requests find nobody there, rather than be cancelled."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at the second signal, at once."""
        log.info("%s: stopping%s", signal.Signals(sig).name, " now" if self.should_exit else "")
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(settings: Settings) -> int:
    """Serve until told to stop; the exit status. SettingsError, ModelError or RegistryError where it cannot."""
    write_logs(settings)
    signal.signal(signal.SIGTERM, leave)
    for complaint in unknown_variables(os.environ):
        log.warning("%s", complaint)
    with locked(settings.data_dir), closing(listen(settings.host, settings.port)) as listener:
        check_restored(settings.data_dir)
        service = Service(settings)
        config = uvicorn.Config(
            create_app(settings, service),
            http=bounded(bounds_of(settings)),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(settings.stop_seconds_max) or 1,
        )
        server = Server(config)
        failures: list[bool] = []

        def end() -> None:
            failures.append(True)
            server.should_exit = True

        service.on_failure = end
        service.on_ready = partial(announce.ready, listener.getsockname()[:2])
        server.run(sockets=[listener])
        service.check_started()
    if failures or not server.started or server.lifespan.should_exit:
        kept = "the next start goes on from the journal" if settings.journal else "what came in since may be lost"
        log.error("not stopped in order: the last snapshot could not be saved; %s", kept)
        return 1
    log.info("stopped")
    return 0


def bounds_of(settings: Settings) -> Bounds:
    """The bounds of connections: no more than there are descriptors for, of which the process takes what it may."""
    wanted = settings.connections_max + HEARD_MAX + FILES_OWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        connections = settings.connections_max
    else:
        connections = max(soft - HEARD_MAX - FILES_OWN, 1)
        log.warning("connections_max is %d; the process may hold %d (ulimit -n)", settings.connections_max, connections)
    return Bounds(connections, settings.head_bytes_max, settings.head_seconds_max, settings.answer_seconds_max)


def leave(sig: int, frame: FrameType | None) -> None:
    """Obey SIGTERM before there is a server: the first process of a container would ignore it."""
    raise SystemExit(0)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; SettingsError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.set_inheritable(True)
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {host} port {port}: {error.strerror}; choose another port") from None
    return listener


def cut_off(record: logging.LogRecord) -> bool:
    """Whether a line only tells that a request was cut off at the end of the process: its client was dropped before."""
    return record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)


def write_logs(settings: Settings) -> None:
    """Log lines to standard error, for reading or as JSON; those of uvicorn among them."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(announce.FIELDS),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()] if settings.log_json else [
        structlog.dev.ConsoleRenderer(
            colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    ]  # fmt: skip
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = RepeatsHandler()
    handler.setFormatter(formatter)
    handler.addFilter(lambda record: not cut_off(record))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("limen").setLevel(settings.log_level.upper())
