"""Few file handles (`ulimit -n`) and 200 connections at once: callers wait, no run is lost, no tick is missed."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests

from tests.acceptance import invariants
from tests.acceptance.daemon_process import TOKEN, DaemonProcess
from tests.engine.world import until
from tests.faults.flows import PARALLEL, QUICK, come_to_rest, is_ready
from tests.faults.moments import let_pass
from tests.faults.slots import slots_of

CALLERS = 200
LIMITED = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
runpy.run_path("main.py", run_name="__main__")
"""


@contextmanager
def connected(daemon: DaemonProcess, number: int) -> Iterator[None]:
    """Inside, so many callers hold a connection and say nothing."""
    with ExitStack() as connections:
        for _ in range(number):
            connection = connections.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", daemon.port))
        yield


@pytest.mark.parametrize("files", [64, pytest.param(256, marks=pytest.mark.soak)])
def test_many_callers_and_few_file_handles_cost_no_slot_and_no_run(
    make_daemon: Callable[..., DaemonProcess], files: int
) -> None:
    """20: the scheduler goes on while callers are held back; what was accepted ends; then all is well again."""
    daemon = make_daemon(max_workers=2)
    path = daemon.write("a.yml", PARALLEL + QUICK)
    tick = daemon.write("tick.yml", "schedule: {every_seconds: 1}\n" + PARALLEL + QUICK)
    daemon.start("-c", LIMITED.format(files=files))
    assert daemon.call("POST", "/api/flows/add", json={"path": tick}).status_code == 201
    accepted = [daemon.launch(path)]
    with connected(daemon, CALLERS):
        until(lambda: len(slots_of(daemon.data)) >= 2, "slots start")
        accepted += launch_in_a_crowd(daemon, path)
        let_pass(1)
    until(lambda: is_ready(daemon), "the daemon is ready again")
    accepted.append(daemon.launch(path))
    slots = come_to_rest(daemon)
    seconds = [slot.moment.timestamp() for slot in slots]
    assert all(later - earlier < 1.01 for earlier, later in itertools.pairwise(seconds)), slots
    assert all(slot.is_started for slot in slots), slots
    invariants.check(daemon.data, accepted=[*accepted, *(str(slot.run_id) for slot in slots)])


def launch_in_a_crowd(daemon: DaemonProcess, path: str) -> list[str]:
    """Launch while others hold the daemon's connections: accepted, refused, or not answered for now."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try:
        answer = requests.post(
            f"{daemon.url}/api/flows/launch", json={"path": path}, headers=headers, timeout=1
        )
    except requests.RequestException:
        return []
    assert answer.status_code in (202, 503, 507), answer.text
    return [answer.json()["run_id"]] if answer.status_code == 202 else []
