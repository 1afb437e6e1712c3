"""Workers that leave while their daemon lives, a daemon that leaves while they work, and what is counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flow_processor.journal import Event
from flow_processor.run import RunStatus
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, outline, until

NEXT = "  - {name: next, type: set_fact, set_fact: {value: done}}\n"


def call(server: CountingServer, name: str = "call") -> str:
    """A POST that is answered when the server's gate is open."""
    return f"  - {{name: {name}, type: rest, rest: {{uri: '{server.url}/held/{name}', method: POST}}}}\n"


def lose_daemon(world: World, run_id: str) -> None:
    """Let the run's worker take its daemon for gone: the pipe from it is closed."""
    pid = world.worker_pid(run_id)
    (worker,) = [worker for worker in world.service._pool._all if worker.pid == pid]
    threads = Path(f"/proc/{pid}/task")
    before = len([*threads.iterdir()])
    worker.leave_alone()
    until(lambda: len([*threads.iterdir()]) < before, "it no longer listens")


def size(world: World, run_id: str) -> int:
    row = world.service.store.runs.get(run_id)
    assert row
    return row.bytes


# A worker that leaves.


def test_a_worker_that_leaves_hands_over_to_the_daemon_that_lives(
    world: World, server: CountingServer
) -> None:
    """Its POST was made and counts; the next worker goes on after it, and nobody speaks of a loss."""
    run_id = world.launch("steps:\n" + call(server) + NEXT)
    server.wait_for_call("/held/call")
    lose_daemon(world, run_id)
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert outline(run) == [("call", 1, "succeeded"), ("next", 1, "succeeded")]
    assert server.calls["/held/call"] == 1
    assert world.events(run_id, Event.WORKER_LOST) == []
    assert len(world.events(run_id, Event.DISPATCHED)) == 2
    assert [*(world.data / "handover").iterdir()] == []


def test_a_run_that_ends_in_a_worker_that_leaves_has_ended(world: World, server: CountingServer) -> None:
    """Those who wait for it hear of it, and its lock is free."""
    path = world.write("ends.yml", "steps:\n" + call(server))
    run_id = world.launch(path)
    server.wait_for_call("/held/call")
    lose_daemon(world, run_id)
    server.open_gate.set()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert world.service.locks() == []
    assert len(world.events(run_id, Event.ENDED)) == 1
    assert world.run(path).status is RunStatus.SUCCEEDED


def test_a_cancel_of_a_run_whose_worker_takes_its_daemon_for_gone(
    world: World, server: CountingServer
) -> None:
    run_id = world.launch("steps:\n" + call(server) + NEXT)
    server.wait_for_call("/held/call")
    lose_daemon(world, run_id)
    world.service.cancel_run(run_id, by="a test")
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.CANCELLED
    assert ("next", 1, "succeeded") not in outline(run)
    assert server.calls["/held/call"] == 1


# A daemon that leaves.


def test_a_stop_is_a_row_and_a_line_in_the_runs_own_log(
    make_world: Callable[..., World], server: CountingServer
) -> None:
    world = make_world(max_workers=1)
    run_id = world.launch("steps:\n" + call(server) + NEXT)
    queued = world.launch("steps:\n" + NEXT)
    server.wait_for_call("/held/call")
    world.stop(0)
    server.open_gate.set()
    until(lambda: not world.living_workers(), "the worker leaves")
    world = make_world()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    (row,) = world.events(run_id, Event.DAEMON_STOPPED)
    assert row.data == {}
    (line,) = [line for line in world.service.run_logs(run_id).lines if "daemon stopped" in line.message]
    assert line.level == "warning"
    assert server.calls["/held/call"] == 1
    assert world.wait(queued).status is RunStatus.SUCCEEDED
    assert world.events(queued, Event.DAEMON_STOPPED) == [], "nothing of it was under way"


# What is counted.


def test_what_a_run_takes_is_added_up(world: World) -> None:
    text = "  - {name: text%d, type: set_fact, set_fact: {value: '{{ \"x\" * 10000 }}'}}\n"
    small = world.run("steps:\n" + NEXT)
    large = world.run("steps:\n" + "".join(text % number for number in range(5)))
    assert 100 < size(world, small.run_id) < 5_000
    assert 50_000 < size(world, large.run_id) < 60_000


def test_a_large_results_file_counts_too(world: World) -> None:
    run = world.run("steps:\n  - {name: large, type: set_fact, set_fact: {value: '{{ \"x\" * 1000000 }}'}}\n")
    assert run.status is RunStatus.SUCCEEDED
    assert 1_000_000 < size(world, run.run_id) < 1_010_000


def test_what_lost_and_leaving_workers_wrote_counts_too(world: World, server: CountingServer) -> None:
    text = "  - {name: text, type: set_fact, set_fact: {value: '{{ \"x\" * 10000 }}'}}\n"
    get = call(server).replace("POST", "GET")
    run_id = world.launch("steps:\n" + text + get + text.replace("text", "again"))
    server.wait_for_call("/held/call")
    world.kill_worker(run_id)
    server.wait_for_call("/held/call", times=2)
    until(lambda: len(world.events(run_id, Event.DISPATCHED)) == 2, "its second worker is known")
    lose_daemon(world, run_id)
    server.open_gate.set()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert 20_000 < size(world, run_id) < 35_000
