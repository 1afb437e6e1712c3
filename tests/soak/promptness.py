"""How soon the daemon does what must not wait: ends a cancelled run, sees a clock that was set, a disk that is free.

The suite asks whether these things happen. How soon is measured here, on a machine that does nothing else.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from flow_processor.engine.assignment import ABORT_GRACE_SECONDS
from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.acceptance.flows import PARALLEL
from tests.acceptance.kills import percentile
from tests.engine.world import until
from tests.faults.faked_clock import FakedClock
from tests.faults.flows import QUICK, is_ready, refusal, try_launch
from tests.faults.real_faults import SmallDisk
from tests.faults.slots import slots_of
from tests.soak.figures import Part

TIMES = 10
HOUR = 3600.0
WAITS = "{name: slow, type: sleep, sleep: {seconds: 600}}"
HANGS = "{name: slow, type: jq, jq: {expression: 'last(repeat(1))'}}"


def soak(folder: Path) -> Part:
    """The row of figures."""
    parts = {
        "a wait cancelled: the run has ended after": _seconds_to_cancel(folder / "waits", WAITS),
        "an expression that hangs cancelled: after": _seconds_to_cancel(folder / "hangs", HANGS),
        "clock set forward: the missed slot starts after": _seconds_to_notice(folder / "clock"),
        "disk free again: ready after": _seconds_to_be_ready(folder / "disk"),
    }
    shutil.rmtree(folder)
    figure = "; ".join(
        f"{what} {percentile(found, 0.5):.2f} s (at most {max(found):.2f})" for what, found in parts.items()
    )
    return Part(
        "others",
        [f"promptness, {TIMES} times each", figure, f"at most 2, {ABORT_GRACE_SECONDS + 2:g}, 2 and 5 s"],
    )


def _seconds(until_it_is_so: Callable[[], object]) -> float:
    began = time.monotonic()
    until_it_is_so()
    return time.monotonic() - began


def _seconds_to_cancel(folder: Path, step: str) -> list[float]:
    """From the wish to the end of the run. What can be asked to end does so; what cannot is killed after a grace."""
    with ExitStack() as stack:
        daemon = DaemonProcess(folder / "data", max_workers=2)
        stack.callback(daemon.end)
        path = daemon.write("slow.yml", f"{PARALLEL}steps: [{step}]\n")
        daemon.start()
        accepted, found = [], []
        for _ in range(TIMES):
            run_id = daemon.launch(path)
            accepted.append(run_id)
            daemon.until_step(run_id, "slow")

            def cancel(run_id: str = run_id) -> None:
                assert daemon.call("POST", f"/api/runs/{run_id}/cancel").status_code == 202
                assert daemon.until_ended(run_id)["status"] == "cancelled"

            found.append(_seconds(cancel))
        daemon.settle()
        invariants.check(daemon.data, accepted=accepted)
    return found


def _seconds_to_notice(folder: Path) -> list[float]:
    """From setting the clock an hour forward to the run that the hour owed."""
    folder.mkdir()
    clock = FakedClock(folder)
    with ExitStack() as stack:
        stack.callback(clock.close)
        daemon = DaemonProcess(folder / "data", max_workers=2, **clock.variables)
        stack.callback(daemon.end)
        path = daemon.write("hourly.yml", f"schedule: {{every_seconds: {HOUR:g}}}\n{PARALLEL}{QUICK}")
        daemon.start()
        answer = daemon.call("POST", "/api/flows/add", json={"path": path})
        assert answer.status_code == 201, answer.text
        found = []
        for number in range(1, TIMES + 1):
            clock.set_by(HOUR)

            def has_started(number: int = number) -> bool:
                return len(slots_of(daemon.data, path)) >= number

            found.append(_seconds(lambda has_started=has_started: until(has_started, "it starts")))
        daemon.settle()
        invariants.check(daemon.data, accepted=[str(slot.run_id) for slot in slots_of(daemon.data, path)])
    return found


def _seconds_to_be_ready(folder: Path) -> list[float]:
    """From giving space back to the answer of readiness."""
    disk = SmallDisk(folder / "data", "size=8m")
    with ExitStack() as stack:
        stack.callback(disk.remove)
        daemon = DaemonProcess(folder / "data", max_workers=2)
        stack.callback(daemon.end)
        path = daemon.write("a.yml", PARALLEL + QUICK)
        daemon.start()
        found = []
        for _ in range(TIMES):
            disk.fill()
            until(lambda: refusal(try_launch(daemon, path)) == (507, "disk_full"), "the disk is full")
            disk.free()
            found.append(_seconds(lambda: until(lambda: is_ready(daemon), "it is ready again")))
        daemon.settle()
        invariants.check(daemon.data, accepted=[])
    return found
