"""A request of the fake QueryPie: how it stands, and how that is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.querypie.pieces import person, uid

if TYPE_CHECKING:
    from tests.querypie.fake import FakeQueryPie


def detail(server: FakeQueryPie, number: str, request: dict[str, Any]) -> dict[str, Any]:
    """The details of a request, as GET answers them."""
    body = request["body"]
    people = {one["uuid"]: one for one in map(person, ("ada", "elon", "grace", "dba"))}
    steps = []
    for order, step in enumerate(body["approvalSteps"]):
        assignees = []
        for user in step["assignees"]:
            status = "APPROVED" if (order, user) in request["approvals"] else "PENDING"
            status = "REJECTED" if request["rejected"] == user else status
            who = people.get(user, {**person("ada"), "uuid": user})
            told = {"approverComments": "not today", "actionBy": who} if status == "REJECTED" else {}
            assignees.append({"assignedUser": who, "delegated": False, "status": status, **told})
        is_done = _is_done(request, order)
        status = "APPROVED" if is_done else "REJECTED" if request["rejected"] else "PENDING"
        condition = step["stepApproveCondition"]
        steps.append({"order": order, "status": status, "condition": condition, "assignees": assignees})
    is_approved = current_step(request) is None
    if is_approved and request["approving"] > 0:
        request["approving"] -= 1
        is_approved = False
    overall = "REJECTED" if request["rejected"] else "APPROVED" if is_approved else "IN_PROGRESS"
    execution = request["execution"]
    if execution == "NONE" and overall == "APPROVED":
        execution = server.before_execution
    db = {
        "clusterUuid": body["clusterUuid"],
        "host": "db",
        "name": body["databaseName"],
        "replicationType": "SINGLE",
    }
    return {
        "workflowUuid": number,
        "workflowTitle": body["title"],
        "requesterComment": body["comments"],
        "requestType": "SQL_EXECUTION",
        "requestedAt": "2026-11-21T10:00:00.000Z",
        "requestedBy": person("ada"),
        "targetDate": f"{body['targetDate']}T00:00:00.000Z",
        "urgent": body["urgent"],
        "approvalRule": {"uuid": body["ruleUuid"], "name": "Default"},
        "approvalStatus": overall,
        "approvalSteps": steps,
        "executionStatus": execution,
        "executionAssignees": _executors(server, request),
        "reviewAssignee": [],
        "queryAuditUuids": [uid("audit")] if request["execution"] == "FAILURE" else [],
        "content": {"type": "TEXT", "value": body["content"][:1000], "valuePreview": ""},
        "connection": {
            "uuid": uid("shop"),
            "name": "shop",
            "databaseType": "MYSQL",
            "objectType": "DB",
            "deleted": False,
            "db": db,
        },
    }


def _executors(server: FakeQueryPie, request: dict[str, Any]) -> list[dict[str, Any]]:
    is_executed = server.tells_executor and request["executor"] is not None
    status = "EXECUTED" if is_executed else "PENDING"
    of_rule = [one for one in server.rules if one["uuid"] == request["body"]["ruleUuid"]]
    people = [person(one["name"]) for rule in of_rule for one in rule["executionAssignees"]]
    return [{"assignedUser": one, "status": status} for one in people]


def _is_done(request: dict[str, Any], order: int) -> bool:
    step = request["body"]["approvalSteps"][order]
    approved = [user for user in step["assignees"] if (order, user) in request["approvals"]]
    return len(approved) >= (len(step["assignees"]) if step["stepApproveCondition"] == "ALL" else 1)


def current_step(request: dict[str, Any]) -> int | None:
    """Number of the approval step that is due, from 0."""
    for order in range(len(request["body"]["approvalSteps"])):
        if not _is_done(request, order):
            return order
    return None
