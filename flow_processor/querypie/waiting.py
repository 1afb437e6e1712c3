"""Waiting for what others do to a request: people who approve it, and QueryPie, which executes it.

A wait is a pause of the step, so it holds no worker. Who waits is not put off by a QueryPie that is away for a while:
it looks again until the time of the step, or of the run, is up.
"""

from __future__ import annotations

from datetime import datetime

from flow_processor.clock import to_text
from flow_processor.errors import StepTimeout
from flow_processor.querypie import standing
from flow_processor.querypie.calls import Calls
from flow_processor.querypie.errors import QueryPieApproval, QueryPieExecution, QueryPieUnavailable
from flow_processor.querypie.options import QueryPieOptions
from flow_processor.querypie.selection import Found
from flow_processor.step import StepContext


def until_approved(
    calls: Calls, context: StepContext, options: QueryPieOptions, workflow: str, last: Found
) -> Found:
    """Return once nothing is left to approve. `last`: the last approval of this run; None inside if it makes none.

    Raises QueryPieApproval and QueryPieExecution.
    """
    remaining = last["remaining"]
    while True:
        detail = _look(calls, context, options, workflow)
        status = "unknown" if detail is None else standing.approval_status(detail)
        if detail is not None:
            standing.check_open(detail, at="Approval failed")
            if status == "APPROVED" or standing.has_been_executed(detail):
                break
            if options.use_rule_based_approval and (
                remaining is not None or _is_over(context, options, last["at"])
            ):
                message = f"Approval failed: every step was approved, and the request is still {status}"
                raise QueryPieApproval(message, details={"approval_status": status, "remaining": remaining})
        _pause(context, options, f"the approval of the request is {status}")
    if remaining in ("REVIEW", "DONE") and not standing.has_been_executed(detail):
        message = f"QueryPie names {remaining} as the request's next step, so it is not executed"
        raise QueryPieExecution(message, details={"remaining": remaining})
    context.log("All approval steps completed!")
    return {"approval_status": status, "at": to_text(context.now())}


def until_executed(
    calls: Calls, context: StepContext, options: QueryPieOptions, workflow: str, *, since: str, by: str
) -> Found:
    """Return once the execution that QueryPie took at that moment, `by` whom, has ended well.

    Raises QueryPieExecution.
    """
    while True:
        detail = _look(calls, context, options, workflow)
        status = "unknown" if detail is None else standing.execution_status(detail)
        if detail is not None:
            if standing.check_execution(detail):
                context.log(f"Execution completed successfully by {by}!")
                return {"status": status, "at": to_text(context.now())}
            if not standing.has_been_executed(detail) and _is_over(context, options, since):
                message = (
                    f"QueryPie took the execution and has not begun it for {options.timeout_seconds:g} s: its status "
                    f"is still {status}. Look at the request in QueryPie; octospool runs retry "
                    f"{context.run_id} looks again"
                )
                raise QueryPieExecution(message, details={"execution_status": status})
        _pause(context, options, f"the execution of the request is {status}")


def _look(calls: Calls, context: StepContext, options: QueryPieOptions, workflow: str) -> Found | None:
    """How the request stands; None while QueryPie is away."""
    try:
        return calls.status(workflow)
    except QueryPieUnavailable as error:
        if not error.may_repeat:
            raise
        context.log(f"{error.message}; looked at again in {options.poll_seconds:g} s", level="warning")
        return None


def _is_over(context: StepContext, options: QueryPieOptions, since: str | None) -> bool:
    """Has QueryPie had `timeout_seconds` to show what it took then?"""
    passed = None if since is None else (context.now() - datetime.fromisoformat(since)).total_seconds()
    return passed is None or passed >= options.timeout_seconds


def _pause(context: StepContext, options: QueryPieOptions, standing_: str) -> None:
    try:
        context.pause(options.poll_seconds, since=None)
    except StepTimeout as error:
        raise StepTimeout(f"{error.message}: {standing_}", details=error.details) from error
