"""The steps flow and flow_loop: payload, result, order, errors."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flow_processor.errors import StepError
from flow_processor.step import FlowOutcome, StepResult

RunStep = Callable[..., StepResult]

ERROR = {
    "code": "http_error",
    "message": "REST request failed: 400",
    "details": {"status": 400},
    "step": "send",
}


def succeeded(payload: Any, index: int | None) -> FlowOutcome:
    return FlowOutcome("succeeded", {"__input__": payload, "__loop_index__": index})


def fails_on(*bad: Any) -> Callable[[Any, int | None], FlowOutcome]:
    """A sub-flow that fails for these payloads."""

    def child(payload: Any, index: int | None) -> FlowOutcome:
        data = {"__input__": payload}
        return FlowOutcome("failed", data, ERROR) if payload in bad else FlowOutcome("succeeded", data)

    return child


def loop(run_step: RunStep, **options: Any) -> Any:
    return run_step(type="flow_loop", flow_loop={"path": "child.yml", "data_key": "items", **options}).value


# flow


def test_a_flow_is_given_the_value_and_gives_its_whole_data(context: Any, run_step: RunStep) -> None:
    context.flows["sub/child.yml"] = succeeded
    context.data = {"order": {"id": 1}}
    result = run_step(type="flow", flow={"path": "sub/child.yml", "data_key": "order"})
    assert result == StepResult({"__input__": {"id": 1}, "__loop_index__": None})


def test_a_flow_without_data_key_gets_null(context: Any, run_step: RunStep) -> None:
    context.flows["child.yml"] = succeeded
    assert run_step(type="flow", flow={"path": "child.yml"}).value["__input__"] is None


def test_the_whole_data_can_be_handed_on(context: Any, run_step: RunStep) -> None:
    context.flows["child.yml"] = succeeded
    context.data = {"a": 1}
    assert run_step(type="flow", flow={"path": "child.yml", "data_key": "."}).value["__input__"] == {"a": 1}


def test_a_failed_flow_fails_the_step_with_its_error(context: Any, run_step: RunStep) -> None:
    context.flows["child.yml"] = fails_on(None)
    with pytest.raises(StepError) as caught:
        run_step(type="flow", flow={"path": "child.yml"})
    assert caught.value.as_record() == {
        "code": "http_error",
        "message": "REST request failed: 400",
        "details": {"status": 400, "flow": "child.yml", "step": "send"},
    }


def test_a_flow_that_exits_is_no_failure(context: Any, run_step: RunStep) -> None:
    context.flows["child.yml"] = lambda payload, index: FlowOutcome("exited", {"a": 1})
    assert run_step(type="flow", flow={"path": "child.yml"}) == StepResult({"a": 1})


@pytest.mark.parametrize("path", ["../x.yml", "/x.yml", "", "C:/x.yml"])
def test_a_path_out_of_the_flows_folder_is_refused_at_load(step: Callable[..., Any], path: str) -> None:
    with pytest.raises(ValidationError):
        step(type="flow", flow={"path": path})


# flow_loop


def test_each_item_is_one_flow_counted_from_one_in_order(context: Any, run_step: RunStep) -> None:
    context.flows["child.yml"] = succeeded
    context.data = {"items": ["a", "b", "c"]}
    assert loop(run_step) == [
        {"__input__": "a", "__loop_index__": 1},
        {"__input__": "b", "__loop_index__": 2},
        {"__input__": "c", "__loop_index__": 3},
    ]


def test_an_empty_list_gives_an_empty_list(context: Any, run_step: RunStep) -> None:
    context.data = {"items": []}
    assert loop(run_step) == []


@pytest.mark.parametrize("value", [None, "abc", {"a": 1}, 5, True])
def test_what_is_no_list_is_an_error(context: Any, run_step: RunStep, value: Any) -> None:
    context.data = {"items": value}
    with pytest.raises(StepError) as caught:
        loop(run_step)
    assert caught.value.code == "not_a_list"


def test_items_run_side_by_side_but_no_more_than_max_parallel(context: Any, run_step: RunStep) -> None:
    """Three meet at a barrier, which one alone could not pass; never were there more."""
    together, lock = threading.Barrier(3, timeout=10), threading.Lock()
    under_way, most = 0, 0

    def child(payload: Any, index: int | None) -> FlowOutcome:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait()
        with lock:
            under_way -= 1
        return succeeded(payload, index)

    context.flows["child.yml"] = child
    context.data = {"items": list(range(9))}
    assert [data["__input__"] for data in loop(run_step, max_parallel=3)] == list(range(9))
    assert most == 3


def test_results_keep_the_order_of_the_items_whichever_ends_first(context: Any, run_step: RunStep) -> None:
    last_is_done = threading.Event()

    def child(payload: Any, index: int | None) -> FlowOutcome:
        if payload == "last":
            last_is_done.set()
        else:
            assert last_is_done.wait(10)
        return succeeded(payload, index)

    context.flows["child.yml"] = child
    context.data = {"items": ["first", "last"]}
    assert [data["__input__"] for data in loop(run_step, max_parallel=2)] == ["first", "last"]


def test_a_failed_item_is_noted_with_its_index_and_the_others_go_on(context: Any, run_step: RunStep) -> None:
    context.flows["child.yml"] = fails_on(2)
    context.data = {"items": [1, 2, 3]}
    assert loop(run_step) == [{"__input__": 1}, {"__input__": 2}, {"__input__": 3}]
    assert context.errors == [
        {
            "step": "send",
            "code": "http_error",
            "error": "REST request failed: 400",
            "details": {"status": 400},
            "index": 2,
            "flow": "child.yml",
        }
    ]


def test_on_item_error_fail_fails_the_step_and_begins_no_further_item(
    context: Any, run_step: RunStep
) -> None:
    began = []

    def child(payload: Any, index: int | None) -> FlowOutcome:
        began.append(payload)
        return fails_on(2)(payload, index)

    context.flows["child.yml"] = child
    context.data = {"items": [1, 2, 3, 4]}
    with pytest.raises(StepError) as caught:
        loop(run_step, max_parallel=1, on_item_error="fail")
    assert caught.value.code == "http_error"
    assert caught.value.details == {"status": 400, "index": 2, "flow": "child.yml", "step": "send"}
    assert began == [1, 2]
    assert context.errors == []


@pytest.mark.parametrize("max_parallel", [1, 4])
def test_what_goes_through_a_thread_comes_out_of_the_step(
    context: Any, run_step: RunStep, max_parallel: int
) -> None:
    """A cancel is raised inside of the items; the loop begins no further one and passes it on."""

    class Cancelled(BaseException):
        pass

    began = []

    def child(payload: Any, index: int | None) -> FlowOutcome:
        began.append(payload)
        raise Cancelled

    context.flows["child.yml"] = child
    context.data = {"items": list(range(100))}
    with pytest.raises(Cancelled):
        loop(run_step, max_parallel=max_parallel)
    assert len(began) <= max_parallel


def test_a_missing_flow_fails_the_step(context: Any, run_step: RunStep) -> None:
    context.data = {"items": [1, 2]}
    with pytest.raises(StepError) as caught:
        loop(run_step)
    assert caught.value.code == "flow_not_found"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    items=st.lists(st.integers(0, 20), max_size=40),
    bad=st.sets(st.integers(0, 20)),
    parallel=st.integers(1, 8),
)
def test_every_item_is_accounted_for(
    context: Any, run_step: RunStep, items: list[int], bad: set[int], parallel: int
) -> None:
    """As many results as items, in order, and one error for each failed one: whichever fail, however many at once."""
    context.errors.clear()
    context.data = {"items": items}
    context.flows["child.yml"] = fails_on(*bad)
    assert [data["__input__"] for data in loop(run_step, max_parallel=parallel)] == items
    assert [error["index"] for error in context.errors] == [
        n for n, item in enumerate(items, 1) if item in bad
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"path": "../x.yml", "data_key": "items"},
        {"path": "x.yml"},
        {"path": "x.yml", "data_key": "items", "max_parallel": 0},
        {"path": "x.yml", "data_key": "items", "on_item_error": "ignore"},
    ],
)
def test_a_loop_that_cannot_work_is_refused_at_load(
    step: Callable[..., Any], options: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        step(type="flow_loop", flow_loop=options)
