"""A daemon's life as its user sees it: start, stop, a second one, an end without a farewell."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
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


def post(server: CountingServer, path: str, more: str = "", *, name: str = "call") -> str:
    return f"  - {{name: {name}, type: rest, rest: {{uri: '{server.url}{path}', method: POST}}{more}}}\n"


# One that nobody kills.


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """Started by `python -m flow_processor serve`, which is the same as the `python main.py` of all others."""
    data = tmp_path_factory.mktemp("living") / "data"
    (data / "flows").mkdir(parents=True)
    daemon = DaemonProcess(data, max_workers=1)
    daemon.start("-m", "flow_processor", "serve")
    yield daemon
    daemon.end()


def test_it_prints_where_it_is(living: DaemonProcess) -> None:
    until(lambda: living.url in living.output.read_text(), "it says so")


def test_the_log_names_the_run_and_its_flow_and_holds_no_token(living: DaemonProcess) -> None:
    bad = "  - {name: bad, type: jq, jq: {expression: 'error(\"no such luck\")'}}\n"
    run_id = living.launch(living.write("bad.yml", "steps:\n" + bad))
    assert living.until_ended(run_id)["status"] == "failed"

    def logged() -> str | None:
        lines = (living.data / "logs" / "spooler_service.log").read_text().splitlines()
        return next((line for line in lines if "no such luck" in line), None)

    line = until(logged, "the error is in the log")
    assert run_id in line
    assert "bad.yml" in line
    assert living.environment["API_TOKEN"] not in (living.data / "logs" / "spooler_service.log").read_text()


def test_a_second_daemon_on_the_folder_is_refused(
    living: DaemonProcess, server: CountingServer, tmp_path: Path
) -> None:
    """It says who has it and where, leaves with an exit code of its own, and disturbs nothing."""
    run_id = living.launch(living.write("post.yml", "steps:\n" + post(server, "/held/post") + NEXT))
    server.wait_for_call("/held/post", seconds=20)
    second = DaemonProcess(living.data)
    second.output = tmp_path / "second.txt"
    assert second.spawn().wait(60) == 75
    said = second.output.read_text()
    assert "in use" in said
    assert str(living.process.pid) in said
    assert living.url in said
    assert "Traceback" not in said
    server.open_gate.set()
    assert living.until_ended(run_id)["status"] == "succeeded"
    assert server.calls["/held/post"] == 1


# Stopping.


def test_sigterm_lets_runs_under_way_end_and_leaves_with_0(make_daemon: Callable[..., DaemonProcess]) -> None:
    """No process, no lock and no file stays behind."""
    daemon = make_daemon(max_workers=1)
    daemon.start()
    run_id = daemon.launch(daemon.write("wait.yml", "steps:\n" + sleep(0.5) + NEXT))
    daemon.until_step(run_id, "wait")
    pids = daemon.worker_pids()
    assert pids
    assert daemon.terminate() == 0
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "its workers are gone")
    found = invariants.check(daemon.data, accepted=[run_id])
    assert found.statuses[run_id] == "succeeded"


def test_what_outlasts_the_grace_goes_on_at_the_next_start(make_daemon: Callable[..., DaemonProcess]) -> None:
    daemon = make_daemon(shutdown_grace_seconds=0.1, max_workers=1)
    daemon.start()
    run_id = daemon.launch(daemon.write("wait.yml", "steps:\n" + NEXT + sleep(0.8)))
    daemon.until_step(run_id, "wait")
    assert daemon.terminate() == 0
    daemon.start()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    daemon.terminate()
    invariants.check(daemon.data, accepted=[run_id])


# Dying.


def test_a_daemon_dies_and_every_call_is_made_once(
    make_daemon: Callable[..., DaemonProcess], server: CountingServer
) -> None:
    """Its workers live on. Three runs, each at another point of its call when the daemon is killed:

    - `outlives`: the call is answered once the next daemon is there; its worker hands over to that one;
    - `ends_alone`: the call is answered while nobody is there; what it came to is left behind and counts;
    - `announced`: the call is not made yet, and the daemon dies before it has written down that it begins;
      the worker makes no call, the next daemon's does.
    """
    daemon = make_daemon(max_workers=3)
    daemon.start()
    written = "{path: output/mark.json, mode: write, type: json, data_key: __input__}"
    mark = f"  - {{name: mark, type: file, file: {written}}}\n"
    before = post(server, "/held/before", name="before")
    path = daemon.write("announced.yml", f"steps:\n{before}{mark}{post(server, '/post')}")
    announced = daemon.launch(path)
    server.wait_for_call("/held/before", seconds=20)
    with closing(CountingServer()) as late:
        outlives = daemon.launch(
            daemon.write("outlives.yml", "steps:\n" + post(late, "/held/outlives") + NEXT)
        )
        late.wait_for_call("/held/outlives", seconds=20)
        ends_alone = daemon.launch(daemon.write("alone.yml", "steps:\n" + post(server, "/held/alone") + NEXT))
        server.wait_for_call("/held/alone", seconds=20)

        os.kill(daemon.process.pid, signal.SIGSTOP)  # it hears nothing any more, and so confirms nothing
        server.open_gate.set()
        until((daemon.data / "output" / "mark.json").exists, "the step before the announced call is done")
        daemon.kill()
        until(lambda: len(daemon.living_workers()) == 1, "two workers hand over and leave")
        assert len([*(daemon.data / "handover").iterdir()]) == 2
        assert server.calls["/post"] == 0

        daemon.start()
        assert daemon.run(outlives)["status"] == "running"
        late.open_gate.set()
        ended = {run_id: daemon.until_ended(run_id) for run_id in (outlives, ends_alone, announced)}
        assert [(run["status"], run["error"]) for run in ended.values()] == [("succeeded", None)] * 3
        assert [step["path"] for step in ended[outlives]["steps"]] == ["call", "next"]
        assert late.calls == {"/held/outlives": 1}
        assert server.calls == {"/held/before": 1, "/held/alone": 1, "/post": 1}
    daemon.terminate()
    invariants.check(daemon.data, accepted=[outlives, ends_alone, announced])


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
    until(lambda: not daemon.living_workers(), "every worker leaves")
    assert daemon.process.poll() == -signal.SIGKILL, "and no daemon had to tell them"


def test_after_a_power_cut_only_the_call_under_way_is_in_doubt(
    make_daemon: Callable[..., DaemonProcess], server: CountingServer
) -> None:
    """Every other run goes on, or ends as somebody was told; the one in doubt says which step is to be looked at."""
    daemon = make_daemon(max_workers=3)
    daemon.start()
    waiting = daemon.launch(daemon.write("wait.yml", "steps:\n" + NEXT + sleep(0.4)))
    daemon.until_step(waiting, "wait")
    posting = daemon.launch(daemon.write("post.yml", "steps:\n" + post(server, "/held/post")))
    again = daemon.launch(
        daemon.write("again.yml", "steps:\n" + post(server, "/held/again", ", on_interrupt: rerun"))
    )
    hang = "  - {name: hang, type: jq, jq: {expression: 'def f: f; f'}}\n"
    cancelled = daemon.launch(daemon.write("hang.yml", "timeout_seconds: 60\nsteps:\n" + hang))
    server.wait_for_call("/held/post", seconds=20)
    server.wait_for_call("/held/again", seconds=20)
    daemon.until_step(cancelled, "hang")
    assert daemon.call("POST", f"/api/runs/{cancelled}/cancel").status_code == 202
    daemon.kill_with_workers()
    server.open_gate.set()
    daemon.start()
    doubtful = daemon.until_ended(posting)
    assert (doubtful["status"], doubtful["error"]["code"]) == ("interrupted", "interrupted")
    assert doubtful["error"]["step"] == "call"
    assert daemon.until_ended(again)["status"] == "succeeded"
    assert daemon.until_ended(waiting)["status"] == "succeeded"
    assert daemon.until_ended(cancelled)["status"] == "cancelled"
    assert (server.calls["/held/post"], server.calls["/held/again"]) == (1, 2)
    daemon.terminate()
    invariants.check(daemon.data, accepted=[posting, again, waiting, cancelled])
