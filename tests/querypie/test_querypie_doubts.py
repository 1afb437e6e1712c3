"""A retry of runs that failed in doubt: what a person may say, and where it counts."""

from __future__ import annotations

import pytest
import yaml

from flow_processor.errors import InvalidRequest, NothingFailed, RunInDoubt
from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from flow_processor.service.retry_doubts import Answer
from tests.engine.world import World, outline
from tests.querypie.fake import FakeQueryPie
from tests.querypie.lifecycles import ONE_EACH, flow, retried
from tests.querypie.pieces import uid


def submission(pie: FakeQueryPie, name: str, title: str = "One") -> str:
    """A step that submits alone, and keeps the answer under another key."""
    return f"""
  - name: {name}
    result_key: made
    type: querypie
    querypie:
      action: submit
      base_url: {pie.url}
      secret: querypie
      user_uuid: {uid("ada")}
      rule_uuid: {uid("rule Default")}
      cluster_uuid: {uid("shop 1")}
      database: orders
      approval_steps: [{{assignees: [{uid("elon")}]}}]
      request: {{query: "TRUNCATE t", title: "{title}"}}
      retry: {{attempts: 0}}
"""


def test_where_the_flow_went_on_the_answer_still_counts(world: World, pie: FakeQueryPie) -> None:
    """The run succeeded, by way of `on_error_goto`: what came behind the step is run again."""
    pie.fault("submit", "reset_after")
    said = "  - {name: said, type: set_fact, set_fact: {value: '{{ change is defined }}'}}\n"
    steps = flow(pie).replace("type: querypie\n", "type: querypie\n    on_error_goto: said\n") + said
    done = world.run(steps)
    assert (done.status, done.data and done.data["said"]) == (RunStatus.SUCCEEDED, False)
    with pytest.raises(NothingFailed):
        world.service.retry_run(done.run_id, RetryWish(), by="ann")
    with pytest.raises(RunInDoubt):
        world.service.retry_run(done.run_id, RetryWish(from_step="change"), by="ann")
    answer = Answer(ResumeMode.VALUE, value={"workflow_uuid": next(iter(pie.requests))})
    with pytest.raises(InvalidRequest, match="'from' begins before 'change/submit'"):
        world.service.retry_run(done.run_id, RetryWish(from_step="change", answer=answer), by="ann")
    run = retried(world, done.run_id, ResumeMode.VALUE, answer.value)
    assert (run.status, run.data and run.data["said"]) == (RunStatus.SUCCEEDED, True)
    assert pie.taken == ONE_EACH


def test_each_step_in_doubt_gets_its_own_answer(world: World, pie: FakeQueryPie) -> None:
    """Those of which nothing is said fail again as they did, and are not made."""
    pie.fault("submit", "reset_before", times=2)
    step = yaml.safe_load(submission(pie, "ask", "{{ item }}"))
    foreach = {"items": ["one", "two"], "max_parallel": 1, "on_item_error": "continue", "steps": step}
    loop = {"name": "all", "type": "foreach", "foreach": foreach}
    failed = world.run(yaml.safe_dump({"steps": [loop]}) + "\n")
    first, second = "all[1]/ask/submit", "all[2]/ask/submit"
    with pytest.raises(RunInDoubt) as refused:
        world.service.retry_run(failed.run_id, RetryWish(), by="ann")
    assert refused.value.details["steps"] == [first, second]
    with pytest.raises(InvalidRequest, match="mode value is for one step"):
        retried(world, failed.run_id, ResumeMode.VALUE, {"workflow_uuid": "known"})

    said = Answer(ResumeMode.VALUE, step=first, value={"workflow_uuid": "known"})
    run = world.wait(world.service.retry_run(failed.run_id, RetryWish(answer=said), by="ann").run_id)
    assert pie.count("submit") == 2
    assert {("all[1]/ask", 1, "succeeded"), (second, 1, "failed")} <= set(outline(run))

    with pytest.raises(RunInDoubt) as refused:
        world.service.retry_run(run.run_id, RetryWish(), by="ann")
    assert refused.value.details["steps"] == [second]
    run = retried(world, run.run_id, ResumeMode.RERUN)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert run.data is not None
    assert (len(run.data["all"]), pie.taken["submit"]) == (2, 1)


@pytest.mark.parametrize(
    ("mode", "value", "made"),
    [
        (ResumeMode.VALUE, {"workflow_uuid": "known"}, {"workflow_uuid": "known"}),
        (ResumeMode.SKIP, None, None),
    ],
)
def test_an_answer_stands_for_the_step(
    world: World, pie: FakeQueryPie, mode: ResumeMode, value: object, made: object
) -> None:
    """Under its own key; the next retry keeps it too."""
    pie.fault("submit", "reset_before")
    bad = "  - {name: bad, type: jq, jq: {expression: 'error(\"no\")'}}\n"
    failed = world.run(f"steps:{submission(pie, 'ask')}{bad}")
    run = retried(world, failed.run_id, mode, value)
    again = retried(world, run.run_id)
    for one in (run, again):
        assert (one.error and one.error.step, one.data and one.data.get("made")) == ("bad", made)
    assert pie.count("submit") == 1


def test_answers_that_do_not_fit_are_refused(world: World, pie: FakeQueryPie) -> None:
    failed = world.run("steps: [{name: bad, type: jq, jq: {expression: 'error(\"no\")'}}]\n")
    with pytest.raises(InvalidRequest, match="no step is in doubt"):
        world.service.retry_run(failed.run_id, RetryWish(answer=Answer(ResumeMode.SKIP)), by="ann")
    pie.fault("submit", "reset_before")
    failed = world.run(f"steps:{submission(pie, 'ask')}")
    with pytest.raises(InvalidRequest, match="step 'other' is not in doubt; in doubt: 'ask"):
        world.service.retry_run(
            failed.run_id, RetryWish(answer=Answer(ResumeMode.SKIP, step="other")), by="ann"
        )


@pytest.mark.parametrize(
    ("mode", "value"),
    [(ResumeMode.SKIP, None), (ResumeMode.VALUE, "x"), (ResumeMode.VALUE, {"workflow_uid": "x"})],
)
def test_an_answer_that_names_no_request_is_asked_for_again(
    world: World, pie: FakeQueryPie, mode: ResumeMode, value: object
) -> None:
    """A slip of the pen is no reason to submit twice."""
    pie.fault("submit", "reset_after")
    failed = world.run(flow(pie))
    run = retried(world, failed.run_id, mode, value)
    assert run.error is not None
    assert (run.error.code, "does not name the request" in run.error.message) == ("querypie_in_doubt", True)
    with pytest.raises(RunInDoubt, match="in doubt: 'change/submitted'"):
        world.service.retry_run(run.run_id, RetryWish(), by="ann")
    (number,) = pie.requests
    mended = retried(world, run.run_id, ResumeMode.VALUE, {"workflow_uuid": number})
    assert mended.status is RunStatus.SUCCEEDED, mended.error
    assert pie.taken == ONE_EACH
    anew = RetryWish(from_step="change", answer=Answer(ResumeMode.RERUN))
    assert (
        world.wait(world.service.retry_run(run.run_id, anew, by="ann").run_id).status is RunStatus.SUCCEEDED
    )
    assert pie.taken["submit"] == 2
