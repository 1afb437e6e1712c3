"""Workers are forked from a process that has loaded everything; what becomes of them where that process dies."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flow_processor.engine import fork_server
from flow_processor.engine.fork_server import ForkServer
from flow_processor.journal import Event
from flow_processor.run import RunStatus
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, until

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="elsewhere workers start by themselves")

QUICK = "steps:\n  - {name: a, type: set_fact, set_fact: {value: 1}}\n"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(
        lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes(),
        "its end",
    )


def held(server: CountingServer) -> str:
    return f"steps:\n  - {{name: call, type: rest, rest: {{uri: '{server.url}/held/x'}}}}\n"


def test_a_worker_carries_its_id_and_nothing_of_the_daemons(
    make_world: Callable[..., World], server: CountingServer
) -> None:
    """In what the kernel shows of it too: by that what it leaves behind is found."""
    world = make_world()
    run_id = world.launch(held(server))
    server.wait_for_call("/held/x")
    world.worker_pid(run_id)  # once the store knows it
    worker = world.events(run_id, Event.DISPATCHED)[-1].data
    shown = Path(f"/proc/{worker['pid']}/environ").read_bytes().split(b"\0")
    assert f"OCTOSPOOL_WORKER={worker['worker']}".encode() in shown
    assert not any(b"canary" in variable for variable in shown)
    assert os.getsid(worker["pid"]) == worker["pid"]


def test_runs_outlive_the_process_that_their_workers_were_forked_from(
    make_world: Callable[..., World], server: CountingServer
) -> None:
    world = make_world()
    first = world.launch(held(server))
    server.wait_for_call("/held/x")
    kill(parent_of(world.worker_pid(first)))
    assert world.run(QUICK).status is RunStatus.SUCCEEDED, "another worker is forked from a new one"
    server.open_gate.set()
    assert world.wait(first).status is RunStatus.SUCCEEDED


def test_who_stops_the_whole_group_does_not_end_it(
    make_world: Callable[..., World], server: CountingServer
) -> None:
    """As a service manager does: the daemon needs workers until it has left."""
    world = make_world()
    run_id = world.launch(held(server))
    server.wait_for_call("/held/x")
    forked_from = parent_of(world.worker_pid(run_id))
    os.kill(forked_from, signal.SIGTERM)
    other = world.launch(QUICK)
    assert world.wait(other).status is RunStatus.SUCCEEDED
    assert parent_of(world.worker_pid(run_id)) == forked_from
    server.open_gate.set()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED


def test_a_worker_that_dies_after_that_is_a_lost_worker(
    make_world: Callable[..., World], server: CountingServer
) -> None:
    world = make_world()
    run_id = world.launch(held(server))
    server.wait_for_call("/held/x")
    kill(parent_of(world.worker_pid(run_id)))
    world.kill_worker(run_id)
    server.wait_for_call("/held/x", times=2)
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, "a GET is repeated"
    assert [row.data["exit_code"] for row in world.events(run_id, Event.WORKER_LOST)] == [-1]


def test_it_leaves_when_nobody_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_server, "IDLE_SECONDS", 0.01)
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, its:
        serving = threading.Thread(target=ForkServer(its).serve)
        serving.start()
        serving.join(30)
        assert not serving.is_alive()


@pytest.mark.parametrize("name", ["worker-", "to-worker-"])
def test_a_worker_that_nobody_can_talk_to_leaves(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """No thread can be had for it; the next one that is started has its threads."""
    refused: list[str] = []
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(name) and thread.name != "worker-pool" and not refused:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    world = make_world(max_workers=1)
    assert world.succeed(QUICK)["a"] == 1
    assert refused
    until(lambda: len(world.living_workers()) == 1, "the other one has left")
