"""Time limits, cancel and memory: nothing that a flow does holds the daemon, another flow or itself for long."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flow_processor.engine.cores import NICENESS
from flow_processor.errors import RunHasEnded
from flow_processor.journal import Event
from flow_processor.run import RunStatus
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, outline, until

JQ_RECURSION = "type: jq, jq: {expression: 'def f: f; f'}"
HANGS = [
    JQ_RECURSION,
    "type: jq, jq: {expression: 'last(repeat(1))'}",
    "type: jinja, jinja: {template: '{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}'}",
]
SLEEP = "type: sleep, sleep: {seconds: 600}"
NEXT = "  - {name: next, type: set_fact, set_fact: {value: done}}\n"


def step(what: str, more: str = "", *, name: str = "slow") -> str:
    return f"  - {{name: {name}, {what}{more}}}\n"


def held(server: CountingServer) -> str:
    """A call whose answer does not come: its run keeps its worker."""
    return f"type: rest, rest: {{uri: '{server.url}/held/x'}}"


def pids(world: World, run_id: str) -> list[int]:
    return [row.data["pid"] for row in world.events(run_id, Event.DISPATCHED)]


# A step's time limit.


@pytest.mark.parametrize("what", [*HANGS, SLEEP])
def test_a_step_that_never_ends_is_stopped_at_its_time_limit(world: World, what: str) -> None:
    run = world.run("steps:\n" + step(what, ", timeout_seconds: 0.3") + NEXT)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "step_timeout")
    assert run.error is not None
    assert run.error.step == "slow"
    assert "0.3 s" in run.error.message


def test_a_time_limit_that_is_ignored_lets_the_flow_go_on_in_a_fresh_worker(world: World) -> None:
    run = world.run(
        "steps:\n" + step(JQ_RECURSION, ", timeout_seconds: 0.3, ignore_errors: 'time limit'") + NEXT
    )
    assert outline(run) == [("slow", 1, "ignored"), ("next", 1, "succeeded")]
    assert len(set(pids(world, run.run_id))) == 2
    assert run.data is not None
    (entry,) = run.data["__errors__"]
    assert (entry["step"], entry["code"]) == ("slow", "step_timeout")


def test_a_time_limit_that_is_tried_again_has_its_limit_each_time(world: World) -> None:
    more = ", timeout_seconds: 0.3, retry: {attempts: 1, delay_seconds: 0.01}"
    run = world.run("steps:\n" + step(JQ_RECURSION, more))
    assert outline(run) == [("slow", 1, "failed"), ("slow", 2, "failed")]
    assert error_code(run) == "step_timeout"
    assert len(set(pids(world, run.run_id))) == 3, "a fresh worker after each kill"


def test_after_a_time_limit_a_flow_may_go_on_elsewhere(world: World) -> None:
    more = ", timeout_seconds: 0.3, on_error_goto: next"
    run = world.run("steps:\n" + step(JQ_RECURSION, more) + step(SLEEP, name="between") + NEXT)
    assert outline(run) == [("slow", 1, "failed"), ("next", 1, "succeeded")]


def test_what_was_done_before_a_killed_step_is_kept(world: World) -> None:
    count = "  - {name: n, type: jq, jq: {expression: '(.n // 0) + 1'}}\n"
    flow = "steps:\n" + count + step(JQ_RECURSION, ", timeout_seconds: 0.3, ignore_errors: limit") + NEXT
    run = world.run(flow)
    assert run.data is not None
    assert (run.data["n"], run.data["next"]) == (1, "done")
    done = [row.path for row in world.events(run.run_id, Event.SUCCEEDED)]
    assert done == ["n", "next"]


def test_a_hanging_step_inside_a_loop_is_stopped_and_its_neighbours_stand(world: World) -> None:
    world.write(
        "sub/sometimes.yml",
        "steps:\n" + step(JQ_RECURSION, ", timeout_seconds: 0.4, when: '__input__ == 2'", name="hang") + NEXT,
    )
    flow = """steps:
  - {name: items, type: set_fact, set_fact: {value: [1, 2, 3]}}
  - {name: each, type: flow_loop, flow_loop: {path: sub/sometimes.yml, data_key: items, max_parallel: 1}}
"""
    run = world.run(flow)
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert [(entry["index"], entry["code"]) for entry in run.data["__errors__"]] == [(2, "step_timeout")]
    assert [item.get("next") for item in run.data["each"]] == ["done", None, "done"]


def test_the_outer_steps_limit_counts_for_what_is_inside(world: World) -> None:
    world.write("sub/hangs.yml", "steps:\n" + step(JQ_RECURSION))
    flow = "steps:\n" + step(
        "type: flow, flow: {path: sub/hangs.yml}", ", timeout_seconds: 0.4, ignore_errors: limit"
    )
    run = world.run(flow + NEXT)
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert run.data["__errors__"][-1]["code"] == "step_timeout"


# The flow's time limit.


def test_a_flow_that_waits_is_ended_at_its_time_limit(world: World, server: CountingServer) -> None:
    wait = step(held(server), ", ignore_errors: '.'")
    run_id = world.launch("timeout_seconds: 600\nsteps:\n" + wait + NEXT)
    world.until_begun(run_id, "slow")
    world.use_up_time_limit(run_id)
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "flow_timeout")
    assert [step.path for step in run.steps] == ["slow"], "no policy of a step outlives the flow's limit"


def test_the_settings_limit_counts_for_a_flow_that_names_none(make_world: Callable[..., World]) -> None:
    world = make_world(flow_timeout_seconds=0.4)
    assert error_code(world.run("steps:\n" + step("type: sleep, sleep: {seconds: 1.9}"))) == "flow_timeout"
    assert world.succeed("timeout_seconds: 600\nsteps:\n" + step("type: sleep, sleep: {seconds: 0.6}") + NEXT)


# Cancel.


def cancel(world: World, run_id: str) -> None:
    """Cancel a run that would take much longer than a test waits; it ends for that reason."""
    world.service.cancel_run(run_id, by="a test")
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.CANCELLED, "cancelled"), run.error
    assert run.error is not None
    assert "a test" in run.error.message


def test_a_run_that_waits_is_cancelled_at_once(world: World) -> None:
    run_id = world.launch("steps:\n" + step(SLEEP, ", ignore_errors: '.', retry: {attempts: 3}") + NEXT)
    world.until_begun(run_id, "slow")
    cancel(world, run_id)
    assert outline(world.service.run(run_id)) == [("slow", 1, "cancelled")]


@pytest.mark.usefixtures("short_grace")
def test_a_run_that_hangs_is_ended_after_a_grace(world: World) -> None:
    """Whether it is cancelled or its flow's time limit is over: its worker is asked, and then killed."""
    run_id = world.launch("steps:\n" + step(JQ_RECURSION) + NEXT)
    world.until_begun(run_id, "slow")
    cancel(world, run_id)
    assert outline(world.service.run(run_id)) == [("slow", 1, "cancelled")]
    limited = world.launch("timeout_seconds: 600\nsteps:\n" + step(JQ_RECURSION) + NEXT)
    world.until_begun(limited, "slow")
    world.use_up_time_limit(limited)
    run = world.wait(limited)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "flow_timeout")


def test_a_run_is_cancelled_between_two_tries(world: World) -> None:
    bad = "type: jq, jq: {expression: 'error(1)'}, retry: {attempts: 1, delay_seconds: 60}"
    run_id = world.launch("steps:\n" + step(bad))
    until(lambda: world.events(run_id, Event.FAILED), "the first try fails")
    cancel(world, run_id)


def test_a_run_in_a_sub_flow_is_cancelled(world: World) -> None:
    world.write("sub/waits.yml", "steps:\n" + step(SLEEP))
    run_id = world.launch("steps:\n" + step("type: flow, flow: {path: sub/waits.yml}", name="child"))
    world.until_begun(run_id, "child/slow")
    cancel(world, run_id)


def test_a_run_that_waits_for_a_worker_is_cancelled_unbegun(
    make_world: Callable[..., World], server: CountingServer
) -> None:
    world = make_world(max_workers=1)
    busy = world.launch("steps:\n" + step(held(server)))
    server.wait_for_call("/held/x")
    queued = world.launch("steps:\n" + step(SLEEP))
    cancel(world, queued)
    run = world.service.run(queued)
    assert (run.steps, run.started_at) == ([], None)
    cancel(world, busy)
    assert world.succeed("steps:\n" + NEXT)["next"] == "done", "the worker is free again"


def test_a_run_that_waits_for_its_lock_is_cancelled_unbegun(world: World) -> None:
    path = world.write("waits_its_turn.yml", "concurrency: {on_conflict: queue}\nsteps:\n" + step(SLEEP))
    first, second = world.launch(path), world.launch(path)
    world.until_begun(first, "slow")
    cancel(world, second)
    assert world.service.run(second).started_at is None
    assert [lock.run_id for lock in world.service.locks()] == [first]
    cancel(world, first)


def test_a_cancelled_run_frees_its_lock(world: World) -> None:
    path = world.write("locked.yml", "steps:\n" + step(SLEEP))
    run_id = world.launch(path)
    world.until_begun(run_id, "slow")
    cancel(world, run_id)
    assert world.service.locks() == []
    cancel(world, world.launch(path))


def test_a_run_that_has_ended_cannot_be_cancelled(world: World) -> None:
    run = world.run("steps:\n" + NEXT)
    with pytest.raises(RunHasEnded):
        world.service.cancel_run(run.run_id, by="a test")
    assert world.service.run(run.run_id).status is RunStatus.SUCCEEDED


def test_cancelling_twice_is_cancelling(world: World) -> None:
    run_id = world.launch("steps:\n" + step(SLEEP))
    world.until_begun(run_id, "slow")
    world.service.cancel_run(run_id, by="a test")
    with contextlib.suppress(RunHasEnded):  # it may be faster
        world.service.cancel_run(run_id, by="another")
    assert world.wait(run_id).status is RunStatus.CANCELLED


# Memory.


@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows sets no memory limit")
def test_a_step_that_wants_too_much_memory_is_given_up_and_the_daemon_lives(
    make_world: Callable[..., World],
) -> None:
    """jq aborts its process: the step costs its worker, is tried once more, and has then failed."""
    world = make_world(worker_memory_mb=192)
    other = world.launch("steps:\n" + step("type: sleep, sleep: {seconds: 1}") + NEXT)
    run = world.run("steps:\n" + step("type: jq, jq: {expression: '[range(1e9)]'}"), seconds=40)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "worker_lost")
    assert run.error is not None
    assert run.error.step == "slow"
    assert world.wait(other).status is RunStatus.SUCCEEDED
    assert world.succeed("steps:\n" + NEXT)["next"] == "done"


@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows sets no memory limit")
def test_a_step_that_kills_its_worker_at_once_follows_its_policy(make_world: Callable[..., World]) -> None:
    """Even when it is so quick that nobody has written down that it began."""
    world = make_world(worker_memory_mb=192)
    flow = (
        "steps:\n"
        + step("type: jq, jq: {expression: '\"x\" * 2000000000 | length'}", ", ignore_errors: died")
        + NEXT
    )
    run = world.run(flow, seconds=40)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert run.data is not None
    assert [entry["code"] for entry in run.data["__errors__"]] == ["worker_lost"]
    assert len(pids(world, run.run_id)) == 3


# Meanwhile.


@pytest.mark.usefixtures("short_grace")
def test_other_flows_are_launched_and_run_while_expressions_hang(world: World) -> None:
    """One that hung in the daemon would stop all its threads; these hang until the others have ended."""
    hanging = [world.launch(f"steps:\n{step(HANGS[kind])}") for kind in (0, 2)]
    for run_id in hanging:
        world.until_begun(run_id, "slow")
    path = world.write("quick.yml", "concurrency: {on_conflict: parallel}\nsteps:\n" + NEXT)
    for _ in range(10):
        assert world.run(path).status is RunStatus.SUCCEEDED
    assert {world.service.run(run_id).status for run_id in hanging} == {RunStatus.RUNNING}
    for run_id in hanging:
        cancel(world, run_id)


def test_new_flows_are_accepted_at_once_while_every_worker_is_busy(
    make_world: Callable[..., World], server: CountingServer
) -> None:
    """Also those that nobody has looked at yet: they wait for a worker once they are accepted, not before."""
    world = make_world(max_workers=1)
    busy = world.launch("steps:\n" + step(held(server)))
    server.wait_for_call("/held/x")
    sums = [step(f"type: jq, jq: {{expression: '{number} + 1'}}") for number in range(3)]
    queued = [world.launch(f"steps:\n{one}") for one in sums]
    assert world.service.run(busy).status is RunStatus.RUNNING
    cancel(world, busy)
    assert {world.wait(run_id).status for run_id in queued} == {RunStatus.SUCCEEDED}


# Where cores are short.


@pytest.mark.skipif("sys.platform != 'linux'", reason="needs /proc")
def test_workers_give_way_to_the_daemon(world: World, server: CountingServer) -> None:
    """So does the session of each, among which many kernels share first; what steps start is in there."""
    run_id = world.launch("steps:\n" + step(held(server)))
    server.wait_for_call("/held/x")
    worker = world.worker_pid(run_id)
    server.open_gate.set()
    nicest = 19
    wanted = min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, nicest)
    assert os.getpriority(os.PRIO_PROCESS, worker) == wanted
    session = Path(f"/proc/{worker}/autogroup")
    assert not session.exists() or session.read_text().endswith(f"nice {NICENESS}\n")
