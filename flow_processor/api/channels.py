"""waitress's connections, with what it lacks: errors in our shape, a refusal that arrives, and TLS.

waitress reads and writes non-blocking sockets in one thread and answers in others. `TlsChannel` puts a
non-blocking TLS socket in the same place, so a slow handshake keeps nobody waiting but its own connection.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from enum import Enum
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask

from flow_processor.api.errors import HttpRefused, InternalError, body_too_large, error_body
from flow_processor.api.headers import SECURITY_HEADERS
from flow_processor.errors import OctospoolError

logger = logging.getLogger("octospool.api")

LINGER_SECONDS = 2.0
"""How long a refused caller may go on sending into the void before its connection is closed. Closing at
once would reset the connection, and a caller that sends first and reads later would never see why."""

TLS_RECORD_BYTES = 16_384
"""The most that one TLS record holds (RFC 8446, 5.1). Reading so much leaves nothing behind in OpenSSL,
where `poll` could not see it; writing so much keeps the copies small when a write must be repeated."""

TLS_HANDSHAKE_BYTE = b"\x16"
"""A TLS connection begins with it (RFC 8446, 5.1), and no HTTP request does."""


class JsonErrorTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """An error that waitress found before the app was asked, in the shape of all our errors."""

    def execute(self) -> None:
        """Write the answer; the connection is closed after it."""
        found = self.request.error
        self.channel.refused_unread = True
        self.status = f"{found.code} {found.reason}"
        body = error_body(self._error(found.code, found.body))
        self.response_headers.extend(SECURITY_HEADERS.items())
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)

    def _error(self, status: int, reason: str) -> OctospoolError:
        if status == 413:
            # waitress refuses bodies of its limit and above; ours is the largest that is taken.
            return body_too_large(self.channel.adj.max_request_body_size - 1)
        if status == 500:
            return InternalError("the daemon failed to handle this call; its log tells more")
        return HttpRefused(f"the request breaks a rule of HTTP: {reason}")


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """One connection of a caller."""

    error_task_class = JsonErrorTask
    refused_unread = False
    """A request was refused before it was read whole; its rest may still be on its way."""
    socket: Any
    """None once it is closed."""
    _lingers_until: float | None = None
    """Monotonic seconds; set once the last word is said."""

    def readable(self) -> bool:
        """May bytes be taken from the socket?"""
        return self._lingers_until is not None or bool(super().readable())

    def writable(self) -> bool:
        """Is there something to send, or to end?"""
        if self._lingers_until is not None:
            return bool(self.will_close) or time.monotonic() >= self._lingers_until
        return bool(super().writable())

    def handle_write(self) -> None:
        """Send what waits, then end what is to end."""
        if self._lingers_until is not None:
            self.handle_close()
        elif self.close_when_flushed and self.refused_unread:
            self._flush_exception(self._flush_some)
            if self.will_close:
                self.handle_close()
            elif not self.total_outbufs_len:
                self._lingers_until = time.monotonic() + LINGER_SECONDS
                with contextlib.suppress(OSError):
                    self.socket.shutdown(socket.SHUT_WR)
        else:
            super().handle_write()

    def handle_read(self) -> None:
        """Take what came; after the last word, throw it away."""
        if self._lingers_until is None:
            self._take()
            return
        try:
            more = self.socket.recv(1 << 18)
        except OSError:
            more = b""
        if not more:
            self.handle_close()

    def _take(self) -> None:
        super().handle_read()


class _Phase(Enum):
    FIRST_BYTE = "first byte"
    HANDSHAKE = "handshake"
    TLS = "tls"
    PLAIN = "plain"


class TlsChannel(Channel):
    """One connection that speaks TLS; with `plain_too`, one that speaks http on the same port is served as well.

    The lock guards OpenSSL, which must not read and write one connection at once; waitress's thread reads
    while another may be writing.
    """

    def __init__(self, *args: Any, tls: ssl.SSLContext, plain_too: bool, **kwargs: Any):
        self._context = tls
        self._plain_too = plain_too
        self._phase = _Phase.FIRST_BYTE
        self._handshake_writes = False
        self._lock = threading.Lock()
        super().__init__(*args, **kwargs)
        self.sendbuf_len = TLS_RECORD_BYTES

    def readable(self) -> bool:
        """May bytes be taken from the socket?"""
        if self._phase is _Phase.HANDSHAKE:
            return not self._handshake_writes
        return super().readable()

    def writable(self) -> bool:
        """Is there something to send, or to end?"""
        if self._phase is _Phase.HANDSHAKE:
            return self._handshake_writes or bool(self.will_close)
        return super().writable()

    def handle_write(self) -> None:
        """Send what waits, then end what is to end."""
        if self._phase is _Phase.HANDSHAKE and not self.will_close:
            self._shake_hands()
        else:
            super().handle_write()

    def handle_close(self) -> None:
        """Close, with TLS's own goodbye if it can be sent at once."""
        if self._phase is _Phase.TLS and self.socket is not None:
            with contextlib.suppress(OSError, ValueError), self._lock:
                self.socket.unwrap()
        super().handle_close()

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send what goes through now; how many bytes. Errors are the caller's, who then closes."""
        if self._phase is not _Phase.TLS:
            return int(super().send(data, do_close))
        try:
            with self._lock:
                return int(self.socket.send(data))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def _take(self) -> None:
        if self._phase is _Phase.FIRST_BYTE:
            self._meet()
        elif self._phase is _Phase.HANDSHAKE:
            self._shake_hands()
        elif self._phase is _Phase.TLS:
            self._take_decrypted()
        else:
            super()._take()

    def _meet(self) -> None:
        """Look at the first byte without taking it: does the caller speak TLS?"""
        try:
            first = self.socket.recv(1, socket.MSG_PEEK)
            if first == TLS_HANDSHAKE_BYTE:
                self.socket = self._context.wrap_socket(
                    self.socket, server_side=True, do_handshake_on_connect=False
                )
                self._phase = _Phase.HANDSHAKE
                self._shake_hands()
                return
            if first and self._plain_too:
                self._phase = _Phase.PLAIN
                return
        except OSError as error:
            logger.debug("connection from %s ended before it began: %s", self.addr, error)
        self.handle_close()

    def _shake_hands(self) -> None:
        try:
            with self._lock:
                self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self._handshake_writes = False
        except ssl.SSLWantWriteError:
            self._handshake_writes = True
        except OSError as error:
            logger.debug("no TLS with %s: %s", self.addr, error)
            self.handle_close()
        else:
            self._phase = _Phase.TLS

    def _take_decrypted(self) -> None:
        try:
            with self._lock:
                data = self.socket.recv(TLS_RECORD_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            data = b""
        if not data:
            self.handle_close()
            return
        self.last_activity = time.time()
        self.received(data)
