"""Where a flow goes on: goto, exit, switch, sub-flows, loops."""

from __future__ import annotations

import pytest

from flow_processor.run import RunStatus
from tests.engine.world import World, error_code, names, outline

STEP_FAILS = """  - {name: bad, type: jq, jq: {expression: 'error("no such luck")'}}\n"""


def fact(name: str, value: str, more: str = "") -> str:
    """A step (one line of YAML) that sets a value."""
    return f"  - {{name: {name}, type: set_fact, set_fact: {{value: {value}}}{more}}}\n"


def goto(target: str, more: str = "") -> str:
    """A step (one line of YAML) that jumps."""
    return f"  - {{name: jump, type: goto, goto: {{step_name: {target}}}{more}}}\n"


COUNT = "  - {name: n, type: jq, jq: {expression: '(.n // 0) + 1'}}\n"

# goto and exit.


def test_goto_makes_a_loop_and_each_visit_has_its_path(world: World) -> None:
    run = world.run("steps:\n" + COUNT + goto("n", ", when: 'n < 3'"))
    assert names(run) == ["n", "jump", "n#2", "jump#2", "n#3", "jump#3"]
    assert [step.status.value for step in run.steps][-1] == "skipped"
    assert run.data is not None
    assert run.data["n"] == 3


def test_goto_forward_leaves_out_what_is_between(world: World) -> None:
    run = world.run("steps:\n" + goto("last") + fact("between", "1") + fact("last", "2"))
    assert names(run) == ["jump", "last"]


@pytest.mark.parametrize(
    ("mark", "status", "visits"),
    [
        ("__start__", RunStatus.SUCCEEDED, ["n", "jump", "n#2", "jump#2", "last"]),
        ("__end__", RunStatus.SUCCEEDED, ["n", "jump"]),
        ("__exit__", RunStatus.EXITED, ["n", "jump"]),
    ],
)
def test_goto_marks(world: World, mark: str, status: RunStatus, visits: list[str]) -> None:
    run = world.run("steps:\n" + COUNT + goto(mark, ", when: 'n < 2'") + fact("last", "1"))
    assert (run.status, names(run)) == (status, visits)


def test_too_many_jumps_end_the_run(world: World) -> None:
    run = world.run("max_jumps: 7\nsteps:\n" + COUNT + goto("n"))
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "too_many_jumps")
    assert run.data is not None
    assert run.data["n"] == 8, "seven jumps were made, the eighth was not"


def test_jumps_after_errors_count_too(world: World) -> None:
    bad = STEP_FAILS.replace("}}\n", "}, on_error_goto: __start__}\n")
    run = world.run("max_jumps: 5\nsteps:\n" + COUNT + bad)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "too_many_jumps")
    assert run.data is not None
    assert run.data["n"] == 6


def test_a_thousand_jumps_are_allowed_unless_the_flow_says_otherwise(world: World) -> None:
    run = world.run("steps:\n" + COUNT + goto("n"))
    assert run.data is not None
    assert (error_code(run), run.data["n"]) == ("too_many_jumps", 1001)


def test_exit_ends_the_run_here(world: World) -> None:
    leave = "  - {name: leave, type: exit, exit: {message: 'nothing for {{ __input__ }}'}}\n"
    run = world.run("steps:\n" + fact("a", "1") + leave + fact("never", "1"), data="you")
    assert run.status is RunStatus.EXITED
    assert names(run) == ["a", "leave"]
    assert run.data is not None
    assert run.data["leave"] == "nothing for you"
    assert run.reason == "nothing for you"


# switch.

SWITCH = """steps:
  - name: route
    type: switch
    switch:
      data_key: __input__
      cases:
        - when: "a+"
          step: {type: set_fact, set_fact: {value: letters}}
        - when: "[0-9]"
          step: {name: digit, type: set_fact, set_fact: {value: number}}
        - when: bad
          step: {name: bad, type: jq, jq: {expression: 'error("no such luck")'}}
        - when: retry
          step: {name: again, type: jq, jq: {expression: 'error("no luck")'}, retry: {attempts: 1, delay_seconds: 0}}
        - when: leave
          step: {name: leave, type: goto, goto: {step_name: __end__}}
      default: {type: set_fact, set_fact: {value: neither}}
    ignore_errors: [luck]
  - {name: after, type: set_fact, set_fact: {value: '{{ __errors__ | length }}'}}
"""


@pytest.mark.parametrize(
    ("value", "inner", "result"),
    [
        ("aaa", "route/1", "letters"),
        (7, "route/digit", "number"),
        ("77", "route/default", "neither"),
        (None, "route/default", "neither"),
    ],
)
def test_switch_runs_the_step_of_its_case(world: World, value: object, inner: str, result: str) -> None:
    """The pattern must match the whole value; the inner step stands in history below the switch."""
    run = world.run(SWITCH, data=value)
    assert names(run) == ["route", inner, "after"]
    assert run.data is not None
    assert run.data["route"] == result


def test_a_failure_inside_a_switch_is_the_switchs_own(world: World) -> None:
    """It is one error of the flow, and the flow sees the same as history does."""
    run = world.run(SWITCH, data="bad")
    assert outline(run) == [("route", 1, "ignored"), ("route/bad", 1, "failed"), ("after", 1, "succeeded")]
    assert run.data is not None
    assert [entry["code"] for entry in run.data["__errors__"]] == ["jq_failed"] * run.data["after"]


def test_a_step_inside_a_switch_has_tries_of_its_own(world: World) -> None:
    run = world.run(SWITCH, data="retry")
    assert ("route/again", 2, "failed") in outline(run)


def test_a_goto_inside_a_switch_jumps_in_the_flow(world: World) -> None:
    assert names(world.run(SWITCH, data="leave")) == ["route", "route/leave"]


# Sub-flows.


def call(path: str, more: str = "", key: str = "__input__") -> str:
    """A step that runs a sub-flow."""
    return f"  - {{name: child, type: flow, flow: {{path: {path}, data_key: {key}}}{more}}}\n"


def test_a_sub_flow_gives_its_whole_data_back(world: World) -> None:
    world.write("sub/double.yml", "steps:\n" + fact("twice", "'{{ __input__ * 2 }}'"))
    run = world.run("steps:\n" + call("sub/double.yml") + fact("got", "'{{ child.twice }}'"), data=21)
    assert names(run) == ["child", "child/twice", "got"]
    assert run.data is not None
    assert run.data["got"] == 42
    child = run.data["child"]
    assert (child["__input__"], child["__flow_path__"]) == (21, "sub/double.yml")
    assert child["__run_id__"] == run.run_id
    assert child["__timestamp__"] == run.data["__timestamp__"]
    assert child["__loop_index__"] is None
    assert "twice" not in run.data, "the parent's data is not touched by the child's steps"


def test_a_sub_flow_does_not_see_its_parents_data(world: World) -> None:
    world.write("sub/look.yml", "steps:\n" + fact("sees", "'{{ secret_of_parent is defined }}'"))
    data = world.succeed("steps:\n" + fact("secret_of_parent", "1") + call("sub/look.yml"))
    assert data["child"]["sees"] is False


def test_a_failed_sub_flow_fails_its_step_with_the_childs_error(world: World) -> None:
    world.write("sub/fails.yml", "steps:\n" + STEP_FAILS)
    run = world.run("steps:\n" + call("sub/fails.yml"))
    assert outline(run) == [("child", 1, "failed"), ("child/bad", 1, "failed")]
    assert run.error is not None
    assert (run.error.code, run.error.step) == ("jq_failed", "child")
    assert run.error.details["flow"] == "sub/fails.yml"
    assert run.error.details["step"] == "child/bad"
    assert "no such luck" in run.error.message


def test_a_failed_sub_flow_may_be_ignored(world: World) -> None:
    world.write("sub/fails.yml", "steps:\n" + STEP_FAILS)
    data = world.succeed("steps:\n" + call("sub/fails.yml", ", ignore_errors: luck") + fact("next", "1"))
    assert "child" not in data
    assert [entry["step"] for entry in data["__errors__"]] == ["child"]


def test_errors_that_a_sub_flow_ignored_stay_in_its_own_data(world: World) -> None:
    world.write("sub/ignores.yml", "steps:\n" + STEP_FAILS.replace("}}\n", "}, ignore_errors: luck}\n"))
    data = world.succeed("steps:\n" + call("sub/ignores.yml"))
    assert data["__errors__"] == []
    assert len(data["child"]["__errors__"]) == 1


def test_exit_in_a_sub_flow_ends_that_sub_flow(world: World) -> None:
    world.write("sub/leaves.yml", "steps:\n  - {name: leave, type: exit, exit: {}}\n" + fact("never", "1"))
    run = world.run("steps:\n" + call("sub/leaves.yml") + fact("next", "1"))
    assert run.status is RunStatus.SUCCEEDED
    assert names(run) == ["child", "child/leave", "next"]


def test_a_retried_sub_flow_begins_anew(world: World) -> None:
    """Every attempt of the calling step is an execution of its own, with steps of its own in history."""
    world.write("sub/fails.yml", "steps:\n" + fact("first", "1") + STEP_FAILS)
    run = world.run("steps:\n" + call("sub/fails.yml", ", retry: {attempts: 1, delay_seconds: 0}"))
    assert [step for step in outline(run) if step[0] == "child"] == [
        ("child", 1, "failed"),
        ("child", 2, "failed"),
    ]
    assert sum(step.path.endswith("/first") for step in run.steps) == 2


def test_the_run_keeps_the_version_of_a_sub_flow_it_was_launched_with(world: World) -> None:
    world.write("sub/versioned.yml", "steps:\n" + fact("version", "1"))
    wait = "  - {name: wait, type: sleep, sleep: {seconds: 0.3}}\n"
    run_id = world.launch("steps:\n" + wait + call("sub/versioned.yml"))
    world.until_begun(run_id, "wait")
    world.write("sub/versioned.yml", "steps:\n" + fact("version", "'second version'"))
    data = world.wait(run_id).data
    assert data is not None
    assert data["child"]["version"] == 1


# Loops.


def loop(path: str, more: str = "", options: str = "") -> str:
    """A step that runs a sub-flow for each element of the input."""
    return f"  - {{name: each, type: flow_loop, flow_loop: {{path: {path}, data_key: __input__{options}}}{more}}}\n"


ITEM = "steps:\n" + fact("got", "'{{ [__loop_index__, __input__] }}'")
PICKY = """steps:
  - {name: check, type: jq, jq: {expression: 'if .__input__ % 2 == 0 then error("even: \\(.__input__)") else . end'}}
"""


def test_a_loop_gives_results_in_the_order_of_its_items(world: World) -> None:
    """Counted from 1, whatever the order in which they end."""
    world.write(
        "sub/slow_first.yml", ITEM + "  - {name: wait, type: sleep, sleep: {seconds: '{{ __input__ }}'}}\n"
    )
    data = world.succeed("steps:\n" + loop("sub/slow_first.yml"), data=[0.2, 0.1, 0.0])
    assert [item["got"] for item in data["each"]] == [[1, 0.2], [2, 0.1], [3, 0.0]]
    assert [item["__loop_index__"] for item in data["each"]] == [1, 2, 3]


def test_a_loop_over_nothing_gives_an_empty_list(world: World) -> None:
    world.write("sub/item.yml", ITEM)
    assert world.succeed("steps:\n" + loop("sub/item.yml"), data=[])["each"] == []


@pytest.mark.parametrize("value", [None, {"a": 1}, "text", 7])
def test_a_loop_over_something_else_fails(world: World, value: object) -> None:
    world.write("sub/item.yml", ITEM)
    assert error_code(world.run("steps:\n" + loop("sub/item.yml"), data=value)) == "not_a_list"


def test_a_thousand_items(world: World) -> None:
    """Each is there once, in order, with its own step in history."""
    world.write("sub/item.yml", ITEM)
    run = world.run("steps:\n" + loop("sub/item.yml"), data=list(range(1000)))
    assert run.data is not None
    assert [item["got"] for item in run.data["each"]] == [[n + 1, n] for n in range(1000)]
    assert run.steps_total == 1001
    every = world.service.run(run.run_id, max_steps=5000)
    assert {step.path for step in every.steps} == {"each", *(f"each[{n}]/got" for n in range(1, 1001))}


def test_failed_items_do_not_fail_the_loop_and_are_told_with_their_number(world: World) -> None:
    world.write("sub/picky.yml", PICKY)
    run = world.run("steps:\n" + loop("sub/picky.yml") + fact("next", "1"), data=[1, 2, 3, 4])
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    errors = run.data["__errors__"]
    assert [(entry["index"], entry["code"]) for entry in errors] == [(2, "jq_failed"), (4, "jq_failed")]
    assert "even: 4" in errors[1]["error"]
    assert len(run.data["each"]) == 4


def test_with_on_item_error_fail_the_first_failed_item_fails_the_loop(world: World) -> None:
    world.write("sub/picky.yml", PICKY)
    flow = "steps:\n" + loop("sub/picky.yml", options=", on_item_error: fail, max_parallel: 1")
    run = world.run(flow, data=[1, 2, 3, 4])
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "jq_failed")
    assert run.error is not None
    assert run.error.details["index"] == 2
    assert "each[3]/check" not in names(run), "no further item began"


def test_max_parallel_bounds_how_many_items_are_under_way(world: World) -> None:
    world.write("sub/waits.yml", "steps:\n  - {name: wait, type: sleep, sleep: {seconds: 0.15}}\n")
    run = world.run("steps:\n" + loop("sub/waits.yml", options=", max_parallel: 2"), data=[1, 2, 3, 4, 5])
    spans = [(step.started_at, step.ended_at) for step in run.steps if step.path.endswith("/wait")]
    assert len(spans) == 5
    for begun, _ in spans:
        assert sum(1 for b, e in spans if b and e and begun and b <= begun < e) <= 2


def test_loops_inside_loops(world: World) -> None:
    world.write("sub/item.yml", ITEM)
    world.write("sub/row.yml", "steps:\n" + loop("sub/item.yml"))
    run = world.run("steps:\n" + loop("sub/row.yml"), data=[[1, 2], [], [3]])
    assert run.data is not None
    assert [[item["got"][1] for item in row["each"]] for row in run.data["each"]] == [[1, 2], [], [3]]
    assert "each[3]/each[1]/got" in names(run)
