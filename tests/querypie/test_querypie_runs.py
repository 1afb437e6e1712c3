"""The lifecycle in real workers: killed in the middle of each call that changes something, and left to wait."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import yaml

from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from tests.engine.world import World, until
from tests.querypie.fake import TOKEN, FakeQueryPie


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service that has the token."""
    data = tmp_path_factory.mktemp("octospool") / "data"
    data.mkdir()
    secrets = f"- {{name: querypie, type: token, token: {TOKEN}}}\n"
    (data / "secrets.yml").write_text(secrets, encoding="utf-8")
    world = World(data, max_workers=4).start()
    yield world
    world.leave()


def flow(pie: FakeQueryPie, more: str = "") -> str:
    """A flow that changes something."""
    return f"""
steps:
  - name: change
    type: querypie
    querypie:
      base_url: {pie.url}
      secret: querypie
      login_id: ada
      connection: {{name: shop, database: orders}}
      request: {{query: "TRUNCATE t", title: Killed}}
      approval_delay_seconds: 0
      settle_seconds: 0.2
      poll_seconds: 0.2
      {more}
"""


@pytest.mark.parametrize("kind", ["held_before", "held_after"])
@pytest.mark.parametrize("operation", ["rules", "approve", "execute", "status"])
def test_a_killed_worker_does_nothing_twice(
    world: World, pie: FakeQueryPie, operation: str, kind: str
) -> None:
    """The next one goes on behind what had ended; of what was under way it looks at the state first."""
    held = pie.fault(operation, kind)
    run_id = world.launch(flow(pie))
    until(held.begun.is_set, f"{operation} is there")
    world.kill_worker(run_id)
    run = world.wait(run_id)
    held.let_go.set()
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert pie.taken == {"submit": 1, "approve": 2, "execute": 1}
    assert pie.count("submit") == pie.count("identify") == 1


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
    assert pie.taken == {"submit": 1, "approve": 2, "execute": 1}


def test_a_cut_submission_fails_and_is_never_repeated_by_itself(world: World, pie: FakeQueryPie) -> None:
    """Also not by the `retry` under `querypie`, which is for single calls."""
    pie.fault("submit", "reset_after")
    run = world.run(flow(pie, "retry: {attempts: 3, delay_seconds: 0}"))
    assert run.error is not None
    assert (run.error.code, pie.taken) == ("querypie_in_doubt", {"submit": 1})
    assert [step.attempt for step in run.steps if step.path == "change"] == [1]


def test_a_retry_of_the_run_keeps_what_went_well(world: World, pie: FakeQueryPie) -> None:
    """The request that had been submitted and approved is executed, no other one."""
    pie.fault("execute", "status", status=400)
    failed = world.run(flow(pie))
    assert failed.error is not None
    assert failed.error.code == "querypie_execution_failed"
    again = world.service.retry_run(failed.run_id, RetryWish(), by="ann")
    run = world.wait(again.run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert pie.taken == {"submit": 1, "approve": 2, "execute": 1}


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


@pytest.mark.parametrize("around", ["flow", "foreach"])
def test_a_retry_around_the_step_submits_nothing_again(world: World, pie: FakeQueryPie, around: str) -> None:
    """A failure behind the submission is final also for the steps that the step stands in."""
    pie.fault("approve", "status", status=403)
    if around == "flow":
        world.write("sub/change.yml", flow(pie))
        step = "type: flow, flow: {path: sub/change.yml}"
    else:
        inner = json.dumps(yaml.safe_load(flow(pie))["steps"])
        step = f"type: foreach, foreach: {{items: [1], steps: {inner}}}"
    run = world.run(f"steps:\n  - {{name: outer, retry: {{attempts: 2, delay_seconds: 0.01}}, {step}}}\n")
    assert run.status is RunStatus.FAILED
    assert pie.taken["submit"] == 1


def test_a_page_of_a_proxy_is_no_answer_to_an_execution(world: World, pie: FakeQueryPie) -> None:
    """It says 200, and nothing was executed: that is looked at, and not taken for done."""
    pie.fault("execute", "text")
    run = world.run(flow(pie))
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert pie.taken["execute"] == 1
