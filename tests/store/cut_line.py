"""A line to a server that is cut at a chosen moment: with the next commit, before or after the server has it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from enum import StrEnum

_COMMIT = re.compile(rb"COMMIT(?!TED)")


class Cut(StrEnum):
    """When the line is cut."""

    BEFORE = "before"
    """The server never hears of the commit."""
    AFTER = "after"
    """It has committed, and its answer is lost."""


class CutLine:
    """Passes everything on to a loopback port, until it is told to cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut: Cut | None = None
        """What happens with the next commit; None again afterwards."""
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Cut everything."""
        self._listener.close()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                lost = threading.Event()
                threading.Thread(target=self._to_server, args=(client, server, lost), daemon=True).start()
                threading.Thread(target=self._to_client, args=(server, client, lost), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while content := client.recv(65536):
                cut = self.cut if _COMMIT.search(content) else None
                if cut is not None:
                    self.cut = None
                    lost.set()
                if cut is Cut.BEFORE:
                    break
                server.sendall(content)
                if cut is not None:
                    return  # the answer cuts it
        _shut(client, server)

    def _to_client(self, server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while content := server.recv(65536):
                if lost.is_set():
                    break
                client.sendall(content)
        _shut(client, server)


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
