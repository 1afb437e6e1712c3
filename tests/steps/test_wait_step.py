"""The step wait: what it waits for, and what its result is."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from flow_processor.errors import StepError
from flow_processor.run_state import Signal
from flow_processor.step import StepResult
from flow_processor.wait import Wait, WaitKind

RunStep = Callable[..., StepResult]


def seconds_of(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# What may be said.


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "exactly one of for_seconds, until, signal, approval; found none"),
        ({"until": "2026-12-01", "signal": "x"}, "found until and signal"),
        ({"for_seconds": -1}, "greater than or equal to 0"),
        ({"for_seconds": 1e10}, "less than or equal to"),
        ({"until": "tomorrow"}, "match pattern"),
        ({"until": "2026-13-01"}, "month must be"),
        ({"until": 17}, "string"),
        ({"signal": ""}, "at least 1 character"),
        ({"signal": {"name": "x", "default": 1}}, "'default' needs 'expires_seconds'"),
        ({"signal": {"name": "x", "expires_seconds": 0}}, "greater than 0"),
        ({"approval": {"prompt": ""}}, "at least 1 character"),
        ({"approval": {"prompt": "?", "answers": []}}, "at least 1 item"),
        ({"approval": {"prompt": "?", "answers": ["yes", "yes"]}}, "must stand there once"),
        ({"approval": {"prompt": "?", "default": "maybe", "expires_seconds": 1}}, "approve, reject"),
        ({"approval": {"prompt": "?", "default": "reject"}}, "'default' needs 'expires_seconds'"),
        ({"approval": {"prompt": "?", "form": {"n": {"type": "number"}}}}, "'choice', 'list' or 'map'"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_load(
    step: Callable[..., Any], options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        step(type="wait", wait=options)


# A length of time, a moment.


@pytest.mark.parametrize("seconds", [90, "{{ n }}"])
def test_a_length_of_time_begins_now(context: Any, run_step: RunStep, seconds: Any) -> None:
    context.data = {"n": 90}
    assert run_step(type="wait", wait={"for_seconds": seconds}) == StepResult()
    assert context.waits == [Wait(WaitKind.SLEEP, until=context.now().timestamp() + 90)]


@pytest.mark.parametrize(
    ("until", "means"),
    [
        ("2026-12-01T08:00", "2026-12-01T08:00:00+01:00"),
        ("2026-07-01T08:00:00", "2026-07-01T08:00:00+02:00"),
        ("2026-12-01", "2026-12-01T00:00:00+01:00"),
        ("2026-12-01T08:00Z", "2026-12-01T08:00:00+00:00"),
        ("{{ day }}T08:00-05:00", "2026-12-01T13:00:00+00:00"),
    ],
)
def test_a_moment_without_a_zone_is_one_of_the_configured_zone(
    context: Any, run_step: RunStep, until: str, means: str
) -> None:
    context.data = {"day": "2026-12-01"}
    assert run_step(type="wait", wait={"until": until}) == StepResult()
    assert context.waits == [Wait(WaitKind.MOMENT, until=seconds_of(means))]


@pytest.mark.parametrize(
    ("options", "found"),
    [({"until": "{{ value }}"}, "a moment"), ({"for_seconds": "{{ value }}"}, "a number of seconds")],
)
@pytest.mark.parametrize("value", ["soon", None, [1], "x" * 1000])
def test_what_a_template_gave_that_is_no_time_is_told(
    context: Any, run_step: RunStep, options: dict[str, Any], found: str, value: Any
) -> None:
    context.data = {"value": value}
    with pytest.raises(StepError, match=f"must be {found}.*, found ") as caught:
        run_step(type="wait", wait=options)
    assert caught.value.code == "invalid_value"
    assert len(caught.value.message) < 400


# A signal.


@pytest.mark.parametrize("signal", ["paid-{{ order }}", {"name": "paid-{{ order }}"}])
def test_a_signal_is_waited_for_by_its_rendered_name(context: Any, run_step: RunStep, signal: Any) -> None:
    context.data = {"order": 17}
    context.signal = Signal(5, "paid-17", {"amount": 3}, "shop", seconds_of("2026-11-21T09:00:00Z"))
    result = run_step(type="wait", wait={"signal": signal})
    assert context.waits == [Wait(WaitKind.SIGNAL, signal="paid-17")]
    assert result.value == {
        "name": "paid-17",
        "data": {"amount": 3},
        "by": "shop",
        "at": "2026-11-21T09:00:00.000Z",
        "expired": False,
    }


def test_a_signals_name_may_be_rendered_to_a_number(context: Any, run_step: RunStep) -> None:
    context.data = {"order": 17}
    context.signal = Signal(5, "17", None, "shop", 0.0)
    run_step(type="wait", wait={"signal": "{{ order }}"})
    assert context.waits == [Wait(WaitKind.SIGNAL, signal="17")]


@pytest.mark.parametrize("default", [None, {"amount": 0}])
def test_a_signal_that_has_not_come_is_its_default(context: Any, run_step: RunStep, default: Any) -> None:
    signal = {"name": "paid", "expires_seconds": 60, "default": default}
    result = run_step(type="wait", wait={"signal": signal})
    assert result.value == {
        "name": "paid",
        "data": default,
        "by": None,
        "at": "2026-11-21T07:41:06.000Z",
        "expired": True,
    }


def test_without_a_default_it_is_an_error(run_step: RunStep) -> None:
    with pytest.raises(StepError, match="'paid' has not come by 2026-11-21T07:41:06") as caught:
        run_step(type="wait", wait={"signal": {"name": "paid", "expires_seconds": 60}})
    assert caught.value.code == "signal_expired"


# An approval.

APPROVAL = {
    "prompt": "Deploy {{ version }}?",
    "form": {"ticket": {"type": "str", "required": True}, "hours": {"type": "int", "default": 2}},
    "expires_seconds": 60,
}


def test_a_person_is_asked_under_the_steps_path(context: Any, run_step: RunStep) -> None:
    context.data = {"version": "1.2"}
    context.path = "loop[3]/go_ahead#2"
    answer = {"answer": "approve", "form": {"ticket": "OPS-1", "hours": None}}
    context.signal = Signal(5, context.path, answer, "ann", seconds_of("2026-11-21T09:00:00Z"))
    result = run_step(type="wait", wait={"approval": APPROVAL})
    (wait,) = context.waits
    assert (wait.kind, wait.signal, wait.prompt) == (WaitKind.APPROVAL, context.path, "Deploy 1.2?")
    assert (wait.answers, wait.until) == (("approve", "reject"), context.now().timestamp() + 60)
    assert wait.form["hours"]["type"] == "int"
    assert result.value == {
        "answer": "approve",
        "form": {"ticket": "OPS-1", "hours": None},
        "by": "ann",
        "at": "2026-11-21T09:00:00.000Z",
        "expired": False,
    }


def test_an_answer_may_be_just_its_word(context: Any, run_step: RunStep) -> None:
    context.signal = Signal(5, "step", "reject", "ann", 0.0)
    value = run_step(type="wait", wait={"approval": {**APPROVAL, "prompt": "Sure?"}}).value
    assert (value["answer"], value["form"]) == ("reject", {"ticket": None, "hours": 2})


def test_nobodys_answer_is_the_default(run_step: RunStep) -> None:
    approval = {**APPROVAL, "prompt": "Sure?", "default": "reject"}
    value = run_step(type="wait", wait={"approval": approval}).value
    assert (value["answer"], value["by"], value["expired"]) == ("reject", None, True)
    assert value["form"] == {"ticket": None, "hours": 2}


def test_without_a_default_answer_it_is_an_error(run_step: RunStep) -> None:
    with pytest.raises(StepError, match="nobody has answered by 2026") as caught:
        run_step(type="wait", wait={"approval": {**APPROVAL, "prompt": "Sure?"}})
    assert caught.value.code == "approval_expired"


@pytest.mark.parametrize("data", ["perhaps", None, {"answer": ["approve"]}, {"answer": "approve", "form": 1}])
def test_what_is_no_answer_is_not_taken_for_one(context: Any, run_step: RunStep, data: Any) -> None:
    """It came by before the question was asked, so nobody could refuse it."""
    context.signal = Signal(5, "step", data, "ann", 0.0)
    with pytest.raises(StepError, match="approve, reject") as caught:
        run_step(type="wait", wait={"approval": {**APPROVAL, "prompt": "Sure?"}})
    assert caught.value.code == "invalid_answer"


def test_a_long_prompt_is_cut_and_says_so(context: Any, run_step: RunStep) -> None:
    context.signal = Signal(5, "step", "approve", "ann", 0.0)
    run_step(type="wait", wait={"approval": {"prompt": "{{ 'x' * 20000 }}"}})
    assert context.waits[0].prompt.endswith("… (cut: 20000 characters)")


def test_a_wait_that_had_begun_goes_on_as_it_was(context: Any, run_step: RunStep) -> None:
    """Nothing is rendered anew: what people have read does not change."""
    context.begun_wait = Wait(WaitKind.APPROVAL, signal="step", prompt="Old?", answers=("yes", "no"))
    context.signal = Signal(5, "step", "yes", "ann", 0.0)
    assert run_step(type="wait", wait={"approval": {"prompt": "{{ gone }}"}}).value["answer"] == "yes"
    assert context.waits == [context.begun_wait]
    assert context.lines == [("info", "answered by ann: yes")], "it is announced once"


@pytest.mark.parametrize(
    "wait",
    [
        Wait(WaitKind.SLEEP, until=17.5),
        Wait(WaitKind.SIGNAL, signal="x", until=1.0, has_default=True, default=None),
        Wait(WaitKind.APPROVAL, signal="a#2", prompt="?", answers=("a", "b"), form={"n": {"type": "int"}}),
    ],
)
def test_the_journal_keeps_all_of_a_wait(wait: Wait) -> None:
    assert Wait.from_record(wait.as_record()) == wait
