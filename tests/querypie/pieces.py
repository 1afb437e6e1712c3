"""Users, rules, connections and errors of a QueryPie, as its answers hold them."""

from __future__ import annotations

import uuid
from typing import Any


def person(name: str) -> dict[str, str]:
    """A user, always with the same UUID."""
    number = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
    return {"uuid": number, "name": name, "loginId": f"{name}@example.com", "email": f"{name}@example.com"}


def uid(name: str) -> str:
    """The UUID of whatever has that name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def rule(name: str, steps: list[tuple[str, list[str]]], executors: list[str]) -> dict[str, Any]:
    """An approval rule: its steps as (condition, names of assignees)."""
    return {
        "uuid": uid(f"rule {name}"),
        "name": name,
        "requestType": "SQL_EXECUTION",
        "urgent": False,
        "approvalSteps": [
            {
                "stepApproveCondition": condition,
                "selectAssigneeCondition": "FIXED",
                "ruleAssignees": [
                    {key: person(one)[key] for key in ("uuid", "name", "email")} for one in people
                ],
            }
            for condition, people in steps
        ],
        "executionAssignees": [{key: person(one)[key] for key in ("uuid", "name")} for one in executors],
    }


def connection(name: str, kind: str) -> dict[str, Any]:
    """A connection with two clusters."""
    clusters = [
        {
            "uuid": uid(f"{name} {number}"),
            "host": f"{name}{number}",
            "port": "3306",
            "replicationType": "SINGLE",
        }
        for number in (1, 2)
    ]
    return {"uuid": uid(name), "name": name, "type": kind, "clusters": clusters}


def refusal(status: int, code: str, message: str, *, required: str | None = None) -> tuple[int, Any]:
    """Status and body of an error."""
    error = {"code": code, "message": message, "path": "told by the server", "status": status}
    return status, {"error": error} | ({} if required is None else {"requiredKey": required})


def with_more(answer: Any) -> Any:
    """The answer with a field more in each mapping, as a later version may have it."""
    if isinstance(answer, list):
        return [with_more(one) for one in answer]
    if not isinstance(answer, dict):
        return answer
    return {key: with_more(value) for key, value in answer.items()} | {"unknown": {"more": [1, 2]}}
