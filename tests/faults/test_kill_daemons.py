"""kill -9 at a chosen moment: in a system call of a launch or of a result, at a start, in the middle of a loop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
import requests

from flow_processor.locks import LockFile
from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.counting_server import CountingServer
from tests.engine.world import until
from tests.faults.flows import QUICK, sleeping, try_launch
from tests.faults.moments import let_pass
from tests.faults.real_faults import tampered

CALLS = "pwrite64,write,fsync,fdatasync,rename,unlink,ftruncate,mkdir"
ITEMS = 1000


@pytest.mark.parametrize(
    "points", [(1, 4, 9), pytest.param(range(1, 41), marks=pytest.mark.soak)], ids=["a few", "all"]
)
def test_a_daemon_that_dies_in_a_system_call_of_a_launch_is_no_loss(
    daemon: DaemonProcess, points: tuple[int, ...]
) -> None:
    """2, 4: with or without its 202 the lock is soon free again, and what was accepted runs."""
    path = daemon.write("a.yml", QUICK)
    accepted = []
    for point in points:
        with tampered(daemon.process.pid, f"{CALLS}:signal=KILL:when={point}"):
            for _ in range(point):
                try:
                    answer = try_launch(daemon, path)
                except requests.RequestException:
                    break
                if answer.status_code == 202:
                    accepted.append(answer.json()["run_id"])
        assert daemon.process.wait(60) == -signal.SIGKILL
        daemon.kill()
        lock = LockFile(daemon.data / "locks" / "a.lock")
        until(lambda lock=lock: not lock.is_taken(), "the lock is free")
        daemon.start()
        until(lambda: daemon.call("GET", "/api/locks").json()["locks"] == [], "no run has a lock")
    accepted.append(daemon.launch(path))
    until(lambda: not daemon.live_runs(), "every run ends")
    assert daemon.terminate() == 0
    found = invariants.check(daemon.data, accepted=accepted)
    assert set(found.count()) == {"succeeded"}


@pytest.mark.parametrize(
    ("kills", "seconds"),
    [(3, 0.6), pytest.param(50, 2.0, marks=pytest.mark.soak)],
    ids=["a few", "fifty"],
)
def test_a_daemon_starts_after_every_kill_also_of_its_start(
    make_daemon: Callable[..., DaemonProcess], kills: int, seconds: float
) -> None:
    """7: killed earlier and later in its start; each next one comes up, nothing is left lying about."""
    daemon = make_daemon()
    path = daemon.write("a.yml", sleeping(0.2))
    daemon.start()
    run_id = daemon.launch(path)
    daemon.kill()
    for number in range(kills):
        process = daemon.spawn("main.py")  # all of a start, with its imports
        let_pass(seconds * (number + 1) / kills)
        process.kill()
        process.wait()
    daemon.start()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert daemon.terminate() == 0
    until(lambda: not daemon.living_workers(), "every worker leaves")
    invariants.check(daemon.data, accepted=[run_id])


@pytest.mark.parametrize("dies", ["a worker", "everything"])
def test_a_result_that_a_worker_was_writing_when_it_died_does_not_stay(
    daemon: DaemonProcess, server: CountingServer, dies: str
) -> None:
    """61: killed when a large result lies ready and has no name yet."""
    run_id, worker = held_run(daemon, server)
    if dies == "everything":
        os.kill(daemon.process.pid, signal.SIGSTOP)  # it is not to see the worker die
    with tampered(worker.content()["pid"], "fsync:signal=KILL:when=2"):  # the first is that of the folder
        server.open_gate.set()
        until(lambda: not worker.is_taken(), "the worker is dead")
    if dies == "everything":
        assert [*(daemon.data / "results" / run_id).iterdir()] == []
        daemon.kill()
        daemon.start()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert daemon.terminate() == 0
    rows = invariants.check(daemon.data, accepted=[run_id]).journals[run_id]
    assert [row[3] for row in rows].count("worker_lost") == 1


def test_a_handover_that_a_worker_was_writing_when_it_died_does_not_stay(
    daemon: DaemonProcess, server: CountingServer
) -> None:
    """61: the daemon is dead, and what the worker did meanwhile has no name yet."""
    run_id, worker = held_run(daemon, server)
    daemon.kill()
    with tampered(worker.content()["pid"], "fsync:signal=KILL:when=1"):
        server.open_gate.set()
        until(lambda: not worker.is_taken(), "the worker is dead")
    assert [*(daemon.data / "handover").iterdir()] == []
    daemon.start()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert daemon.terminate() == 0
    invariants.check(daemon.data, accepted=[run_id])
    assert server.calls["/held/before"] == 2


def held_run(daemon: DaemonProcess, server: CountingServer) -> tuple[str, LockFile]:
    """A run in a step that may be done again, with a large result to come, and the lock of its worker."""
    hold = f"  - {{name: hold, type: rest, rest: {{uri: '{server.url}/held/before'}}}}\n"
    large = "  - {name: large, type: jq, jq: {expression: '[range(60000)]'}}\n"
    run_id = daemon.launch(daemon.write("large.yml", f"steps:\n{hold}{large}"))
    server.wait_for_call("/held/before")
    daemon.until_step(run_id, "hold")  # the store has it by now who has the run
    locks = [LockFile(path) for path in (daemon.data / "workers").glob("*.lock")]
    (worker,) = (lock for lock in locks if lock.content().get("run_id") == run_id)
    return run_id, worker


def test_every_item_of_a_long_loop_is_there_once_after_kills(daemon: DaemonProcess) -> None:
    """11: items in = out; none that was done is done again."""
    wait = "  - {name: wait, type: sleep, sleep: {seconds: 0.01}}\n"
    square = "  - {name: square, type: jq, jq: {expression: '.__input__ * .__input__'}}\n"
    daemon.write("item.yml", f"steps:\n{wait}{square}")
    loop = (
        "  - {name: all, type: flow_loop, flow_loop: {path: item.yml, data_key: numbers, max_parallel: 4}}\n"
    )
    numbers = f"  - {{name: numbers, type: jq, jq: {{expression: '[range({ITEMS})]'}}}}\n"
    total = "  - {name: total, type: jq, jq: {expression: '[.all[].square] | add'}}\n"
    run_id = daemon.launch(daemon.write("loop.yml", f"steps:\n{numbers}{loop}{total}"))
    for kill in (daemon.kill, daemon.kill_with_workers):
        begun = done_items(daemon)
        until(lambda begun=begun: done_items(daemon) >= min(begun + 50, ITEMS), "the loop gets on")
        kill()
        daemon.start()
    run = daemon.until_ended(run_id)
    assert run["status"] == "succeeded", run["error"]
    assert run["data"]["total"] == sum(number * number for number in range(ITEMS))
    assert daemon.terminate() == 0
    rows = invariants.check(daemon.data, accepted=[run_id]).journals[run_id]
    done = [row[1] for row in rows if row[3] == "succeeded" and row[1].endswith("/square")]
    assert len(done) == len(set(done)) == ITEMS


def done_items(daemon: DaemonProcess) -> int:
    """How many items of the loop have been done."""
    return sum(
        step["status"] == "succeeded"
        for run in daemon.call("GET", "/api/runs").json()["runs"]
        for step in daemon.run(run["run_id"])["steps"]
        if step["path"].endswith("/square")
    )
