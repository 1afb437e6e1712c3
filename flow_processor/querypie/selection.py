"""Which rule, connection, cluster, database and people: choices among what QueryPie answered. No calls here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flow_processor.querypie.errors import QueryPieAnswer, QueryPieSelection
from flow_processor.querypie.options import ConnectionChoice

Found = dict[str, Any]
_NAMED = 20
"""So many of what there is are named in an error."""


def text_of(found: Any, key: str, *, what: str) -> str:
    """A text that the vendor's schema promises. Raises QueryPieAnswer."""
    value = found.get(key) if isinstance(found, dict) else None
    if not isinstance(value, str) or not value:
        raise QueryPieAnswer(f"QueryPie's answer has no text '{key}' in {what}")
    return value


def list_of(found: Any, key: str) -> list[Any]:
    """A list that may be left out."""
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, list) else []


def user_of(answer: Any, login_id: str) -> Found:
    """The one user that was identified."""
    status = answer.get("status") if isinstance(answer, dict) else None
    users = [one for one in list_of(answer, "users") if isinstance(one, dict)]
    if status == "FOUND" and users:
        text_of(users[0], "uuid", what="users[0]")
        return users[0]
    if status == "DUPLICATES_FOUND":
        names = _names([f"{one.get('loginId')} ({one.get('uuid')})" for one in users])
        message = f"QueryPie knows several users with login '{login_id}': {names}"
        raise QueryPieSelection(message, code="querypie_user_ambiguous")
    if status == "NOT_FOUND":
        raise QueryPieSelection(
            f"QueryPie knows no user with login '{login_id}'", code="querypie_user_not_found"
        )
    raise QueryPieAnswer(f"QueryPie identifies a user with status {status!r}, which is none that it has")


def rule_of(rules: Sequence[Any], name: str | None) -> Found:
    """The rule of that name, else the first."""
    for rule in rules:
        if isinstance(rule, dict) and (name is None or rule.get("name") == name):
            return rule
    if not rules:
        raise QueryPieSelection("QueryPie has no approval rule for SQL requests", code="querypie_no_rule")
    there = _names([rule.get("name") for rule in rules if isinstance(rule, dict)])
    raise QueryPieSelection(
        f"QueryPie has no approval rule '{name}'; there are: {there}", code="querypie_no_rule"
    )


def connection_of(connections: Sequence[Any], wanted: ConnectionChoice) -> Found:
    """By name and type, else by type, else the first if that is wished. `wanted` holds rendered values."""
    there = [one for one in connections if isinstance(one, dict)]
    of_type = [one for one in there if wanted.type is None or one.get("type") == wanted.type]
    if wanted.name is not None:
        named = [one for one in of_type if one.get("name") == wanted.name]
        if named:
            return named[0]
    if of_type and wanted.type is not None:
        return of_type[0]
    is_only = len(there) == 1 and wanted.name is None and wanted.type is None
    if there and (wanted.fallback_to_first or is_only):
        return there[0]
    preferred = " ".join(part for part in (_quoted(wanted.name), _bracketed(wanted.type)) if part) or "none"
    names = _names([f"{one.get('name')} ({one.get('type')})" for one in there])
    message = f"No suitable connection found: preferred {preferred}; there are: {names}"
    raise QueryPieSelection(message, code="querypie_no_connection")


def missed_connection(taken: Found, wanted: ConnectionChoice) -> str | None:
    """Says that the connection which was preferred is not there, if this one was taken in its place."""
    if wanted.name in (None, taken.get("name")) and wanted.type in (None, taken.get("type")):
        return None
    preferred = " ".join(part for part in (_quoted(wanted.name), _bracketed(wanted.type)) if part)
    return f"the preferred connection {preferred} is not among those of the user"


def cluster_of(connection: Found, wanted: str | None) -> Found:
    """By UUID, host or `host:port`, else the first."""
    clusters = [one for one in list_of(connection, "clusters") if isinstance(one, dict)]
    for one in clusters:
        host, port = one.get("host"), one.get("port")
        if wanted is None or wanted in (one.get("uuid"), host, f"{host}:{port}"):
            return one
    names = _names([f"{one.get('host')}:{one.get('port')}" for one in clusters])
    what = "no cluster" if wanted is None else f"no cluster '{wanted}'; there are: {names}"
    message = f"connection '{connection.get('name')}' has {what}"
    raise QueryPieSelection(message, code="querypie_no_cluster")


def database_of(names: Sequence[str], wanted: ConnectionChoice) -> str:
    """The one that is preferred, else the first if that is wished."""
    if wanted.database in names and wanted.database is not None:
        return wanted.database
    if names and (wanted.fallback_to_first or (len(names) == 1 and wanted.database is None)):
        return names[0]
    preferred = _quoted(wanted.database) or "none"
    message = f"No suitable database found: preferred {preferred}; there are: {_names(names)}"
    raise QueryPieSelection(message, code="querypie_no_database")


def approval_steps_of(rule: Found) -> list[Found]:
    """`[{condition, assignees: [{uuid, name}]}]` of a rule."""
    found = []
    for number, step in enumerate(list_of(rule, "approvalSteps"), 1):
        people = [_person(one) for one in list_of(step, "ruleAssignees")]
        if not people:
            message = f"No assignees found for step {number} of approval rule '{rule.get('name')}'"
            raise QueryPieSelection(message, code="querypie_no_assignees")
        condition = step.get("stepApproveCondition")
        if condition not in ("ANY", "ALL"):
            raise QueryPieAnswer(f"step {number} of the approval rule has the condition {condition!r}")
        found.append({"condition": condition, "assignees": people})
    return found


def approvers_of(step: Found) -> list[Found]:
    """Who approves: the first assignee where the condition is ANY, all where it is ALL."""
    people: list[Found] = step["assignees"]
    return people[:1] if step["condition"] == "ANY" else people


def executor_of(rule: Found, wanted: str | None) -> Found:
    """By name, else the first of the rule's executors."""
    people = executors_of(rule)
    for one in people:
        if wanted is None or wanted in (one["name"], one["uuid"]):
            return one
    which = (
        "" if wanted is None else f" of the name '{wanted}'; there are: {_names([p['name'] for p in people])}"
    )
    message = f"No executor available in approval rule '{rule.get('name')}'{which}"
    raise QueryPieSelection(message, code="querypie_no_executor")


def executors_of(rule: Found) -> list[Found]:
    """`[{uuid, name}]` of those who may execute."""
    return [_person(one) for one in list_of(rule, "executionAssignees")]


def _person(found: Any) -> Found:
    uuid = text_of(found, "uuid", what="an assignee of the rule")
    return {"uuid": uuid, "name": found.get("name") or found.get("email") or uuid}


def _quoted(text: str | None) -> str:
    return "" if text is None else f"'{text}'"


def _bracketed(text: str | None) -> str:
    return "" if text is None else f"({text})"


def _names(names: Sequence[Any]) -> str:
    shown = ", ".join(str(name) for name in names[:_NAMED]) or "none"
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
