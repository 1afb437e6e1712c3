"""A service that stops and starts again goes on with everything that it had accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flow_processor.errors import DataFolderInUse, FlowRunning, RunNotFound, ShuttingDown
from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.service import Service
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, until

WAIT = "  - {name: wait, type: sleep, sleep: {seconds: '{{ __input__ or 0 }}'}}\n"
NEXT = "  - {name: next, type: set_fact, set_fact: {value: done}}\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One worker, so that what is launched later waits. Tests leave it started, and nothing under way."""
    world = World(tmp_path_factory.mktemp("octospool") / "data", max_workers=1).start()
    yield world
    world.leave()


def restart(world: World, *, grace_seconds: float = 0, **variables: Any) -> World:
    """Stop the service and start one on the same folder."""
    world.stop(grace_seconds)
    assert [*world.settings.lock_path.rglob("*.lock")] == [], "a stopped service holds no lock"
    return world.start()


def test_runs_under_way_and_queued_go_on_in_their_order(world: World) -> None:
    """First the one that had begun, then the others as they came."""
    path = world.write("in_order.yml", f"concurrency: {{on_conflict: parallel}}\nsteps:\n{NEXT}{WAIT}")
    running = world.launch(path, data=1)
    world.until_begun(running, "wait")
    queued = [world.launch(path, data=0) for _ in range(4)]
    world.stop(0)
    until(lambda: not world.living_workers(), "its worker has left: else the others need not wait for it")
    world.start()
    runs = [world.wait(run_id) for run_id in (running, *queued)]
    assert {run.status for run in runs} == {RunStatus.SUCCEEDED}
    handed_out = [world.events(run.run_id, Event.DISPATCHED)[-1].at for run in runs]
    assert handed_out == sorted(handed_out)
    assert runs[0].steps_total == 2
    done = [row.path for row in world.events(running, Event.SUCCEEDED)]
    assert done == ["next", "wait"], "what was done stays done"


def test_runs_that_waited_for_their_flows_lock_keep_their_turn(world: World) -> None:
    path = world.write("in_turn.yml", f"concurrency: {{on_conflict: queue}}\nsteps:\n{WAIT}")
    runs = [world.launch(path, data=0.5), *(world.launch(path, data=0) for _ in range(3))]
    world.until_begun(runs[0], "wait")
    restart(world)
    ended = [world.wait(run_id) for run_id in runs]
    assert {run.status for run in ended} == {RunStatus.SUCCEEDED}
    ends = [run.ended_at for run in ended]
    assert ends == sorted(ends)
    assert world.service.locks() == []


def test_a_run_under_way_holds_its_lock_again(world: World) -> None:
    path = world.write("locked.yml", f"steps:\n{WAIT}{WAIT.replace('wait', 'again')}")
    run_id = world.launch(path, data=60)
    world.until_begun(run_id, "wait")
    restart(world)
    until(lambda: [lock.run_id for lock in world.service.locks()] == [run_id], "the run has its lock")
    world.service.cancel_run(run_id, by="a test")
    assert world.wait(run_id).status is RunStatus.CANCELLED
    assert world.service.locks() == []


def test_a_post_under_way_ends_in_its_worker_and_is_not_repeated(
    world: World, server: CountingServer
) -> None:
    """The worker outlives its service, waits for the answer, and hands it over to the next one."""
    call = f"  - {{name: call, type: rest, rest: {{uri: '{server.url}/held/post', method: POST}}}}\n"
    run_id = world.launch("steps:\n" + call + NEXT)
    server.wait_for_call("/held/post")
    restart(world)
    assert world.service.run(run_id).status is RunStatus.RUNNING
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert run.data["call"]["path"] == "/held/post"
    assert server.calls["/held/post"] == 1
    assert [*(world.data / "handover").iterdir()] == []


def test_a_cancel_of_a_run_that_the_last_services_worker_still_has(
    world: World, server: CountingServer
) -> None:
    """It is not forgotten: the run ends cancelled as soon as the worker has let it go."""
    call = f"  - {{name: call, type: rest, rest: {{uri: '{server.url}/held/post', method: POST}}}}\n"
    run_id = world.launch("steps:\n" + call + WAIT, data=60)
    server.wait_for_call("/held/post")
    restart(world)
    world.service.cancel_run(run_id, by="a test")
    server.open_gate.set()
    assert world.wait(run_id).status is RunStatus.CANCELLED
    assert server.calls["/held/post"] == 1


def test_a_flow_whose_run_is_still_in_an_old_workers_hands_is_locked(
    world: World, server: CountingServer
) -> None:
    path = world.write(
        "posts.yml",
        f"steps:\n  - {{name: call, type: rest, rest: {{uri: '{server.url}/held/post', method: POST}}}}\n",
    )
    run_id = world.launch(path)
    server.wait_for_call("/held/post")
    restart(world)
    with pytest.raises(FlowRunning, match=run_id):
        world.launch(path)
    assert [lock.run_id for lock in world.service.locks()] == [run_id]
    server.open_gate.set()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert world.service.locks() == []
    assert world.run(path).status is RunStatus.SUCCEEDED


def test_a_run_that_ended_while_nobody_was_there_has_ended(world: World, server: CountingServer) -> None:
    """Its last step was under way when the service left; the worker handed the end over."""
    run_id = world.launch(
        f"steps:\n  - {{name: call, type: rest, rest: {{uri: '{server.url}/held/last'}}}}\n"
    )
    server.wait_for_call("/held/last")
    world.stop(0)
    server.open_gate.set()
    until(lambda: not world.living_workers(), "the worker leaves")
    world.start()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert server.calls["/held/last"] == 1


def test_a_pause_between_tries_goes_on_where_it_was(world: World, server: CountingServer) -> None:
    server.statuses["/x"] = [500]
    retry = "{attempts: 1, delay_seconds: 1}"
    step = f"  - {{name: call, type: rest, rest: {{uri: '{server.url}/x'}}, retry: {retry}}}\n"
    run_id = world.launch("steps:\n" + step)
    until(lambda: world.events(run_id, Event.FAILED), "the first try fails")
    restart(world)
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert server.calls["/x"] == 2
    first, second = run.steps
    assert first.ended_at
    assert second.started_at
    assert (second.started_at - first.ended_at).total_seconds() >= 0.95


def test_the_flow_as_it_was_at_launch_goes_on(world: World) -> None:
    """Edited or deleted meanwhile: the run keeps its version, sub-flows included."""
    world.write("sub/child.yml", "steps:\n  - {name: version, type: set_fact, set_fact: {value: 1}}\n")
    path = world.write(
        "versions.yml", f"steps:\n{WAIT}  - {{name: child, type: flow, flow: {{path: sub/child.yml}}}}\n"
    )
    run_id = world.launch(path, data=0.5)
    world.until_begun(run_id, "wait")
    world.stop(0)
    world.write("versions.yml", "steps: half written")
    (world.settings.flows_path / "sub" / "child.yml").unlink()
    world.start()
    data = world.wait(run_id).data
    assert data is not None
    assert data["child"]["version"] == 1


def test_downtime_does_not_count_against_a_time_limit(world: World) -> None:
    """What counts is how long workers had the run: a step that is repeated costs what it took before, too."""
    run_id = world.launch(f"timeout_seconds: 5\nsteps:\n{WAIT}", data=0.5)
    world.until_begun(run_id, "wait")
    restart(world)
    assert world.wait(run_id).status is RunStatus.SUCCEEDED


def test_stopping_waits_for_runs_under_way(world: World) -> None:
    run_id = world.launch(f"steps:\n{WAIT}", data=0.6)
    world.until_begun(run_id, "wait")
    world.stop(10)
    world.start()
    run = world.service.run(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert len(world.events(run_id, Event.DISPATCHED)) == 1


def test_a_service_that_stops_accepts_nothing_new(world: World) -> None:
    path = world.write("refused.yml", f"steps:\n{NEXT}")
    world.stop(0)
    with pytest.raises(ShuttingDown):
        world.launch(path)
    world.start()


def test_a_second_service_on_the_folder_is_refused_and_disturbs_nothing(world: World) -> None:
    run_id = world.launch(f"steps:\n{WAIT}", data=0.5)
    with pytest.raises(DataFolderInUse, match="in use"):
        Service(world.settings).start()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED


def test_a_deleted_run_stays_deleted(world: World) -> None:
    run = world.run(f"steps:\n{NEXT}")
    world.service.delete_run(run.run_id)
    restart(world)
    with pytest.raises(RunNotFound):
        world.service.run(run.run_id)


def test_a_handover_file_that_cannot_be_read_does_not_stop_the_start(
    make_world: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world()
    world.stop()
    broken = world.data / "handover" / "20261121T074006123-k7x2m9qa.abcd.json"
    broken.write_text('{"run_id": "20261121T0740061')
    world.start()
    assert world.succeed(f"steps:\n{NEXT}")["next"] == "done"
    assert broken.name in caplog.text
    assert broken.exists(), "it is left for a person to look at"
