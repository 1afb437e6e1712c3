"""How a request stands, read from its details in QueryPie. No calls here."""

from __future__ import annotations

from flow_processor.querypie.errors import QueryPieAnswer, QueryPieApproval, QueryPieExecution
from flow_processor.querypie.selection import Found, list_of, text_of

ENDED_BADLY = frozenset({"REJECTED", "CANCELED", "EXPIRED"})
_APPROVAL = frozenset({"PENDING", "IN_PROGRESS", "APPROVED"}) | ENDED_BADLY
_NOT_EXECUTED = frozenset({"NONE", "PENDING"})
_EXECUTION = _NOT_EXECUTED | {"EXECUTING", "SUCCESS", "FAILURE", "CANCELED", "EXPIRED"}


def approval_status(detail: Found) -> str:
    """PENDING, IN_PROGRESS, APPROVED, REJECTED, CANCELED or EXPIRED."""
    return _one_of(detail, "approvalStatus", _APPROVAL)


def execution_status(detail: Found) -> str:
    """NONE, PENDING, EXECUTING, SUCCESS, FAILURE, CANCELED or EXPIRED."""
    return _one_of(detail, "executionStatus", _EXECUTION)


def has_been_executed(detail: Found) -> bool:
    """Has its execution begun, or ended, whatever came of it?

    PENDING says nothing: so a request stands that waits for its executor.
    """
    executors = [one for one in list_of(detail, "executionAssignees") if isinstance(one, dict)]
    return execution_status(detail) not in _NOT_EXECUTED or any(
        one.get("status") == "EXECUTED" for one in executors
    )


def has_approved(detail: Found, user: str, step: int) -> bool:
    """Has the user approved that step (from 1), or somebody in the user's place?"""
    return approval_status(detail) == "APPROVED" or _is_done(_step(detail, step), user)


def due_step(detail: Found, user: str) -> int | None:
    """Number of the step (from 1) that an approval of the user is for; None: they have approved all of theirs.

    For a user who has none it is the one that is due, and QueryPie says what it thinks of that.
    """
    steps = list(enumerate(_steps(detail), 1))
    theirs = [number for number, step in steps if _status_of(step, user) is not None]
    among = theirs or [number for number, _ in steps]
    return next((number for number, step in steps if number in among and not _is_done(step, user)), None)


def steps_of(detail: Found) -> list[Found]:
    """`[{condition, assignees: [{uuid, name}]}]` of a request."""
    found = []
    for step in _steps(detail):
        people = [one.get("assignedUser") for one in list_of(step, "assignees") if isinstance(one, dict)]
        assignees = [
            {"uuid": text_of(one, "uuid", what="an approver"), "name": one.get("name")}
            for one in people
            if isinstance(one, dict)
        ]
        if not assignees:
            raise QueryPieAnswer("QueryPie's request has an approval step without assignees")
        found.append({"condition": step.get("condition"), "assignees": assignees})
    return found


def check_open(detail: Found, *, at: str) -> None:
    """Raises QueryPieApproval if nothing can be approved any more; `at` begins the message."""
    status = approval_status(detail)
    if status in ENDED_BADLY:
        message = f"{at}: the request is {status}{_by_whom(detail)}"
        raise QueryPieApproval(message, details={"approval_status": status})


def check_execution(detail: Found) -> bool:
    """Has it been executed well? Raises QueryPieExecution if it ended otherwise."""
    status = execution_status(detail)
    if status in ("FAILURE", "CANCELED", "EXPIRED"):
        message = f"the execution of the request ended as {status}"
        audits = [one for one in list_of(detail, "queryAuditUuids") if isinstance(one, str)]
        more = f"; QueryPie's query audit: {', '.join(audits)}" if audits else ""
        raise QueryPieExecution(
            message + more, details={"execution_status": status, "query_audit_uuids": audits}
        )
    return status == "SUCCESS"


def _steps(detail: Found) -> list[Found]:
    steps = [one for one in list_of(detail, "approvalSteps") if isinstance(one, dict)]
    return sorted(steps, key=lambda one: one["order"] if isinstance(one.get("order"), int) else 0)


def _step(detail: Found, number: int) -> Found:
    steps = _steps(detail)
    if number > len(steps):
        raise QueryPieAnswer(
            f"QueryPie's request has {len(steps)} approval steps, the rule has a step {number}"
        )
    return steps[number - 1]


def _is_done(step: Found, user: str) -> bool:
    return step.get("status") == "APPROVED" or _status_of(step, user) == "APPROVED"


def _status_of(step: Found, user: str) -> str | None:
    for one in list_of(step, "assignees"):
        assigned = one.get("assignedUser") if isinstance(one, dict) else None
        if isinstance(assigned, dict) and assigned.get("uuid") == user:
            return str(one.get("status"))
    return None


def _by_whom(detail: Found) -> str:
    """` by Ada: not today`, if somebody rejected it."""
    for step in _steps(detail):
        for one in list_of(step, "assignees"):
            if isinstance(one, dict) and one.get("status") == "REJECTED":
                who = one.get("actionBy") or one.get("assignedUser") or {}
                said = one.get("approverComments")
                return f" by {who.get('name', 'somebody')}{f': {said}' if said else ''}"
    return ""


def _one_of(detail: Found, key: str, known: frozenset[str]) -> str:
    status = text_of(detail, key, what="the request")
    if status not in known:
        raise QueryPieAnswer(f"QueryPie's request has {key} {status!r}, which is none that this step knows")
    return status
