"""The lifecycle: identify, choose, submit, approve, execute. Each call is done by `do`, which journals it by itself.

What was chosen is worked out anew from the calls' results whenever a worker goes on, so it stays the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from flow_processor.clock import to_text
from flow_processor.querypie import standing
from flow_processor.querypie.calls import Calls
from flow_processor.querypie.errors import QueryPieInDoubt
from flow_processor.querypie.selection import (
    Found,
    approval_steps_of,
    approvers_of,
    cluster_of,
    connection_of,
    database_of,
    executor_of,
    executors_of,
    missed_connection,
    rule_of,
    text_of,
)
from flow_processor.querypie.submission import submission
from flow_processor.querypie.waiting import until_approved, until_executed
from flow_processor.querypie.wanted import Wanted
from flow_processor.step import StepContext

Call = Callable[[Calls, StepContext], Any]


class Do(Protocol):
    """Does one call and journals what it came to; what is in the journal is not done again."""

    def __call__(
        self,
        label: str,
        call: Call,
        *,
        once: bool = False,
        outcome: str | None = None,
        workflow: str | None = None,
    ) -> Any:
        """`once`: it must not silently be done twice. `outcome`: what its failures say was done before; with `partial`
        nobody begins anew by himself, for that would submit another request. `workflow`: the request's UUID, which they
        say too."""


class Lifecycle:
    """One request, from its first call to its end."""

    def __init__(self, wanted: Wanted, context: StepContext, do: Do):
        self._wanted = wanted
        self._context = context
        self._do = do

    def run(self) -> Found:
        """All of it; user, rule, connection, cluster, database, workflow_uuid, approvals, executor, …"""
        chosen = self._go_on() if self._wanted.workflow_uuid is not None else self._begin()
        workflow, rule, steps = chosen["workflow_uuid"], chosen.pop("rule_detail"), chosen.pop("steps")
        self._do = partial(self._do, workflow=workflow)
        executor = executor_of(rule, self._wanted.executor)
        options = self._wanted.options
        approvals = self._approve(workflow, steps) if options.use_rule_based_approval else []
        last = approved = approvals[-1] if approvals else {"remaining": None, "at": None}
        if last["remaining"] != "EXECUTION":
            approved = self._do(
                "approved", lambda calls, context: until_approved(calls, context, options, workflow, last)
            )
        execution = self._do(
            "execute", lambda calls, context: self._execute(calls, context, workflow, rule, executor)
        )
        since, by = execution["at"], executor["name"]
        ended = self._do(
            "executed",
            lambda calls, context: until_executed(calls, context, options, workflow, since=since, by=by),
        )
        times = {
            "submitted": chosen.pop("submitted_at"),
            "approved": approved.get("at"),  # left out by versions before this one
            "executed": execution["at"],
            "ended": ended["at"],
        }
        outcome = {"executor": executor, "execution_status": ended["status"], "times": times}
        return {**chosen, "approvals": approvals, **outcome}

    def _begin(self) -> Found:
        """Everything up to the submitted request."""
        wanted = self._wanted
        login = wanted.login_id or ""
        user = self._do("identify", lambda calls, context: _identify(calls, context, login))
        rules = self._do("rules", lambda calls, context: calls.rules())
        chosen_rule = rule_of(rules, wanted.rule)
        rule = self._do("rule", lambda calls, context: _rule(calls, context, chosen_rule))
        steps = approval_steps_of(rule)
        executor_of(rule, wanted.executor)  # nothing is submitted that nobody can execute
        uuid = text_of(user, "uuid", what="the user")
        connections = self._do("connections", lambda calls, context: calls.connections(uuid))
        connection = connection_of(connections, wanted.connection)
        cluster = cluster_of(connection, wanted.cluster)
        names = self._do(
            "databases", lambda calls, context: _databases(calls, context, connection, cluster, uuid, wanted)
        )
        database = database_of(names, wanted.connection)

        submitted = self._do(
            "submit",
            lambda calls, context: _submit(
                calls,
                context,
                wanted,
                requester=uuid,
                rule=rule,
                cluster=cluster,
                database=database,
                steps=steps,
            ),
            once=True,
        )
        if not isinstance(submitted, dict) or not isinstance(submitted.get("workflow_uuid"), str):
            submitted = self._do("submitted", lambda calls, context: _ask_again(context))  # a person's answer
        self._do = partial(self._do, outcome="partial")
        return {
            "user": {key: user.get(key) for key in ("uuid", "name", "loginId", "email")},
            "rule": {"uuid": rule.get("uuid"), "name": rule.get("name")},
            "connection": {key: connection.get(key) for key in ("uuid", "name", "type")},
            "cluster": {key: cluster.get(key) for key in ("uuid", "host", "port")},
            "database": database,
            "workflow_uuid": text_of(submitted, "workflow_uuid", what="what was given as the submission"),
            "submitted_at": submitted.get("at"),
            "rule_detail": rule,
            "steps": steps,
        }

    def _go_on(self) -> Found:
        """The same of a request that is there."""
        workflow = self._wanted.workflow_uuid or ""
        detail = self._do("status", lambda calls, context: calls.status(workflow))
        chosen = {"uuid": text_of(detail.get("approvalRule"), "uuid", what="the request's rule")}
        rule = self._do("rule", lambda calls, context: calls.rule(chosen["uuid"]))
        user, connection = detail.get("requestedBy") or {}, detail.get("connection") or {}
        db = connection.get("db") or {}
        return {
            "user": {key: user.get(key) for key in ("uuid", "name", "loginId", "email")},
            "rule": {"uuid": rule.get("uuid"), "name": rule.get("name")},
            "connection": {
                "uuid": connection.get("uuid"),
                "name": connection.get("name"),
                "type": connection.get("databaseType"),
            },
            "cluster": {"uuid": db.get("clusterUuid"), "host": db.get("host"), "port": None},
            "database": db.get("name"),
            "workflow_uuid": workflow,
            "submitted_at": detail.get("requestedAt"),
            "rule_detail": rule,
            "steps": standing.steps_of(detail),
        }

    def _approve(self, workflow: str, steps: list[Found]) -> list[Found]:
        """What came of each approval, up to the one after which nothing is left to approve."""
        approvals: list[Found] = []
        for number, step in enumerate(steps, 1):
            people = approvers_of(step)
            for order, person in enumerate(people, 1):
                if order == 1 and approvals:
                    since = datetime.fromisoformat(approvals[-1]["at"]).timestamp()
                    self._context.pause(self._wanted.options.approval_delay_seconds, since=since)
                label = f"approve_{number}" if len(people) == 1 else f"approve_{number}_{order}"
                approvals.append(self._approve_one(label, workflow, number, person))
                if approvals[-1]["remaining"] in ("EXECUTION", "REVIEW", "DONE"):
                    return approvals
        return approvals

    def _approve_one(self, label: str, workflow: str, number: int, person: Found) -> Found:
        def approve(calls: Calls, context: StepContext) -> Found:
            context.log(f"Approving Step {number} with user: {person['name']} (UUID: {person['uuid']})")
            comments = self._wanted.comments_of(context, number)
            remaining = calls.approve(workflow, person["uuid"], comments, step=number)
            if remaining is None:
                context.log(f"Step {number} had been approved before")
            else:
                context.log(f"Step {number} completed by {person['name']}. Remaining Steps: {remaining}")
            found = {"step": number, "by": person["name"], "uuid": person["uuid"]}
            return {**found, "remaining": remaining, "at": to_text(context.now())}

        found: Found = self._do(label, approve)
        return found

    def _execute(
        self, calls: Calls, context: StepContext, workflow: str, rule: Found, executor: Found
    ) -> Found:
        names = ", ".join(one["name"] for one in executors_of(rule))
        context.log(f"Execution assignees from rule: {names}")
        which = "rule-defined" if self._wanted.executor is None else "preferred"
        context.log(f"Executing SQL Request. Using {which} executor: {executor['name']}")
        if not calls.execute(workflow, executor["uuid"]):
            context.log("The SQL Request had been executed before")
        return {"at": to_text(context.now())}


def _submit(
    calls: Calls,
    context: StepContext,
    wanted: Wanted,
    *,
    requester: str,
    rule: Found,
    cluster: Found,
    database: str,
    steps: list[Found],
) -> Found:
    context.log(f"Selected Database: {database}")
    for number, step in enumerate(steps, 1):
        people = ", ".join(one["name"] for one in step["assignees"])
        context.log(f"Step {number}: {people} (Condition: {step['condition']})")
    body = submission(
        wanted.options,
        context,
        requester=requester,
        rule=text_of(rule, "uuid", what="the rule"),
        cluster=text_of(cluster, "uuid", what="the cluster"),
        database=database,
        steps=[
            {"assignees": [one["uuid"] for one in step["assignees"]], "condition": step["condition"]}
            for step in steps
        ],
    )
    context.log(f"Creating SQL Request '{body['title']}'...")
    workflow = calls.submit(body)
    context.log(f"SQL Request created successfully! Workflow UUID: {workflow}")
    return {"workflow_uuid": workflow, "at": to_text(context.now())}


def _ask_again(context: StepContext) -> Any:
    """What was given as the submission's result has no UUID, and a retry keeps it: so that is asked for here."""
    path = context.path.rpartition("/")[0]
    retry = f"octospool runs retry {context.run_id}"
    first = path.partition("/")[0].partition("[")[0].partition("#")[0]
    message = (
        f"what was given as the result of '{path}/submit' does not name the request: {retry} --mode value "
        f'--value \'{{"workflow_uuid": "…"}}\' (it is there) or {retry} --from {first} --mode rerun (it is not: '
        "everything anew)"
    )
    raise QueryPieInDoubt(message, details={"outcome": "unknown"})


def _identify(calls: Calls, context: StepContext, login: str) -> Found:
    user = calls.identify(login)
    context.log(f"User UUID: {user['uuid']}")
    return user


def _rule(calls: Calls, context: StepContext, chosen: Found) -> Found:
    uuid = text_of(chosen, "uuid", what="an approval rule")
    context.log(f"Selected Approval Rule: {chosen.get('name')} (UUID: {uuid})")
    rule = calls.rule(uuid)
    context.log(f"Rule has {len(rule.get('approvalSteps') or [])} approval step(s)")
    return rule


def _databases(
    calls: Calls, context: StepContext, connection: Found, cluster: Found, user: str, wanted: Wanted
) -> list[str]:
    name, missed = connection.get("name"), missed_connection(connection, wanted.connection)
    if missed is not None:
        context.log(f"{missed}; another one is taken", level="warning")
    context.log(f"Selected Connection: {name} ({connection.get('type')})")
    uuids = text_of(connection, "uuid", what="a connection"), text_of(cluster, "uuid", what="a cluster")
    context.log(f"Connection UUID: {uuids[0]}; Cluster UUID: {uuids[1]}")
    names = calls.databases(*uuids, user)
    context.log(f"Available Databases: {', '.join(names) or 'none'}")
    return names
