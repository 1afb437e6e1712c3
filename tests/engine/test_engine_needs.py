"""Steps that run by what they need: beside each other, ended together, gone on with after every kind of end."""

from __future__ import annotations

import pytest

from flow_processor.journal import Event, dispatch_of
from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from flow_processor.service.views import RunDetail
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, names, outline, until

BAD = """{name: bad, type: jq, jq: {expression: 'error("no such luck")'}"""
LONG = "type: sleep, sleep: {seconds: 300}"


def call(server: CountingServer, name: str, path: str = "", *, method: str = "GET", more: str = "") -> str:
    path = path or f"/{name}"
    return f"  - {{name: {name}, type: rest, rest: {{uri: '{server.url}{path}', method: {method}}}{more}}}\n"


def fact(name: str, value: str = "1", *, more: str = "") -> str:
    return f"  - {{name: {name}, type: set_fact, set_fact: {{value: {value}}}{more}}}\n"


def ended(world: World, run_id: str, path: str) -> bool:
    return any(row.path == path for row in world.events(run_id, Event.SUCCEEDED))


def statuses(run: RunDetail) -> dict[str, str]:
    return {step.path: step.status.value for step in run.steps}


def test_steps_that_need_nothing_of_each_other_run_beside_each_other(
    world: World, server: CountingServer
) -> None:
    """And each begins behind what it needs, wherever it stands in the file."""
    flow = "steps:\n" + fact("last", "'{{ one.path }} {{ two.path }}'", more=", needs: [one, two]")
    flow += call(server, "one", "/held/one", more=", needs: first") + call(
        server, "two", "/held/two", more=", needs: first"
    )
    run_id = world.launch(flow + fact("first"))
    for path in ("/held/one", "/held/two"):
        server.wait_for_call(path)
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert names(run)[0] == "first"
    assert set(names(run)[1:3]) == {"one", "two"}
    assert run.data is not None
    assert run.data["last"] == "/held/one /held/two"


def test_no_more_than_max_parallel_are_under_way(world: World, server: CountingServer) -> None:
    flow = "max_parallel: 2\nsteps:\n" + "".join(
        call(server, name, f"/held/{name}", more=", needs: []") for name in "abcd"
    )
    run_id = world.launch(flow)
    server.wait_for_call("/held/a")
    server.wait_for_call("/held/b")
    assert set(server.calls) == {"/held/a", "/held/b"}
    server.open_gate.set()
    run = world.wait(run_id)
    ends = {step.path: step.ended_at for step in run.steps}
    begins = {step.path: step.started_at for step in run.steps}
    for name in "cd":
        begun = begins[name]
        assert begun is not None
        under_way = [one for one in "abcd" if one != name and begins[one] <= begun < ends[one]]  # type: ignore[operator]
        assert len(under_way) < 2


def test_a_step_sees_what_it_needs_and_nothing_of_others(world: World, server: CountingServer) -> None:
    """Directly or not, and whatever has ended before it begins; of two that wrote the same key the later one counts."""
    flow = call(server, "go", "/held/go", more=", needs: first") + fact("first", "one")
    flow += fact("second", "two", more=", needs: first, result_key: first")
    flow += f"  - {BAD}, ignore_errors: luck, needs: []}}\n" + fact("other")
    errors = "{{ __errors__ | map(attribute='step') | list }}"
    flow += fact(
        "seen",
        f"['{{{{ first }}}}', '{{{{ other is defined }}}}', \"{errors}\"]",
        more=", needs: [second, go]",
    )
    flow += fact("told", f'"{errors}"', more=", needs: [bad, seen]")
    run_id = world.launch("steps:\n" + flow)
    until(lambda: len(world.events(run_id, Event.SUCCEEDED)) == 3, "first, second and other have ended")
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.data is not None, run.error
    assert (run.data["seen"], run.data["told"], run.data["other"]) == (["two", False, []], ["bad"], 1)


def test_a_step_around_others_sees_the_same_in_the_next_worker(world: World) -> None:
    """Else it would come to another choice there: `late` has ended by then."""
    ask = "{name: ask, type: wait, wait: {signal: {name: go, expires_seconds: 600}}}"
    run_id = world.launch(
        f"""steps:
  - name: choose
    type: switch
    needs: []
    switch:
      cases:
        - if: late is defined
          steps: [{{name: no, type: set_fact, set_fact: {{value: other}}}}]
        - if: true
          steps: [{{name: yes, type: set_fact, set_fact: {{value: first}}}}, {ask}]
  - {{name: late, type: set_fact, set_fact: {{value: 1}}}}
"""
    )
    until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "it is parked")
    assert "late" in names(world.service.run(run_id))
    world.service.engine.signal(run_id, name="go", data=None, by="a test").result(20)
    run = world.wait(run_id)
    assert statuses(run) == {
        "choose": "succeeded", "choose[2]/yes": "succeeded", "choose[2]/ask": "succeeded", "late": "succeeded",
    }  # fmt: skip
    assert run.data is not None
    assert set(run.data["choose"]) == {"yes", "ask"}


def test_what_is_under_way_goes_on_before_others_begin(world: World, server: CountingServer) -> None:
    """`late` stands last, but has begun: its answer counts although two others could take both lines."""
    wait = (
        "  - {{name: {0}, type: wait, wait: {{signal: {{name: {0}, expires_seconds: 600}}}}, needs: {1}}}\n"
    )
    flow = wait.format("a", "root") + wait.format("b", "root") + call(server, "root", "/held/root")
    run_id = world.launch("max_parallel: 2\nsteps:\n" + flow + wait.format("late", "[]"))
    until(lambda: world.events(run_id, Event.WAITING), "late waits")
    server.open_gate.set()
    until(lambda: world.events(run_id, Event.PARKED), "all wait, so it is parked")
    for name in ("late", "a", "b"):
        world.service.engine.signal(run_id, name=name, data=None, by="a test").result(20)
        until(lambda name=name: ended(world, run_id, name), f"{name} has ended")  # type: ignore[misc]
    assert world.wait(run_id).status is RunStatus.SUCCEEDED


def test_skipped_and_ignored_steps_let_others_begin(world: World) -> None:
    flow = f"steps:\n  - {BAD}, ignore_errors: luck, needs: []}}\n" + fact("not", more=", when: 'false'")
    run = world.run(flow + fact("last", more=", needs: [bad, not]"))
    assert run.status is RunStatus.SUCCEEDED
    assert statuses(run) == {"bad": "ignored", "not": "skipped", "last": "succeeded"}


def test_a_failure_ends_those_beside_it(world: World, server: CountingServer) -> None:
    """fail_fast, which is the default: what is under way is cancelled, what waits is not started."""
    flow = call(server, "wait", "/held/wait") + f"  - {{name: long, {LONG}, needs: []}}\n"
    flow += (
        f"  - {BAD}, needs: wait}}\n"
        + fact("after", more=", needs: long")
        + fact("never", more=", needs: bad")
    )
    run_id = world.launch("steps:\n" + flow)
    world.until_begun(run_id, "long")
    server.open_gate.set()
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "jq_failed")
    assert run.error is not None
    assert run.error.step == "bad"
    assert statuses(run) == {
        "wait": "succeeded", "long": "cancelled", "bad": "failed", "after": "not_started", "never": "not_started",
    }  # fmt: skip
    long = next(step for step in run.steps if step.path == "long")
    assert long.error is not None
    assert (long.error.code, long.error.details) == ("sibling_failed", {"beside": "bad"})
    after = run.steps[-1]
    assert (after.started_at, after.ended_at, after.duration_seconds) == (None, None, None)


def test_without_fail_fast_independent_steps_go_on(world: World) -> None:
    flow = f"fail_fast: false\nsteps:\n  - {BAD}, needs: []}}\n" + fact("never", more=", needs: bad")
    flow += fact("never_too", more=", needs: [never, other]")
    flow += fact("other") + fact("behind", more=", needs: other")
    run = world.run(flow)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "jq_failed")
    assert statuses(run) == {
        "bad": "failed", "other": "succeeded", "behind": "succeeded",
        "never": "not_started", "never_too": "not_started",
    }  # fmt: skip


def test_exit_ends_the_flow_and_what_runs_beside_it(world: World, server: CountingServer) -> None:
    flow = f"steps:\n  - {{name: long, {LONG}, needs: []}}\n" + call(server, "go", "/held/go")
    flow += "  - {name: leave, type: exit, exit: {message: enough}, needs: go}\n"
    run_id = world.launch(flow + fact("after", more=", needs: [leave]"))
    world.until_begun(run_id, "long")
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.EXITED
    assert run.reason == "enough"
    ends = {"long": "cancelled", "go": "succeeded", "leave": "succeeded", "after": "not_started"}
    assert statuses(run) == ends


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("type: exit, exit: {message: enough}", ["exited", None, "sibling_exited"]),
        ("type: raise, raise: {message: no, code: real}", ["failed", "real", "sibling_failed"]),
    ],
)
def test_what_was_ended_is_no_failure_in_the_next_worker_either(
    world: World, server: CountingServer, end: str, told: list[str | None]
) -> None:
    """Whatever the ended step itself says: a program that is killed knows only that it was."""
    ask = "{name: ask, type: wait, wait: {signal: {name: go, expires_seconds: 600}}}"
    value = "{{ [__run__.status, __run__.error.code if __run__.error else none] }}"
    tell = f"{{name: tell, type: set_fact, set_fact: {{value: '{value}'}}}}"
    flow = f"on_success: &then [{ask}, {tell}]\non_failure: *then\nsteps:\n"
    flow += "  - {name: slow, type: shell, needs: [], shell: {command: [sleep, '300']}}\n"
    flow += call(server, "go", "/held/go") + f"  - {{name: last, {end}, needs: go}}\n"
    run_id = world.launch(flow)
    world.until_begun(run_id, "slow")
    server.open_gate.set()
    until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "it is parked in its handler")
    world.service.engine.signal(run_id, name="go", data=None, by="a test").result(20)
    run = world.wait(run_id)
    assert run.status.value == told[0], run.error
    steps = {step.path: step for step in run.steps}
    assert (steps["slow"].status.value, steps["slow"].error and steps["slow"].error.code) == (
        "cancelled",
        told[2],
    )
    said = [row.data["result"] for row in world.events(run_id, Event.SUCCEEDED) if row.path.endswith("/tell")]
    assert said == [told[:2]]


def test_a_finally_step_runs_in_its_place_or_at_the_end(world: World) -> None:
    body = fact("a") + fact("close", more=", needs: a")
    run = world.run(f"finally_step: close\nsteps:\n{body}" + fact("b", more=", needs: close"))
    assert names(run) == ["a", "close", "b"]
    run = world.run(f"finally_step: close\nsteps:\n  - {BAD}}}\n{body}" + fact("b", more=", needs: bad"))
    assert run.status is RunStatus.FAILED
    assert names(run).count("close") == 1
    assert statuses(run)["close"] == "succeeded"


def test_a_cancel_ends_all_lines(world: World) -> None:
    flow = "".join(f"  - {{name: {name}, {LONG}, needs: []}}\n" for name in "abc")
    run_id = world.launch("steps:\n" + flow + fact("after", more=", needs: [a]"))
    for name in "abc":
        world.until_begun(run_id, name)
    world.service.cancel_run(run_id, by="a test")
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.CANCELLED, "cancelled")
    assert statuses(run) == {"a": "cancelled", "b": "cancelled", "c": "cancelled", "after": "not_started"}


def test_the_flows_time_limit_ends_all_lines(world: World) -> None:
    flow = "".join(
        f"  - {{name: {name}, type: sleep, sleep: {{seconds: 1.9}}, needs: []}}\n" for name in "ab"
    )
    run = world.run("timeout_seconds: 0.4\nsteps:\n" + flow)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "flow_timeout")


def test_all_lines_wait_so_the_run_is_parked(world: World) -> None:
    """It has no worker then, and goes on in another one where each of them stood."""
    signal = "wait: {{signal: {{name: {name}, expires_seconds: 600}}}}"
    wait = f"  - {{{{name: {{name}}, type: wait, {signal}, needs: {{needs}}}}}}\n"
    flow = fact("first") + wait.format(name="a", needs="first") + wait.format(name="b", needs="first")
    run_id = world.launch(
        "steps:\n" + flow + fact("a2", more=", needs: a") + fact("last", more=", needs: [a2, b]")
    )
    until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "it is parked")
    assert {wait.path for wait in world.service.run(run_id).waiting} == {"a", "b"}
    world.service.engine.signal(run_id, name="a", data=None, by="a test").result(20)
    until(lambda: "a2" in names(world.service.run(run_id)), "what needs a goes on, while b waits")
    world.service.engine.signal(run_id, name="b", data=None, by="a test").result(20)
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert set(statuses(run).values()) == {"succeeded"}
    assert len(names(run)) == 5


def test_a_killed_worker_costs_only_what_was_under_way(world: World, server: CountingServer) -> None:
    """What had ended is not done again, and its results are there; what was under way runs again, side by side."""
    flow = call(server, "done", method="POST", more=", needs: []")
    flow += call(server, "a", "/held/a", more=", needs: done") + call(
        server, "b", "/held/b", more=", needs: done"
    )
    flow += fact("last", "'{{ done.path }} {{ a.path }} {{ b.path }}'", more=", needs: [a, b]")
    run_id = world.launch("steps:\n" + flow)
    for path in ("/held/a", "/held/b"):
        server.wait_for_call(path)
    world.kill_worker(run_id)
    for path in ("/held/a", "/held/b"):
        server.wait_for_call(path, times=2)
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.data is not None, run.error
    assert run.data["last"] == "/done /held/a /held/b"
    assert server.calls["/done"] == 1
    assert {dispatch_of(row.seq) for row in world.events(run_id, Event.SUCCEEDED) if row.path != "done"} == {
        2
    }


def test_several_steps_may_be_in_doubt(world: World, server: CountingServer) -> None:
    """Two POSTs were under way: the run is interrupted, names both, and goes on once a person has decided on each."""
    flow = call(server, "a", "/held/a", method="POST", more=", needs: []")
    flow += call(server, "b", "/held/b", method="POST") + fact("last", more=", needs: [a, b]")
    run_id = world.launch(world.write("doubt.yml", "steps:\n" + flow))
    for path in ("/held/a", "/held/b"):
        server.wait_for_call(path)
    world.kill_worker(run_id)
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.INTERRUPTED, "interrupted")
    assert run.error is not None
    assert "'a'" in run.error.message
    assert "'b'" in run.error.message
    assert sorted(outline(run)) == [("a", 1, "interrupted"), ("b", 1, "interrupted")]
    world.service.resume_run(run_id, mode=ResumeMode.VALUE, step="b", value=7, by="ann")
    assert world.wait(run_id).status is RunStatus.INTERRUPTED
    world.service.resume_run(run_id, mode=ResumeMode.SKIP, step="a", value=None, by="ann")
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert statuses(run) == {"a": "skipped", "b": "succeeded", "last": "succeeded"}
    assert run.data is not None
    assert run.data["b"] == 7
    assert sum(server.calls.values()) == 2


def test_a_step_over_its_time_limit_costs_its_worker_and_not_the_others(
    world: World, server: CountingServer
) -> None:
    hang = "name: hang, type: jq, jq: {expression: 'def f: f; f'}, timeout_seconds: 0.3, needs: []"
    flow = f"fail_fast: false\nsteps:\n  - {{{hang}}}\n"
    run = world.run(flow + call(server, "other") + call(server, "behind", more=", needs: other"))
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "step_timeout")
    assert statuses(run) == {"hang": "failed", "other": "succeeded", "behind": "succeeded"}


@pytest.mark.parametrize("fail_fast", ["true", "false"])
def test_a_retry_runs_what_failed_and_what_needs_it(
    world: World, server: CountingServer, fail_fast: str
) -> None:
    """Steps beside it that had ended stay as they are, also those that began later."""
    flow = f"fail_fast: {fail_fast}\nsteps:\n" + call(server, "a", method="POST", more=", needs: []")
    flow += call(server, "b", method="POST", more=", needs: a") + call(
        server, "x", method="POST", more=", needs: b"
    )
    flow += call(server, "bad", method="POST", more=", needs: x") + call(
        server, "last", method="POST", more=", needs: [bad]"
    )
    server.statuses["/bad"] = [500]
    failed = world.run(flow)
    assert statuses(failed)["last"] == "not_started"
    accepted = world.service.retry_run(failed.run_id, RetryWish(), by="ann")
    run = world.wait(accepted.run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert dict(server.calls) == {"/a": 1, "/b": 1, "/x": 1, "/bad": 2, "/last": 1}
    assert {step.path for step in run.steps if step.kept} == {"a", "b", "x"}


def test_a_retry_from_a_step_keeps_what_does_not_need_it(world: World, server: CountingServer) -> None:
    flow = "steps:\n" + call(server, "a", more=", needs: []") + call(server, "b", more=", needs: a")
    flow += call(server, "c", more=", needs: []") + call(server, "d", more=", needs: [c, b]")
    done = world.run(flow)
    accepted = world.service.retry_run(done.run_id, RetryWish(from_step="b"), by="ann")
    assert world.wait(accepted.run_id).status is RunStatus.SUCCEEDED
    assert dict(server.calls) == {"/a": 1, "/b": 2, "/c": 1, "/d": 2}


def test_a_block_may_be_a_graph_too(world: World, server: CountingServer) -> None:
    """Its failure is the step's, and ends only what is inside."""
    go = f"{{name: go, type: rest, needs: [], rest: {{uri: '{server.url}/held/go'}}}}"
    inner = f"[{go}, {BAD}, needs: go}}, {{name: long, {LONG}}}]"
    run_id = world.launch(
        f"steps:\n  - {{name: loop, type: foreach, foreach: {{items: [1], steps: {inner}}}}}\n"
    )
    world.until_begun(run_id, "loop[1]/long")
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.FAILED
    ends = {"loop": "failed", "loop[1]/go": "succeeded", "loop[1]/bad": "failed", "loop[1]/long": "cancelled"}
    assert statuses(run) == ends


def test_a_sub_flow_that_is_ended_beside_a_failure_closes_itself(
    world: World, server: CountingServer
) -> None:
    close = call(server, "close")
    told = "on_cancel:\n" + call(server, "told", "/told/{{ __run__.error.code }}")
    world.write("sub/needs.yml", f"finally_step: close\n{told}steps:\n  - {{name: long, {LONG}}}\n{close}")
    flow = "steps:\n  - {name: child, type: flow, flow: {path: sub/needs.yml}}\n"
    flow += call(server, "go", "/held/go", more=", needs: []") + f"  - {BAD}, needs: go}}\n"
    run_id = world.launch(flow)
    world.until_begun(run_id, "child/long")
    server.open_gate.set()
    run = world.wait(run_id)
    assert error_code(run) == "jq_failed"
    assert statuses(run)["child"] == "cancelled"
    assert server.calls["/close"] == server.calls["/told/sibling_failed"] == 1
