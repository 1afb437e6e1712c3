"""Submissions, approvals and executions whose answers are lost: each takes effect at most once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from flow_processor.errors import StepError
from tests.engine.world import until
from tests.ports import free_port
from tests.querypie.fake import FakeQueryPie
from tests.querypie.pieces import uid
from tests.querypie.switches import Switch, both, fault, sets
from tests.steps.conftest import FakeContext

Run = Callable[..., Any]


MENDED = [
    fault("identify", "status", status=503, times=2),
    fault("rules", "status", status=429, headers={"Retry-After": "0"}),
    fault("databases", "reset_before"),
    fault("status", "status", status=502, times=2),
    fault("submit", "status", status=429, headers={"Retry-After": "0"}),
    fault("submit", "status", status=503, headers={"Retry-After": "0"}),
    fault("approve", "status", status=503, headers={"Retry-After": "0"}),
    fault("approve", "reset_after"),
    both(sets(approving_looks=3), fault("approve", "reset_after", at=2)),
    fault("execute", "reset_after"),
    both(sets(executing_looks=3), fault("execute", "reset_after")),
    both(sets(before_execution="PENDING"), fault("execute", "reset_after")),
    both(sets(tells_executor=True), fault("execute", "reset_after")),
    fault("execute", "status", status=429, headers={"Retry-After": "0"}),
]


@pytest.mark.parametrize("switch", MENDED)
def test_what_passes_does_no_harm(pie: FakeQueryPie, run: Run, switch: Switch) -> None:
    """Each of the three takes effect exactly once, whatever became of a call."""
    switch(pie)
    assert run()["execution_status"] == "SUCCESS"
    assert pie.taken == {"submit": 1, "approve": 2, "execute": 1}


def test_a_slow_server_is_not_asked_twice_to_execute(pie: FakeQueryPie, run: Run) -> None:
    """It had taken the call when the time for the answer was up."""
    pie.fault("execute", "slow", seconds=0.6)
    assert run(timeout_seconds=0.3, settle_seconds=30)["execution_status"] == "SUCCESS"
    assert (pie.taken["execute"], pie.count("execute")) == (1, 1)


UNCLEAR: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("reset_before", {}, {}, ""),
    ("status", {"status": 500}, {}, "500 FAULT: planned"),
    ("status", {"status": 502}, {}, "502 FAULT: planned"),
    ("status", {"status": 503}, {}, "503 FAULT: planned"),
    ("status", {"status": 408}, {}, "408 FAULT: planned"),
    ("status", {"status": 302, "headers": {"Location": "https://login.example.com"}}, {}, "base_url"),
    ("empty", {}, {}, ""),
    ("text", {}, {}, ""),
    ("late", {}, {"timeout_seconds": 0.2}, "no whole answer"),
]
"""Faults after which nobody knows: kind, more of it, options, what the error says."""


@pytest.mark.parametrize(
    ("operation", "kind", "more", "options", "said"),
    [
        (operation, *case)
        for operation in ("submit", "approve", "execute")
        for case in UNCLEAR
        if (operation, case[0]) != ("execute", "empty")  # that is how executions are answered
    ],
)
def test_what_may_have_arrived_is_never_sent_again(
    pie: FakeQueryPie, run: Run, operation: str, kind: str, more: Any, options: Any, said: str
) -> None:
    """Whatever QueryPie shows of it, for it may come still; a person is asked, with the ways out."""
    planned = pie.fault(operation, kind, **more)
    with pytest.raises(StepError) as caught:
        run(**options)
    planned.let_go.set()
    error = caught.value
    assert (error.code, error.details["outcome"]) == ("querypie_in_doubt", "unknown"), error.message
    assert said in error.message
    assert "octospool runs retry run-of-a-test --mode" in error.message
    assert pie.count(operation) == 1
    assert pie.count("execute") == (operation == "execute")


@pytest.mark.parametrize("operation", ["approve", "execute"])
def test_a_state_that_cannot_be_read_is_no_answer(pie: FakeQueryPie, run: Run, operation: str) -> None:
    pie.fault(operation, "reset_after")
    number = 2 if operation == "approve" else 4
    pie.fault("status", "status", status=403, at=number)
    with pytest.raises(StepError) as caught:
        run()
    assert (caught.value.code, caught.value.details["outcome"]) == ("querypie_in_doubt", "unknown")
    assert "then QueryPie does not allow this" in caught.value.message
    assert pie.count(operation) == 1


def test_a_rejection_meanwhile_is_an_answer(pie: FakeQueryPie, run: Run) -> None:
    """So the approval is not in doubt: it came to nothing."""
    pie.by_itself, pie.looks_until = "reject", 1
    pie.fault("approve", "reset_before")
    with pytest.raises(StepError, match="REJECTED by elon") as caught:
        run()
    assert caught.value.code == "querypie_approval_failed"


@pytest.mark.parametrize("action", ["submit", "approve", "execute"])
def test_what_was_begun_before_is_looked_for_and_not_sent(
    pie: FakeQueryPie, context: FakeContext, call: Run, submit: Run, action: str
) -> None:
    workflow = submit([["elon"]])
    if action == "execute":
        call(action="approve", workflow_uuid=workflow, user_uuid=uid("elon"))
    before = pie.count(action)
    context.begun_before = True
    alone = {"action": action, "workflow_uuid": workflow, "user_uuid": uid("elon")}
    again = partial(submit, [["elon"]]) if action == "submit" else partial(call, **alone)
    with pytest.raises(StepError, match="had been begun before, and was cut off") as caught:
        again()
    assert (caught.value.code, pie.count(action)) == ("querypie_in_doubt", before)


def test_who_stops_a_run_that_looks_for_an_approval_leaves_it_in_doubt(
    pie: FakeQueryPie, context: FakeContext, call: Run, submit: Run
) -> None:
    """The retry of such a run must not send it again."""
    workflow = submit([["elon"]])
    pie.fault("approve", "reset_before")
    context.stop.set()
    with pytest.raises(StepError) as caught:
        call(action="approve", workflow_uuid=workflow, user_uuid=uid("elon"))
    assert caught.value.details["outcome"] == "unknown"


def test_a_server_that_is_not_there_has_taken_nothing(
    pie: FakeQueryPie, context: FakeContext, submit: Run
) -> None:
    """So the submission is tried again, and is not in doubt."""
    with pytest.raises(StepError) as caught:
        submit([["elon"]], base_url=f"http://127.0.0.1:{free_port()}")
    assert caught.value.code == "querypie_unavailable"
    assert len([line for _, line in context.lines if "tried again" in line]) == 2


def test_an_approval_alone_is_for_one_step(pie: FakeQueryPie, submit: Run, call: Run) -> None:
    """Who approves two steps does so in two calls, also where the answer to the first is lost."""
    workflow = submit([["elon"], ["elon"]])
    pie.fault("approve", "reset_after")
    approve = {"action": "approve", "workflow_uuid": workflow, "user_uuid": uid("elon")}
    first = call(**approve)
    assert (first["step"], first["remaining"], pie.taken["approve"]) == (1, None, 1)
    second = call(**approve)
    assert (second["step"], second["remaining"], pie.taken["approve"]) == (2, "EXECUTION", 2)


def test_an_approval_that_comes_late_is_not_for_two_steps(pie: FakeQueryPie, submit: Run, call: Run) -> None:
    """A second one would be for the next step of the same person."""
    approve = {"action": "approve", "workflow_uuid": submit([["elon"], ["elon"]]), "user_uuid": uid("elon")}
    late = pie.fault("approve", "late")
    with pytest.raises(StepError, match="shown no sign of it"):
        call(**approve, timeout_seconds=0.2)
    late.let_go.set()
    until(lambda: pie.taken["approve"] == 1, "QueryPie takes it")
    assert pie.count("approve") == 1
    assert call(action="status", workflow_uuid=approve["workflow_uuid"])["approvalStatus"] == "IN_PROGRESS"
