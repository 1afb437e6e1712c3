"""Handlers: what a flow does when it has succeeded, failed, was cancelled, or ended at all."""

from __future__ import annotations

import json

import pytest

from flow_processor.engine.assignment import ABORT_GRACE_SECONDS
from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.service.retries import RetryWish
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, names, until

BAD = """  - {name: bad, type: jq, jq: {expression: 'error("no such luck")'}}\n"""
NOTHING = "  - {name: nothing, type: set_fact, set_fact: {value: 1}}\n"
LEAVE = "  - {name: leave, type: exit, exit: {message: enough}}\n"
SLEEP = "  - {name: wait, type: sleep, sleep: {seconds: 300}}\n"


def call(server: CountingServer, name: str, path: str = "", more: str = "") -> str:
    uri = f"{server.url}{path or '/' + name}"
    return f"  - {{name: {name}, type: rest, rest: {{uri: '{uri}', method: POST{more}}}}}\n"


def handlers(server: CountingServer, **more: str) -> str:
    """All four, each of which calls the server by its own name."""
    keys = ("on_success", "on_failure", "on_cancel", "finally")
    return "".join(f"{key}:\n{call(server, 'tell', '/' + key)}{more.get(key, '')}" for key in keys)


@pytest.mark.parametrize(
    ("steps", "status", "called"),
    [
        (NOTHING, RunStatus.SUCCEEDED, "on_success"),
        (LEAVE, RunStatus.EXITED, "on_success"),
        (BAD, RunStatus.FAILED, "on_failure"),
    ],
)
def test_the_one_that_fits_and_finally(
    world: World, server: CountingServer, steps: str, status: RunStatus, called: str
) -> None:
    run = world.run(f"{handlers(server)}steps:\n{steps}")
    assert run.status is status
    assert dict(server.calls) == {f"/{called}": 1, "/finally": 1}
    assert names(run)[-2:] == [f"{called}/tell", "finally/tell"]
    assert run.data is not None
    assert "tell" not in run.data


def test_after_a_cancel(world: World, server: CountingServer) -> None:
    run_id = world.launch(f"{handlers(server)}steps:\n{SLEEP}")
    world.until_begun(run_id, "wait")
    world.service.cancel_run(run_id, by="a test")
    assert world.wait(run_id).status is RunStatus.CANCELLED
    assert dict(server.calls) == {"/on_cancel": 1, "/finally": 1}


def test_after_the_time_limit(world: World, server: CountingServer) -> None:
    run = world.run(f"timeout_seconds: 0.4\n{handlers(server)}steps:\n{SLEEP.replace('300', '1.9')}")
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "flow_timeout")
    assert dict(server.calls) == {"/on_failure": 1, "/finally": 1}


def test_they_follow_on_finally_step(world: World, server: CountingServer) -> None:
    """Whose failure makes a flow fail that went well; then that is what the handlers see."""
    server.statuses["/close"] = [500]
    body = f"{NOTHING}{call(server, 'close')}"
    run = world.run(f"finally_step: close\n{handlers(server)}steps:\n{LEAVE}{body}")
    assert names(run) == ["leave", "close", "on_failure/tell", "finally/tell"]
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "rest_status")


def test_they_see_the_data_the_errors_and_what_became_of_the_run(
    world: World, server: CountingServer
) -> None:
    body = ", body: {run: '{{ __run__ }}', errors: '{{ __errors__ }}', seen: '{{ nothing }}'}"
    flow = f"steps:\n{NOTHING}{BAD}on_failure:\n{call(server, 'tell', more=body)}"
    flow += "  - {name: keep, type: set_fact, set_fact: {value: '{{ tell.body }}'}}\n"
    flow += call(server, "again", more=", body: '{{ keep }}'")
    run_id = world.launch(world.write("tells.yml", flow))
    run = world.wait(run_id)
    rows = [row for row in world.events(run_id, Event.SUCCEEDED) if row.path == "on_failure/again"]
    seen = json.loads(rows[0].data["result"]["body"])
    assert run.error is not None
    assert run.started_at is not None
    assert seen["run"] == {
        "id": run_id,
        "flow": "tells.yml",
        "status": "failed",
        "error": {
            "code": "jq_failed",
            "message": run.error.message,
            "details": run.error.details,
            "step": "bad",
        },
        "started_at": run.started_at.isoformat(),
    }
    assert [entry["step"] for entry in seen["errors"]] == ["bad"]
    assert seen["seen"] == 1


@pytest.mark.parametrize(
    ("steps", "fails", "status", "code", "called"),
    [
        (NOTHING, "on_success", RunStatus.FAILED, "rest_status", ["on_success", "finally"]),
        (NOTHING, "finally", RunStatus.FAILED, "rest_status", ["on_success", "finally"]),
        (BAD, "on_failure", RunStatus.FAILED, "jq_failed", ["on_failure", "finally"]),
        (BAD, "finally", RunStatus.FAILED, "jq_failed", ["on_failure", "finally"]),
    ],
)
def test_one_that_fails(
    world: World,
    server: CountingServer,
    steps: str,
    fails: str,
    status: RunStatus,
    code: str,
    called: list[str],
) -> None:
    """It makes a flow fail that went well; else it is recorded, and the run keeps its error."""
    server.statuses[f"/{fails}"] = [500]
    run = world.run(f"{handlers(server, **{fails: NOTHING})}steps:\n{steps}")
    assert (run.status, error_code(run)) == (status, code)
    assert list(server.calls) == [f"/{name}" for name in called]
    assert f"{fails}/nothing" not in names(run), "what stands behind the step that failed is not run"
    assert run.data is not None
    told = run.data["__errors__"][-1]
    assert (told["code"], told["step"]) == ("rest_status", f"{fails}/tell")


def test_exit_ends_the_handler_only(world: World, server: CountingServer) -> None:
    flow = f"steps:\n{BAD}on_failure:\n{LEAVE}{NOTHING}finally:\n{call(server, 'last')}"
    run = world.run(flow)
    assert (run.status, names(run)) == (RunStatus.FAILED, ["bad", "on_failure/leave", "finally/last"])


def test_a_handler_may_be_a_graph(world: World, server: CountingServer) -> None:
    """In which a failure ends what runs beside it, after a cancel too."""
    handler = "  - {name: long, type: sleep, sleep: {seconds: 60}, needs: []}\n" + BAD.replace(
        "}}\n", "}, needs: go}\n"
    )
    run_id = world.launch(f"steps:\n{SLEEP}on_cancel:\n{handler}{call(server, 'go')}")
    world.until_begun(run_id, "wait")
    world.service.cancel_run(run_id, by="a test")
    run = world.wait(run_id)
    assert run.status is RunStatus.CANCELLED
    assert {step.path: step.status.value for step in run.steps} == {
        "wait": "cancelled", "on_cancel/long": "cancelled", "on_cancel/go": "succeeded", "on_cancel/bad": "failed",
    }  # fmt: skip


@pytest.mark.parametrize(("steps", "begun"), [(NOTHING, "on_success"), (BAD, "on_failure")])
def test_a_cancel_ends_the_handler_under_way(
    world: World, server: CountingServer, steps: str, begun: str
) -> None:
    """As it would end a step of the flow; finally follows, but no other handler."""
    long = f"{begun}:\n  - {{name: long, type: shell, shell: {{command: [sleep, 300]}}}}\n{NOTHING}"
    flow = f"steps:\n{steps}{long}on_cancel:\n{call(server, 'on_cancel')}finally:\n{call(server, 'last')}"
    run_id = world.launch(flow)
    world.until_begun(run_id, f"{begun}/long")
    world.service.cancel_run(run_id, by="a test")
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.CANCELLED, "cancelled")
    assert run.error is not None
    assert "cancelled by a test" in run.error.message
    assert run.error.details.get("before", {}).get("code") == ("jq_failed" if begun == "on_failure" else None)
    assert dict(server.calls) == {"/last": 1}
    assert names(run)[-2:] == [f"{begun}/long", "finally/last"]


def test_a_cancel_ends_a_handler_that_waits_without_a_worker(world: World, server: CountingServer) -> None:
    flow = f"steps:\n{NOTHING}on_success:\n{SLEEP}finally:\n{call(server, 'last')}"
    run_id = world.launch(flow)
    until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "it is parked")
    world.service.cancel_run(run_id, by="a test")
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.CANCELLED, "cancelled")
    assert {step.path: step.status.value for step in run.steps} == {
        "nothing": "succeeded", "on_success/wait": "cancelled", "finally/last": "succeeded",
    }  # fmt: skip


@pytest.mark.parametrize("handler", ["finally", "on_cancel"])
def test_a_cancel_does_not_end_what_closes_the_run(
    world: World, server: CountingServer, handler: str
) -> None:
    """Nor is the worker killed for it: that is all that is left. But the run was cancelled, and says so."""
    steps = SLEEP if handler == "on_cancel" else NOTHING
    run_id = world.launch(f"steps:\n{steps}{handler}:\n{call(server, 'slow', '/held/slow')}")
    if handler == "on_cancel":
        world.until_begun(run_id, "wait")
        world.service.cancel_run(run_id, by="a test")
    server.wait_for_call("/held/slow")
    world.service.cancel_run(run_id, by="a test")
    pid = world.worker_pid(run_id)
    world.service.wait_for_run(run_id, ABORT_GRACE_SECONDS + 1)
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.CANCELLED
    assert world.worker_pid(run_id) == pid
    assert server.calls["/held/slow"] == 1


def test_they_go_on_where_they_stood_after_a_worker_died(world: World, server: CountingServer) -> None:
    """Also those of a run that was cancelled; what had been done is not done again."""
    more = "  - {name: nap, type: rest, rest: {uri: 'URL/held/nap'}}\n".replace("URL", server.url)
    run_id = world.launch(f"{handlers(server, on_cancel=more)}steps:\n{SLEEP}")
    world.until_begun(run_id, "wait")
    world.service.cancel_run(run_id, by="a test")
    server.wait_for_call("/held/nap")
    world.kill_worker(run_id)
    server.wait_for_call("/held/nap", times=2)
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.CANCELLED
    assert dict(server.calls) == {"/on_cancel": 1, "/held/nap": 2, "/finally": 1}
    assert names(run) == ["wait", "on_cancel/tell", "on_cancel/nap", "finally/tell"]


def test_they_may_wait_without_a_worker(world: World, server: CountingServer) -> None:
    wait = "  - {name: ask, type: wait, wait: {signal: {name: go, expires_seconds: 600}}}\n"
    run_id = world.launch(f"{handlers(server, on_failure=wait)}steps:\n{BAD}")
    until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "it is parked")
    world.service.engine.signal(run_id, name="go", data=None, by="a test").result(20)
    assert error_code(world.wait(run_id)) == "jq_failed"
    assert dict(server.calls) == {"/on_failure": 1, "/finally": 1}


def test_a_step_killed_for_its_time_limit_is_a_failure_like_any_other(
    world: World, server: CountingServer
) -> None:
    hang = "  - {name: hang, type: jq, jq: {expression: 'def f: f; f'}, timeout_seconds: 0.3}\n"
    run = world.run(f"{handlers(server)}steps:\n{hang}")
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "step_timeout")
    assert dict(server.calls) == {"/on_failure": 1, "/finally": 1}


def test_a_sub_flow_has_its_own(world: World, server: CountingServer) -> None:
    """They see the sub-flow's end; its result is what its steps wrote, and its errors are its own."""
    world.write("sub/handles.yml", f"{handlers(server)}steps:\n{NOTHING}{BAD}")
    flow = "steps:\n  - {name: child, type: flow, flow: {path: sub/handles.yml}, ignore_errors: luck}\n"
    run = world.run(f"{flow}on_success:\n{call(server, 'outer')}")
    assert run.status is RunStatus.SUCCEEDED
    assert dict(server.calls) == {"/on_failure": 1, "/finally": 1, "/outer": 1}
    assert "child/on_failure/tell" in names(run)


def test_a_retry_runs_them_again(world: World, server: CountingServer) -> None:
    server.statuses["/work"] = [500]
    failed = world.run(f"{handlers(server)}steps:\n{NOTHING}{call(server, 'work')}")
    accepted = world.service.retry_run(failed.run_id, RetryWish(), by="ann")
    run = world.wait(accepted.run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert dict(server.calls) == {"/work": 2, "/on_failure": 1, "/on_success": 1, "/finally": 2}
    assert [step.path for step in run.steps if step.kept] == ["nothing"]


def test_an_interrupted_run_has_not_ended(world: World, server: CountingServer) -> None:
    run_id = world.launch(f"{handlers(server)}steps:\n{call(server, 'work', '/held/work')}")
    server.wait_for_call("/held/work")
    world.kill_worker(run_id)
    assert world.wait(run_id).status is RunStatus.INTERRUPTED
    assert dict(server.calls) == {"/held/work": 1}
