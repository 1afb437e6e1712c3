"""How long a daemon needs to take over 1,000 runs that were under way when everything died."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path

from flow_processor.journal import DISPATCH_SPAN
from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.acceptance.flows import NUMBERS, PARALLEL, SUM
from tests.engine.counting_server import CountingServer
from tests.engine.world import until
from tests.soak.figures import Part

RUNS = 1000
FLOW = (
    f"{PARALLEL}steps:\n{NUMBERS}  - {{name: read, type: jq, jq: {{expression: '.numbers | length'}}}}\n{SUM}"
)


def soak(folder: Path) -> Part:
    """The row of figures."""
    daemon = DaemonProcess(folder / "data", max_workers=2)
    with ExitStack() as stack:
        server = CountingServer()
        stack.callback(server.close)
        stack.callback(daemon.end)
        accepted = _prepare(daemon, server)
        began = time.time()
        answered = daemon.start()
        until(lambda: _dispatched_again(daemon) >= RUNS, "every run goes on", seconds=120)
        gone_on = time.time() - began
        daemon.settle(seconds=120)
        found = invariants.check(daemon.data, accepted=accepted)
    assert set(found.count()) == {"succeeded"}, found.count()
    first = min(
        row[4]
        for rows in found.journals.values()
        for row in rows
        if row[3] == "dispatched" and row[0] >= 2 * DISPATCH_SPAN
    )
    shutil.rmtree(folder)
    figure = (
        f"answers after {answered:.2f} s, the first goes on after {first - began:.2f} s, "
        f"the last after {gone_on:.2f} s"
    )
    return Part(
        "others",
        [f"{RUNS} runs under way, everything killed, 2 workers", figure, "answers and goes on in 5 s"],
    )


def _prepare(daemon: DaemonProcess, server: CountingServer) -> list[str]:
    """A data folder as a daemon with 1,000 workers leaves it behind when the power goes: each run in its second step.

    Two workers are held up, so that the runs are only accepted; what 1,000 workers would have written is then added.
    """
    get = f"  - {{name: get, type: rest, rest: {{uri: '{server.url}/held/{{{{ __run_id__ }}}}'}}}}\n"
    blocker = daemon.write("blocker.yml", f"{PARALLEL}steps:\n{get}")
    path = daemon.write("work.yml", FLOW)
    daemon.start()
    blockers = [daemon.launch(blocker) for _ in range(2)]
    for run_id in blockers:
        server.wait_for_call(f"/held/{run_id}")
    runs = [daemon.launch(path) for _ in range(RUNS)]
    daemon.kill_with_workers()
    server.open_gate.set()
    at = time.time()
    begun = [
        row
        for run_id in runs
        for row in (
            (run_id, DISPATCH_SPAN, "", 0, "dispatched", at, '{"worker": "00000000", "pid": 1}'),
            (
                run_id,
                DISPATCH_SPAN + 2,
                "numbers",
                1,
                "succeeded",
                at,
                '{"result": [1, 2], "key": "numbers"}',
            ),
            (run_id, DISPATCH_SPAN + 3, "read", 1, "started", at, None),
        )
    ]
    with closing(sqlite3.connect(daemon.data / "octospool.db")) as connection, connection:
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", begun)
        connection.executemany(
            "UPDATE runs SET status = 'running', started_at = ? WHERE id = ?",
            [(at, run_id) for run_id in runs],
        )
    return blockers + runs


def _dispatched_again(daemon: DaemonProcess) -> int:
    with closing(sqlite3.connect(daemon.data / "octospool.db", timeout=10)) as connection:
        query = "SELECT count(*) FROM journal WHERE event = 'dispatched' AND seq >= ?"
        return int(connection.execute(query, (2 * DISPATCH_SPAN,)).fetchone()[0])
