"""What the engine does around each step: order, when, results, ignored errors, further tries, data that steps see."""

from __future__ import annotations

import json
import re

import pytest

from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.run_state import StepStatus
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, names, outline


def failing(name: str, more: str = "") -> str:
    """A step (one line of YAML) that fails with code jq_failed and the text `no such luck`."""
    return f"""  - {{name: {name}, type: jq, jq: {{expression: 'error("no such luck")'}}{more}}}\n"""


def fact(name: str, value: str, more: str = "") -> str:
    """A step (one line of YAML) that sets a value."""
    return f"  - {{name: {name}, type: set_fact, set_fact: {{value: {value}}}{more}}}\n"


# Order and results.


def test_steps_run_in_the_order_of_the_file(world: World) -> None:
    run = world.run("steps:\n" + fact("one", "1") + fact("two", "2") + fact("three", "3"))
    assert outline(run) == [("one", 1, "succeeded"), ("two", 1, "succeeded"), ("three", 1, "succeeded")]
    begun = [step.started_at for step in run.steps]
    assert begun == sorted(begun)
    assert run.status is RunStatus.SUCCEEDED
    assert run.error is None


def test_a_result_lies_under_the_steps_name_or_its_result_key(world: World) -> None:
    flow = (
        "steps:\n" + fact("a", "1") + fact("b", "2", ", result_key: other") + fact("c", "'{{ a + other }}'")
    )
    data = world.succeed(flow)
    assert (data["a"], data["other"], data["c"]) == (1, 2, 3)
    assert "b" not in data


def test_a_later_result_replaces_an_earlier_one_of_that_key(world: World) -> None:
    flow = "steps:\n" + fact("a", "1") + fact("b", "'{{ a + 1 }}'", ", result_key: a")
    assert world.succeed(flow)["a"] == 2


def test_jq_expression_is_a_last_transformation_of_the_result(world: World) -> None:
    flow = "steps:\n" + fact("a", "[3, 1, 2]", ", jq_expression: 'sort | .[]'")
    flow += fact("b", "[1]", ", jq_expression: '.[] | select(. > 5)'")
    data = world.succeed(flow)
    assert data["a"] == [1, 2, 3]
    assert data["b"] is None


def test_the_data_every_flow_begins_with(world: World) -> None:
    run_id = world.launch("steps:\n" + fact("a", "'{{ __run_id__ }} {{ __flow_path__ }}'"), data={"n": 1})
    data = world.wait(run_id).data
    assert data is not None
    assert data["__input__"] == {"n": 1}
    assert data["__run_id__"] == data["__job_id__"] == run_id
    assert data["a"] == f"{run_id} {data['__flow_path__']}"
    assert data["__loop_index__"] is None
    assert data["__errors__"] == []
    assert re.fullmatch(r"\d{14}", data["__timestamp__"])
    assert data["__timestamp__"] == run_id[:15].replace("T", "")  # TIMEZONE is UTC here


def test_without_a_payload_the_input_is_null(world: World) -> None:
    assert world.succeed("steps:\n" + fact("a", "'{{ __input__ is none }}'"))["a"] is True


def test_history_shows_what_each_step_saw_and_left(world: World) -> None:
    """The journal alone gives the data back: what the last step saw is what history shows."""
    flow = "steps:\n" + fact("a", "{x: [1, 2]}") + failing("b", ", ignore_errors: luck")
    flow += "  - {name: seen, type: jq, jq: {expression: '.'}}\n"
    data = world.succeed(flow, data=[1])
    seen = data.pop("seen")
    assert seen == data


# when.


def test_a_step_whose_condition_does_not_hold_is_skipped(world: World) -> None:
    flow = "steps:\n" + fact("a", "1", ", when: '1 > 2'") + fact("b", "'{{ a is defined }}'")
    run = world.run(flow)
    assert outline(run) == [("a", 1, "skipped"), ("b", 1, "succeeded")]
    assert run.data is not None
    assert "a" not in run.data
    assert run.data["b"] is False
    assert run.steps[0].duration_seconds is None


@pytest.mark.parametrize(
    "step",
    [
        "{name: a, when: 'false', type: set_fact, set_fact: {value: '{{ nothing.of.this }}'}}",
        "{name: a, when: 'false', type: jq, jq: {expression: '.', data_key: nothing}}",
        "{name: a, when: 'false', type: rest, rest: {uri: 'http://127.0.0.1:9/', authentication: "
        "{type: basic, secret: nobody}}}",
    ],
)
def test_a_condition_is_looked_at_before_anything_else_of_the_step(world: World, step: str) -> None:
    """No template, no lookup, no secret."""
    assert outline(world.run(f"steps:\n  - {step}\n")) == [("a", 1, "skipped")]


def test_of_several_conditions_all_must_hold(world: World) -> None:
    flow = "steps:\n" + fact("a", "1", ", when: ['__input__ > 1', '__input__ < 3']")
    assert [world.run(flow, data=n).steps[0].status.value for n in (1, 2, 3)] == [
        "skipped",
        "succeeded",
        "skipped",
    ]


def test_a_condition_that_fails_is_the_steps_failure(world: World) -> None:
    """And the step's policy decides about it, as about any other."""
    run = world.run("steps:\n" + fact("a", "1", ", when: \"'maybe'\""))
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "when_not_boolean")
    data = world.succeed("steps:\n" + fact("a", "1", ", when: \"'maybe'\", ignore_errors: neither"))
    assert data["__errors__"][0]["code"] == "when_not_boolean"


# Failures.


def test_a_failure_ends_the_flow_with_the_steps_error(world: World) -> None:
    run = world.run("steps:\n" + failing("bad") + fact("never", "1"))
    assert run.status is RunStatus.FAILED
    assert names(run) == ["bad"]
    assert run.error is not None
    assert (run.error.code, run.error.step) == ("jq_failed", "bad")
    assert "no such luck" in run.error.message
    assert run.reason == run.error.message
    assert run.data is not None
    assert run.data["__errors__"][0]["step"] == "bad"


def test_an_ignored_error_is_recorded_and_the_flow_goes_on(world: World) -> None:
    flow = "steps:\n" + failing("bad", ", ignore_errors: ['nothing', '.*luck*']") + fact("next", "1")
    run = world.run(flow)
    assert outline(run) == [("bad", 1, "ignored"), ("next", 1, "succeeded")]
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert "bad" not in run.data
    (entry,) = run.data["__errors__"]
    assert set(entry) == {"step", "code", "error", "details", "ignored"}
    assert (entry["step"], entry["code"], entry["ignored"]) == ("bad", "jq_failed", ".*luck*")
    assert "no such luck" in entry["error"]


def test_an_error_that_no_pattern_matches_is_not_ignored(world: World) -> None:
    run = world.run("steps:\n" + failing("bad", ", ignore_errors: [misfortune, '^luck']"))
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "jq_failed")


def test_patterns_are_searched_in_the_errors_details_too(world: World, server: CountingServer) -> None:
    server.statuses["/x"] = [418]
    step = f"{{name: call, type: rest, rest: {{uri: '{server.url}/x'}}, ignore_errors: '\"status\": 418'}}"
    assert world.succeed(f"steps:\n  - {step}\n")["__errors__"][0]["code"] == "rest_status"


def test_on_error_goto_goes_on_elsewhere(world: World) -> None:
    flow = "steps:\n" + failing("bad", ", on_error_goto: rescue") + fact("between", "1") + fact("rescue", "2")
    run = world.run(flow)
    assert outline(run) == [("bad", 1, "failed"), ("rescue", 1, "succeeded")]
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert [(entry["step"], "ignored" in entry) for entry in run.data["__errors__"]] == [("bad", False)]


@pytest.mark.parametrize(
    ("mark", "status"), [("__end__", RunStatus.SUCCEEDED), ("__exit__", RunStatus.EXITED)]
)
def test_on_error_goto_may_end_the_flow(world: World, mark: str, status: RunStatus) -> None:
    run = world.run("steps:\n" + failing("bad", f", on_error_goto: {mark}") + fact("never", "1"))
    assert (run.status, names(run)) == (status, ["bad"])


def test_a_step_that_wants_too_much_memory_at_once_fails_and_the_worker_lives_on(world: World) -> None:
    """Python says MemoryError, which no step expects; the message names the setting."""
    run = world.run("steps:\n" + fact("big", "\"{{ 'x' * 4000000000 }}\""))
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "out_of_memory")
    assert run.error is not None
    assert "WORKER_MEMORY_MB" in run.error.message
    assert len(world.events(run.run_id, Event.DISPATCHED)) == 1


def test_the_runs_log_tells_every_failed_attempt(world: World) -> None:
    """Who reads only the log must see why, and what followed."""
    run = world.run("steps:\n" + failing("bad", ", retry: {attempts: 1, delay_seconds: 0}"))
    told = [(line.level, line.step) for line in world.service.run_logs(run.run_id).lines]
    assert told == [("warning", "bad"), ("error", "bad")]


def test_a_result_that_is_too_large_to_keep_fails_its_step(world: World) -> None:
    flow = "steps:\n" + fact("big", "\"{{ 'x' * 70000000 }}\"", ", ignore_errors: too large")
    data = world.succeed(flow + fact("next", "'{{ big is defined }}'"))
    assert data["__errors__"][0]["code"] == "result_too_large"
    assert data["next"] is False


# Further tries.


def retried(server: CountingServer, retry: str, more: str = "") -> str:
    return f"steps:\n  - {{name: call, type: rest, rest: {{uri: '{server.url}/x'}}, retry: {retry}{more}}}\n"


def test_a_failed_step_is_tried_again_until_it_succeeds(world: World, server: CountingServer) -> None:
    server.statuses["/x"] = [500, 500]
    run = world.run(retried(server, "{attempts: 5, delay_seconds: 0.01}"))
    assert outline(run) == [("call", 1, "failed"), ("call", 2, "failed"), ("call", 3, "succeeded")]
    assert server.calls["/x"] == 3
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert run.data["__errors__"] == [], "an attempt that is made again is no error of the flow"


def tries_in_the_journal(world: World, run_id: str) -> list[tuple[int, str, object]]:
    rows = [row for row in world.journal(run_id) if row.path]
    return [(row.attempt, row.event.value, row.data.get("then")) for row in rows]


def test_the_journal_has_the_outcome_of_every_attempt(world: World, server: CountingServer) -> None:
    server.statuses["/x"] = [500]
    run = world.run(retried(server, "{attempts: 1, delay_seconds: 0.01}"))
    ends = [row for row in tries_in_the_journal(world, run.run_id) if row[1] != "started"]
    assert ends == [(1, "failed", "retry"), (2, "succeeded", None)]


def test_each_attempt_at_something_not_repeatable_is_announced(world: World, server: CountingServer) -> None:
    """Before the call goes out: after a crash nobody has to guess."""
    server.statuses["/x"] = [500]
    post = retried(server, "{attempts: 1, delay_seconds: 0.01}").replace("rest: {", "rest: {method: POST, ")
    run = world.run(post)
    assert tries_in_the_journal(world, run.run_id) == [
        (1, "started", None),
        (1, "failed", "retry"),
        (2, "started", None),
        (2, "succeeded", None),
    ]


def test_after_the_last_try_the_step_has_failed(world: World, server: CountingServer) -> None:
    server.statuses["/x"] = [500] * 9
    run = world.run(retried(server, "{attempts: 2, delay_seconds: 0.01}", ", ignore_errors: '500'"))
    assert outline(run) == [("call", 1, "failed"), ("call", 2, "failed"), ("call", 3, "ignored")]
    assert server.calls["/x"] == 3
    assert run.data is not None
    assert len(run.data["__errors__"]) == 1


def test_pauses_between_tries_grow_up_to_their_bound(world: World, server: CountingServer) -> None:
    server.statuses["/x"] = [500] * 3
    retry = "{attempts: 3, delay_seconds: 0.1, backoff: 3, max_delay_seconds: 0.4}"
    run = world.run(retried(server, retry))
    ended = [step.ended_at for step in run.steps[:-1]]
    begun = [step.started_at for step in run.steps[1:]]
    pauses = [(b - e).total_seconds() for b, e in zip(begun, ended, strict=True) if b and e]
    assert len(pauses) == 3
    for pause, expected in zip(pauses, (0.1, 0.3, 0.4), strict=True):
        assert expected - 0.01 <= pause < expected + 1.0


def test_only_failures_that_a_pattern_matches_are_tried_again(world: World, server: CountingServer) -> None:
    server.statuses["/x"] = [503, 404, 503]
    run = world.run(retried(server, "{attempts: 5, delay_seconds: 0.01, 'on': ['50[0-9]']}"))
    assert outline(run) == [("call", 1, "failed"), ("call", 2, "failed")]
    assert error_code(run) == "rest_status"


def test_a_condition_is_asked_once_for_all_tries(world: World, server: CountingServer) -> None:
    server.statuses["/x"] = [500]
    run = world.run(retried(server, "{attempts: 1, delay_seconds: 0.01}", ", when: 'true'"))
    assert [step.status for step in run.steps] == [StepStatus.FAILED, StepStatus.SUCCEEDED]


# What came out of data is data.

HOSTILE = "{{ 7 * 7 }} {% for a in [1] %}{{ a }}{% endfor %} {# gone #}"


def test_text_that_came_out_of_data_is_never_rendered(world: World) -> None:
    """Not when it is set, not when it is set again from there, nor inside other text, a list, a key of data."""
    flow = "steps:\n" + fact("plain", "'{{ __input__ }}'") + fact("again", "'{{ plain }}'")
    flow += fact("inside", "'<{{ again }}>'") + fact("nested", "{list: ['{{ inside }}']}")
    data = world.succeed(flow, data=HOSTILE)
    assert data["plain"] == data["again"] == HOSTILE
    assert data["inside"] == f"<{HOSTILE}>"
    assert data["nested"] == {"list": [f"<{HOSTILE}>"]}


def test_an_answer_of_a_server_is_never_rendered(world: World, server: CountingServer) -> None:
    body = json.dumps({"echo": HOSTILE})
    flow = f"""steps:
  - {{name: call, type: rest, rest: {{uri: '{server.url}/x', method: POST, body: '{{{{ __input__ }}}}'}}}}
  - {{name: copy, type: set_fact, set_fact: {{value: '{{{{ call.body }}}}'}}}}
  - {{name: child, type: flow, flow: {{path: hostile_child.yml, data_key: copy}}}}
"""
    world.write("hostile_child.yml", "steps:\n" + fact("got", "'{{ __input__ }}'"))
    data = world.succeed(flow, data=body)
    assert data["copy"] == body
    assert data["child"]["got"] == body


def test_an_errors_text_is_never_rendered(world: World) -> None:
    flow = """steps:
  - {name: bad, type: jq, jq: {expression: 'error(.__input__)'}, ignore_errors: '7'}
  - {name: told, type: set_fact, set_fact: {value: '{{ __errors__[0].error }}'}}
"""
    assert HOSTILE in world.succeed(flow, data=HOSTILE)["told"]


# What cannot be data.


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [300, 900, 20_000])
def test_a_payload_too_deep_to_keep_is_refused_and_harms_nothing(world: World, depth: int) -> None:
    flow = "steps:\n" + fact("a", "1")
    with pytest.raises(Exception, match=r"nested|deep"):
        world.launch(flow, data=nested(depth))
    assert world.service.locks() == []
    assert world.succeed(flow)["a"] == 1


def test_a_result_too_deep_to_keep_fails_its_step(world: World) -> None:
    flow = "steps:\n  - {name: deep, type: jq, jq: {expression: 'reduce range(5000) as $n (0; [.])'}}\n"
    run = world.run(flow)
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error.step == "deep"
    assert len(world.events(run.run_id, Event.DISPATCHED)) == 1
