"""A disk that fails, loses its power or turns read-only: no false success, and what was accepted is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.counting_server import CountingServer
from tests.engine.world import until
from tests.faults.flows import PARALLEL, QUICK, is_ready, posting, refusal, sleeping, try_launch
from tests.faults.real_faults import PulledDisk, tampered

SYNCS = "fsync,fdatasync:error=EIO"


def test_a_launch_that_cannot_be_synced_is_refused(daemon: DaemonProcess) -> None:
    """15: 503 and not 202 while fsync fails; what was there before stays, and it works again after it."""
    path = daemon.write("a.yml", QUICK)
    before = daemon.launch(path)
    daemon.until_ended(before)
    with tampered(daemon.process.pid, SYNCS):
        assert refusal(try_launch(daemon, path)) == (503, "store_unavailable")
        assert not is_ready(daemon)
        assert daemon.run(before)["status"] == "succeeded"
        assert daemon.call("GET", "/api/locks").json()["locks"] == []
    until(lambda: is_ready(daemon), "the daemon is ready again")
    after = daemon.launch(path)
    assert daemon.until_ended(after)["status"] == "succeeded"
    assert daemon.terminate() == 0
    invariants.check(daemon.data, accepted=[before, after])


def test_a_run_under_way_waits_for_a_disk_that_cannot_sync(
    daemon: DaemonProcess, server: CountingServer
) -> None:
    """15: no call that must be made once is made before its announcement is on the disk. The sleep is as long as one
    may be without being parked: the disk is taken away meanwhile."""
    wait = "  - {name: wait, type: sleep, sleep: {seconds: 1.9}}\n"
    run_id = daemon.launch(daemon.write("post.yml", posting(server, "/post", wait)))
    daemon.until_step(run_id, "wait")
    with tampered(daemon.process.pid, SYNCS):
        until(lambda: "cannot be written" in daemon.output.read_text(), "the store is in trouble")
        assert server.calls["/post"] == 0
        assert daemon.run(run_id)["status"] == "running"
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert server.calls["/post"] == 1
    assert daemon.terminate() == 0
    invariants.check(daemon.data, accepted=[run_id])


@pytest.mark.parametrize("cuts", [1, pytest.param(100, marks=pytest.mark.soak)])
def test_what_was_accepted_survives_a_power_cut_of_the_disk(
    pulled_disk: PulledDisk, make_daemon: Callable[..., DaemonProcess], server: CountingServer, cuts: int
) -> None:
    """16: everything that was not synced is gone at once; each 202 is there, each call announced or not made."""
    daemon = make_daemon()
    quick = daemon.write("quick.yml", PARALLEL + QUICK)
    post = daemon.write("post.yml", PARALLEL + posting(server, "/run/{{ __run_id__ }}"))
    pulled_disk.sync()
    accepted = []
    for _ in range(cuts):
        daemon.start()
        accepted += [daemon.launch(path) for path in (quick, post) * 10]
        pulled_disk.lose_power()
        daemon.kill_with_workers()
        pulled_disk.come_back()
    daemon.start()
    until(lambda: not daemon.live_runs(), "every run ends")
    assert daemon.terminate() == 0
    calls = {path.removeprefix("/run/"): times for path, times in server.calls.items()}
    found = invariants.check(daemon.data, accepted=accepted)
    assert {run_id for run_id, times in calls.items() if times > 1} == set(), "called twice"
    assert set(calls) <= set(found.statuses), "called for a run that history does not know"
    assert set(found.count()) <= {"succeeded", "interrupted"}, found.count()


def test_a_disk_that_turns_read_only_stops_new_runs_and_loses_none(
    pulled_disk: PulledDisk, make_daemon: Callable[..., DaemonProcess]
) -> None:
    """18: refused with a code, readiness 503, a start says why it cannot; all goes on once it is writable."""
    daemon = make_daemon()
    quick, slow = daemon.write("quick.yml", QUICK), daemon.write("slow.yml", sleeping(0.5))
    pulled_disk.sync()
    daemon.start()
    until(lambda: is_ready(daemon), "the daemon is ready")
    run_id = daemon.launch(slow)
    daemon.until_step(run_id, "wait")
    pulled_disk.turn_read_only()
    status, code = refusal(try_launch(daemon, quick))
    assert (status, code) in {(503, "data_unwritable"), (503, "store_unavailable"), (503, "lock_unavailable")}
    assert not is_ready(daemon)
    assert daemon.call("GET", "/api/runs").status_code in (200, 503)
    daemon.kill_with_workers()
    said_before = len(daemon.output.read_text())
    assert daemon.spawn().wait(60) in (2, 69)
    said = daemon.output.read_text()[said_before:]
    assert "Traceback" not in said
    assert "ead-only" in said
    pulled_disk.come_back()
    daemon.start()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert daemon.terminate() == 0
    invariants.check(daemon.data, accepted=[run_id])


def test_a_disk_that_cannot_be_read_is_told_and_not_taken_for_a_defect(
    pulled_disk: PulledDisk, make_daemon: Callable[..., DaemonProcess]
) -> None:
    """15: 503 with a code, never 500, whatever is asked while every access fails."""
    daemon = make_daemon()
    path = daemon.write("a.yml", QUICK)
    pulled_disk.sync()
    daemon.start()
    run_id = daemon.launch(path)
    daemon.until_ended(run_id)
    pulled_disk.lose_power()
    for method, address in (
        ("POST", "/api/flows/launch"),
        ("GET", "/api/runs"),
        ("GET", f"/api/runs/{run_id}"),
    ):
        answer = daemon.call(method, address, json={"path": path} if method == "POST" else None)
        assert answer.status_code in (200, 404, 503, 507), answer.text
        assert answer.status_code != 200 or method == "GET"
    assert not is_ready(daemon)
    daemon.kill_with_workers()
    pulled_disk.come_back()
    daemon.start()
    assert daemon.run(run_id)["status"] == "succeeded"
    assert daemon.terminate() == 0
    invariants.check(daemon.data, accepted=[run_id])
