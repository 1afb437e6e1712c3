"""A daemon of its own for each test, and a server that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.counting_server import CountingServer


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """`make_daemon(**settings)` gives a daemon that is not started yet."""
    daemons: list[DaemonProcess] = []

    def make(**variables: Any) -> DaemonProcess:
        (tmp_path / "data" / "flows").mkdir(parents=True, exist_ok=True)
        daemons.append(DaemonProcess(tmp_path / "data", **variables))
        return daemons[-1]

    yield make
    for daemon in daemons:
        daemon.end()


@pytest.fixture
def daemon(make_daemon: Callable[..., DaemonProcess]) -> DaemonProcess:
    """A daemon that has been started."""
    daemon = make_daemon()
    daemon.start()
    return daemon


@pytest.fixture
def server() -> Iterator[CountingServer]:
    """Counts calls; those below /held/ are answered when the test says so."""
    server = CountingServer()
    yield server
    server.close()
