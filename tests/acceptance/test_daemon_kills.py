"""kill -9 at any moment, under load: every accepted run ends once, nothing is called twice, nothing is left behind."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.acceptance.flows import calls_by_run, work
from tests.acceptance.kills import kill_in_a_loop
from tests.acceptance.load import Load
from tests.engine.counting_server import CountingServer

KILLS = 3
KILLS_WITH_WORKERS = 2
"""`make soak` has the long form."""
WORKERS = 2
SEED = 20261121
"""The same moments in each run of the test."""

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="kill -9 and /proc are of Unix")


def test_the_daemon_is_killed_alone_again_and_again(
    make_daemon: Callable[..., DaemonProcess], server: CountingServer
) -> None:
    """Its workers finish the step under way and hand over: every run succeeds, and none is called twice."""
    daemon = make_daemon(max_workers=WORKERS)
    server.think_seconds = 0.05  # so that a kill often meets a call under way
    path = daemon.write("work.yml", work(server))
    daemon.start()
    with Load(daemon, path) as load:
        kill_in_a_loop(daemon, load, daemon.kill, times=KILLS, moments=random.Random(SEED))
    daemon.settle()
    found = invariants.check(daemon.data, accepted=load.accepted, posts=calls_by_run(server))
    assert len(load.accepted) >= KILLS
    assert set(found.count()) == {"succeeded"}, found.count()
    assert set(load.answers) <= {"202", "away"}, load.answers


def test_daemon_and_workers_are_killed_together_again_and_again(
    make_daemon: Callable[..., DaemonProcess], server: CountingServer
) -> None:
    """As a power cut does it. Only a run whose call was under way may end interrupted, and it names that call."""
    daemon = make_daemon(max_workers=WORKERS)
    server.think_seconds = 0.05  # so that a kill often meets a call under way
    path = daemon.write("work.yml", work(server))
    daemon.start()
    with Load(daemon, path) as load:
        kill_in_a_loop(
            daemon, load, daemon.kill_with_workers, times=KILLS_WITH_WORKERS, moments=random.Random(SEED)
        )
    daemon.settle()
    found = invariants.check(daemon.data, accepted=load.accepted, posts=calls_by_run(server))
    assert set(found.count()) <= {"succeeded", "interrupted"}, found.count()
    assert found.count()["interrupted"] <= KILLS_WITH_WORKERS * WORKERS, "as many as had a call under way"
    assert {run.error["step"] for run in found.runs.values() if run.status == "interrupted"} <= {"call"}
