"""The API on a port: waitress, with each of its defaults set on purpose (they are meant for another life)."""

from __future__ import annotations

import functools
import logging
import select
import ssl
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from flow_processor.api.address import BACKLOG, Address
from flow_processor.api.app import create_app
from flow_processor.api.channels import Channel, TlsChannel
from flow_processor.api.waiting import WAITING_ROOM_KEY
from flow_processor.clock import SystemClock

if TYPE_CHECKING:
    from flow_processor.service import Service
    from flow_processor.settings import Settings

logger = logging.getLogger("octospool.api")

CONNECTION_LIMIT = 1000
"""Open connections; beyond it callers wait in the kernel's queue. waitress's 100 are one busy dashboard."""

RESERVED_FILES = 256
"""File descriptors that connections must leave to the rest of the daemon (store, workers, logs)."""

IDLE_SECONDS = 60
"""A connection without a call under way is closed after it; a waiting call does not count as idle."""

MAX_HEADER_BYTES = 64 * 1024
"""All headers of a call together."""

MEMORY_BYTES = 4 * 1024 * 1024
"""A body or an answer that is larger waits on the disk and not in memory until it is read or sent."""

DRAIN_SECONDS = 5.0
"""How long `stop` lets calls under way come to their end."""


class ApiServer:
    """The API of a service on its port. Binds when made, serves between `start` and `stop`."""

    def __init__(self, service: Service, address: Address | None = None):
        """`address`: where it is bound already; else it binds as the settings say. Raises SettingsError then."""
        settings = service.settings
        self._app = create_app(service)
        self._address = address or Address(settings)
        self._tls = self._address.tls
        self._map: dict[int, Any] = {}
        server = create_server(
            self._app, map=self._map, sockets=self._address.sockets, **adjustments(settings, tls=self._tls)
        )
        self._dispatcher = server.task_dispatcher
        # It warns of each call that finds all threads busy: under load that is a line per call.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._listeners = [one for one in self._map.values() if isinstance(one, BaseWSGIServer)]
        for listener in self._listeners:
            listener.channel_class = self._channel_class("http" in settings.api_protocols)
        self._clock = SystemClock()
        self._drained_by: float | None = None
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    @property
    def url(self) -> str:
        """Where to call it from this machine: `http://127.0.0.1:5000`."""
        return self._address.url

    def start(self) -> None:
        """Begin to serve, in a thread of its own."""
        self._thread.start()
        logger.info("API on %s", self.url)

    def is_alive(self) -> bool:
        """Is it serving?"""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Take no more connections, let calls under way end (waiting ones are answered at once), close."""
        if self._drained_by is not None:
            return
        self._app.extensions[WAITING_ROOM_KEY].close()
        self._drained_by = self._clock.monotonic() + DRAIN_SECONDS
        if self._thread.is_alive():
            self._listeners[0].pull_trigger()
            self._thread.join()
        # Only now, because pulling the trigger writes to one of the files that are closed here.
        self._dispatcher.shutdown(cancel_pending=True, timeout=1)
        wasyncore.close_all(self._map, ignore_all=True)
        self._address.close()

    def _channel_class(self, plain_too: bool) -> Callable[..., Channel]:
        if self._tls is None:
            return Channel
        return functools.partial(TlsChannel, tls=self._tls, plain_too=plain_too)

    def _run(self) -> None:
        use_poll = hasattr(select, "poll")
        while self._drained_by is None:
            wasyncore.loop(timeout=1, use_poll=use_poll, map=self._map, count=1)
        for listener in self._listeners:
            listener.accepting = False
            listener.del_channel()
            listener.socket.close()
        while self._is_busy() and self._clock.monotonic() < self._drained_by:
            wasyncore.loop(timeout=0.05, use_poll=use_poll, map=self._map, count=1)

    def _is_busy(self) -> bool:
        """Is a call under way, or an answer not yet sent?"""
        channels = [one for one in self._map.values() if isinstance(one, Channel)]
        return any(channel.requests or channel.total_outbufs_len for channel in channels)


def adjustments(settings: Settings, *, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """Every setting of waitress that matters to us, by name."""
    return {
        "threads": settings.api.threads,
        "connection_limit": _connection_limit(),
        "backlog": BACKLOG,
        "channel_timeout": IDLE_SECONDS,
        "cleanup_interval": 10,
        "max_request_header_size": MAX_HEADER_BYTES,
        # waitress refuses a body of exactly its limit; ours is the largest that is taken.
        "max_request_body_size": int(settings.api.max_body) + 1,
        # Read on while a call is answered, so that a caller who hangs up is noticed.
        "channel_request_lookahead": 1,
        # Up to these sizes nothing of a call is written to a temporary file.
        "inbuf_overflow": MEMORY_BYTES,
        "outbuf_overflow": MEMORY_BYTES,
        "clear_untrusted_proxy_headers": True,
        "expose_tracebacks": False,
        # A caller that goes away is not an event of the daemon.
        "log_socket_errors": False,
        "ident": "octospool",
        "url_scheme": "https" if tls is not None else "http",
    }


def _connection_limit() -> int:
    """As many connections as the system lets us have."""
    if sys.platform == "win32":
        # Windows has no poll, and its select takes 512 sockets.
        return 400
    import resource  # Unix only

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTION_LIMIT
    return max(16, min(CONNECTION_LIMIT, files - RESERVED_FILES))
