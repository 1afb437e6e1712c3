"""Steps, flows and elements around a querypie step: neither their `retry` nor a person's submits again unasked."""

from __future__ import annotations

import json

import pytest
import yaml

from flow_processor.errors import RunInDoubt
from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from tests.engine.world import World, until
from tests.querypie.fake import FakeQueryPie
from tests.querypie.lifecycles import ONE_EACH, flow, retried

BAD = "  - {name: bad, type: jq, jq: {expression: 'error(\"no\")'}}\n"


def around(inner: str) -> str:
    """A flow with that step, which is tried three times."""
    return f"steps:\n  - {{name: outer, retry: {{attempts: 2, delay_seconds: 0.01}}, {inner}}}\n"


@pytest.mark.parametrize("kind", ["flow", "foreach", "items", "spread"])
def test_what_fails_behind_the_step_does_not_begin_it_anew(
    world: World, pie: FakeQueryPie, kind: str
) -> None:
    """Also where it is another element that fails."""
    body = flow(pie) + BAD
    world.write(f"sub/{kind}.yml", body)
    steps = yaml.safe_load(body)["steps"]
    if kind == "items":
        steps[0]["when"], steps[1]["when"] = "item == 1", "item == 2"
    loop = f"path: sub/{kind}.yml, data_key: __input__, spread: true, on_item_error: fail"
    foreach = f"type: foreach, foreach: {{items: [1, 2], max_parallel: 1, steps: {json.dumps(steps)}}}"
    inner = {
        "flow": f"type: flow, flow: {{path: sub/{kind}.yml}}",
        "spread": f"type: flow_loop, flow_loop: {{{loop}}}",
    }.get(kind, foreach)
    run = world.run(around(inner), data=[1])
    assert run.error is not None
    assert (run.error.code, run.error.details["outcome"]) == ("jq_failed", "partial")
    assert pie.taken == ONE_EACH
    if kind == "spread":
        with pytest.raises(RunInDoubt, match="it had done a part"):
            world.service.retry_run(run.run_id, RetryWish(), by="ann")
    else:
        assert retried(world, run.run_id).status is RunStatus.FAILED
    assert pie.taken == ONE_EACH


def test_an_element_that_was_ended_beside_a_failed_one_is_not_launched_anew(
    world: World, pie: FakeQueryPie
) -> None:
    """It had submitted and waited for people."""
    body = flow(pie, "use_rule_based_approval: false").replace("poll_seconds: 0.2", "poll_seconds: 5")
    steps = yaml.safe_load(body)["steps"] + yaml.safe_load("steps:\n" + BAD)["steps"]
    wait = {"name": "hold", "type": "sleep", "when": "__input__ == 1", "sleep": {"seconds": 3}}
    steps[0]["when"], steps[1]["when"] = "__input__ == 2", "__input__ == 1"
    world.write("sub/beside.yml", yaml.safe_dump({"steps": [wait, *steps]}, sort_keys=False))
    loop = "path: sub/beside.yml, data_key: __input__, spread: true, on_item_error: fail, max_parallel: 2"
    run = world.run(around(f"type: flow_loop, flow_loop: {{{loop}}}"), data=[1, 2])
    assert run.error is not None
    assert (run.error.code, pie.count("submit")) == ("jq_failed", 1)
    with pytest.raises(RunInDoubt, match="it had done a part: the run was cancelled"):
        world.service.retry_run(run.run_id, RetryWish(), by="ann")
    assert pie.count("submit") == 1


def test_an_element_that_succeeded_is_not_launched_anew(world: World, pie: FakeQueryPie) -> None:
    """By the `retry` of the loop; a person's takes it over, and launches the other one."""
    steps = yaml.safe_load(flow(pie) + BAD)["steps"]
    steps[0]["when"], steps[1]["when"] = "__input__ == 1", "__input__ == 2"
    world.write("sub/one.yml", yaml.safe_dump({"steps": steps}, sort_keys=False))
    loop = "path: sub/one.yml, data_key: __input__, spread: true, on_item_error: fail, max_parallel: 1"
    run = world.run(around(f"type: flow_loop, flow_loop: {{{loop}}}"), data=[1, 2])
    assert (run.error and run.error.code, pie.taken) == ("jq_failed", ONE_EACH)
    assert retried(world, run.run_id).status is RunStatus.FAILED
    assert pie.taken == ONE_EACH


@pytest.mark.parametrize("twice", [False, True])
def test_a_retry_from_the_step_looks_for_what_was_cut_off(
    world: World, pie: FakeQueryPie, short_grace: None, twice: bool
) -> None:
    """The submission of the cancelled run is still on its way; also a retry that never came to it passes that on."""
    late = pie.fault("submit", "late")
    run_id = world.launch(flow(pie))
    until(late.begun.is_set, "the submission is there")
    world.service.cancel_run(run_id, by="ann")
    assert world.wait(run_id).status is RunStatus.CANCELLED
    begin = RetryWish(from_step="change")
    if twice:
        held = pie.fault("identify", "held_before", at=2)
        run_id = world.service.retry_run(run_id, begin, by="ann").run_id
        until(held.begun.is_set, "it has begun anew")
        world.service.cancel_run(run_id, by="ann")
        held.let_go.set()
        assert world.wait(run_id).status is RunStatus.CANCELLED
    run = world.wait(world.service.retry_run(run_id, begin, by="ann").run_id)
    assert run.error is not None
    assert (run.error.code, pie.count("submit")) == ("querypie_in_doubt", 1)
    late.let_go.set()
    until(lambda: pie.taken["submit"] == 1, "QueryPie takes it")
    (number,) = pie.requests
    run = retried(world, run.run_id, ResumeMode.VALUE, {"workflow_uuid": number})
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert pie.taken == ONE_EACH


def test_failures_behind_the_submission_name_the_request(world: World, pie: FakeQueryPie) -> None:
    pie.fault("approve", "status", status=403)
    run = world.run(flow(pie))
    assert run.error is not None
    assert run.error.details["workflow_uuid"] in pie.requests


def test_rounds_that_submitted_are_asked_about(world: World, pie: FakeQueryPie) -> None:
    """The last `until` of them did not hold: a retry begins with the first round, which submits again."""
    inner = yaml.safe_load(flow(pie))["steps"]
    rounds = {"condition": "false", "max_rounds": 2, "steps": inner}
    run = world.run(yaml.safe_dump({"steps": [{"name": "loop", "type": "until", "until": rounds}]}) + "\n")
    assert (run.error and run.error.code, pie.taken["submit"]) == ("until_exhausted", 2)
    with pytest.raises(RunInDoubt) as refused:
        world.service.retry_run(run.run_id, RetryWish(), by="ann")
    assert refused.value.details["steps"][:1] == ["loop[1]/change/submit"]
    assert pie.taken["submit"] == 2
    assert retried(world, run.run_id, ResumeMode.RERUN).status is RunStatus.FAILED
    assert pie.taken["submit"] == 4


WAITS_FOR_PEOPLE = "use_rule_based_approval: false"


def test_an_element_that_the_step_s_time_limit_ended_is_not_launched_anew(
    world: World, pie: FakeQueryPie
) -> None:
    """Elements that had not submitted yet may be, so this holds whichever attempt it was."""
    body = flow(pie, WAITS_FOR_PEOPLE).replace("poll_seconds: 0.2", "poll_seconds: 60")
    world.write("sub/limit.yml", body)
    loop = "type: flow_loop, flow_loop: {path: sub/limit.yml, data_key: __input__, spread: true}"
    step = f"name: outer, timeout_seconds: 3, retry: {{attempts: 9, delay_seconds: 0.01}}, {loop}"
    run = world.run(f"steps:\n  - {{{step}}}\n", data=[1])
    assert run.error is not None
    assert (run.error.code, run.error.details["outcome"]) == ("step_timeout", "partial")
    assert pie.count("submit") <= 1
    with pytest.raises(RunInDoubt, match="it had done a part"):
        world.service.retry_run(run.run_id, RetryWish(), by="ann")


def test_an_element_that_was_cancelled_with_its_parent_is_not_launched_anew_by_a_resume(
    world: World, pie: FakeQueryPie
) -> None:
    """It has failed, as far as the parent goes, and a retry of that asks."""
    body = flow(pie, WAITS_FOR_PEOPLE).replace("poll_seconds: 0.2", "poll_seconds: 60")
    world.write("sub/resumed.yml", body)
    steps = (
        "steps:\n"
        "  - {name: items, type: jq, jq: {expression: '[1]'}}\n"
        "  - {name: each, type: flow_loop, needs: [items], flow_loop:"
        " {path: sub/resumed.yml, data_key: items, spread: true, on_item_error: fail}}\n"
        "  - {name: beside, type: shell, needs: [items], shell: {command: [sleep, '60']}}\n"
    )
    run_id = world.launch(steps)
    world.until_begun(run_id, "beside")
    until(lambda: pie.count("submit") == 1, "it has submitted")
    world.kill_worker(run_id)
    assert world.wait(run_id).status is RunStatus.INTERRUPTED
    world.service.resume_run(run_id, mode=ResumeMode.SKIP, by="ann")
    run = world.wait(run_id)
    assert (run.status, run.error and run.error.step) == (RunStatus.FAILED, "each"), run.error
    assert pie.count("submit") == 1
    with pytest.raises(RunInDoubt, match="it had done a part"):
        world.service.retry_run(run_id, RetryWish(), by="ann")
    assert pie.count("submit") == 1
