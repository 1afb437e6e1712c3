"""A worker that dies: the run goes on where that is safe, and says so where it is not."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.run_state import StepStatus
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, outline, until

NEXT = "  - {name: next, type: set_fact, set_fact: {value: done}}\n"


def sleep(seconds: float, more: str = "") -> str:
    return f"  - {{name: wait, type: sleep, sleep: {{seconds: {seconds}}}{more}}}\n"


def call(server: CountingServer, path: str, method: str = "POST", more: str = "") -> str:
    return f"  - {{name: call, type: rest, rest: {{uri: '{server.url}{path}', method: {method}}}{more}}}\n"


def test_a_repeatable_step_is_simply_run_again(world: World) -> None:
    run_id = world.launch("steps:\n" + sleep(0.5) + NEXT)
    world.until_begun(run_id, "wait")
    world.kill_worker(run_id)
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert outline(run) == [("wait", 1, "succeeded"), ("next", 1, "succeeded")]
    said = [(line.step, line.message) for line in world.service.run_logs(run_id).lines]
    assert ("wait", "begun again: its worker died while it was under way") in said
    assert len(world.events(run_id, Event.WORKER_LOST)) == 1
    assert len(world.events(run_id, Event.DISPATCHED)) == 2


def test_what_was_done_before_is_not_done_again(world: World, server: CountingServer) -> None:
    """Nor is it lost: its result is there for the steps that follow."""
    told = "  - {name: told, type: set_fact, set_fact: {value: '{{ call.path }}'}}\n"
    run_id = world.launch("steps:\n" + call(server, "/once") + sleep(0.5) + told)
    world.until_begun(run_id, "wait")
    world.kill_worker(run_id)
    data = world.wait(run_id).data
    assert data is not None
    assert data["told"] == "/once"
    assert server.calls["/once"] == 1


def test_a_get_under_way_is_sent_again(world: World, server: CountingServer) -> None:
    run_id = world.launch("steps:\n" + call(server, "/held/get", "GET") + NEXT)
    server.wait_for_call("/held/get")
    world.kill_worker(run_id)
    server.wait_for_call("/held/get", times=2)
    server.open_gate.set()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED


def test_a_post_under_way_is_never_sent_twice(world: World, server: CountingServer) -> None:
    """Nobody knows whether it took effect: the run is interrupted, and says which step a person must look at."""
    path = world.write("posts.yml", "steps:\n" + call(server, "/held/post") + NEXT)
    run_id = world.launch(path)
    server.wait_for_call("/held/post")
    world.kill_worker(run_id)
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.INTERRUPTED, "interrupted")
    assert run.error is not None
    assert run.error.step == "call"
    assert "on_interrupt" in run.error.message
    assert outline(run) == [("call", 1, "interrupted")]
    assert server.calls["/held/post"] == 1
    assert world.service.locks() == [], "another run may start"


def test_neither_a_retry_nor_ignore_errors_makes_an_unknown_outcome_known(
    world: World, server: CountingServer
) -> None:
    more = ", retry: {attempts: 3, delay_seconds: 0}, ignore_errors: '.', on_error_goto: next"
    run_id = world.launch("steps:\n" + call(server, "/held/post", more=more) + NEXT)
    server.wait_for_call("/held/post")
    world.kill_worker(run_id)
    assert world.wait(run_id).status is RunStatus.INTERRUPTED
    assert server.calls["/held/post"] == 1


def test_a_post_that_may_be_repeated_says_so(world: World, server: CountingServer) -> None:
    run_id = world.launch("steps:\n" + call(server, "/held/post", more=", on_interrupt: rerun") + NEXT)
    server.wait_for_call("/held/post")
    world.kill_worker(run_id)
    server.wait_for_call("/held/post", times=2)
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert outline(run) == [("call", 1, "succeeded"), ("next", 1, "succeeded")]
    assert server.calls["/held/post"] == 2


def test_a_post_in_a_sub_flow_is_as_safe(world: World, server: CountingServer) -> None:
    world.write("sub/posts.yml", "steps:\n" + call(server, "/held/{{ __input__ }}"))
    run_id = world.launch(
        "steps:\n  - {name: items, type: set_fact, set_fact: {value: [1, 2]}}\n"
        "  - {name: each, type: flow_loop, flow_loop: {path: sub/posts.yml, data_key: items}}\n"
    )
    server.wait_for_call("/held/1")
    server.wait_for_call("/held/2")
    world.kill_worker(run_id)
    run = world.wait(run_id)
    assert run.status is RunStatus.INTERRUPTED
    assert (server.calls["/held/1"], server.calls["/held/2"]) == (1, 1)


def test_items_of_a_loop_that_were_done_are_not_done_again(world: World, server: CountingServer) -> None:
    world.write(
        "sub/tells.yml", "steps:\n" + call(server, "/{{ __input__ }}") + sleep(0.3, ", when: '__input__ > 6'")
    )
    run_id = world.launch(
        "steps:\n  - {name: items, type: jq, jq: {expression: '[range(8)]'}}\n"
        "  - {name: each, type: flow_loop, flow_loop: {path: sub/tells.yml, data_key: items, max_parallel: 1}}\n"
    )
    world.until_begun(run_id, "each[8]/wait")
    world.kill_worker(run_id)
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert {path: server.calls[path] for path in server.calls} == {f"/{number}": 1 for number in range(8)}
    assert run.data is not None
    assert [item["call"]["path"] for item in run.data["each"]] == [f"/{number}" for number in range(8)]


@pytest.mark.parametrize(
    ("more", "status"), [("", RunStatus.FAILED), (", ignore_errors: 'worker died'", RunStatus.SUCCEEDED)]
)
def test_a_step_that_has_cost_two_workers_has_failed(world: World, more: str, status: RunStatus) -> None:
    """And its policy decides, as about any failure."""
    run_id = world.launch("steps:\n" + sleep(1.9, more) + NEXT)
    for number in (1, 2):
        world.until_begun(run_id, "wait", worker=number)
        world.kill_worker(run_id)
    run = world.wait(run_id)
    assert run.status is status
    assert run.data is not None
    assert [entry["code"] for entry in run.data["__errors__"]] == ["worker_lost"]
    assert run.steps[0].status is (StepStatus.FAILED if status is RunStatus.FAILED else StepStatus.IGNORED)


def test_a_cancelled_run_whose_worker_dies_is_cancelled(world: World) -> None:
    hang = "  - {name: hang, type: jq, jq: {expression: 'def f: f; f'}}\n"
    run_id = world.launch("steps:\n" + hang)
    world.until_begun(run_id, "hang")
    world.service.cancel_run(run_id, by="a test")
    world.kill_worker(run_id)
    assert world.wait(run_id).status is RunStatus.CANCELLED


def test_a_cancel_while_a_run_is_between_two_workers(world: World) -> None:
    """Its worker is dead, and the store is busy writing that down: the run is live, and the cancel counts."""
    run_id = world.launch("steps:\n" + sleep(1.9))
    world.until_begun(run_id, "wait")
    pid = world.worker_pid(run_id)
    busy, go_on = threading.Event(), threading.Event()
    world.service.store.writer.submit(lambda connection: busy.set() or go_on.wait(60))
    assert busy.wait(60)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the worker is gone, and its daemon knows")
    cancel = threading.Thread(target=lambda: world.service.cancel_run(run_id, by="a test"))
    cancel.start()
    go_on.set()
    cancel.join(60)
    assert world.wait(run_id).status is RunStatus.CANCELLED


def test_an_idle_worker_that_dies_is_replaced(world: World) -> None:
    run = world.run("steps:\n" + NEXT)
    os.kill(world.worker_pid(run.run_id), signal.SIGKILL)
    for _ in range(3):
        assert world.succeed("steps:\n" + NEXT)["next"] == "done"


def test_a_dead_worker_leaves_nothing_behind(world: World) -> None:
    """Not even the lock file by which others saw that it lived."""
    run_id = world.launch("steps:\n" + sleep(0.3))
    world.until_begun(run_id, "wait")
    pid = world.worker_pid(run_id)
    world.kill_worker(run_id)
    world.wait(run_id)
    until(lambda: not Path(f"/proc/{pid}").exists(), "it is dead, also if the run had ended before that")
    folder = world.data / "workers"
    until(lambda: len([*folder.iterdir()]) == len(world.living_workers()), "only living workers have files")


def test_what_a_worker_had_started_dies_with_it(world: World) -> None:
    """Each worker is the head of its own session, so that a kill takes its children along."""
    run_id = world.launch("steps:\n" + sleep(20))
    world.until_begun(run_id, "wait")
    pid = world.worker_pid(run_id)
    assert os.getsid(pid) == os.getpgid(pid) == pid
    world.service.cancel_run(run_id, by="a test")
    world.wait(run_id)


def test_what_waits_beside_a_step_that_costs_workers_is_not_to_blame(
    world: World, server: CountingServer
) -> None:
    """The step is given up after its second worker; the approval beside it waits on, and is answered."""
    wait = "{name: ask, type: wait, when: '__input__ == 1', wait: {signal: {name: go}}}"
    get = f"{{name: get, type: rest, when: '__input__ == 2', rest: {{uri: '{server.url}/held/x'}}}}"
    world.write("sub/waits.yml", f"steps:\n  - {wait}\n  - {get}\n")
    run_id = world.launch(
        "steps:\n  - {name: items, type: set_fact, set_fact: {value: [1, 2]}}\n"
        "  - {name: each, type: flow_loop, flow_loop: {path: sub/waits.yml, data_key: items}}\n"
    )
    for number in (1, 2):
        server.wait_for_call("/held/x", times=number)
        until(lambda: world.events(run_id, Event.WAITING), "the approval waits")
        world.kill_worker(run_id)
        until(lambda number=number: len(world.events(run_id, Event.WORKER_LOST)) == number, "it is lost")  # type: ignore[misc]
    lost = [path for row in world.events(run_id, Event.WORKER_LOST) for path, _ in row.data["under_way"]]
    assert "each[1]/ask" not in lost
    assert "each[2]/get" in lost
    world.service.engine.signal(run_id, name="go", data=None, by="a test").result()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert [(error["index"], error["code"]) for error in run.data["__errors__"]] == [(2, "worker_lost")]


def test_only_the_step_that_was_under_way_is_said_to_have_begun_again(world: World) -> None:
    """The steps around it go on, and so does one that waits."""
    world.write("inner.yml", "steps:\n" + sleep(0.6) + "  - {name: paid, type: wait, wait: {signal: paid}}\n")
    run_id = world.launch("steps:\n  - {name: sub, type: flow, flow: {path: inner.yml}}\n")
    world.until_begun(run_id, "sub/wait")
    world.kill_worker(run_id)
    until(lambda: world.service.run(run_id, max_steps=0).waiting, "it waits for the signal")
    world.service.signal_run(run_id, "paid", by="ann")
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    again = [line.step for line in world.service.run_logs(run_id).lines if "begun again" in line.message]
    assert again == ["sub/wait"]
