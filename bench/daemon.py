"""The daemon as a real process with a data folder of its own, and a client that keeps its connection."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class BenchFailed(Exception):
    """Something that is measured did not do what it should, so its figure would mean nothing."""


class Client:
    """One keep-alive connection; not to be shared between threads."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=180)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one call."""
        payload = None if body is None else json.dumps(body)
        self._connection.request(method, path, payload, self._headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def run(self, flow: str, data: Any = None) -> dict[str, Any]:
        """Launch the flow and wait for its outcome; raises BenchFailed unless it succeeds."""
        status, answer = self.call("POST", "/api/flows/launch", {"path": flow, "data": data, "wait": 120})
        if status != 200 or answer.get("status") != "succeeded":
            raise BenchFailed(f"{flow}: HTTP {status}: {json.dumps(answer)[:2000]}")
        result: dict[str, Any] = answer
        return result

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()


class Daemon:
    """`python main.py` with these flows (path → text), this config.yml and further variables of the environment.

    A context manager that stops it and clears up.
    """

    def __init__(
        self, flows: dict[str, str], *, config: str = "", variables: Mapping[str, str] | None = None
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="octospool-bench-"))
        self.port = free_port()
        self.token = secrets.token_hex(32)
        for path, text in flows.items():
            target = self.folder / "flows" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        if config:
            (self.folder / "config.yml").write_text(config, encoding="utf-8")
        self._output = (self.folder / "output.txt").open("wb")
        environment = {
            key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "SYSTEMROOT")
        }
        environment |= {"DATA_PATH": str(self.folder), "API_PORT": str(self.port), "API_TOKEN": self.token}
        environment |= variables or {}
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "main.py"], cwd=ROOT, env=environment, stdout=self._output, stderr=self._output
        )
        self.seconds_to_health = self._wait_until_healthy()

    def _wait_until_healthy(self) -> float:
        """Seconds from the start of the process to the first answer of /healthz."""
        while time.perf_counter() - self.begun < 30:
            if self.process.poll() is not None:
                break
            try:
                client = self.client()
                status, _ = client.call("GET", "/healthz")
                client.close()
            except OSError:
                time.sleep(0.002)
                continue
            if status == 200:
                return time.perf_counter() - self.begun
        output = (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        self.__exit__()
        raise BenchFailed(f"the daemon did not come up:\n{output[-3000:]}")

    def client(self) -> Client:
        """A new connection to it."""
        return Client(self.port, self.token)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()
        shutil.rmtree(self.folder, ignore_errors=True)
