"""How many runs of a flow at once: its lock, and what happens to one too many."""

from __future__ import annotations

import itertools

import pytest

from flow_processor.errors import FlowRunning, LockNotFound
from flow_processor.run import RunFilter, RunStatus, Trigger
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, until

WAIT = "  - {name: wait, type: sleep, sleep: {seconds: '{{ __input__ or 0 }}'}}\n"


@pytest.fixture
def flow(world: World, request: pytest.FixtureRequest) -> str:
    """Writes a flow with the test's concurrency (`{on_conflict: reject}` unless parametrized)."""
    rule = getattr(request, "param", "{}")
    name = request.node.name.replace("[", "-").replace("]", "").split("{")[0]
    return world.write(f"{name}.yml", f"concurrency: {rule}\nsteps:\n{WAIT}")


def busy(world: World, flow: str) -> str:
    """A run of the flow that will not end by itself."""
    run_id = world.launch(flow, data=60)
    world.until_begun(run_id, "wait")
    return run_id


def end(world: World, *run_ids: str) -> None:
    """Cancel runs that a test has left."""
    for run_id in run_ids:
        if not world.service.run(run_id).status.is_terminal:
            world.service.cancel_run(run_id, by="a test")
        world.wait(run_id)


def test_one_at_a_time_a_second_launch_is_refused(world: World, flow: str) -> None:
    """The answer names the run that is in the way; nothing of the refused one is recorded."""
    first = busy(world, flow)
    with pytest.raises(FlowRunning, match=first) as refused:
        world.launch(flow)
    assert refused.value.details == {"run_id": first, "flow": flow}
    assert [run.run_id for run in world.service.runs(RunFilter(flow=flow)).runs] == [first]
    end(world, first)
    assert world.run(flow).status is RunStatus.SUCCEEDED


def test_the_lock_tells_who_holds_it(world: World, flow: str) -> None:
    first = busy(world, flow)
    (lock,) = [lock for lock in world.service.locks() if lock.flow == flow]
    assert (lock.run_id, lock.filename) == (first, flow.replace(".yml", ".lock"))
    assert (world.settings.lock_path / lock.filename).is_file()
    end(world, first)
    assert not (world.settings.lock_path / lock.filename).exists()


def test_a_schedules_slot_is_recorded_as_skipped(world: World, flow: str) -> None:
    first = busy(world, flow)
    second = world.service.launch(flow, trigger=Trigger.SCHEDULE, by="a schedule")
    assert second.status is RunStatus.SKIPPED
    assert second.reason is not None
    assert first in second.reason
    end(world, first)


@pytest.mark.parametrize("flow", ["{on_conflict: skip}"], indirect=True)
def test_skip_records_every_one_too_many(world: World, flow: str) -> None:
    first = busy(world, flow)
    second = world.service.launch(flow)
    assert second.status is RunStatus.SKIPPED
    run = world.service.run(second.run_id)
    assert (error_code(run), run.steps, run.data) == ("overlap", [], None)
    end(world, first)


@pytest.mark.parametrize("flow", ["{on_conflict: queue}"], indirect=True)
def test_queue_waits_for_its_turn_in_order(world: World, flow: str) -> None:
    first = busy(world, flow)
    waiting = [world.launch(flow, data=0) for _ in range(4)]
    assert {world.service.run(run_id).status for run_id in waiting} == {RunStatus.QUEUED}
    end(world, first)
    runs = [world.wait(run_id) for run_id in waiting]
    assert {run.status for run in runs} == {RunStatus.SUCCEEDED}
    begun = [run.started_at for run in runs]
    assert begun == sorted(begun)
    for before, after in itertools.pairwise(runs):
        assert before.ended_at
        assert after.started_at
        assert before.ended_at <= after.started_at, "one at a time"


@pytest.mark.parametrize("flow", ["{on_conflict: replace}"], indirect=True)
def test_replace_ends_what_runs_in_favour_of_the_new_one(world: World, flow: str) -> None:
    first = busy(world, flow)
    second = world.launch(flow, data=0)
    old, new = world.wait(first), world.wait(second)
    assert (old.status, new.status) == (RunStatus.CANCELLED, RunStatus.SUCCEEDED)
    assert old.error is not None
    assert second in old.error.message
    assert old.ended_at
    assert new.started_at
    assert old.ended_at <= new.started_at


@pytest.mark.parametrize("flow", ["{on_conflict: replace}"], indirect=True)
def test_of_several_replacements_the_last_one_runs(world: World, flow: str) -> None:
    runs = [busy(world, flow), *(world.launch(flow, data=0) for _ in range(3))]
    statuses = [world.wait(run_id).status for run_id in runs]
    assert statuses[-1] is RunStatus.SUCCEEDED
    assert statuses[0] is RunStatus.CANCELLED
    assert set(statuses) <= {RunStatus.SUCCEEDED, RunStatus.CANCELLED}


@pytest.mark.parametrize("flow", ["{on_conflict: parallel}"], indirect=True)
def test_parallel_takes_no_lock(world: World, flow: str) -> None:
    runs = [busy(world, flow) for _ in range(3)]
    assert [lock for lock in world.service.locks() if lock.flow == flow] == []
    end(world, *runs)


@pytest.mark.parametrize("flow", ["{limit: 2}"], indirect=True)
def test_a_limit_of_two_admits_two(world: World, flow: str) -> None:
    first, second = busy(world, flow), busy(world, flow)
    with pytest.raises(FlowRunning):
        world.launch(flow)
    assert {lock.run_id for lock in world.service.locks() if lock.flow == flow} == {first, second}
    end(world, first)
    third = busy(world, flow)
    end(world, second, third)
    assert [lock for lock in world.service.locks() if lock.flow == flow] == []


@pytest.mark.parametrize("flow", ["{limit: 2, on_conflict: queue}"], indirect=True)
def test_a_limit_counts_for_a_queue_too(world: World, flow: str) -> None:
    first, second = busy(world, flow), busy(world, flow)
    third = world.launch(flow, data=0)
    assert world.service.run(third).status is RunStatus.QUEUED
    end(world, first)
    assert world.wait(third).status is RunStatus.SUCCEEDED
    assert not world.service.run(second).status.is_terminal
    end(world, second)


def test_removing_a_lock_lets_another_run_start_and_the_first_go_on(world: World, flow: str) -> None:
    first = busy(world, flow)
    removed = world.service.remove_lock(flow.removesuffix(".yml"))
    assert (removed.flow, removed.run_id) == (flow, first)
    second = busy(world, flow)
    assert not world.service.run(first).status.is_terminal
    end(world, first)
    assert [lock.run_id for lock in world.service.locks() if lock.flow == flow] == [second], (
        "the first one's end does not free the second one's lock"
    )
    end(world, second)
    with pytest.raises(LockNotFound):
        world.service.remove_lock(flow)


@pytest.mark.parametrize("flow", ["{on_conflict: queue}"], indirect=True)
def test_removing_a_lock_lets_who_waits_for_it_go_on(world: World, flow: str) -> None:
    first = busy(world, flow)
    second = world.launch(flow, data=0)
    world.service.remove_locks()
    assert world.wait(second).status is RunStatus.SUCCEEDED
    end(world, first)


def test_a_sub_flow_takes_no_lock(world: World, flow: str) -> None:
    first = busy(world, flow)
    parent = f"steps:\n  - {{name: child, type: flow, flow: {{path: {flow}}}}}\n"
    assert world.run(parent).status is RunStatus.SUCCEEDED
    end(world, first)


def test_more_runs_than_workers_wait_for_one(world: World, server: CountingServer) -> None:
    """Four workers: the fifth run begins when one is free, in the order of the launches."""
    call = f"  - {{name: wait, type: rest, rest: {{uri: '{server.url}/{{{{ __input__ }}}}'}}}}\n"
    path = world.write("many.yml", f"concurrency: {{on_conflict: parallel}}\nsteps:\n{call}")
    first = [world.launch(path, data=f"held/{number}") for number in range(4)]
    for number in range(4):
        server.wait_for_call(f"/held/{number}")
    later = [world.launch(path, data="at_once") for _ in range(3)]
    assert {world.service.run(run_id).status for run_id in later} == {RunStatus.QUEUED}
    world.service.cancel_run(first[0], by="a test")
    runs = [world.wait(run_id) for run_id in later]
    assert {run.status for run in runs} == {RunStatus.SUCCEEDED}
    begun = [run.started_at for run in runs]
    assert begun == sorted(begun)
    until(lambda: world.service.run(first[0]).status is RunStatus.CANCELLED, "the first is cancelled")
    end(world, *first)
