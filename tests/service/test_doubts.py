"""A step in doubt stays in doubt until a person has decided, whatever fails beside it."""

from __future__ import annotations

import pytest

from flow_processor.errors import RunInDoubt
from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, outline
from tests.service.test_resume import interrupted
from tests.service.test_retry import call, retry

_HELD = "/held/{{ item | default(__input__, true) }}"
_GOT = "{name: got, type: set_fact, set_fact: {value: '{{ call.path }}'}}"


def flow_of(kind: str, world: World, server: CountingServer) -> tuple[str, str, str]:
    """A flow that makes two calls at once and fails where the result of one is missing; the paths of the calls."""
    call_of = "{{name: {}, type: rest, rest: {{uri: '{}', method: POST}}}}"
    inner = f"steps: [{call_of.format('call', server.url + _HELD)}, {_GOT}]"
    if kind == "needs":
        one, two = (call_of.format(name, f"{server.url}/held/{name}") for name in ("one", "two"))
        fact = "{name: got, type: set_fact, needs: one, set_fact: {value: '{{ one.path }}'}}"
        return f"steps:\n  - {one}\n  - {two}\n  - {fact}\n", "one", "two"
    if kind == "flow_loop":
        world.write("in_doubt.yml", inner)
        options = "{path: in_doubt.yml, data_key: __input__, on_item_error: fail}"
    elif kind == "matrix":
        inner = inner.replace("item |", "matrix.item |")
        options = f"{{axes: {{item: [one, two]}}, max_parallel: 2, {inner}}}"
    else:
        options = f"{{items: [one, two], max_parallel: 2, {inner}}}"
    return f"steps:\n  - {{name: all, type: {kind}, {kind}: {options}}}\n", "all[1]/call", "all[2]/call"


@pytest.mark.parametrize("kind", ["foreach", "flow_loop", "matrix", "needs"])
def test_a_failure_beside_it_takes_no_doubt_away(world: World, server: CountingServer, kind: str) -> None:
    """What a person has said holds too, also for a step that the run never comes to again."""
    steps, first, second = flow_of(kind, world, server)
    told = f"on_failure:\n{call(server, 'told', '/told')}"
    if kind == "needs":
        steps = steps.replace("type: rest,", "type: rest, needs: [],")
    run_id = world.launch(world.write(f"doubt_{kind}.yml", told + steps), data=["one", "two"])
    for name in ("one", "two"):
        server.wait_for_call(f"/held/{name}")
    world.kill_worker(run_id)
    assert world.wait(run_id).status is RunStatus.INTERRUPTED
    server.open_gate.set()
    resume = world.service.resume_run
    resume(run_id, mode=ResumeMode.SKIP, step=first, by="ann")
    run = world.wait(run_id)
    assert run.status is RunStatus.INTERRUPTED
    assert run.error is not None
    assert run.error.step == second
    assert f"in doubt: '{second}': " in run.error.message
    assert server.calls["/told"] == 0, "the run has not ended"
    resume(run_id, mode=ResumeMode.VALUE, step=second, value={"path": "known"}, by="ann")
    run = world.wait(run_id)
    assert run.status is RunStatus.FAILED
    assert dict(server.calls) == {"/held/one": 1, "/held/two": 1, "/told": 1}
    assert {(first, 1, "skipped"), (second, 1, "succeeded")} <= set(outline(run))
    retry(world, run_id)
    assert dict(server.calls) == {"/held/one": 1, "/held/two": 1, "/told": 2}


def test_a_run_in_doubt_is_not_tried_again(world: World, server: CountingServer) -> None:
    """Nor is it from an explicit step: that would send the call a second time without a word."""
    run_id = interrupted(world, server, f"steps:\n{call(server, 'b', '/held/b')}", calls=("/held/b",))
    for wish in (RetryWish(), RetryWish(from_step="b"), RetryWish(use_current_flow=True)):
        with pytest.raises(RunInDoubt, match=r"in doubt: 'b'; .*octospool runs resume") as refused:
            world.service.retry_run(run_id, wish, by="ann")
    assert refused.value.details == {"run_id": run_id, "steps": ["b"]}
    assert dict(server.calls) == {"/held/b": 1}


def test_a_run_in_doubt_is_given_up_by_leaving_the_step_out_and_a_cancel(
    world: World, server: CountingServer
) -> None:
    wait = "  - {name: wait, type: wait, wait: {signal: never}}\n"
    closing = f"on_cancel:\n{call(server, 'bye', '/bye')}"
    flow = f"{closing}steps:\n{call(server, 'b', '/held/b')}{wait}"
    run_id = interrupted(world, server, flow, calls=("/held/b",))
    world.service.resume_run(run_id, mode=ResumeMode.SKIP, by="ann")
    world.service.cancel_run(run_id, by="ann")
    run = world.wait(run_id)
    assert run.status is RunStatus.CANCELLED
    assert outline(run)[0] == ("b", 1, "skipped")
    assert dict(server.calls) == {"/held/b": 1, "/bye": 1}
