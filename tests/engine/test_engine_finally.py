"""finally_step: runs exactly once, however the flow ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, names, until

SLEEP = "{name: wait, type: sleep, sleep: {seconds: 30}}"
BAD = """{name: bad, type: jq, jq: {expression: 'error("no such luck")'}}"""
NOTHING = "{name: nothing, type: set_fact, set_fact: {value: 1}}"


def flow(server: CountingServer, body: str, *, head: str = "") -> str:
    """A flow whose last step, `close`, tells the server and is its finally_step."""
    close = f"{{name: close, type: rest, rest: {{uri: '{server.url}/close', method: POST}}}}"
    return f"finally_step: close\n{head}steps:\n  - {body}\n  - {close}\n"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (NOTHING, RunStatus.SUCCEEDED, None),
        (BAD, RunStatus.FAILED, "jq_failed"),
        ("{name: leave, type: exit, exit: {}}", RunStatus.EXITED, None),
        ("{name: jump, type: goto, goto: {step_name: __end__}}", RunStatus.SUCCEEDED, None),
        ("{name: jump, type: goto, goto: {step_name: __exit__}}", RunStatus.EXITED, None),
        ("{name: jump, type: goto, goto: {step_name: __start__}}", RunStatus.FAILED, "too_many_jumps"),
        (BAD.replace("}}", "}, on_error_goto: __exit__}"), RunStatus.EXITED, None),
        (BAD.replace("}}", "}, ignore_errors: luck}"), RunStatus.SUCCEEDED, None),
    ],
)
def test_it_runs_once_however_the_steps_end(
    world: World, server: CountingServer, body: str, status: RunStatus, code: str | None
) -> None:
    """And the outcome is that of the steps."""
    run = world.run(flow(server, body, head="max_jumps: 3\n"))
    assert (run.status, error_code(run)) == (status, code)
    assert server.calls["/close"] == 1
    assert names(run)[-1] == "close"


def test_it_runs_once_after_a_cancel(world: World, server: CountingServer) -> None:
    run_id = world.launch(flow(server, SLEEP))
    world.until_begun(run_id, "wait")
    world.service.cancel_run(run_id, by="a test")
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.CANCELLED, "cancelled")
    assert server.calls["/close"] == 1


def test_it_runs_once_after_the_flows_time_limit(world: World, server: CountingServer) -> None:
    run = world.run(flow(server, SLEEP.replace("30", "1.9"), head="timeout_seconds: 0.4\n"))
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "flow_timeout")
    assert server.calls["/close"] == 1


def test_it_runs_in_a_fresh_worker_after_a_step_that_had_to_be_killed(
    world: World, server: CountingServer
) -> None:
    hang = "{name: hang, type: jq, jq: {expression: 'def f: f; f'}, timeout_seconds: 0.3}"
    run = world.run(flow(server, hang))
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "step_timeout")
    assert server.calls["/close"] == 1
    pids = {row.data["pid"] for row in world.events(run.run_id, Event.DISPATCHED)}
    assert len(pids) == 2


def test_a_cancel_of_a_begun_run_that_waits_for_a_worker_still_runs_it(
    make_world: Callable[..., World], server: CountingServer
) -> None:
    """After a restart with fewer workers it is not yet under way again; what it had begun is closed all the same."""
    before = make_world(max_workers=2)
    calls = [
        f"  - {{name: {name}, type: rest, rest: {{uri: '{server.url}/held/{name}'}}}}\n" for name in "ab"
    ]
    other = before.launch("steps:\n" + "".join(calls))
    server.wait_for_call("/held/a")
    closing = before.launch(flow(server, SLEEP))
    before.until_begun(closing, "wait")
    before.stop()
    server.open_gate.set()
    until(lambda: not before.living_workers(), "the old workers leave")
    server.open_gate.clear()
    world = make_world(max_workers=1)
    server.wait_for_call("/held/b")
    world.service.engine.signal(closing, name="go", data=None, by="a test").result()
    until(lambda: world.service.engine.counts() == (1, 1), "it waits for the only worker")
    world.service.cancel_run(closing, by="a test")
    world.service.cancel_run(other, by="a test")
    assert world.wait(closing).status is RunStatus.CANCELLED
    assert server.calls["/close"] == 1


def test_it_sees_what_went_wrong(world: World, server: CountingServer) -> None:
    tell = flow(server, BAD).replace("method: POST", "method: POST, body: '{{ __errors__[0].code }}'")
    data = world.run(tell).data
    assert data is not None
    assert data["close"]["body"] == "jq_failed"


def test_in_the_middle_of_a_flow_it_runs_in_its_place(world: World, server: CountingServer) -> None:
    text = flow(server, NOTHING) + "  - {name: after, type: set_fact, set_fact: {value: 2}}\n"
    assert names(world.run(text)) == ["nothing", "close", "after"]
    assert server.calls["/close"] == 1


def test_having_run_in_its_place_it_does_not_run_again_after_a_failure(
    world: World, server: CountingServer
) -> None:
    run = world.run(flow(server, NOTHING) + f"  - {BAD}\n")
    assert (run.status, names(run)) == (RunStatus.FAILED, ["nothing", "close", "bad"])
    assert server.calls["/close"] == 1


def test_its_own_failure_fails_a_run_that_went_well(world: World, server: CountingServer) -> None:
    server.statuses["/close"] = [500]
    run = world.run(flow(server, "{name: leave, type: exit, exit: {}}"))
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "rest_status")
    assert server.calls["/close"] == 1


def test_its_own_failure_does_not_hide_the_first_one(world: World, server: CountingServer) -> None:
    server.statuses["/close"] = [500]
    run = world.run(flow(server, BAD))
    assert error_code(run) == "jq_failed"
    assert run.data is not None
    assert [entry["code"] for entry in run.data["__errors__"]] == ["jq_failed", "rest_status"]


def test_failing_in_its_place_it_does_not_run_again(world: World, server: CountingServer) -> None:
    server.statuses["/close"] = [500]
    run = world.run(flow(server, NOTHING))
    assert error_code(run) == "rest_status"
    assert server.calls["/close"] == 1


def test_a_condition_of_its_own_still_counts(world: World, server: CountingServer) -> None:
    run = world.run(
        flow(server, BAD).replace("/close',", "/close',").replace("POST}}", "POST}, when: 'false'}")
    )
    assert run.status is RunStatus.FAILED
    assert server.calls["/close"] == 0


def test_a_sub_flows_finally_step_runs_when_the_sub_flow_fails(world: World, server: CountingServer) -> None:
    world.write("sub/closes.yml", flow(server, BAD))
    run = world.run("steps:\n  - {name: child, type: flow, flow: {path: sub/closes.yml}}\n")
    assert error_code(run) == "jq_failed"
    assert "child/close" in names(run)
    assert server.calls["/close"] == 1


def test_a_cancel_closes_every_sub_flow_that_is_under_way(world: World, server: CountingServer) -> None:
    world.write("sub/closes.yml", flow(server, SLEEP))
    run_id = world.launch(
        "steps:\n  - {name: items, type: set_fact, set_fact: {value: [1, 2, 3]}}\n"
        "  - {name: each, type: flow_loop, flow_loop: {path: sub/closes.yml, data_key: items}}\n"
    )
    for number in (1, 2, 3):
        world.until_begun(run_id, f"each[{number}]/wait")
    world.service.cancel_run(run_id, by="a test")
    assert world.wait(run_id).status is RunStatus.CANCELLED
    assert server.calls["/close"] == 3


@pytest.mark.parametrize(("mode", "calls"), [(ResumeMode.SKIP, 1), (ResumeMode.RERUN, 2)])
def test_after_a_cancel_a_call_in_doubt_is_made_again_only_by_a_persons_word(
    world: World, server: CountingServer, mode: ResumeMode, calls: int
) -> None:
    """Its worker dies in the middle of it: a person says what came of it, and then the run is cancelled."""
    run_id = world.launch(flow(server, SLEEP).replace("/close", "/held/close"))
    world.until_begun(run_id, "wait")
    world.service.cancel_run(run_id, by="a test")
    server.wait_for_call("/held/close")
    world.kill_worker(run_id)
    run = world.wait(run_id)
    assert run.status is RunStatus.INTERRUPTED
    assert run.error is not None
    assert run.error.step == "close"
    server.open_gate.set()
    world.service.resume_run(run_id, mode=mode, by="a test")
    assert world.wait(run_id).status is RunStatus.CANCELLED
    assert server.calls["/held/close"] == calls
