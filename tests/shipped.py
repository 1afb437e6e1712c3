"""A real daemon, and the command, on a private copy of the data folder that is shipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "data"
WRITTEN_BY_DAEMONS = shutil.ignore_patterns(
    "octospool.db*", "daemon.*", "locks", "logs", "output", "results", "workers", "handover", "spool"
)
DEADLINE_SECONDS = 60


DOCKER_FLOWS = frozenset(
    path.relative_to(SHIPPED / "flows").as_posix()
    for path in (SHIPPED / "flows" / "examples").glob("docker*.yml")
)
"""Examples that need a Docker engine, and containers switched on."""


def switch_containers_on(data: Path, *more: str) -> None:
    """Take the comment signs from `docker:` in the config.yml that is shipped, and put `more` lines below it."""
    config = data / "config.yml"
    before, found, after = config.read_text(encoding="utf-8").partition("# docker:\n")
    assert found, "config.yml shows how containers are switched on"
    lines = [line.removeprefix("# ") for line in after.splitlines()]
    text = "\n".join([*lines, *(f"  {line}" for line in more)])
    config.write_text(f"{before}docker:\n{text}\n", encoding="utf-8")


@dataclass
class Daemon:
    """A running daemon on a private copy of the shipped data folder, with the settings of a fresh clone."""

    folder: Path
    url: str
    token: str = "default_token"

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One call with the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(method, self.url + path, headers=headers, timeout=DEADLINE_SECONDS, **options)

    def run(self, path: str, data: Any = None) -> dict[str, Any]:
        """Launch the flow and give back its outcome."""
        body = {"path": path, "data": data, "wait": DEADLINE_SECONDS}
        answer = self.call("POST", "/api/flows/launch", json=body)
        assert answer.status_code == 200, answer.text
        outcome: dict[str, Any] = answer.json()
        return outcome

    def succeed(self, path: str, data: Any = None) -> dict[str, Any]:
        """The data of a run that must succeed."""
        outcome = self.run(path, data)
        assert outcome["status"] == "succeeded", outcome["error"]
        found: dict[str, Any] = outcome["data"]
        return found

    def output(self, name: str) -> str:
        """A file that a flow wrote."""
        return (self.folder / "output" / name).read_text(encoding="utf-8")


def environment_for(folder: Path, port: int) -> dict[str, str]:
    """The environment of a user who has set nothing but where to put things."""
    keep = {key: os.environ[key] for key in ("PATH", "HOME", "SYSTEMROOT") if key in os.environ}
    return keep | {"DATA_PATH": str(folder), "API_PORT": str(port), "PYTHONPATH": str(ROOT)}


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the first answer of /healthz; a daemon that ends first fails the test with what it said."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url + "/healthz", timeout=5).ok:
                return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.02)
    pytest.fail("the daemon did not come up:\n" + log.read_text(encoding="utf-8", errors="replace")[-4000:])


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """`python main.py` on a copy of data/."""
    base = tmp_path_factory.mktemp("shipped")
    folder, port, log = base / "data", free_port(), base / "output.txt"
    shutil.copytree(SHIPPED, folder, ignore=WRITTEN_BY_DAEMONS)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "main.py"],
            cwd=ROOT,
            env=environment_for(folder, port),
            stdout=output,
            stderr=output,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_healthy(url, process, log)
            yield Daemon(folder, url)
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)


def octospool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a terminal, with the data folder to itself."""
    return subprocess.run(
        [sys.executable, "-m", "flow_processor", *arguments],
        cwd=ROOT,
        env=environment_for(folder, free_port()),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
