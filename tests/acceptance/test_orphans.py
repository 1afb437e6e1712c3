"""A daemon that dies leaves workers at work; whoever comes next waits for them, whatever the store says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.counting_server import CountingServer
from tests.engine.world import until

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="kill -9 is of Unix")


def test_a_run_that_woke_while_the_store_was_slow_is_not_executed_twice(
    make_daemon: Callable[..., DaemonProcess], server: CountingServer
) -> None:
    """The store still says `waiting`, but a worker has the run: only that worker's lock file tells."""
    daemon = make_daemon(max_workers=2)
    steps = f"""steps:
  - {{name: nap, type: sleep, sleep: {{seconds: 3}}}}
  - {{name: ask, type: rest, rest: {{uri: '{server.url}/held/ask', method: GET}}}}
"""
    path = daemon.write("woken.yml", steps)
    other_path = daemon.write("other.yml", "steps:\n  - {name: one, type: set_fact, set_fact: {value: 1}}\n")
    daemon.start()
    run_id = daemon.launch(path)
    until(lambda: daemon.run(run_id)["status"] == "waiting", "the run is parked")
    database = daemon.data / "octospool.db"
    with closing(sqlite3.connect(database, isolation_level=None, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")  # nothing can be committed now
        until(lambda: server.calls["/held/ask"] == 1, "the run has gone on", seconds=30)
        daemon.kill()
        other.execute("ROLLBACK")
    daemon.start()
    other_id = daemon.launch(other_path)
    daemon.until_ended(other_id)  # by now whatever was to be handed out has been
    server.open_gate.set()
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    assert server.calls["/held/ask"] == 1
    daemon.settle()
    invariants.check(daemon.data, accepted=[run_id, other_id])
