"""What a worker does when it leaves: its last rows are kept, and what its steps have started is not lost sight of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow_processor.locks import LockFile
from flow_processor.run import RunStatus
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, until

NEXT = "  - {name: next, type: set_fact, set_fact: {value: done}}\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One worker."""
    world = World(tmp_path / "data", max_workers=1).start()
    yield world
    world.leave()


def test_a_handover_that_cannot_be_written_is_tried_until_it_can(
    world: World, server: CountingServer
) -> None:
    """The worker waits for a better time, and the next service for the worker: the POST is not repeated."""
    call = f"  - {{name: call, type: rest, rest: {{uri: '{server.url}/held/post', method: POST}}}}\n"
    run_id = world.launch("steps:\n" + call + NEXT)
    server.wait_for_call("/held/post")
    world.stop()
    folder = world.data / "handover"
    folder.rename(world.data / "away")
    folder.touch()
    server.open_gate.set()
    (lock,) = until(lambda: len(world.living_workers()) == 1 and world.living_workers(), "one worker stays")
    folder.unlink()
    (world.data / "away").rename(folder)
    world.start()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert server.calls["/held/post"] == 1
    assert not (world.data / "workers" / lock).exists(), "it left nothing behind"


def test_a_worker_names_its_run_as_long_as_something_of_it_is_left(
    world: World, server: CountingServer
) -> None:
    """By that the next service knows whom to wait for, and which run a dead worker had."""

    def named() -> list[str | None]:
        locks = sorted((world.data / "workers").glob("*.lock"))
        return [LockFile(lock).content().get("run_id") for lock in locks]

    call = f"  - {{name: call, type: rest, rest: {{uri: '{server.url}/held/post', method: POST}}}}\n"
    run_id = world.launch("steps:\n" + call + "  - {name: told, type: wait, wait: {signal: told}}\n")
    server.wait_for_call("/held/post")
    assert run_id in named()
    server.open_gate.set()
    until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "the run is parked")
    until(lambda: run_id not in named(), "its worker has forgotten it")
    assert world.living_workers() != []


LEAVES_ONE_BEHIND = """
import os, subprocess, sys
from flow_processor.engine.orphans import adopt_orphans, reap_orphans

adopt_orphans()
sleeper = "import sys; sys.stdin.read()"
start = f"subprocess.Popen([sys.executable, '-c', {sleeper!r}], stdout=subprocess.DEVNULL)"
middle = f"import subprocess, sys; print({start}.pid)"
left, right = os.pipe()
done = subprocess.run([sys.executable, "-c", middle], stdin=left, stdout=subprocess.PIPE, text=True, check=True)
pid = int(done.stdout)
os.close(left)
status = open(f"/proc/{pid}/status").read()
print("mine" if f"PPid:\\t{os.getpid()}" in status else status)
os.close(right)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
reap_orphans()
print("reaped" if not os.path.exists(f"/proc/{pid}") else "zombie")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do it")
def test_a_process_that_a_program_leaves_behind_stays_below_the_worker() -> None:
    """Where it is found by who ends the worker; and once it has ended nothing of it stays."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_ONE_BEHIND], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["mine", "reaped"]
