"""Load without kills: does the daemon grow?"""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from pathlib import Path

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.acceptance.flows import calls_by_run
from tests.acceptance.kills import pass_time
from tests.acceptance.load import Load
from tests.engine.counting_server import CountingServer
from tests.soak.figures import Part, slope_per_hour
from tests.soak.mixture import CALLS, LAUNCHED, Person, flows

SAMPLE_SECONDS = 5.0
WARM_UP = 0.25
"""This share of the time at the beginning is not looked at: caches fill."""


def soak(folder: Path, *, seconds: float) -> Part:
    """Launch for so long; the row of figures."""
    daemon = DaemonProcess(folder / "data")
    memory: list[tuple[float, float]] = []
    files: list[tuple[float, float]] = []
    with ExitStack() as stack:
        server = CountingServer()
        stack.callback(server.close)
        stack.callback(daemon.end)
        for path, text in flows(server).items():
            daemon.write(path, text)
        daemon.start()
        began = time.monotonic()
        with Person(daemon) as person, Load(daemon, *LAUNCHED, then=person.note) as load:
            while (passed := time.monotonic() - began) < seconds:
                if passed > WARM_UP * seconds:
                    memory.append((passed, resident_megabytes(daemon.process.pid)))
                    files.append((passed, open_files(daemon.process.pid)))
                pass_time(SAMPLE_SECONDS)
        daemon.settle(seconds=120)
        calls = {path: CALLS.get(path, 1) for path in LAUNCHED}
        found = invariants.check(daemon.data, accepted=load.accepted, posts=calls_by_run(server), calls=calls)
    shutil.rmtree(folder)
    assert set(found.count()) == {"succeeded"}, found.count()
    what = f"{len(load.accepted)} runs in {seconds / 60:.0f} minutes: the daemon's memory and open files"
    figure = (
        f"{memory[-1][1]:.0f} MB, {slope_per_hour(memory):+.1f} MB an hour; "
        f"{files[-1][1]:.0f} files, {slope_per_hour(files):+.1f} an hour"
    )
    return Part("others", [what, figure, "no growth that goes on"])


def resident_megabytes(pid: int) -> float:
    """Memory of one process in RAM, in MB (10^6 bytes)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024 / 1e6


def open_files(pid: int) -> float:
    """How many descriptors a process has open."""
    return float(len([*Path(f"/proc/{pid}/fd").iterdir()]))
