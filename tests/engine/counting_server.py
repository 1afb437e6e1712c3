"""A loopback HTTP server that counts what it is asked, and can hold its answers back."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOLD_SECONDS = 30.0
"""A held answer is given after so long at the latest, so that a broken test ends."""


class CountingServer(ThreadingHTTPServer):
    """Answers every call with `{"path", "body", "authorization"}` and the status that `statuses` says.

    `calls` counts by path (with query), also calls whose answer nobody waits for any more.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: Counter[str] = Counter()
        self.statuses: dict[str, list[int]] = {}
        """Statuses to answer a path with, one a call; then 200."""
        self.authorizations: list[str | None] = []
        """The header Authorization of each call."""
        self.arrived = threading.Condition()
        self.think_seconds = 0.0
        """How long every answer takes."""
        self.open_gate = threading.Event()
        """Calls below /held/ are answered once this is set."""
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wait_for_call(self, path: str, *, times: int = 1, seconds: float = 60.0) -> None:
        """Return once `path` was called so often."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.calls[path] >= times, seconds), (
                f"{path} was called {self.calls[path]} times within {seconds} s, not {times}"
            )

    def close(self) -> None:
        """Answer what is held, and stop."""
        self.open_gate.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed while its answer is held is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: CountingServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        with self.server.arrived:
            self.server.calls[self.path] += 1
            self.server.authorizations.append(self.headers.get("Authorization"))
            left = self.server.statuses.get(self.path)
            status = left.pop(0) if left else 200
            self.server.arrived.notify_all()
        if self.server.think_seconds:
            threading.Event().wait(self.server.think_seconds)
        if self.path.startswith("/held/"):
            self.server.open_gate.wait(HOLD_SECONDS)
        told = {"path": self.path, "body": body, "authorization": self.headers.get("Authorization")}
        answer = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815  the names that http.server looks for

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""
