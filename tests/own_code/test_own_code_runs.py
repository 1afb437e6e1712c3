"""Own code at work: what functions are given, what becomes of what they give, and how they fail."""

from __future__ import annotations

from typing import Any

import pytest

from flow_processor.run import RunStatus
from tests.engine.world import World, error_code

CALL = "steps:\n- {name: it, type: python, python: {call: %s}}\n"


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("total, args: {numbers: [1, 2]}", {"sum": 3.0, "day": None}),
        (
            "total, args: {numbers: '{{ __input__ }}', factor: 2, day: 2026-11-21}",
            {"sum": 12, "day": "2026-11-21"},
        ),
        ("say, args: {a: x, b: '{{ __input__ | length }} rows'}", "a=x b=3 rows"),
        ("leak, secrets: {token: hub}, args: {text: 'the key is '}", "the key is ***"),
    ],
)
def test_a_function_is_called_with_typed_arguments(world: World, call: str, value: Any) -> None:
    assert world.succeed(CALL % call, data=[1, 2, 3])["it"] == value


@pytest.mark.parametrize(
    ("call", "code", "says"),
    [
        ("total, args: {numbers: '{{ __input__ }}'}", "arguments_invalid", "numbers: must be a list"),
        ("leak, secrets: {token: hub}, args: {text: raise}", "own_code_failed", "ValueError: refused: ***"),
        ("ends, args: {how: own}", "no_day", "no such day"),
        (
            "ends, args: {how: sibling_failed}",
            "own_code_failed",
            "mine (raised with the code 'sibling_failed'",
        ),
        ("ends, args: {how: exit}", "own_code_failed", "SystemExit: 3"),
        ("ends, args: {how: object}", "not_json", "what 'ends' gives back is no JSON value"),
        ("ends, args: {how: gone}", "own_code_failed", "KeyError: 'gone'"),
    ],
)
def test_how_a_function_fails(world: World, call: str, code: str, says: str) -> None:
    run = world.run(CALL % call, data="text")
    assert run.error is not None
    assert (run.error.code, says in run.error.message) == (code, True), run.error


@pytest.mark.parametrize("code", ["sibling_failed", "sibling_exited"])
def test_a_function_cannot_pass_for_one_that_was_ended(world: World, code: str) -> None:
    """Such an end is no failure, so a graph would have gone on and succeeded."""
    flow = f"steps:\n- {{name: it, type: python, needs: [], python: {{call: ends, args: {{how: {code}}}}}}}\n"
    run = world.run(flow + "- {name: next, type: set_fact, needs: it, set_fact: {value: 1}}\n")
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "own_code_failed")
    assert [(step.path, step.status.value) for step in run.steps] == [
        ("it", "failed"),
        ("next", "not_started"),
    ]


def test_a_step_of_ones_own_that_a_cancel_ends_is_cancelled(world: World) -> None:
    run_id = world.launch("steps:\n- {name: it, type: letter, letter: {to: x, pause: 600}}\n")
    world.until_begun(run_id, "it")
    world.service.cancel_run(run_id, by="a test")
    run = world.wait(run_id)
    assert [(step.status.value, step.error and step.error.code) for step in run.steps] == [
        ("cancelled", "cancelled")
    ]


def test_a_traceback_begins_in_the_file_and_holds_no_secret(world: World) -> None:
    run = world.run(CALL % "leak, secrets: {token: hub}, args: {text: raise}")
    assert run.error is not None
    first, second, *_, last = run.error.details["traceback"].splitlines()
    assert second.startswith('  File "callers/sums.py", line ')
    assert (first, last) == ("Traceback (most recent call last):", "ValueError: refused: ***")


def test_what_it_prints_goes_to_the_log_of_the_run(world: World) -> None:
    run = world.run(CALL % "total, args: {numbers: [1]}")
    lines = [(line.step, line.message) for line in world.service.run_logs(run.run_id).lines]
    assert lines == [("it", "adding 1"), ("it", "no line break at its end")]


def test_a_function_that_hangs_is_ended_at_its_time_limit(world: World) -> None:
    run = world.run("steps:\n- {name: it, type: python, timeout_seconds: 0.5, python: {call: slow}}\n")
    assert error_code(run) == "step_timeout"


def test_a_step_type_of_ones_own(world: World) -> None:
    flow = "steps:\n- {name: it, type: letter, letter: {to: '{{ __input__ }}', copies: 2, secret: hub}}\n"
    assert world.succeed(flow, data="Ada")["it"] == ["To Adacan", "To Adacan"]


def test_a_step_type_of_ones_own_ends_the_run_and_stands_in_others(world: World) -> None:
    flow = """
    steps:
      - name: each
        type: foreach
        foreach:
          items: [a, b]
          steps: [{name: one, type: letter, letter: {to: "{{ item }}"}}]
      - {name: last, type: letter, letter: {to: x, copies: 0}}
      - {name: never, type: set_fact, set_fact: {value: 1}}
    """
    run = world.run(flow)
    assert run.status is RunStatus.EXITED, run.error
    assert run.data is not None
    assert [item["one"] for item in run.data["each"]] == [["To a"], ["To b"]]


def test_options_are_checked_again_once_they_are_rendered(world: World) -> None:
    run = world.run("steps:\n- {name: it, type: letter, letter: {to: '{{ __input__ }}'}}\n", data=[1])
    assert run.error is not None
    assert (run.error.code, run.error.message) == (
        "arguments_invalid",
        "the options of 'letter': to: must be text",
    )


def test_filters_work_in_texts_conditions_and_template_files(world: World) -> None:
    flow = """
    steps:
      - {name: text, type: set_fact, set_fact: {value: "{{ __input__ | initials }}"}}
      - {name: native, type: set_fact, when: "__input__ | initials == 'AL'", set_fact: {value: 1}}
      - {name: name, type: set_fact, set_fact: {value: "{{ __input__ }}"}}
      - {name: file, type: jinja, jinja: {path: hello.j2}}
    """
    data = world.succeed(flow, data="Ada Lovelace")
    assert (data["text"], data["native"], data["file"]) == ("AL", 1, "Hello A.L")


def test_own_code_cannot_change_the_flows_data(world: World) -> None:
    """What it changed would be in no journal, and gone once the run goes on in another worker."""
    flow = """
    steps:
      - {name: rows, type: set_fact, set_fact: {value: [1, 2]}}
      - {name: filtered, type: set_fact, set_fact: {value: "{{ rows | grown(by=rows) }}"}}
      - {name: called, type: python, python: {call: grow, args: {rows: "{{ rows }}"}}}
      - {name: stepped, type: letter, letter: {to: A, copies: 9}}
    """
    data = world.succeed(flow)
    assert data["rows"] == [1, 2]
    assert (data["filtered"], data["called"], data["stepped"]) == (3, [1, 2, 9], [1, 2, 3, 4])


def test_a_filter_that_fails_names_itself(world: World) -> None:
    run = world.run("steps:\n- {name: it, type: set_fact, set_fact: {value: '{{ 7 | initials }}'}}\n")
    assert run.error is not None
    assert run.error.code == "template_error"
    assert "filter 'initials' (filters/texts.py): AttributeError" in run.error.message


def test_steps_cannot_write_own_code(world: World) -> None:
    """Nor read it: what a flow could change would be run by the next one."""
    flow = (
        "steps:\n- {name: it, type: file, file: {mode: write, type: text, data_key: __input__, path: PATH}}\n"
    )
    for path in ("callers/x.py", "steps/letter.py", "filters/sub/x.py"):
        run = world.run(flow.replace("PATH", path), data="x")
        assert error_code(run) == "path_refused"
