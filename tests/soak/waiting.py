"""What 10,000 runs cost that wait, and whether they go on in time."""

from __future__ import annotations

import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

from bench.processes import cpu_seconds, family
from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.acceptance.flows import NUMBERS, PARALLEL, SUM
from tests.acceptance.kills import pass_time
from tests.engine.world import until
from tests.soak.figures import Part
from tests.soak.steady import resident_megabytes

RUNS = 10_000
CLIENTS = 8
IDLE_SECONDS = 30.0
FLOW = f"{PARALLEL}steps:\n{NUMBERS}  - {{name: go, type: wait, wait: {{signal: go}}}}\n{SUM}"


def soak(folder: Path) -> Part:
    """The row of figures."""
    daemon = DaemonProcess(folder / "data", max_workers=4)
    with ExitStack() as stack:
        stack.callback(daemon.end)
        path = daemon.write("wait.yml", FLOW)
        daemon.start()
        with ThreadPoolExecutor(CLIENTS) as clients:
            accepted = list(clients.map(lambda _: daemon.launch(path), range(RUNS)))
        until(lambda: _waiting(daemon) == RUNS, "every run is parked", seconds=600)
        pass_time(15)  # until the workers beyond the spare have left
        processes = len(family(daemon.process.pid))
        before = cpu_seconds(daemon.process.pid)
        pass_time(IDLE_SECONDS)
        used = (cpu_seconds(daemon.process.pid) - before) / IDLE_SECONDS * 100
        memory = resident_megabytes(daemon.process.pid)
        daemon.kill_with_workers()
        answered = daemon.start()
        began = time.monotonic()
        told = daemon.call("POST", f"/api/runs/{accepted[RUNS // 2]}/signal", json={"name": "go"})
        assert told.status_code == 202, told.text
        assert daemon.until_ended(accepted[RUNS // 2])["status"] == "succeeded"
        woken = time.monotonic() - began
        may_wait = set(accepted) - {accepted[RUNS // 2]}
        assert daemon.terminate() == 0
        invariants.check(daemon.data, accepted=accepted, waiting=may_wait)
    shutil.rmtree(folder)
    figure = (
        f"{processes} processes, {used:.2f} % of a core, {memory:.0f} MB; after a kill of everything it answers after "
        f"{answered:.2f} s, and a signalled run has ended {woken:.2f} s later"
    )
    return Part(
        "others", [f"{RUNS} runs that wait", figure, "no process each, no noticeable CPU, start in 5 s"]
    )


def _waiting(daemon: DaemonProcess) -> int:
    with closing(sqlite3.connect(daemon.data / "octospool.db", timeout=10)) as connection:
        return int(connection.execute("SELECT count(*) FROM runs WHERE status = 'waiting'").fetchone()[0])
