"""A way to the engine that can be away for a while, as an engine is that is restarted below its containers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path


class EngineProxy:
    """Listens at `host`, and hands on to the engine's socket."""

    def __init__(self, path: Path, engine: Path) -> None:
        self.host = f"unix://{path}"
        self._path = path
        self._engine = engine
        self._guard = threading.Lock()
        self._open: list[socket.socket] = []
        self._listen()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Inside, nothing listens, and what was connected is cut off."""
        self.close()
        yield
        self._listen()

    def close(self) -> None:
        """Listen no more."""
        self._path.unlink()
        with self._guard:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def _listen(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen()
        with self._guard:
            self._open.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with listener, contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(listener.accept()[0],), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, socket.socket(socket.AF_UNIX) as engine, contextlib.suppress(OSError):
            engine.connect(str(self._engine))
            with self._guard:
                self._open += [caller, engine]
            back = threading.Thread(target=_hand_on, args=(engine, caller), daemon=True)
            back.start()
            _hand_on(caller, engine)
            back.join()


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
