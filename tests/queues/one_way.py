"""A stretch of network between the daemon and its broker that can be made deaf in one direction."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.ports import free_port


class OneWay:
    """Passes everything on, until `deafen`: then nothing that the client says reaches the server any more."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._open: list[socket.socket] = []
        self._deaf: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def deafen(self) -> None:
        """What clients that are connected now say is lost from now on; new connections are whole."""
        self._deaf.update(self._open)

    def close(self) -> None:
        """Cut everything."""
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._open += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        is_client = self._open.index(source) % 2 == 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not (is_client and source in self._deaf):
                    target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def one_way(server_port: int) -> Iterator[OneWay]:
    """It ends with its test."""
    way = OneWay(server_port)
    try:
        yield way
    finally:
        way.close()
