"""What a container prints, as the engine sends it: frames of stdout and stderr over one connection."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

_STDERR = 2
_HEADER_BYTES = 8
_READ_BYTES = 64 * 1024


class AttachedOutput:
    """The connection over which a container's output comes. Opened before the container starts: so nothing is missed,
    and it never waits for one that has ended already."""

    def __init__(self, attached: Any) -> None:
        """`attached`: what the SDK's `attach_socket` gives."""
        self._attached = attached
        # A socket of our own on the same connection: the SDK's has a time limit, and no way to be interrupted.
        self._socket = socket.socket(fileno=os.dup(attached.fileno()))
        self._socket.settimeout(None)
        self._buffer = bytearray()

    def next(self) -> tuple[bytes, bool] | None:
        """A further piece, and whether it was printed on stderr; None once the container has ended. Raises OSError."""
        header = self._exactly(_HEADER_BYTES)
        if header is None:
            return None
        piece = self._exactly(int.from_bytes(header[4:], "big"))
        return None if piece is None else (piece, header[0] == _STDERR)

    def interrupt(self) -> None:
        """Nobody waits for more; for another thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
        # The SDK keeps the answer by its socket, and nobody closes the connection of it.
        answer = self._attached._response
        connection = answer.raw.connection
        answer.close()
        if connection is not None:
            connection.close()

    def _exactly(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            piece = self._socket.recv(_READ_BYTES)
            if not piece:
                return None
            self._buffer += piece
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken
