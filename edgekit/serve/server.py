"""Runs a service on a port until it is told to stop; requests in flight then come to their end."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Generator, Iterator
from types import FrameType
from typing import Final, TextIO

import uvicorn

from edgekit.errors import UsageError
from edgekit.serve.app import Service
from edgekit.serve.observing import LOGGER, JsonLines, log

BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 65  # longer than load balancers keep an idle connection, so that they end it and not we


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: Address or name.
        port: 0 takes a free one.

    Raises:
        UsageError: The address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise UsageError(f"{host}:{port}: cannot be listened on: {error}", hint="another --host?") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(f"{host}:{port}: cannot be listened on: {error.strerror}", hint="another --port?") from error
    return listening


def run(service: Service, listening: socket.socket, *, grace_s: float) -> None:
    """Serve until SIGTERM or SIGINT, then let what was begun end.

    Args:
        service: From :func:`edgekit.serve.app.service`.
        listening: From :func:`bind`.
        grace_s: Seconds that requests in flight have to end.
    """
    config = uvicorn.Config(
        service.app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,  # nothing here asks who the client is
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(grace_s)),
    )
    host, port = listening.getsockname()[:2]
    log(
        "listening",
        url=f"http://{f'[{host}]' if ':' in host else host}:{port}",
        bundles=[one.name for one in service.served],
    )
    try:
        _Server(config, service).run(sockets=[listening])
    finally:
        service.close()
        log("stopped")


@contextlib.contextmanager
def logging_to(stream: TextIO) -> Iterator[None]:
    """Write the service's log, and what uvicorn warns of, as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    loggers = [(logging.getLogger(LOGGER), logging.INFO), (logging.getLogger("uvicorn.error"), logging.WARNING)]
    for logger, level in loggers:
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, _ in loggers:
            logger.removeHandler(handler)


class _Server(uvicorn.Server):
    """Ends by itself on a signal, and does not raise it again: to be told to stop is no failure."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """See :class:`uvicorn.Server`."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kept = {name: signal.signal(name, self.handle_exit) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in kept.items():
                signal.signal(name, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop taking requests; a second SIGINT stops at once."""
        if not self._service.state.draining:
            self._service.state.draining = True
            log("stopping", signal=signal.Signals(sig).name)
        super().handle_exit(sig, frame)
