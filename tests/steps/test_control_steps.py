"""The steps debug, sleep, exit, goto and switch."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from flow_processor.errors import DataKeyMissing, StepError
from flow_processor.step import Exit, Goto, StepResult
from flow_processor.wait import Wait, WaitKind

RunStep = Callable[..., StepResult]


# debug


@pytest.mark.parametrize(
    ("kind", "line"),
    [("json", '{\n  "b": 1,\n  "a": "ä"\n}'), ("yaml", "\nb: 1\na: ä\n"), ("text", '{"b": 1, "a": "ä"}')],
)
def test_debug_logs_the_value(context: Any, run_step: RunStep, kind: str, line: str) -> None:
    context.data = {"value": {"b": 1, "a": "ä"}}
    assert run_step(type="debug", debug={"data_key": "value", "type": kind}) == StepResult()
    assert context.lines == [("info", f"value: {line}")]


def test_debug_needs_no_options_and_shows_the_whole_data(context: Any, run_step: RunStep) -> None:
    context.data = {"a": 1}
    run_step(type="debug")
    assert context.lines == [("info", '.: {\n  "a": 1\n}')]


def test_debug_logs_a_text_as_it_is(context: Any, run_step: RunStep) -> None:
    context.data = {"a": "two\nlines {{ x }}"}
    run_step(type="debug", debug={"data_key": "a", "type": "text"})
    assert context.lines == [("info", "a: two\nlines {{ x }}")]


def test_debug_cuts_what_is_too_long_and_says_so(context: Any, run_step: RunStep) -> None:
    context.data = {"a": "x" * 1_000_000, "b": list(range(100_000))}
    for data_key in ("a", "b"):
        run_step(type="debug", debug={"data_key": data_key})
    for _, line in context.lines:
        assert len(line) < 70_000
        assert line.endswith("… (cut off: too long for a log)")


def test_debug_of_a_missing_key_fails(run_step: RunStep) -> None:
    with pytest.raises(DataKeyMissing):
        run_step(type="debug", debug={"data_key": "nope"})


# sleep


@pytest.mark.parametrize(("seconds", "waited"), [(2.5, 2.5), (0, 0.0), ("{{ n }}", 3.0), ("{{ n }}0", 30.0)])
def test_sleep_waits(context: Any, run_step: RunStep, seconds: Any, waited: float) -> None:
    context.data = {"n": 3}
    assert run_step(type="sleep", sleep={"seconds": seconds}) == StepResult()
    assert context.waits == [Wait(WaitKind.SLEEP, until=context.now().timestamp() + waited)]


@pytest.mark.parametrize("value", [-1, "soon", None, [], 1e10, "nan"])
def test_sleep_refuses_what_is_no_time_once_it_is_rendered(
    context: Any, run_step: RunStep, value: Any
) -> None:
    context.data = {"value": value}
    with pytest.raises(StepError) as caught:
        run_step(type="sleep", sleep={"seconds": "{{ value }}"})
    assert caught.value.code == "invalid_value"
    assert "0 to a year" in caught.value.message


@pytest.mark.parametrize("seconds", [-1, "soon", None, 1e10])
def test_sleep_refuses_what_is_no_time_at_load(step: Callable[..., Any], seconds: Any) -> None:
    with pytest.raises(ValidationError):
        step(type="sleep", sleep={"seconds": seconds})


def test_a_sleep_that_had_begun_goes_on_as_it_was(context: Any, run_step: RunStep) -> None:
    context.begun_wait = Wait(WaitKind.SLEEP, until=17.0)
    assert run_step(type="sleep", sleep={"seconds": "{{ no.longer.there }}"}) == StepResult()
    assert context.waits == [context.begun_wait]


# exit and goto


def test_exit_ends_the_run_with_a_rendered_message(context: Any, run_step: RunStep) -> None:
    context.data = {"n": 0}
    result = run_step(type="exit", exit={"message": "{{ n }} tickets"})
    assert result == StepResult("0 tickets", Exit("0 tickets"))
    assert context.lines == [("info", "exit: 0 tickets")]


def test_exit_needs_no_message(run_step: RunStep) -> None:
    assert run_step(type="exit") == StepResult(None, Exit(None))


def test_exit_makes_a_text_of_a_value(context: Any, run_step: RunStep) -> None:
    context.data = {"n": 0}
    assert run_step(type="exit", exit={"message": "{{ n }}"}).control == Exit("0")


@pytest.mark.parametrize("name", ["fetch", "__start__", "__end__", "__exit__"])
def test_goto_asks_for_the_jump(run_step: RunStep, name: str) -> None:
    assert run_step(type="goto", goto={"step_name": name}) == StepResult(None, Goto(name))


@pytest.mark.parametrize("options", [{}, {"step_name": ""}, {"step": "fetch"}])
def test_goto_needs_a_target(step: Callable[..., Any], options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        step(type="goto", goto=options)


# switch


def fact(value: Any, **keys: Any) -> dict[str, Any]:
    return {"type": "set_fact", "set_fact": {"value": value}, **keys}


SWITCH: dict[str, Any] = {
    "data_key": "value",
    "cases": [
        {"when": "High|Highest", "step": fact("first")},
        {"when": "High.*", "step": fact("second", name="named")},
        {"when": 5, "step": fact("five")},
        {"when": True, "step": fact("yes")},
        {"when": None, "step": fact("nothing")},
        {"when": "jump", "step": {"type": "goto", "goto": {"step_name": "fetch"}}},
    ],
}


@pytest.mark.parametrize(
    ("value", "result", "label"),
    [
        ("High", "first", "1"),
        ("Highest", "first", "1"),
        ("Higher", "second", "named"),
        (5, "five", "3"),
        ("5", "five", "3"),
        (True, "yes", "4"),
        (None, "nothing", "5"),
    ],
)
def test_switch_runs_the_first_case_that_matches_the_whole_value(
    context: Any, run_step: RunStep, value: Any, result: str, label: str
) -> None:
    context.data = {"value": value}
    assert run_step(type="switch", switch=SWITCH).value == result
    assert context.nested == [label]


def test_switch_hands_on_a_jump(context: Any, run_step: RunStep) -> None:
    context.data = {"value": "jump"}
    assert run_step(type="switch", switch=SWITCH).control == Goto("fetch")


def test_switch_without_a_match_runs_the_default(context: Any, run_step: RunStep) -> None:
    context.data = {"value": "other"}
    assert run_step(type="switch", switch=SWITCH) == StepResult()
    assert run_step(type="switch", switch={**SWITCH, "default": fact("otherwise")}).value == "otherwise"
    assert context.nested == ["default"]


def test_a_switch_may_stand_in_a_switch(context: Any, run_step: RunStep) -> None:
    context.data = {"value": "a"}
    inner = {
        "type": "switch",
        "switch": {"data_key": "value", "cases": [{"when": "a", "step": fact("deep")}]},
    }
    outer = {"data_key": "value", "cases": [{"when": ".", "step": inner}]}
    assert run_step(type="switch", switch=outer).value == "deep"


@pytest.mark.parametrize("value", [[], {}, [1], {"a": 1}])
def test_switch_needs_a_scalar(context: Any, run_step: RunStep, value: Any) -> None:
    context.data = {"value": value}
    with pytest.raises(StepError) as caught:
        run_step(type="switch", switch=SWITCH)
    assert caught.value.code == "not_a_scalar"


@pytest.mark.parametrize(
    "options",
    [
        {"data_key": "value"},
        {"data_key": "value", "cases": []},
        {"data_key": "value", "cases": [{"when": "a"}]},
        {"data_key": "value", "cases": [{"step": fact(1)}]},
        {"data_key": "value", "cases": [{"when": ["a"], "step": fact(1)}]},
        {"data_key": "value", "cases": [{"when": "a", "step": {"type": "nope"}}]},
        {"data_key": "value", "cases": [{"when": "a", "step": fact(1)}], "default": {"type": "nope"}},
        {"data_key": "value", "cases": "a"},
        "a",
    ],
)
def test_a_switch_that_cannot_work_is_refused_at_load(step: Callable[..., Any], options: Any) -> None:
    with pytest.raises(ValidationError):
        step(type="switch", switch=options)
