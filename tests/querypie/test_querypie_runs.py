"""The lifecycle in real workers: killed in the middle of each call that changes something, and left to wait."""

from __future__ import annotations

import json
import logging

import pytest
import yaml

from flow_processor.errors import RunInDoubt
from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from tests.engine.world import World, until
from tests.querypie.fake import TOKEN, FakeQueryPie
from tests.querypie.lifecycles import ONE_EACH, flow, retried

READING: list[tuple[str, int]] = [
    ("identify", 1),
    ("rule", 1),
    ("connections", 1),
    ("databases", 1),
    ("status", 1),
    ("status", 5),
]
"""Calls that read, by their number: the last two look at the request before an approval, and after the execution."""


def test_a_worker_that_is_killed_while_it_reads_is_no_matter(world: World, pie: FakeQueryPie) -> None:
    """In every phase of one run; the next worker goes on behind what had ended."""
    held = [pie.fault(operation, "held_before", at=number) for operation, number in READING]
    run_id = world.launch(flow(pie))
    for fault in held:
        until(fault.begun.is_set, f"{fault.operation} {fault.at} is there")
        world.kill_worker(run_id)
        fault.let_go.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert pie.taken == ONE_EACH
    assert [pie.count(name) for name in ("submit", "approve", "execute")] == [1, 2, 1]


@pytest.mark.parametrize("operation", ["approve", "execute"])
def test_a_killed_worker_sends_nothing_twice(world: World, pie: FakeQueryPie, operation: str) -> None:
    """What QueryPie shows to have taken is done; of the rest a person is asked, whatever the run is told."""
    held = pie.fault(operation, "held_after")
    taken = world.launch(flow(pie))
    until(held.begun.is_set, f"{operation} is there")
    world.kill_worker(taken)
    run = world.wait(taken)
    held.let_go.set()
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert pie.taken == ONE_EACH

    held = pie.fault(operation, "held_before")
    lost = world.launch(flow(pie))
    until(held.begun.is_set, f"{operation} is there again")
    world.kill_worker(lost)
    run = world.wait(lost)
    held.let_go.set()
    assert run.error is not None
    assert (run.error.code, run.error.details["outcome"]) == ("querypie_in_doubt", "unknown")
    count = pie.count(operation)
    path = f"change/{'approve_1' if operation == 'approve' else operation}/send"
    with pytest.raises(RunInDoubt, match=f"in doubt: '{path}'"):
        world.service.retry_run(lost, RetryWish(), by="ann")
    assert pie.count(operation) == count
    again = retried(world, lost, ResumeMode.RERUN)
    assert again.status is RunStatus.SUCCEEDED, again.error
    assert pie.taken == {name: 2 * number for name, number in ONE_EACH.items()}


@pytest.mark.parametrize("kind", ["held_before", "held_after"])
def test_a_submission_in_doubt_is_for_a_person(world: World, pie: FakeQueryPie, kind: str) -> None:
    """The run is interrupted; with the request's UUID it goes on, and nothing is submitted by itself."""
    held = pie.fault("submit", kind)
    run_id = world.launch(flow(pie))
    until(held.begun.is_set, "the submission is there")
    world.kill_worker(run_id)
    run = world.wait(run_id)
    held.let_go.set()
    assert run.status is RunStatus.INTERRUPTED, run.error
    assert run.error is not None
    assert "'change/submit'" in run.error.message
    assert pie.count("submit") == 1
    if kind == "held_before":
        world.service.resume_run(run_id, mode=ResumeMode.RERUN, by="ann")
    else:
        (number,) = pie.requests
        assert f"[octospool run {run_id}, step change/submit]" in pie.requests[number]["body"]["comments"]
        world.service.resume_run(run_id, mode=ResumeMode.VALUE, value={"workflow_uuid": number}, by="ann")
    ended = world.wait(run_id)
    assert ended.status is RunStatus.SUCCEEDED, ended.error
    assert pie.taken == ONE_EACH


def test_a_cut_submission_fails_and_is_never_repeated_by_itself(world: World, pie: FakeQueryPie) -> None:
    """Also not by the `retry` under `querypie`, which is for single calls."""
    pie.fault("submit", "reset_after")
    run = world.run(flow(pie, "retry: {attempts: 3, delay_seconds: 0}"))
    assert run.error is not None
    assert (run.error.code, pie.taken) == ("querypie_in_doubt", {"submit": 1})
    assert [step.attempt for step in run.steps if step.path == "change"] == [1]


@pytest.mark.parametrize("taken", [True, False])
def test_a_retry_after_a_submission_in_doubt_asks(world: World, pie: FakeQueryPie, taken: bool) -> None:
    """It submits nothing unasked; with the request's UUID it goes on behind the submission."""
    pie.fault("submit", "reset_after" if taken else "reset_before")
    failed = world.run(flow(pie))
    assert failed.error is not None
    assert failed.error.code == "querypie_in_doubt"
    for wish in (RetryWish(), RetryWish(from_step="change"), RetryWish(use_current_flow=True)):
        with pytest.raises(RunInDoubt, match=r"in doubt: 'change/submit'; .*--mode rerun") as refused:
            world.service.retry_run(failed.run_id, wish, by="ann")
    assert refused.value.details["steps"] == ["change/submit"]
    assert pie.count("submit") == 1
    if taken:
        (number,) = pie.requests
        run = retried(world, failed.run_id, ResumeMode.VALUE, {"workflow_uuid": number})
    else:
        run = retried(world, failed.run_id, ResumeMode.RERUN)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert pie.taken == ONE_EACH


@pytest.mark.parametrize("operation", ["submit", "execute"])
def test_a_retry_of_a_cancelled_run_sends_nothing_twice(
    world: World, pie: FakeQueryPie, operation: str, short_grace: None
) -> None:
    """The call of the old run is still on its way: it is looked for, and not made again unasked."""
    late = pie.fault(operation, "late")
    run_id = world.launch(flow(pie))
    until(late.begun.is_set, f"{operation} is there")
    world.service.cancel_run(run_id, by="ann")
    assert world.wait(run_id).status is RunStatus.CANCELLED
    run = retried(world, run_id)
    assert run.error is not None
    assert run.error.code == "querypie_in_doubt", run.error
    assert pie.count(operation) == 1
    late.let_go.set()
    until(lambda: pie.taken[operation] == 1, "QueryPie takes it")
    if operation == "submit":
        (number,) = pie.requests
        run = retried(world, run.run_id, ResumeMode.VALUE, {"workflow_uuid": number})
    else:
        run = retried(world, run.run_id, ResumeMode.SKIP)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert pie.taken == ONE_EACH


def test_a_retry_of_the_run_keeps_what_went_well(world: World, pie: FakeQueryPie) -> None:
    """The request that had been submitted and approved is executed, no other one."""
    pie.fault("execute", "status", status=400)
    failed = world.run(flow(pie))
    assert failed.error is not None
    assert failed.error.code == "querypie_execution_failed"
    again = world.service.retry_run(failed.run_id, RetryWish(), by="ann")
    run = world.wait(again.run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert pie.taken == ONE_EACH


def test_who_waits_for_people_holds_no_worker(world: World, pie: FakeQueryPie) -> None:
    """The run is parked between two looks, and goes on once they have approved."""
    more = "use_rule_based_approval: false"
    run_id = world.launch(flow(pie, more).replace("poll_seconds: 0.2", "poll_seconds: 3"))
    until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "the run is parked")
    pie.by_itself = "approve"
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert pie.taken == {"submit": 1, "execute": 1}
    assert pie.count("identify") == 1


def test_the_token_is_nowhere(world: World, pie: FakeQueryPie, caplog: pytest.LogCaptureFixture) -> None:
    """Not in history, log, errors, answers, nor in any file of the data folder; also where the server tells it back."""
    caplog.set_level(logging.DEBUG)
    pie.users["users"][0]["name"] = f"Ada {TOKEN}"
    pie.fault("execute", "status", status=400, says=f"the token {TOKEN} may not")
    run = world.run(flow(pie, "show_response: true"))
    assert run.error is not None
    assert "the token *** may not" in run.error.message
    shown = run.model_dump_json() + world.service.run_logs(run.run_id).model_dump_json() + caplog.text
    assert "***" in shown
    files = [path for path in world.data.rglob("*") if path.is_file() and path.name != "secrets.yml"]
    assert len(files) > 3
    assert TOKEN not in shown
    assert [path.name for path in files if TOKEN.encode() in path.read_bytes()] == []


def test_a_call_that_arrives_late_is_not_made_twice(world: World, pie: FakeQueryPie) -> None:
    """The worker died, and the server takes its POST only while the next one looks at the state."""
    late = pie.fault("execute", "late")
    run_id = world.launch(flow(pie).replace("settle_seconds: 0.2", "settle_seconds: 60"))
    until(late.begun.is_set, "the execution is there")
    before = pie.count("status")
    world.kill_worker(run_id)
    until(lambda: pie.count("status") >= before + 2, "the next worker looks at the state, again and again")
    late.let_go.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert (pie.count("execute"), pie.taken["execute"]) == (1, 1)


@pytest.mark.parametrize("around", ["flow", "foreach", "spread"])
def test_a_retry_around_the_step_submits_nothing_again(world: World, pie: FakeQueryPie, around: str) -> None:
    """A failure behind the submission is final also for the steps that the step stands in."""
    pie.fault("approve", "status", status=403)
    if around != "foreach":
        world.write("sub/change.yml", flow(pie))
        step = "type: flow, flow: {path: sub/change.yml}"
        if around == "spread":
            options = "path: sub/change.yml, data_key: __input__, spread: true, on_item_error: fail"
            step = f"type: flow_loop, flow_loop: {{{options}}}"
    else:
        inner = json.dumps(yaml.safe_load(flow(pie))["steps"])
        step = f"type: foreach, foreach: {{items: [1], steps: {inner}}}"
    run = world.run(
        f"steps:\n  - {{name: outer, retry: {{attempts: 2, delay_seconds: 0.01}}, {step}}}\n", data=[1]
    )
    assert run.status is RunStatus.FAILED
    assert pie.taken["submit"] == 1
    if around == "spread":  # a retry launches the element anew, so a person is asked
        with pytest.raises(RunInDoubt, match="it had done a part: Approval failed at Step 1"):
            world.service.retry_run(run.run_id, RetryWish(), by="ann")
    else:
        again = retried(world, run.run_id)
        assert again.status is RunStatus.SUCCEEDED, again.error
    assert pie.taken["submit"] == 1
