"""A data folder to run commands in, in this process (`octospool`) or in one of its own (`start`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flow_processor.cli.app import octospool as command
from tests.forked import Forked, can_fork, start_product

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 20.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder; the environment names it, and a working folder beside it."""
    data = tmp_path / "data"
    (data / "flows").mkdir(parents=True)
    for name in ("API_TOKEN", "FLOWS_PATH", "CONFIG_FILE", "SECRETS_PATH", "TEMPLATES_PATH", "API_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_PATH", str(data))
    monkeypatch.chdir(tmp_path)
    return data


@pytest.fixture
def flow(folder: Path) -> Callable[[str, str], Path]:
    """`flow(name, text)` writes a flow file."""

    def write(name: str, text: str) -> Path:
        path = folder / "flows" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def octospool() -> Callable[..., Result]:
    """`octospool("runs", "list")` runs the command in this process."""

    def call(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(command, list(arguments), input=input, prog_name="octospool")

    return call


Process = subprocess.Popen[str] | Forked


def start_command(*arguments: str, env: dict[str, str] | None = None) -> Process:
    """The command as a process of its own; `serve` by `main.py`, where it does not begin with its imports done."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | (env or {})
    if can_fork():
        return start_product(arguments, environment=environment, folder=Path.cwd())
    return subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *arguments[1:]]
        if arguments[0] == "serve"
        else [sys.executable, "-m", "flow_processor", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )


def end_process(process: Process) -> None:
    """Whatever it still does."""
    if process.poll() is None:
        process.kill()
    process.communicate(timeout=STOP_SECONDS)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Process]]:
    """`start("serve", …)` starts the command as a process of its own; whatever still runs is ended."""
    started: list[Process] = []

    def begin(*arguments: str, env: dict[str, str] | None = None) -> Process:
        started.append(start_command(*arguments, env=env))
        return started[-1]

    yield begin
    for process in started:
        end_process(process)
