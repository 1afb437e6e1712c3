"""Steps that hold steps: foreach, matrix, until, parallel, switch; over data of their own, and after a crash."""

from __future__ import annotations

from typing import Any

import pytest

from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.service.retries import RetryWish
from flow_processor.service.views import RunDetail
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, names, outline, until


def own_keys(run: RunDetail) -> dict[str, Any]:
    """The data without what every flow begins with."""
    return {key: value for key, value in (run.data or {}).items() if not key.startswith("__")}


def errors(run: RunDetail) -> list[dict[str, Any]]:
    assert run.data is not None
    found: list[dict[str, Any]] = run.data["__errors__"]
    return found


def wait_for_signal(name: str) -> str:
    return f"{{name: {name}, type: wait, wait: {{signal: {{name: {name}, expires_seconds: 600}}}}}}"


# What the steps inside see, and what comes of them.


def test_what_is_written_inside_stays_inside(world: World) -> None:
    run = world.run(
        """
steps:
  - {name: text, type: set_fact, set_fact: {value: outside}}
  - name: loop
    type: foreach
    foreach:
      items: [a, b]
      as: letter
      steps:
        - {name: seen, type: set_fact, set_fact: {value: "{{ text }} {{ __loop_index__ }}"}}
        - {name: text, type: set_fact, set_fact: {value: "{{ letter }} {{ seen }}"}}
        - {name: short, type: set_fact, when: letter == 'b', result_key: b_only, set_fact: {value: 1}}
"""
    )
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert own_keys(run) == {
        "text": "outside",
        "loop": [
            {"seen": "outside 1", "text": "a outside 1"},
            {"seen": "outside 2", "text": "b outside 2", "b_only": 1},
        ],
    }
    assert names(run) == [
        *("text", "loop", "loop[1]/seen", "loop[1]/text", "loop[1]/short"),
        *("loop[2]/seen", "loop[2]/text", "loop[2]/short"),
    ]


def test_blocks_stand_inside_each_other(world: World) -> None:
    run = world.run(
        """
steps:
  - name: outer
    type: matrix
    matrix:
      axes: {a: [1, 2], b: "{{ __input__ }}"}
      exclude: [{a: 2, b: x}]
      include: [{a: 9, b: z}]
      collect: inner
      steps:
        - name: inner
          type: parallel
          parallel:
            left:
              - name: loop
                type: foreach
                foreach:
                  items: [1, 2]
                  max_parallel: 2
                  collect: sum
                  steps: [{name: sum, type: set_fact, set_fact: {value: "{{ item + matrix.a }}"}}]
            right: [{name: b, type: set_fact, set_fact: {value: "{{ matrix.b }}"}}]
""",
        data=["x", "y"],
    )
    assert run.status is RunStatus.SUCCEEDED, run.error

    def result(a: int, b: str) -> dict[str, Any]:
        return {"left": {"loop": [a + 1, a + 2]}, "right": {"b": b}}

    assert own_keys(run) == {"outer": [result(1, "x"), result(1, "y"), result(2, "y"), result(9, "z")]}
    assert "outer[3]/inner[left]/loop[2]/sum" in names(run)


def test_until_goes_on_with_what_the_round_before_wrote(world: World) -> None:
    run = world.run(
        """
steps:
  - name: count
    type: until
    until:
      condition: [n > 2, __loop_index__ >= 3]
      max_rounds: 5
      steps: [{name: n, type: set_fact, set_fact: {value: "{{ (n or 0) + 1 }}"}}]
""".replace("(n or 0)", "(n if n is defined else 0)")
    )
    assert own_keys(run) == {"count": {"n": 3, "rounds": 3}}
    assert names(run) == ["count", "count[1]/n", "count[2]/n", "count[3]/n"]


def test_a_switch_takes_the_first_case_that_fits(world: World) -> None:
    flow = """
steps:
  - name: route
    type: switch
    switch:
      data_key: __input__
      cases:
        - {when: a.*, step: {type: set_fact, set_fact: {value: by pattern}}}
        - if: __input__ == 'b'
          steps:
            - {name: one, type: set_fact, set_fact: {value: 1}}
            - {name: two, type: set_fact, set_fact: {value: "{{ one + 1 }}"}}
        - {if: true, steps: [{name: rest, type: set_fact, set_fact: {value: 0}}]}
"""
    path = world.write("switch.yml", flow)
    assert own_keys(world.run(path, data="abc")) == {"route": "by pattern"}
    run = world.run(path, data="b")
    assert own_keys(run) == {"route": {"one": 1, "two": 2}}
    assert names(run) == ["route", "route[2]/one", "route[2]/two"]
    assert own_keys(world.run(path, data="c")) == {"route": {"rest": 0}}


def test_goto_jumps_inside_its_list_and_exit_ends_the_flow(world: World) -> None:
    run = world.run(
        """
steps:
  - name: loop
    type: foreach
    foreach:
      items: [1, 2, 3]
      steps:
        - {name: over, type: goto, goto: {step_name: last}}
        - {name: never, type: set_fact, set_fact: {value: 1}}
        - {name: last, type: set_fact, set_fact: {value: "{{ item }}"}}
        - {name: enough, type: exit, when: item == 2, exit: {message: enough}}
  - {name: after, type: set_fact, set_fact: {value: 1}}
"""
    )
    assert (run.status, run.reason) == (RunStatus.EXITED, "enough")
    assert own_keys(run) == {
        "loop": [{"over": None, "last": 1}, {"over": None, "last": 2, "enough": "enough"}]
    }


def test_an_empty_list_gives_an_empty_list(world: World) -> None:
    steps = "steps: [{name: s, type: set_fact, set_fact: {value: 1}}]"
    run = world.run(
        f"steps:\n- {{name: a, type: foreach, foreach: {{data_key: __input__, {steps}}}}}\n"
        f"- {{name: b, type: matrix, matrix: {{axes: {{x: []}}, {steps}}}}}\n",
        data=[],
    )
    assert own_keys(run) == {"a": [], "b": []}


# Failures.

FRAGILE = "{name: check, type: raise, when: item == 2, raise: {message: 'no {{ item }}', code: no_two}}"
FINE = "{name: fine, type: set_fact, set_fact: {value: '{{ item }}'}}"


def test_an_element_that_fails_ends_the_loop(world: World) -> None:
    run = world.run(
        f"steps:\n- {{name: loop, type: foreach, foreach: {{items: [1, 2, 3], steps: [{FRAGILE}, {FINE}]}}}}\n"
    )
    assert run.error is not None
    assert (run.error.code, run.error.message, run.error.step) == ("no_two", "no 2", "loop")
    assert run.error.details == {"index": 2, "step": "loop[2]/check"}
    assert [entry["step"] for entry in errors(run)] == ["loop"]
    assert "loop[3]/check" not in names(run)


def test_with_continue_the_others_go_on(world: World) -> None:
    run = world.run(
        "steps:\n- {name: loop, type: foreach, foreach: {items: [1, 2, 3], on_item_error: continue, collect: fine,"
        f" steps: [{FRAGILE}, {FINE}]}}}}\n"
    )
    assert own_keys(run) == {"loop": [1, None, 3]}
    (noted,) = errors(run)
    assert noted == {"step": "loop[2]/check", "code": "no_two", "error": "no 2", "details": {}, "index": 2}


def test_what_is_ignored_inside_joins_the_errors_of_the_flow(world: World) -> None:
    fragile = FRAGILE.replace("raise: {", "ignore_errors: no, raise: {")
    run = world.run(
        f"steps:\n- {{name: loop, type: foreach, foreach: {{items: [1, 2], steps: [{fragile}, {FINE}]}}}}\n"
        "- {name: told, type: set_fact, set_fact: {value: '{{ __errors__ | length }}'}}\n"
    )
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert own_keys(run)["told"] == 1
    assert [(entry["step"], entry["ignored"]) for entry in errors(run)] == [("check", "no")]


SLOW = "{name: slow, type: sleep, when: item != 2, sleep: {seconds: 600}}"


@pytest.mark.parametrize(
    ("step", "ended", "failed"),
    [
        ("type: matrix, matrix: {axes: {item: [1, 2, 3]}, steps: [INNER]}", "both[1]/slow", "both[2]/check"),
        ("type: parallel, parallel: {a: [SLOW], b: [FAILS]}", "both[a]/slow", "both[b]/check"),
    ],
)
def test_a_failure_ends_what_runs_beside_it(world: World, step: str, ended: str, failed: str) -> None:
    """Also what waits: the run is not parked meanwhile."""
    inner = f"{SLOW}, {FRAGILE}".replace("item", "matrix.item")
    step = (
        step.replace("INNER", inner).replace("SLOW", SLOW).replace("FAILS", FRAGILE.replace("== 2", "== 1"))
    )
    start = "- {name: item, type: set_fact, set_fact: {value: 1}}\n"
    run = world.run(f"steps:\n{start}- {{name: both, {step}}}\n")
    assert error_code(run) == "no_two"
    assert run.error is not None
    assert run.error.details["step"] == failed
    by_path = {one.path: one for one in run.steps}
    assert by_path[ended].error is not None
    assert by_path[ended].error.code == "sibling_failed"
    assert failed in by_path[ended].error.message


def test_without_fail_fast_the_others_run_first(world: World) -> None:
    inner = FRAGILE.replace("item", "matrix.item") + ", " + FINE.replace("item", "matrix.item")
    run = world.run(
        "steps:\n- {name: all, type: matrix, matrix: {axes: {item: [1, 2, 3]}, fail_fast: false, "
        f"steps: [{inner}]}}}}\n"
    )
    assert run.error is not None
    assert run.error.details == {"matrix": {"item": 2}, "step": "all[2]/check"}
    assert "all[3]/fine" in names(run)


def test_a_step_that_holds_steps_is_retried_and_ignored_as_any_other(world: World) -> None:
    run = world.run(
        "steps:\n- {name: loop, type: foreach, retry: {attempts: 1, delay_seconds: 0}, ignore_errors: no 2, "
        f"foreach: {{items: [1, 2], steps: [{FRAGILE}, {FINE}]}}}}\n"
    )
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert [name for name in names(run) if name.endswith("check")] == [
        "loop[1]/check",
        "loop[2]/check",
        "loop[attempt 2][1]/check",
        "loop[attempt 2][2]/check",
    ]


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("type: foreach, foreach: {data_key: __input__, steps: [INNER]}", "not_a_list"),
        ("type: foreach, foreach: {items: '{{ __input__ }}', steps: [INNER]}", "not_a_list"),
        ("type: foreach, foreach: {data_key: none, steps: [INNER]}", "data_key_missing"),
        ("type: matrix, matrix: {axes: {a: '{{ __input__ }}'}, steps: [INNER]}", "not_a_list"),
        (
            "type: matrix, matrix: {axes: {a: '{{ range(101) | list }}', b: '{{ range(100) | list }}'}, "
            "steps: [INNER]}",
            "matrix_too_large",
        ),
        ("type: until, until: {condition: false, max_rounds: 2, steps: [INNER]}", "until_exhausted"),
        ("type: until, until: {condition: \"'maybe'\", max_rounds: 2, steps: [INNER]}", "when_not_boolean"),
        (
            "type: until, timeout_seconds: 0.3, until: {condition: false, delay_seconds: 600, max_rounds: 9, "
            "steps: [INNER]}",
            "step_timeout",
        ),
        (
            "type: foreach, timeout_seconds: 0.3, foreach: {items: [1, 2], on_item_error: continue, steps: "
            "[{name: slow, type: sleep, sleep: {seconds: 600}}]}",
            "step_timeout",
        ),
        (
            "type: switch, switch: {cases: [{if: nothing.at.all > 'x', step: {type: raise, raise: {message: x}}},"
            "{if: true, steps: [{name: r, type: raise, raise: {message: x, code: my_own}}]}]}",
            "my_own",
        ),
    ],
)
def test_what_goes_wrong_says_so(world: World, step: str, code: str) -> None:
    inner = "{name: s, type: set_fact, set_fact: {value: 1}}"
    assert error_code(world.run(f"steps:\n- {{name: a, {step.replace('INNER', inner)}}}\n", data=5)) == code


# Crashes, waits, cancels.


def test_finished_elements_are_not_run_again_after_a_crash(world: World, server: CountingServer) -> None:
    """Every element posts; the worker is killed in the middle of the third one."""
    run_id = world.launch(
        f"""
steps:
  - name: loop
    type: foreach
    foreach:
      items: [1, 2, 3, 4]
      collect: told
      steps:
        - {{name: call, type: rest, rest: {{uri: '{server.url}/item/{{{{ item }}}}', method: POST}}}}
        - {{name: slow, type: sleep, when: item == 3, sleep: {{seconds: 0.5}}}}
        - {{name: told, type: set_fact, set_fact: {{value: '{{{{ call.path }}}}'}}}}
"""
    )
    world.until_begun(run_id, "loop[3]/slow")
    world.kill_worker(run_id)
    run = world.wait(run_id)
    assert own_keys(run) == {"loop": [f"/item/{number}" for number in (1, 2, 3, 4)]}
    assert {path: server.calls[path] for path in server.calls} == {f"/item/{n}": 1 for n in (1, 2, 3, 4)}


def test_elements_that_wait_do_not_hold_a_worker(world: World) -> None:
    run_id = world.launch(
        "steps:\n- {name: loop, type: foreach, foreach: {items: [a, b], max_parallel: 2, steps: "
        f"[{wait_for_signal('go')}, {FINE}]}}}}\n"
    )
    until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "it is parked")
    for answer in (1, 2):
        world.service.engine.signal(run_id, name="go", data=answer, by="a test").result(20)
    run = world.wait(run_id)
    assert [one["fine"] for one in own_keys(run)["loop"]] == ["a", "b"]
    assert len(world.events(run_id, Event.DISPATCHED)) > 1


def test_the_pause_between_rounds_is_not_waited_for_twice(world: World, server: CountingServer) -> None:
    """It parks the run; what the first round did is not done again."""
    run_id = world.launch(
        f"""
steps:
  - name: poll
    type: until
    until:
      condition: __loop_index__ > 1
      max_rounds: 3
      delay_seconds: 3
      steps: [{{name: status, type: rest, rest: {{uri: '{server.url}/poll', method: POST}}}}]
"""
    )
    until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "it is parked")
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert server.calls["/poll"] == 2
    first, second = world.events(run_id, Event.SUCCEEDED)[:2]
    assert 2.9 < second.data["started_at"] - first.at < 10


def test_a_cancel_ends_the_elements(world: World) -> None:
    run_id = world.launch(
        "steps:\n- {name: loop, type: foreach, foreach: {items: [1, 2, 3], max_parallel: 2, on_item_error: continue, "
        "steps: [{name: slow, type: sleep, sleep: {seconds: 600}}]}}\n"
    )
    world.until_begun(run_id, "loop[2]/slow")
    world.service.cancel_run(run_id, by="a test")
    run = world.wait(run_id)
    assert run.status is RunStatus.CANCELLED
    assert {one.status.value for one in run.steps} == {"cancelled"}
    assert "loop[3]/slow" not in names(run)


def test_a_retry_keeps_the_elements_that_went_well(world: World, server: CountingServer) -> None:
    path = world.write(
        "retried.yml",
        f"""
steps:
  - name: both
    type: parallel
    parallel:
      one:
        - name: loop
          type: foreach
          foreach:
            items: [a, b, c]
            steps:
              - {{name: call, type: rest, rest: {{uri: '{server.url}/{{{{ item }}}}', method: POST}}}}
      two: [{{name: call, type: rest, rest: {{uri: '{server.url}/two', method: POST}}}}]
""",
    )
    server.statuses["/b"] = [500]
    first = world.run(path)
    assert first.status is RunStatus.FAILED
    again = world.wait(world.service.retry_run(first.run_id, RetryWish(), by="a test").run_id)
    assert again.status is RunStatus.SUCCEEDED, again.error
    assert {path: server.calls[path] for path in ("/a", "/b", "/c", "/two")} == {
        "/a": 1,
        "/b": 2,
        "/c": 1,
        "/two": 1,
    }


def test_rounds_that_were_used_up_are_made_anew_by_a_retry(world: World) -> None:
    path = world.write(
        "exhausted.yml",
        "steps:\n- {name: poll, type: until, until: {condition: false, max_rounds: 2, steps: "
        "[{name: s, type: set_fact, set_fact: {value: 1}}]}}\n",
    )
    first = world.run(path)
    again = world.wait(world.service.retry_run(first.run_id, RetryWish(), by="a test").run_id)
    assert error_code(again) == "until_exhausted"
    assert not any(step.kept for step in again.steps)
    assert outline(again) == outline(first)
