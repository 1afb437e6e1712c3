"""A daemon's life as its user sees it: start, stop, a second one, an end without a farewell."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.counting_server import CountingServer
from tests.engine.world import until

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="signals are of Unix")

NEXT = "  - {name: next, type: set_fact, set_fact: {value: done}}\n"


def sleep(seconds: float) -> str:
    return f"  - {{name: wait, type: sleep, sleep: {{seconds: {seconds}}}}}\n"


def post(server: CountingServer, path: str, more: str = "") -> str:
    return f"  - {{name: call, type: rest, rest: {{uri: '{server.url}{path}', method: POST}}{more}}}\n"


# Stopping.


def test_sigterm_lets_runs_under_way_end_and_leaves_with_0(daemon: DaemonProcess) -> None:
    """No process, no lock and no file stays behind."""
    run_id = daemon.launch(daemon.write("wait.yml", "steps:\n" + sleep(0.5) + NEXT))
    daemon.until_step(run_id, "wait")
    pids = daemon.worker_pids()
    assert pids
    assert daemon.terminate() == 0
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "its workers are gone")
    found = invariants.check(daemon.data, accepted=[run_id])
    assert found.statuses[run_id] == "succeeded"


def test_while_it_stops_nothing_new_is_accepted(daemon: DaemonProcess) -> None:
    path = daemon.write("wait.yml", "concurrency: {on_conflict: parallel}\nsteps:\n" + sleep(0.8))
    run_id = daemon.launch(path)
    daemon.until_step(run_id, "wait")
    daemon.process.terminate()

    def refused() -> bool:
        answer = daemon.call("POST", "/api/flows/launch", json={"path": path})
        if answer.status_code == 202:
            return False
        assert (answer.status_code, answer.json()["code"]) == (503, "shutting_down")
        return True

    until(refused, "a launch is refused")
    assert daemon.process.wait(20) == 0


def test_what_outlasts_the_grace_goes_on_at_the_next_start(make_daemon: Callable[..., DaemonProcess]) -> None:
    daemon = make_daemon(shutdown_grace_seconds=0.1)
    daemon.start()
    run_id = daemon.launch(daemon.write("wait.yml", "steps:\n" + NEXT + sleep(0.8)))
    daemon.until_step(run_id, "wait")
    assert daemon.terminate() == 0
    daemon.start()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    daemon.terminate()
    invariants.check(daemon.data, accepted=[run_id])


# A second one.


def test_a_second_daemon_on_the_folder_is_refused(
    daemon: DaemonProcess, make_daemon: Callable[..., DaemonProcess]
) -> None:
    """It says who has it and where, leaves with an exit code of its own, and disturbs nothing."""
    run_id = daemon.launch(daemon.write("wait.yml", "steps:\n" + sleep(1)))
    second = make_daemon()
    process = second.spawn()
    assert process.wait(20) == 75
    said = second.output.read_text()
    assert "in use" in said
    assert str(daemon.process.pid) in said
    assert daemon.url in said
    assert "Traceback" not in said
    assert daemon.until_ended(run_id)["status"] == "succeeded"


# Dying.


def test_a_worker_outlives_its_daemon_and_hands_over(daemon: DaemonProcess, server: CountingServer) -> None:
    """A long call is in flight while the daemon dies; the next one goes on behind it, with one call made."""
    run_id = daemon.launch(daemon.write("post.yml", "steps:\n" + post(server, "/held/post") + NEXT))
    server.wait_for_call("/held/post")
    daemon.kill()
    daemon.start()
    assert daemon.run(run_id)["status"] == "running"
    server.open_gate.set()
    run = daemon.until_ended(run_id)
    assert run["status"] == "succeeded"
    assert [step["path"] for step in run["steps"]] == ["call", "next"]
    assert server.calls["/held/post"] == 1
    daemon.terminate()
    invariants.check(daemon.data, accepted=[run_id])


def test_an_outcome_that_came_while_nobody_was_there_counts(
    daemon: DaemonProcess, server: CountingServer
) -> None:
    run_id = daemon.launch(daemon.write("post.yml", "steps:\n" + post(server, "/held/post") + NEXT))
    server.wait_for_call("/held/post")
    daemon.kill()
    server.open_gate.set()
    until(lambda: not daemon.living_workers(), "the worker hands over and leaves")
    assert len([*(daemon.data / "handover").iterdir()]) == 1
    daemon.start()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert server.calls["/held/post"] == 1
    daemon.terminate()
    invariants.check(daemon.data, accepted=[run_id])


def test_a_call_that_was_announced_but_not_made_is_made_by_the_next_daemon(
    daemon: DaemonProcess, server: CountingServer
) -> None:
    """The worker waits for the daemon to write down that the call begins; the daemon dies instead."""
    written = "{path: output/mark.json, mode: write, type: json, data_key: __input__}"
    mark = f"  - {{name: mark, type: file, file: {written}}}\n"
    path = daemon.write("post.yml", "steps:\n" + sleep(0.4) + mark + post(server, "/post"))
    run_id = daemon.launch(path)
    daemon.until_step(run_id, "wait")
    os.kill(daemon.process.pid, signal.SIGSTOP)  # it hears nothing any more, and so confirms nothing
    until((daemon.data / "output" / "mark.json").exists, "the step before the call is done")
    daemon.kill()
    until(lambda: not daemon.living_workers(), "the worker hands over and leaves")
    daemon.start()
    run = daemon.until_ended(run_id)
    assert run["status"] == "succeeded", run["error"]
    assert server.calls["/post"] == 1


def _launch_in_vain(daemon: DaemonProcess, path: str) -> None:
    with contextlib.suppress(requests.RequestException):
        daemon.launch(path)


def waits_in(pid: int) -> int:
    """How many bytes the daemon has sent that a process has not read."""
    import fcntl  # here, because Windows has neither
    import termios

    reader = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder)
    finally:
        os.close(reader)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_worker_that_is_asked_something_by_a_dying_daemon_leaves(daemon: DaemonProcess) -> None:
    """It cannot answer any more, and must not stay because of that: the next daemon would wait for it."""
    daemon.until_ended(daemon.launch(daemon.write("first.yml", "steps:\n" + NEXT)))  # a worker is ready
    until(lambda: len(daemon.living_workers()) == len(daemon.worker_pids()), "no other one is starting")
    path = daemon.write("new.yml", "steps:\n  - {name: a, type: jq, jq: {expression: '1 + 1'}}\n")
    pids = daemon.worker_pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    asked = threading.Thread(target=_launch_in_vain, args=(daemon, path))
    asked.start()
    try:
        until(lambda: any(waits_in(pid) for pid in pids), "a worker is asked")
        daemon.kill()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        asked.join()
    until(lambda: not daemon.living_workers(), "every worker leaves", seconds=5)


def test_after_a_power_cut_only_the_call_under_way_is_in_doubt(
    daemon: DaemonProcess, server: CountingServer
) -> None:
    """Every other run goes on; the one in doubt says which step somebody has to look at."""
    posting = daemon.launch(daemon.write("post.yml", "steps:\n" + post(server, "/held/post")))
    again = daemon.launch(
        daemon.write("again.yml", "steps:\n" + post(server, "/held/again", ", on_interrupt: rerun"))
    )
    waiting = daemon.launch(daemon.write("wait.yml", "steps:\n" + NEXT + sleep(0.4)))
    server.wait_for_call("/held/post")
    server.wait_for_call("/held/again")
    daemon.until_step(waiting, "wait")
    daemon.kill_with_workers()
    server.open_gate.set()
    daemon.start()
    doubtful = daemon.until_ended(posting)
    assert (doubtful["status"], doubtful["error"]["code"]) == ("interrupted", "interrupted")
    assert doubtful["error"]["step"] == "call"
    assert daemon.until_ended(again)["status"] == "succeeded"
    assert daemon.until_ended(waiting)["status"] == "succeeded"
    assert (server.calls["/held/post"], server.calls["/held/again"]) == (1, 2)
    daemon.terminate()
    invariants.check(daemon.data, accepted=[posting, again, waiting])


def test_a_cancel_that_was_accepted_survives_a_kill(daemon: DaemonProcess) -> None:
    hang = "  - {name: hang, type: jq, jq: {expression: 'def f: f; f'}}\n"
    run_id = daemon.launch(daemon.write("hang.yml", "timeout_seconds: 3\nsteps:\n" + hang))
    daemon.until_step(run_id, "hang")
    assert daemon.call("POST", f"/api/runs/{run_id}/cancel").status_code in (200, 202)
    daemon.kill_with_workers()
    daemon.start()
    assert daemon.until_ended(run_id)["status"] == "cancelled"


# The log, and what is printed.


def test_the_log_names_the_run_and_its_flow_and_holds_no_token(daemon: DaemonProcess) -> None:
    bad = "  - {name: bad, type: jq, jq: {expression: 'error(\"no such luck\")'}}\n"
    run_id = daemon.launch(daemon.write("bad.yml", "steps:\n" + bad))
    assert daemon.until_ended(run_id)["status"] == "failed"
    daemon.terminate()
    log = (daemon.data / "logs" / "spooler_service.log").read_text()
    line = next(line for line in log.splitlines() if "no such luck" in line)
    assert run_id in line
    assert "bad.yml" in line
    assert daemon.environment["API_TOKEN"] not in log


def test_python_m_flow_processor_serve_is_the_same(make_daemon: Callable[..., DaemonProcess]) -> None:
    """As `python main.py`, by which all the others are started; it prints where it is."""
    daemon = make_daemon()
    daemon.start("-m", "flow_processor", "serve")
    assert daemon.terminate() == 0
    assert daemon.url in daemon.output.read_text()
