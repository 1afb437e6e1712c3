"""Many at once: launches of one flow, cancels at any moment, edits while runs begin."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.world import until
from tests.faults.flows import PARALLEL, refusal, sleeping, try_launch
from tests.faults.moments import let_pass

BYTE_SECONDS = 0.005
FILES = 10


@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_of_sixteen_launches_at_once_one_is_accepted(daemon: DaemonProcess, rounds: int) -> None:
    """34: the others are told who has the flow."""
    path = daemon.write("a.yml", sleeping(0.3))
    accepted = []
    for _ in range(rounds):
        together = threading.Barrier(16)

        def launch(together: threading.Barrier = together) -> tuple[int, str]:
            together.wait(60)
            answer = try_launch(daemon, path)
            return (202, answer.json()["run_id"]) if answer.status_code == 202 else refusal(answer)

        with ThreadPoolExecutor(16) as callers:
            answers = Counter(callers.map(lambda _: launch(), range(16)))
        [winner] = [found for found in answers if found[0] == 202]
        assert answers == Counter({winner: 1, (409, "flow_running"): 15})
        accepted.append(winner[1])
        daemon.until_ended(winner[1])
    assert daemon.terminate() == 0
    assert set(invariants.check(daemon.data, accepted=accepted).statuses) == set(accepted)


@pytest.mark.parametrize("cancels", [40, pytest.param(1000, marks=pytest.mark.soak)])
def test_cancels_at_any_moment_leave_no_lock_and_no_run(daemon: DaemonProcess, cancels: int) -> None:
    """38: queued, about to begin, under way, just over; each run ends once, in time."""
    path = daemon.write("a.yml", PARALLEL + sleeping(0.05))
    locked = [daemon.write(f"locked{number}.yml", sleeping(0.05)) for number in range(4)]
    moments = random.Random(38)
    accepted = []
    for number in range(cancels):
        answer = try_launch(daemon, path if number % 2 else locked[number // 2 % 4])
        if answer.status_code == 202:
            accepted.append(answer.json()["run_id"])
            let_pass(moments.uniform(0, 0.03))
            cancelled = daemon.call("POST", f"/api/runs/{moments.choice(accepted[-4:])}/cancel")
            assert cancelled.status_code in (202, 409), cancelled.text
    until(lambda: not daemon.live_runs(), "every run ends")
    assert daemon.call("GET", "/api/locks").json()["locks"] == []
    assert daemon.terminate() == 0
    counts = invariants.check(daemon.data, accepted=accepted).count()
    assert set(counts) <= {"cancelled", "succeeded"}, counts
    assert counts["cancelled"]


def flow_of(version: int) -> str:
    """A flow of three steps that all say which version they are of."""
    steps = (f"  - {{name: s{n}, type: set_fact, set_fact: {{value: {version}}}}}\n" for n in range(3))
    return f"name: Version {version}\n{PARALLEL}steps:\n{''.join(steps)}"


def test_runs_that_begin_while_the_file_is_written_see_a_whole_version(daemon: DaemonProcess) -> None:
    """39, 46: byte by byte, 5 ms apart, as a slow editor does it; also while it is emptied, and taken away."""
    path = daemon.write("a.yml", flow_of(1))
    file = daemon.data / "flows" / path
    os.utime(
        file, (0, 0)
    )  # it has been there for long: a file that has only just appeared has no last good version
    accepted = [daemon.launch(path)]
    written = threading.Event()

    def write_slowly() -> None:
        with file.open("wb", buffering=0) as opened:
            for byte in flow_of(2).encode():
                opened.write(bytes([byte]))
                let_pass(BYTE_SECONDS)
        written.set()

    writer = threading.Thread(target=write_slowly)
    writer.start()
    while not written.is_set():
        accepted.append(daemon.launch(path))
        let_pass(10 * BYTE_SECONDS)
    writer.join()
    until(lambda: version_of(daemon, daemon.launch(path)) == 2, "the new version is in force")
    versions = [version_of(daemon, run_id) for run_id in accepted]
    assert set(versions) <= {1, 2}
    assert versions[0] == 1
    until(lambda: not daemon.live_runs(), "every run ends")
    assert daemon.terminate() == 0
    invariants.check(daemon.data, accepted=accepted)


def version_of(daemon: DaemonProcess, run_id: str) -> int:
    """The version that all three steps of a run are of."""
    run = daemon.until_ended(run_id)
    assert run["status"] == "succeeded", run["error"]
    [version] = {run["data"][f"s{n}"] for n in range(3)}
    return int(version)


@pytest.mark.parametrize("changes", [2_000, pytest.param(20_000, marks=pytest.mark.soak)])
def test_a_storm_of_changes_misses_none(daemon: DaemonProcess, changes: int) -> None:
    """41: 20,000 are more than a queue of inotify holds; the files are looked at, so no queue can overflow."""
    folder: Path = daemon.data / "flows" / "many"
    folder.mkdir()
    for number in range(changes):
        (folder / f"{number % FILES}.yml").write_text(
            f"steps: [{{name: s, type: set_fact, set_fact: {{value: {number}}}}}]\n"
        )

    def newest(number: int) -> bool:
        run = daemon.until_ended(daemon.launch(f"many/{number}.yml"))
        return bool(run["data"]["s"] == changes - FILES + number)

    for number in range(FILES):
        until(lambda number=number: newest(number), f"the last version of many/{number}.yml is in force")
    assert daemon.terminate() == 0
