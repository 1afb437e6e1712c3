"""Nothing that a shell step has started outlives it, whatever ends it. With real workers and programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_processor.journal import Event
from flow_processor.run import RunStatus
from tests.engine.world import World, error_code, until
from tests.forked import start_product
from tests.ports import free_port
from tests.shipped import Daemon, environment_for, wait_until_healthy

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="needs /proc")

PROGRAMS = """
        echo $$ > PLACE.pids
        sleep 1001 & echo $! >> PLACE.pids
        setsid sleep 1002 & echo $! >> PLACE.pids
        (setsid sh -c 'trap "" TERM; echo $$ >> PLACE.pids; while :; do sleep 0.1; done' &)
        until [ "$(wc -l < PLACE.pids)" = 4 ]; do sleep 0.01; done
        touch PLACE.begun
"""
"""The shell itself, a child in the background, one in a session of its own, and an orphan that ignores SIGTERM."""


def flow(place: str, last: str, keys: str = "", more: str = "") -> str:
    script = PROGRAMS.replace("PLACE", place) + f"        {last}\n"
    return f"steps:\n  - name: it\n    type: shell\n{keys}    shell:\n      script: |{script}{more}"


def programs(world: World, place: str) -> list[int]:
    """Their numbers, once all have been started."""
    until((world.data / f"{place}.begun").exists, "the programs run")
    return [int(line) for line in (world.data / f"{place}.pids").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def all_end(pids: list[int]) -> None:
    assert len(pids) == 4
    until(lambda: not any(map(alive, pids)), f"none of {pids} lives")


def test_its_own_end(world: World) -> None:
    data = world.succeed(flow("done", "echo done"))
    assert data["it"] == "done"
    all_end(programs(world, "done"))


def test_a_failure(world: World) -> None:
    run = world.run(flow("failed", "exit 4"))
    assert error_code(run) == "shell_failed"
    all_end(programs(world, "failed"))


def test_a_cancel(world: World) -> None:
    """The program is asked first: no signal is ignored for it."""
    run_id = world.launch(flow("cancelled", "trap 'touch asked; exit 1' TERM; touch trapped; wait"))
    pids = programs(world, "cancelled")
    until((world.data / "trapped").exists, "the program waits")
    world.service.cancel_run(run_id, by="test")
    run = world.wait(run_id)
    assert run.status is RunStatus.CANCELLED
    assert run.steps[0].error is not None
    assert run.steps[0].error.message == "the run was cancelled by test"
    all_end(pids)
    assert (world.data / "asked").exists()
    told = [(event.event, event.by) for event in run.events]
    assert told[-2:] == [(Event.CANCEL_REQUESTED, "test"), (Event.ENDED, None)]


def test_its_time_limit(world: World) -> None:
    run_id = world.launch(flow("late", "wait", keys="    timeout_seconds: 3\n"))
    assert error_code(world.wait(run_id)) == "step_timeout"
    all_end(programs(world, "late"))


def test_the_flows_time_limit(world: World) -> None:
    run_id = world.launch("timeout_seconds: 3\n" + flow("flow_late", "wait"))
    assert error_code(world.wait(run_id)) == "flow_timeout"
    all_end(programs(world, "flow_late"))


def test_the_failure_of_a_step_beside_it(world: World) -> None:
    beside = """
  - name: fails
    type: shell
    needs: []
    shell: {script: 'until [ -e beside.begun ]; do sleep 0.01; done; exit 1'}
"""
    run = world.run(flow("beside", "wait", more=beside))
    assert error_code(run) == "shell_failed"
    ended = next(step.error for step in run.steps if step.path == "it")
    assert ended is not None
    assert (ended.code, ended.details["beside"]) == ("sibling_failed", "fails")
    assert ended.message == "ended, for step 'fails' beside it failed"
    all_end(programs(world, "beside"))


def test_the_death_of_its_worker(world: World) -> None:
    """The step is not run again: nobody knows what it has done."""
    run_id = world.launch(flow("orphaned", "wait"))
    pids = programs(world, "orphaned")
    world.kill_worker(run_id)
    assert world.wait(run_id).status is RunStatus.INTERRUPTED
    all_end(pids)


def test_what_hides_ends_with_the_run(world: World) -> None:
    """It has no mark, no group and no parent, but it is below the worker."""
    hidden = "(env -i setsid sleep 1003 & echo $! > hidden.pid) ; sleep 0.1"
    world.succeed(f"steps:\n- name: it\n  type: shell\n  shell:\n    script: |\n      {hidden}\n")
    pid = int((world.data / "hidden.pid").read_text())
    until(lambda: not alive(pid), "it has ended")


def test_the_death_of_the_daemon(tmp_path: Path) -> None:
    """The step is finished by its worker, which has nobody to talk to; then nothing of it is left."""
    (tmp_path / "flows").mkdir()
    last = "until [ -e go ]; do sleep 0.02; done; echo end > finished"
    (tmp_path / "flows" / "it.yml").write_text(flow("killed", last))
    port = free_port()
    log = tmp_path / "daemon.log"
    with log.open("wb") as out:
        process = start_product(["serve"], environment=environment_for(tmp_path, port), output=out)
    daemon = Daemon(tmp_path, f"http://127.0.0.1:{port}")
    try:
        wait_until_healthy(daemon.url, process, log)
        assert daemon.call("POST", "/api/flows/launch", json={"path": "it"}).status_code == 202
        until((tmp_path / "killed.begun").exists, "the programs run")
    finally:
        process.kill()
        process.wait()
    pids = [int(line) for line in (tmp_path / "killed.pids").read_text().split()]
    assert all(map(alive, pids))
    (tmp_path / "go").touch()
    all_end(pids)
    assert (tmp_path / "finished").exists()
