"""A person lets an interrupted run go on, and says what is to become of the step that was in doubt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from flow_processor.errors import (
    FlowRunning,
    InvalidRequest,
    OctospoolError,
    RunNotFound,
    RunNotInterrupted,
)
from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, outline, until
from tests.service.test_retry import NEXT, call


def interrupted(world: World, server: CountingServer, flow: str, *, calls: tuple[str, ...]) -> str:
    """A run whose worker died while these calls were under way."""
    run_id = world.launch(flow)
    for path in calls:
        server.wait_for_call(path)
    world.kill_worker(run_id)
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.INTERRUPTED, "interrupted")
    server.open_gate.set()
    return run_id


def one_call(server: CountingServer) -> str:
    return f"steps:\n{call(server, 'a', '/a')}{call(server, 'b', '/held/b')}{NEXT}"


@pytest.mark.parametrize(
    ("mode", "value", "calls", "status", "result"),
    [
        (ResumeMode.RERUN, None, 2, "succeeded", "/held/b"),
        (ResumeMode.SKIP, None, 1, "skipped", None),
        (ResumeMode.VALUE, {"path": "said"}, 1, "succeeded", "said"),
    ],
)
def test_the_step_in_doubt_becomes_what_the_person_says(
    world: World,
    server: CountingServer,
    mode: ResumeMode,
    value: object,
    calls: int,
    status: str,
    result: str | None,
) -> None:
    run_id = interrupted(world, server, one_call(server), calls=("/held/b",))
    answer = world.service.resume_run(run_id, mode=mode, value=value, by="ann")
    assert not answer.status.is_terminal
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert outline(run) == [("a", 1, "succeeded"), ("b", 1, status), ("next", 1, "succeeded")]
    assert dict(server.calls) == {"/a": 1, "/held/b": calls}
    assert run.data is not None
    assert run.data.get("b", {}).get("path") == result
    told = [
        (event.event, event.by, event.text) for event in run.events if event.event is not Event.DISPATCHED
    ]
    assert [event for event, _by, _text in told] == [
        Event.WORKER_LOST,
        Event.ENDED,
        Event.RESUMED,
        Event.ENDED,
    ]
    assert "under way: b" in told[0][2]
    assert told[1][2].startswith("interrupted: in doubt: 'b'")
    assert told[2][1:] == ("ann", f"resumed with mode {mode.value}: b")
    resumed = world.events(run_id, Event.RESUMED)[0].data
    assert (resumed["by"], resumed["mode"], resumed["steps"]) == ("ann", mode.value, [["b", 1]])


def test_without_a_decision_it_stays_as_it_is(world: World, server: CountingServer) -> None:
    run_id = interrupted(world, server, one_call(server), calls=("/held/b",))
    resume = world.service.resume_run
    with pytest.raises(InvalidRequest, match="in doubt: 'b'; it is not known") as refused:
        resume(run_id, by="ann")
    assert refused.value.details["steps"] == ["b"]
    with pytest.raises(InvalidRequest, match="'next' is not in doubt; in doubt: 'b'"):
        resume(run_id, mode=ResumeMode.SKIP, step="next", by="ann")
    assert world.service.run(run_id).status is RunStatus.INTERRUPTED
    assert world.service.locks() == []


def test_items_of_a_loop_are_decided_together_or_one_by_one(world: World, server: CountingServer) -> None:
    """Finished items are not run again; those in doubt stay so until each has its decision."""
    item = call(server, "send", "/held/{{ __input__ }}").replace("method: POST", "method: POST")
    world.write("held_item.yml", f"steps:\n{item}")
    loop = "flow_loop: {path: held_item.yml, data_key: __input__, max_parallel: 3}"
    path = world.write("held_loop.yml", f"steps:\n  - {{name: loop, type: flow_loop, {loop}}}\n")
    run_id = world.launch(path, data=["x", "y", "z"])
    for name in "xyz":
        server.wait_for_call(f"/held/{name}")
    world.kill_worker(run_id)
    reason = world.wait(run_id).reason or ""
    assert all(f"'loop[{number}]/send'" in reason for number in (1, 2, 3)), reason
    server.open_gate.set()
    with pytest.raises(InvalidRequest, match="mode value is for one step"):
        world.service.resume_run(run_id, mode=ResumeMode.VALUE, value=1, by="ann")
    for wrong in ({"mode": ResumeMode.VALUE, "has_value": False}, {"mode": ResumeMode.SKIP, "value": 1}):
        with pytest.raises(InvalidRequest, match="belong together"):
            world.service.resume_run(run_id, by="ann", **wrong)
    world.service.resume_run(run_id, mode=ResumeMode.VALUE, step="loop[2]/send", value="known", by="ann")
    assert world.wait(run_id).status is RunStatus.INTERRUPTED, "two are in doubt still"
    world.service.resume_run(run_id, mode=ResumeMode.RERUN, by="ann")
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert dict(server.calls) == {"/held/x": 2, "/held/y": 1, "/held/z": 2}
    assert run.data is not None
    assert run.data["loop"][1]["send"] == "known"


def test_only_an_interrupted_run_can_be_resumed(world: World) -> None:
    done = world.run(f"steps:\n{NEXT}").run_id
    with pytest.raises(RunNotInterrupted, match="is succeeded"):
        world.service.resume_run(done, by="ann")
    failed = world.run("steps:\n  - {name: bad, type: jq, jq: {expression: 'error(\"no\")'}}\n").run_id
    with pytest.raises(RunNotInterrupted, match="runs retry"):
        world.service.resume_run(failed, by="ann")
    with pytest.raises(RunNotFound):
        world.service.resume_run("20261121T074006123-aaaaaaaa", by="ann")


@pytest.mark.parametrize("rounds", [2, pytest.param(5, marks=pytest.mark.soak)])
def test_of_many_resumes_at_once_one_counts_and_its_run_keeps_the_lock(
    world: World, server: CountingServer, rounds: int
) -> None:
    """As soon as the run is interrupted: what its end still holds must not be given away behind its back."""
    for _ in range(rounds):
        server.open_gate.clear()
        calls = server.calls["/held/b"]
        run_id = world.launch(one_call(server))
        server.wait_for_call("/held/b", times=calls + 1)
        world.until_begun(run_id, "b")
        world.kill_worker(run_id)
        until(lambda: world.service.run(run_id).status is RunStatus.INTERRUPTED, "it is interrupted")  # noqa: B023

        def resume(_number: int, run_id: str = run_id) -> str:
            try:
                world.service.resume_run(run_id, mode=ResumeMode.RERUN, by="ann")
            except OctospoolError as error:
                return error.code
            return "ok"

        with ThreadPoolExecutor(4) as threads:
            said = list(threads.map(resume, range(4)))
        assert sorted(said) == ["ok", *["run_not_interrupted"] * 3]
        assert [lock.run_id for lock in world.service.locks()] == [run_id]
        server.open_gate.set()
        assert world.wait(run_id).status is RunStatus.SUCCEEDED


def test_a_resumed_run_has_its_flows_lock(world: World, server: CountingServer) -> None:
    run_id = interrupted(world, server, one_call(server), calls=("/held/b",))
    server.open_gate.clear()
    flow = world.service.run(run_id).flow
    other = world.launch(flow)
    server.wait_for_call("/held/b", times=2)
    with pytest.raises(FlowRunning):
        world.service.resume_run(run_id, mode=ResumeMode.RERUN, by="ann")
    assert world.service.run(run_id).status is RunStatus.INTERRUPTED
    server.open_gate.set()
    world.wait(other)
    server.open_gate.clear()
    world.service.resume_run(run_id, mode=ResumeMode.RERUN, by="ann")
    until(lambda: [lock.run_id for lock in world.service.locks()] == [run_id], "it has its lock")
    server.open_gate.set()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert world.service.locks() == []
