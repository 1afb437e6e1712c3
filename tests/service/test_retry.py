"""A run that is tried again keeps what succeeded, and runs the rest."""

from __future__ import annotations

import os
from typing import Any

import pytest

from flow_processor.errors import (
    Conflict,
    FlowRunning,
    InvalidRequest,
    NothingFailed,
    RunIsLive,
    RunNotFound,
    RunWasSkipped,
)
from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.service.retries import RetryWish
from flow_processor.service.views import RunDetail
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, names, outline

NEXT = "  - {name: next, type: set_fact, set_fact: {value: done}}\n"


def call(server: CountingServer, name: str, path: str, method: str = "POST") -> str:
    """A step that calls the server."""
    return f"  - {{name: {name}, type: rest, rest: {{uri: '{server.url}{path}', method: {method}}}}}\n"


def retry(world: World, run_id: str, **wish: Any) -> RunDetail:
    """The run that tries it again, once it has ended."""
    accepted = world.service.retry_run(run_id, RetryWish(**wish), by="ann")
    assert accepted.retry_of == run_id
    return world.wait(accepted.run_id)


def test_a_post_that_succeeded_is_not_sent_again(world: World, server: CountingServer) -> None:
    server.statuses["/second"] = [500]
    failed = world.run(f"steps:\n{call(server, 'a', '/first')}{call(server, 'b', '/second')}{NEXT}")
    assert failed.status is RunStatus.FAILED
    run = retry(world, failed.run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert dict(server.calls) == {"/first": 1, "/second": 2}
    assert names(run) == ["a", "b", "next"]
    assert run.data is not None
    assert run.data["a"]["path"] == "/first"
    assert (run.attempt, run.retry_of) == (2, failed.run_id)
    assert world.service.run(failed.run_id).retried_by == [run.run_id]


def test_items_of_a_loop_that_succeeded_are_not_run_again(world: World, server: CountingServer) -> None:
    """Item 2 fails at its second call: only that one is repeated, and its first call stays as it is."""
    number = "{{ __loop_index__ }}"
    inner = "".join(call(server, name, f"/{name}/{number}") for name in ("one", "two"))
    world.write("item.yml", f"steps:\n{inner}")
    server.statuses["/two/2"] = [500]
    loop = "flow_loop: {path: item.yml, data_key: __input__, max_parallel: 1, on_item_error: fail}"
    failed = world.run(f"steps:\n  - {{name: loop, type: flow_loop, {loop}}}\n", data=[1, 2, 3])
    assert failed.status is RunStatus.FAILED
    run = retry(world, failed.run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert server.calls["/two/2"] == 2
    del server.calls["/two/2"]
    assert set(server.calls.values()) == {1}
    assert run.data is not None
    assert [done["two"]["path"] for done in run.data["loop"]] == ["/two/1", "/two/2", "/two/3"]


def test_of_a_loop_that_went_on_only_the_failed_elements_are_tried_again(
    world: World, server: CountingServer
) -> None:
    """The run itself succeeded."""
    world.write("send.yml", f"steps:\n{call(server, 'send', '/send/{{ __input__ }}')}")
    server.statuses["/send/2"] = [500]
    loop = "flow_loop: {path: send.yml, data_key: __input__}"
    done = world.run(f"steps:\n  - {{name: loop, type: flow_loop, {loop}}}\n{NEXT}", data=[1, 2, 3])
    assert done.status is RunStatus.SUCCEEDED
    run = retry(world, done.run_id)
    assert dict(server.calls) == {"/send/1": 1, "/send/2": 2, "/send/3": 1}
    assert run.data is not None
    assert [item["send"]["path"] for item in run.data["loop"]] == ["/send/1", "/send/2", "/send/3"]
    assert run.data["__errors__"] == []
    assert {step.path for step in run.steps if step.kept} == {"loop[1]/send", "loop[3]/send"}


def test_a_retry_of_a_retry_keeps_what_both_did(world: World, server: CountingServer) -> None:
    server.statuses = {"/b": [500], "/c": [500]}
    steps = "".join(call(server, name, f"/{name}") for name in "abc")
    first = world.run(f"steps:\n{steps}")
    second = retry(world, first.run_id)
    third = retry(world, second.run_id)
    assert (second.status, third.status) == (RunStatus.FAILED, RunStatus.SUCCEEDED)
    assert dict(server.calls) == {"/a": 1, "/b": 2, "/c": 2}
    assert third.attempt == 3


def test_the_finally_step_runs_in_each_of_them(world: World, server: CountingServer) -> None:
    server.statuses["/work"] = [500]
    last = call(server, "clean", "/clean")
    failed = world.run(f"finally_step: clean\nsteps:\n{call(server, 'work', '/work')}{last}")
    assert names(failed) == ["work", "clean"]
    assert retry(world, failed.run_id).status is RunStatus.SUCCEEDED
    assert server.calls["/clean"] == 2


def test_from_a_step_everything_from_there_is_run_again(world: World, server: CountingServer) -> None:
    steps = "".join(call(server, name, f"/{name}") for name in "abc")
    done = world.run(f"steps:\n{steps}")
    run = retry(world, done.run_id, from_step="b")
    assert run.status is RunStatus.SUCCEEDED
    assert dict(server.calls) == {"/a": 1, "/b": 2, "/c": 2}


def test_a_corrected_flow_and_other_data_count_when_they_are_asked_for(world: World) -> None:
    bad = "  - {name: bad, type: jq, jq: {expression: 'error(\"no\")'}}\n"
    say = "  - {name: said, type: set_fact, set_fact: {value: '{{ __input__ }}'}}\n"
    path = world.write("corrected.yml", f"steps:\n{NEXT}{bad}{say}")
    failed = world.run(path, data="old")
    world.write("corrected.yml", f"steps:\n{NEXT}{say}")
    # Long ago: a file that was just modified counts only once it has settled.
    os.utime(world.settings.flows_path / path, (1_700_000_000, 1_700_000_000))
    again = retry(world, failed.run_id)
    assert again.status is RunStatus.FAILED, "the flow as it was at launch"
    run = retry(world, failed.run_id, use_current_flow=True, has_data=True, data="new")
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert run.data["said"] == "new"
    assert run.flow_hash != failed.flow_hash
    kept = world.journal(run.run_id)[:2]
    assert [(row.seq, row.event, row.path) for row in kept] == [
        (0, Event.RETRIED, ""),
        (1, Event.SUCCEEDED, "next"),
    ]
    assert kept[0].data == {"of": failed.run_id, "from": "bad", "by": "ann"}


def test_a_cancelled_run_goes_on_where_it_was(world: World, server: CountingServer) -> None:
    """The cancelled step is begun anew, and nothing before it."""
    held = call(server, "held", "/held/call")
    run_id = world.launch(f"steps:\n{call(server, 'a', '/a')}{held}{NEXT}")
    server.wait_for_call("/held/call")
    world.service.cancel_run(run_id, by="a test")
    assert world.wait(run_id).status is RunStatus.CANCELLED
    server.open_gate.set()
    run = retry(world, run_id)
    assert outline(run) == [("a", 1, "succeeded"), ("held", 1, "succeeded"), ("next", 1, "succeeded")]
    assert dict(server.calls) == {"/a": 1, "/held/call": 2}


def test_what_cannot_be_tried_again_is_refused_with_what_to_do(world: World) -> None:
    wait = "  - {name: wait, type: sleep, sleep: {seconds: 60}}\n"
    path = world.write("refused.yml", f"concurrency: {{on_conflict: skip}}\nsteps:\n{NEXT}{wait}")
    live = world.launch(path)
    skipped = world.launch(path)
    done = world.run(f"steps:\n{NEXT}").run_id
    service = world.service
    with pytest.raises(RunIsLive, match="cancel it first"):
        service.retry_run(live, RetryWish(), by="x")
    with pytest.raises(RunWasSkipped, match="launch its flow again"):
        service.retry_run(skipped, RetryWish(), by="x")
    with pytest.raises(NothingFailed, match="say 'from'"):
        service.retry_run(done, RetryWish(), by="x")
    with pytest.raises(InvalidRequest, match="never came to a step 'nxt'; steps that it came to: next"):
        service.retry_run(done, RetryWish(from_step="nxt"), by="x")
    assert [event.event for event in service.run(done).events] == [Event.DISPATCHED, Event.ENDED]
    with pytest.raises(RunNotFound):
        service.retry_run("20261121T074006123-aaaaaaaa", RetryWish(), by="x")
    service.cancel_run(live, by="a test")
    assert world.wait(live).status is RunStatus.CANCELLED


def test_a_retry_takes_the_flows_lock_like_a_launch(world: World) -> None:
    step = "  - {name: wait, type: sleep, sleep: {seconds: '{{ __input__ }}'}}\n"
    bad = "  - {name: bad, type: jq, jq: {expression: 'error(\"no\")'}}\n"
    path = world.write("locked.yml", f"steps:\n{step}{bad}")
    failed = world.run(path, data=0)
    other = world.launch(path, data=60)
    with pytest.raises(FlowRunning) as refused:
        world.service.retry_run(failed.run_id, RetryWish(), by="x")
    assert refused.value.details["run_id"] == other
    world.service.cancel_run(other, by="a test")
    world.wait(other)
    assert [lock.run_id for lock in world.service.locks()] == []


LARGE = "  - {name: large, type: jq, jq: {expression: '[range(100000)]'}}\n"


def test_a_large_result_is_kept_also_when_the_old_run_is_deleted(world: World) -> None:
    bad = "  - {name: bad, type: jq, jq: {expression: 'if .__input__ then error(\"no\") else (.large | length) end'}}\n"
    failed = world.run(f"steps:\n{LARGE}{bad}", data=True)
    kept = world.service.retry_run(failed.run_id, RetryWish(has_data=True, data=False), by="x")
    run = world.wait(kept.run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    world.service.delete_run(failed.run_id)
    data = world.service.run(run.run_id).data
    assert data is not None
    assert (data["bad"], len(data["large"])) == (100_000, 100_000)


def test_a_retry_that_is_skipped_leaves_no_files(world: World) -> None:
    nap = "  - {name: nap, type: sleep, sleep: {seconds: '{{ __input__ }}'}}\n"
    path = world.write("skips.yml", f"concurrency: {{on_conflict: skip}}\nsteps:\n{LARGE}{nap}")
    done = world.run(path, data=0)
    other = world.launch(path, data=60)
    skipped = world.service.retry_run(done.run_id, RetryWish(from_step="nap"), by="x")
    assert skipped.status is RunStatus.SKIPPED
    assert not (world.settings.results_path / skipped.run_id).exists()
    world.service.cancel_run(other, by="a test")
    world.wait(other)


def test_a_large_result_that_is_lost_is_told_and_begun_anew(world: World) -> None:
    bad = "  - {name: bad, type: jq, jq: {expression: 'error(\"no\")'}}\n"
    failed = world.run(f"steps:\n{LARGE}{bad}")
    for file in (world.settings.results_path / failed.run_id).iterdir():
        file.unlink()
    data = world.service.run(failed.run_id).data
    assert data is not None
    assert data["large"]["__lost__"]["code"] == "result_lost", "history shows the rest all the same"
    with pytest.raises(Conflict, match="retry from: large") as refused:
        world.service.retry_run(failed.run_id, RetryWish(), by="x")
    assert refused.value.code == "result_lost"
    assert retry(world, failed.run_id, from_step="large").status is RunStatus.FAILED
