"""A run that is to end after a step, and a run that begins with the results of an earlier one."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

import pytest

from flow_processor.errors import InvalidRequest, NothingFailed
from flow_processor.run import RunStatus
from flow_processor.service.retries import RetryWish
from flow_processor.service.views import RunDetail
from tests.engine.world import World, names

FACT = "type: set_fact, set_fact: {value: '{{ __run_id__ }}'}"


NUMBERS = count()
AGES = count(100)


def flow_of(*steps: str, head: str = "") -> str:
    """A flow of set_fact steps; a step's text is its name, and what else it says."""
    lines = [
        f"  - {{name: {step.partition(',')[0]}{step.partition(',')[1]}{step.partition(',')[2]}, {FACT}}}"
        for step in steps
    ]
    return "\n".join([head, "steps:", *lines]) + "\n"


def write(world: World, path: str, text: str) -> str:
    """A flow file that was last changed a while ago, so that it is in force at once."""
    file = world.settings.flows_path / world.write(path, text)
    then = file.stat().st_mtime - next(AGES)
    os.utime(file, (then, then))
    return path


def run_until(world: World, flow: str, until: str, **options: Any) -> RunDetail:
    path = write(world, f"flow{next(NUMBERS)}.yml", flow)
    return world.wait(world.service.launch(path, until=until, **options).run_id)


def go_on(world: World, run_id: str, **wish: Any) -> RunDetail:
    accepted = world.service.retry_run(run_id, RetryWish(use_current_flow=True, **wish), by="ann")
    return world.wait(accepted.run_id)


def test_the_run_ends_after_the_step_and_says_so(world: World) -> None:
    run = run_until(world, flow_of("a", "b", "c"), "b")
    assert (run.status, names(run)) == (RunStatus.EXITED, ["a", "b"])
    assert run.error is not None
    assert run.error.message == "ended after step 'b', as asked (until)"
    assert "is to end after step 'b'" in [event.text for event in run.events]


def test_a_skipped_step_ends_it_too_and_one_that_is_never_reached_does_not(world: World) -> None:
    assert names(run_until(world, flow_of("a", "b, when: false", "c"), "b")) == ["a", "b"]
    jump = "steps:\n  - {name: a, type: goto, goto: {step_name: c}}\n  - {name: b, type: exit}\n"
    run = run_until(world, f"{jump}  - {{name: c, {FACT}}}\n", "b")
    assert (run.status, names(run)) == (RunStatus.SUCCEEDED, ["a", "c"])


def test_of_steps_with_needs_only_those_run_that_are_needed(world: World) -> None:
    run = run_until(world, flow_of("other", "c, needs: [b]", "b, needs: a", "a", "d, needs: b"), "b")
    assert (run.status, names(run)) == (RunStatus.EXITED, ["a", "b"])


def test_what_cleans_up_still_runs_and_success_is_not_told(world: World) -> None:
    head = "\n".join(
        f"{handler}: [{{name: h, {FACT}}}]" for handler in ("on_success", "on_failure", "finally")
    )
    run = run_until(world, flow_of("a", "b", "last", head=f"finally_step: last\n{head}"), "a")
    assert (run.status, names(run)) == (RunStatus.EXITED, ["a", "last", "finally/h"])


def test_a_failure_before_the_step_is_a_failure(world: World) -> None:
    flow = f"steps:\n  - {{name: a, type: raise, raise: {{message: no}}}}\n  - {{name: b, {FACT}}}\n"
    assert run_until(world, flow, "b").status is RunStatus.FAILED


def test_an_unknown_step_is_refused_with_a_near_name(world: World) -> None:
    path = write(world, "typo.yml", flow_of("fetch"))
    with pytest.raises(InvalidRequest, match="did you mean 'fetch'") as error:
        world.service.launch(path, until="fecth")
    assert error.value.code == "unknown_step"


def test_a_run_goes_on_behind_the_step_with_an_edited_flow(world: World) -> None:
    first = run_until(world, flow_of("a", "b", "last", head="finally_step: last"), "a")
    write(world, first.flow, flow_of("a", "new", "last", head="finally_step: last"))
    run = go_on(world, first.run_id)
    assert (run.status, names(run)) == (RunStatus.SUCCEEDED, ["a", "new", "last"])
    assert run.data is not None
    assert (run.data["a"], run.data["new"]) == (first.run_id, run.run_id)
    assert run.data["last"] == run.run_id  # it ran at the end of the first run, as cleaning up


def test_a_run_begins_at_a_step_with_the_results_of_another_and_ends_where_it_is_told(world: World) -> None:
    first = world.run(flow_of("a", "b", "c", "d"))
    with pytest.raises(NothingFailed):
        go_on(world, first.run_id)
    run = go_on(world, first.run_id, from_step="b", until="c")
    assert (run.status, names(run)) == (RunStatus.EXITED, ["a", "b", "c"])
    assert run.data is not None
    assert [run.data["a"], run.data["b"]] == [first.run_id, run.run_id]


def test_a_run_may_begin_at_a_step_that_was_never_reached_if_all_before_it_is_done(world: World) -> None:
    first = run_until(world, flow_of("a", "b", "c"), "a")
    assert names(go_on(world, first.run_id, from_step="b")) == ["a", "b", "c"]
    with pytest.raises(InvalidRequest, match="step 'b' is not done, and 'c' comes after it; begin at 'b'"):
        go_on(world, first.run_id, from_step="c")
