"""A real daemon as a process: started, asked over HTTP, killed, started again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import requests

from flow_processor.locks import LockFile
from tests.acceptance.found import count_removals
from tests.engine.world import until
from tests.forked import Forked, can_fork, start_product
from tests.ports import free_port
from tests.spare_fork_server import NAME as SPARE_NAME

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "acceptance-token-0123456789"
Process = subprocess.Popen[bytes] | Forked
START_SECONDS = 30.0
"""A daemon that has not answered by then fails the test, whatever the machine is busy with."""


class DaemonProcess:
    """`octospool serve` over a data folder; one object for all its lives."""

    def __init__(self, data: Path, **variables: Any) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
        settings = {"DATA_PATH": data, "API_PORT": self.port, "API_HOST": "127.0.0.1", "API_TOKEN": TOKEN}
        settings |= {name.upper(): value for name, value in variables.items()}
        self.environment = kept | {name: str(value) for name, value in settings.items()}
        self.output = data.parent / "daemon.txt"
        """What all its lives have printed."""
        self._process: Process | None = None
        self._outlived_it: list[int] = []
        """Workers of lives that were killed."""

    @property
    def process(self) -> Process:
        """The process of its present (or last) life."""
        assert self._process is not None, "it was never started"
        return self._process

    def write(self, path: str, text: str) -> str:
        """Write a flow file; its path."""
        file = self.data / "flows" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return path

    def spawn(self, *command: str) -> Process:
        """Start a daemon on the folder without waiting for it; `command` instead of `main.py`."""
        with self.output.open("ab") as output:
            if can_fork() and not command and "LD_PRELOAD" not in self.environment:
                return start_product(["serve"], environment=self.environment, output=output)
            return subprocess.Popen(
                [sys.executable, *(command or ["main.py"])],
                env=self.environment,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def begin(self, *command: str) -> None:
        """Start it, and do not wait for anything."""
        self._process = self.spawn(*command)

    def start(self, *command: str) -> float:
        """Start it; how long its first answer took, in seconds."""
        began = time.monotonic()
        self.begin(*command)
        until(self._answers, "the daemon answers", seconds=START_SECONDS)
        return time.monotonic() - began

    def _answers(self) -> bool:
        code = self.process.poll()
        assert code is None, f"the daemon left with exit code {code}:\n{self.output.read_text()[-3000:]}"
        with socket.socket() as probe:  # before it listens: a look that costs next to nothing
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        try:
            return requests.get(f"{self.url}/healthz", timeout=START_SECONDS).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """kill -9 of the daemon alone; its workers live on."""
        if self.process.poll() is None:
            self._outlived_it += self.worker_pids()
        self.process.kill()
        self.process.wait()

    def kill_with_workers(self) -> None:
        """kill -9 of everything at once, as a power cut does it. Stopped first, so that nobody sees others die."""
        for pid in (self.process.pid, *self._fork_servers()):
            os.kill(pid, signal.SIGSTOP)
        for pid in (*self.worker_pids(), *self._fork_servers()):
            os.kill(pid, signal.SIGKILL)
        self.kill()

    def worker_pids(self) -> list[int]:
        """The processes of workers (also of those that are only about to take their lock)."""
        return [pid for server in self._fork_servers() for pid in _children(server)]

    def _fork_servers(self) -> list[int]:
        def is_one(pid: int) -> bool:
            shown = Path(f"/proc/{pid}")
            command = (shown / "cmdline").read_bytes()
            return (
                b"flow_processor.engine.fork_server" in command
                or (shown / "comm").read_text().strip() == SPARE_NAME
            )

        return [pid for pid in _children(self.process.pid) if is_one(pid)]

    def terminate(self, *, seconds: float = 20.0) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    def settle(self, *, waiting: Collection[str] = (), seconds: float = 60.0) -> None:
        """Wait until every run has ended (but those in `waiting`) and nothing is left to clear up; then stop it."""

        def all_has_ended() -> bool:
            live = {run["run_id"] for run in self.live_runs()} - set(waiting)
            for run_id in live:
                self.run(run_id, wait=1)
            return not live and not count_removals(self.data)

        until(all_has_ended, "every run ends", seconds=seconds)
        assert self.terminate() == 0
        until(lambda: not self.living_workers(), "every worker leaves")

    def end(self) -> None:
        """Whatever state it is in, end it; its workers must leave by themselves."""
        if self._process is None:
            return
        self.kill()
        try:
            until(lambda: not self.living_workers(), "every worker leaves")
        except AssertionError:
            for pid in self._outlived_it:  # a red test must not leave processes behind as well
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise

    def living_workers(self) -> list[str]:
        """Workers that live, by the names of the lock files they hold."""
        locks = sorted((self.data / "workers").glob("*.lock"))
        return [lock.name for lock in locks if LockFile(lock).is_taken()]

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One call with the token; its answer."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **options)

    def launch(self, path: str, *, data: Any = None) -> str:
        """Launch a flow; the run's id. Fails unless the answer is 202."""
        answer = self.call("POST", "/api/flows/launch", json={"path": path, "data": data})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def run(self, run_id: str, *, wait: float = 0) -> dict[str, Any]:
        """A run as it is; with `wait` once it has ended, if it does so within so many seconds."""
        found: dict[str, Any] = self.call("GET", f"/api/runs/{run_id}", params={"wait": wait}).json()
        return found

    def until_ended(self, run_id: str) -> dict[str, Any]:
        """A run once it has its terminal status."""

        def ended() -> dict[str, Any] | None:
            found = self.run(run_id, wait=10)
            return found if found["ended_at"] else None

        return until(ended, f"run {run_id} ends", seconds=30)

    def until_step(self, run_id: str, path: str) -> None:
        """Return once history shows the step."""

        def has_begun() -> bool:
            return any(step["path"] == path for step in self.run(run_id, wait=0.02)["steps"])

        until(has_begun, f"step {path} begins")

    def live_runs(self) -> list[dict[str, Any]]:
        """Runs that have not ended."""
        query = "/api/runs?status=queued&status=running&status=waiting&limit=500"
        found: list[dict[str, Any]] = self.call("GET", query).json()["runs"]
        return found


def _children(pid: int) -> list[int]:
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]
