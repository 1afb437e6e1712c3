"""A disk without space, or without inodes: refused with a code, nothing lost, and it goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.counting_server import CountingServer
from tests.engine.world import until
from tests.faults.flows import QUICK, is_ready, posting, refusal, try_launch
from tests.faults.real_faults import SmallDisk

DISKS = pytest.mark.parametrize(
    ("options", "fill"),
    [("size=6m", SmallDisk.fill), ("size=6m,nr_inodes=150", SmallDisk.fill_with_names)],
    ids=["no space", "no inodes"],
)


@DISKS
def test_a_launch_on_a_full_disk_is_refused_and_leaves_nothing(
    small_disk: Callable[[str], SmallDisk],
    make_daemon: Callable[..., DaemonProcess],
    options: str,
    fill: Callable[[SmallDisk], None],
) -> None:
    """13, 19: 507 and not 202, readiness says why; with space again it goes on without anybody's help."""
    disk = small_disk(options)
    daemon = make_daemon()
    path, large = daemon.write("a.yml", QUICK), daemon.write("large.yml", QUICK)
    daemon.start()
    until(lambda: is_ready(daemon), "the daemon is ready")
    accepted = [daemon.launch(path)]
    daemon.until_ended(accepted[0])
    fill(disk)
    assert refusal(try_launch(daemon, path)) == (507, "disk_full")
    assert refusal(try_launch(daemon, large, data="x" * 500_000)) == (507, "disk_full")
    assert not is_ready(daemon)
    assert daemon.call("GET", "/api/runs").json()["runs"][0]["run_id"] == accepted[0]
    assert daemon.call("GET", "/api/locks").json()["locks"] == []
    disk.free()
    until(lambda: is_ready(daemon), "the daemon is ready again")
    accepted += [daemon.launch(path), daemon.launch(large, data="x" * 500_000)]
    assert {daemon.until_ended(run_id)["status"] for run_id in accepted} == {"succeeded"}
    assert daemon.terminate() == 0
    assert set(invariants.check(daemon.data, accepted=accepted).statuses) == set(accepted)


@DISKS
def test_a_disk_that_fills_while_a_run_is_under_way_holds_it_up_and_no_more(
    small_disk: Callable[[str], SmallDisk],
    make_daemon: Callable[..., DaemonProcess],
    server: CountingServer,
    options: str,
    fill: Callable[[SmallDisk], None],
) -> None:
    """14: the run goes on when there is space, the call that must be made once is made once."""
    disk = small_disk(options)
    daemon = make_daemon()
    much = "  - {name: much, type: jq, jq: {expression: '[range(30000)]'}}\n"
    path = daemon.write("long.yml", posting(server, "/held/post") + much)
    daemon.start()
    run_id = daemon.launch(path)
    server.wait_for_call("/held/post")
    fill(disk)
    server.open_gate.set()
    until(lambda: not is_ready(daemon), "the daemon says that it cannot work")
    disk.free()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert server.calls["/held/post"] == 1
    assert daemon.terminate() == 0
    invariants.check(daemon.data, accepted=[run_id])


def test_a_worker_whose_daemon_dies_on_a_full_disk_still_hands_over(
    small_disk: Callable[[str], SmallDisk],
    make_daemon: Callable[..., DaemonProcess],
    server: CountingServer,
) -> None:
    """14: the outcome of a call waits in the worker until there is space to write it down."""
    disk = small_disk("size=6m")
    daemon = make_daemon()
    path = daemon.write("post.yml", posting(server, "/held/post"))
    daemon.start()
    run_id = daemon.launch(path)
    server.wait_for_call("/held/post")
    daemon.kill()
    disk.fill()
    server.open_gate.set()
    tries_until = time.monotonic() + 0.5
    until(lambda: time.monotonic() > tries_until, "it has tried to hand over, in vain")
    assert daemon.living_workers(), "it has left with the outcome of the call"
    disk.free()
    daemon.start()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert server.calls["/held/post"] == 1
    assert daemon.terminate() == 0
    invariants.check(daemon.data, accepted=[run_id])
