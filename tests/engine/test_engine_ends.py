"""A cancel and a time limit end the work, with every program that was started for it, wherever that hides."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flow_processor.journal import Event
from flow_processor.process_tree import kill_process
from flow_processor.run import RunStatus
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, outline, until

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="needs /proc")

HANG = "  - {name: hang, type: jq, jq: {expression: 'def f: f; f'}%s}\n"
NEXT = "  - {name: next, type: set_fact, set_fact: {value: done}}\n"

PROGRAMS = {
    "obeys": "trap 'echo asked > {name}.asked; exit' TERM; sleep 600 & wait",
    "ignores": "trap '' TERM; exec sleep 600",
}
"""How a program takes being asked to end."""

WAYS = {
    "child": "sh {file} &",
    "own_session": "setsid sh {file} &",
    "orphan": "( setsid sh {file} & ) &",
}
"""How it was started: `orphan` by a process that has ended."""


class Programs:
    """Worker processes that have started programs, in each way and of each kind, as a step may."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        starts = []
        for kind, text in PROGRAMS.items():
            for way, start in WAYS.items():
                name = folder / f"$W.{kind}.{way}"
                file = folder / f"{kind}.{way}.sh"
                # The program writes its own number down: the shell's, under the number of its worker.
                file.write_text(f"echo $$ > {name}.new; mv {name}.new {name}.pid; {text.format(name=name)}")
                starts.append(start.format(file=shlex.quote(str(file))))
        run = f"subprocess.run(['sh', '-c', {' '.join(starts)!r}], stdin=subprocess.DEVNULL, stdout=2)"
        begin = f"""import os, runpy, subprocess
from flow_processor.engine import worker
from flow_processor.engine.orphans import adopt_orphans

def begin(as_ever=worker.main):
    os.environ['W'] = str(os.getpid())
    adopt_orphans()
    {run}
    as_ever()

worker.main = begin
runpy.run_module('flow_processor.engine.fork_server', run_name='__main__')
"""
        self.interpreter = folder / "python"
        self.interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} -P -c {shlex.quote(begin)} "$@"\n')
        self.interpreter.chmod(0o755)

    def of_the_worker(self) -> dict[str, int]:
        """The programs of the only worker there has been so far, `kind.way`, with their process numbers."""
        count = len(PROGRAMS) * len(WAYS)
        files = until(
            lambda: (found := [*self._folder.glob("*.pid")]) and len(found) == count and found,
            "the worker has started its programs",
        )
        assert len({file.name.partition(".")[0] for file in files}) == 1, "more than one worker"
        return {file.stem.partition(".")[2]: int(file.read_text()) for file in files}

    def asked(self, worker: int) -> set[str]:
        """Those that were asked to end and took notice."""
        found = self._folder.glob(f"{worker}.*.asked")
        return {file.name.removeprefix(f"{worker}.").removesuffix(".asked") for file in found}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def living(programs: dict[str, int]) -> list[str]:
    return [name for name, pid in programs.items() if is_alive(pid)]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "programs"
    folder.mkdir()
    programs = Programs(folder)
    monkeypatch.setattr(sys, "executable", str(programs.interpreter))
    return programs


def begin(world: World, programs: Programs, flow: str) -> tuple[str, int, dict[str, int]]:
    """Launch a flow; its id, its worker's number, and that worker's programs.

    They live before the flow is launched: a time limit may be up before this process looks again.
    """
    started = programs.of_the_worker()
    assert len(living(started)) == len(started)
    run_id = world.launch(flow)
    return run_id, world.worker_pid(run_id), started


@pytest.mark.usefixtures("short_grace")
def test_a_cancel_asks_every_program_and_kills_those_that_stay(
    make_world: Callable[..., World], programs: Programs, server: CountingServer
) -> None:
    """finally_step runs in a fresh worker, when nothing of the old one is left."""
    close = f"  - {{name: close, type: rest, rest: {{uri: '{server.url}/close', method: POST}}}}\n"
    world = make_world(max_workers=1)
    run_id, worker, started = begin(world, programs, f"finally_step: close\nsteps:\n{HANG % ''}{close}")
    world.until_begun(run_id, "hang")
    world.service.cancel_run(run_id, by="a test")
    server.wait_for_call("/close")
    assert living(started) == []
    assert programs.asked(worker) == {f"obeys.{way}" for way in WAYS}
    run = world.wait(run_id)
    assert (run.status, outline(run)) == (
        RunStatus.CANCELLED,
        [("hang", 1, "cancelled"), ("close", 1, "succeeded")],
    )
    assert len({row.data["pid"] for row in world.events(run_id, Event.DISPATCHED)}) == 2


def test_a_steps_time_limit_ends_its_programs_before_the_flow_goes_on(
    make_world: Callable[..., World], programs: Programs
) -> None:
    world = make_world(max_workers=1)
    flow = f"steps:\n{HANG % ', timeout_seconds: 1, ignore_errors: limit'}{NEXT}"
    run_id, worker, started = begin(world, programs, flow)
    run = world.wait(run_id)
    assert living(started) == []
    assert programs.asked(worker) == {f"obeys.{way}" for way in WAYS}
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert [entry["code"] for entry in run.data["__errors__"]] == ["step_timeout"]


def test_a_cancelled_run_that_ends_by_itself_leaves_no_program_either(
    make_world: Callable[..., World], programs: Programs, server: CountingServer
) -> None:
    """Its worker gives up at once; what its steps had started is ended with the worker, which is not used again."""
    world = make_world(max_workers=1)
    call = f"  - {{name: call, type: rest, rest: {{uri: '{server.url}/held/x'}}}}\n"
    run_id, worker, started = begin(world, programs, f"steps:\n{call}")
    world.until_begun(run_id, "call")
    world.service.cancel_run(run_id, by="a test")
    assert world.wait(run_id).status is RunStatus.CANCELLED
    until(lambda: not is_alive(worker), "the worker is ended")
    assert living(started) == []
    assert world.succeed(f"steps:\n{NEXT}")["next"] == "done"


def test_what_a_worker_that_dies_has_started_dies_before_its_run_goes_on(
    make_world: Callable[..., World], programs: Programs, server: CountingServer
) -> None:
    """Else a program would do its work beside the one that is started anew."""
    world = make_world(max_workers=1)
    call = f"  - {{name: call, type: rest, rest: {{uri: '{server.url}/held/x'}}}}\n"
    run_id, _worker, started = begin(world, programs, f"steps:\n{call}")
    server.wait_for_call("/held/x")
    world.kill_worker(run_id)
    server.wait_for_call("/held/x", times=2)
    assert living(started) == []
    server.open_gate.set()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED


@pytest.mark.usefixtures("short_grace")
def test_a_flows_time_limit_ends_a_step_that_hangs(
    make_world: Callable[..., World], programs: Programs
) -> None:
    """The run is at its limit as soon as its step hangs: on a busy machine a short limit would be up before."""
    world = make_world(max_workers=1)
    run_id, _worker, started = begin(world, programs, f"timeout_seconds: 600\nsteps:\n{HANG % ''}")
    world.until_begun(run_id, "hang")
    world.use_up_time_limit(run_id)
    assert error_code(world.wait(run_id)) == "flow_timeout"
    assert living(started) == []


FORKS_ON = """
import os, sys, time, ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
def fork_on(depth):
    for _ in range(30):
        if os.fork() == 0:
            os.setsid()
            if depth < 3:
                fork_on(depth + 1)
            time.sleep(60)
            os._exit(0)
        time.sleep(0.05)
print(os.getpid(), flush=True)
fork_on(0)
"""


def test_programs_that_start_others_all_the_time_are_ended_too() -> None:
    """Everything is in one session after another; none survives its head."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKS_ON], start_new_session=True, stdout=subprocess.PIPE
    ) as head:
        assert head.stdout
        head.stdout.readline()
        until(lambda: len(forks()) > 8, "there are many")
        kill_process(head.pid)
        assert head.wait(60) == -signal.SIGKILL
    assert forks() == []


def forks() -> list[int]:
    """Living processes with that text."""
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if FORKS_ON in command(pid) and is_alive(pid)]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
