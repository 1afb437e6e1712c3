"""Submit, approve and execute an SQL request in QueryPie.

```yaml
- name: change
  type: querypie
  querypie:
    base_url: https://querypie.example.com
    secret: querypie
    login_id: "{{ __input__.login }}"
    connection: {name: shop, type: MySQL, database: orders}
    use_dml_query: true
    request:
      data_key: sql
      title: "Close the orders of {{ __input__.day }}"
      comments: Monthly clean-up
```

`action: run`, the default, does the whole lifecycle over QueryPie's API v2: identify the user, list the approval rules,
read the rule, list the user's connections, list the databases, submit, approve once for each step of the rule (one
assignee where its condition is ANY, each where it is ALL), execute, and wait until the execution has ended. The result
is `{user, rule, connection, cluster, database, workflow_uuid, approvals, executor, execution_status, times}`. With
`use_rule_based_approval: false` it waits until people have approved in QueryPie; a wait holds no worker.

The other actions are one call each, for flows that put their own steps between them:

| action | needs | result |
|---|---|---|
| identify | login_id | the user: `{uuid, name, loginId, email}` |
| rules | | list of the rules for SQL requests, of all pages |
| rule | rule_uuid | the rule, with approvalSteps and executionAssignees |
| connections | user_uuid | list of connections with their clusters |
| databases | user_uuid, connection_uuid, cluster_uuid | list of names |
| submit | user_uuid, rule_uuid, cluster_uuid, database, approval_steps, request | `{workflow_uuid, at}` |
| approve | workflow_uuid, user_uuid | `{step, remaining, at}`; `remaining` null: had been approved before |
| execute | workflow_uuid, user_uuid | `{executed_before, at}` |
| status | workflow_uuid | the request as QueryPie describes it |

**What is chosen.** Rule: by name, else the first. Connection: by name and type, else by type, else the first with
`fallback_to_first` (or if it is the only one and none is preferred). The database likewise. Executor: by name, else
the first of the rule. What does not fit is an error that names what there is. `octospool querypie probe` shows it all
and submits nothing.

**The SQL** goes out as it stands: `query` holds no template. Render it in a step `jinja` and name that by `data_key`.

**Nothing is done twice.** Each call is a step inside, journaled by itself (`change/submit`, `change/approve_1`, …); a
run that was cut off goes on behind the last one that had ended. `retry` inside `querypie` is for single calls: GETs are
tried again when the server is away (no connection, 429, 5xx), a POST only where the server certainly did not take it
(connection refused, 429, 503 with Retry-After). Any other POST is sent once. Where it is unclear whether an approval or
execution arrived, the request is looked at for `settle_seconds`; if it shows that it did, the run goes on. Else, and
after an unclear submission, which QueryPie has no way of looking for, nobody knows: the step fails with
`querypie_in_doubt`, or, where the worker died in the middle of a submission, the run is interrupted. Then look in
QueryPie, a submitted request by its comments, which end with run and step, and say what is true:

```sh
octospool runs retry RUN --mode value --value '{"workflow_uuid": "…"}'   # the request is there
octospool runs retry RUN --mode skip                                     # the approval, or execution, took effect
octospool runs retry RUN --mode rerun                                    # it is not there, it did not
```

Of an interrupted run the same with `runs resume`. Without `--mode` such a retry is refused. `retry` at the step itself
is refused, for it would begin anew; `octospool runs retry RUN` keeps the calls that went well. With `workflow_uuid` the
action `run` goes on behind the submission of any request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import TypeAdapter

from flow_processor.clock import to_text
from flow_processor.errors import StepError
from flow_processor.expressions.rendered import checked
from flow_processor.factory import StepType, step_type
from flow_processor.querypie.calls import Calls
from flow_processor.querypie.lifecycle import Call, Do, Lifecycle
from flow_processor.querypie.options import Action, ApprovalStep, QueryPieOptions
from flow_processor.querypie.standing import due_step
from flow_processor.querypie.step_calls import calls_of
from flow_processor.querypie.submission import submission
from flow_processor.querypie.wanted import Wanted, rendered
from flow_processor.spec.step import OnInterrupt, StepSpec
from flow_processor.step import JsonValue, StepContext, StepResult

_STEPS: TypeAdapter[list[ApprovalStep]] = TypeAdapter(list[ApprovalStep])


@dataclass(frozen=True)
class _OneCall:
    """What a step inside does."""

    do: Callable[[StepContext], JsonValue]
    once: bool


class CallStep(StepSpec):
    """A call of the lifecycle, as a step that stands inside; no flow file holds one."""

    options_key: ClassVar[str] = "call"
    type: str = "querypie"
    call: Any
    """A `_OneCall`."""


def _run_call(call: _OneCall, context: StepContext) -> StepResult:
    return StepResult(call.do(context))


CallStep.step_type = StepType(
    "querypie",
    (),
    QueryPieOptions,
    _run_call,
    lambda call: not call.once,
    __name__,
    is_final=lambda call: call.once,
)


@step_type("querypie", repeatable=True, retried=False)
def run(options: QueryPieOptions, context: StepContext) -> StepResult:
    """Do what `action` says. Repeatable: the calls' own journal decides."""

    def do(
        label: str,
        call: Call,
        *,
        once: bool = False,
        outcome: str | None = None,
        workflow: str | None = None,
    ) -> Any:
        def made(inner: StepContext) -> JsonValue:
            with _marked(outcome, workflow):
                return call(_calls(options, inner, outcome, workflow), inner)

        return context.run_nested(CallStep(name=label, call=_OneCall(made, once)), label).value

    if options.action is Action.APPROVE:
        return StepResult(_approve(options, context, do))
    if options.action is Action.RUN:
        return StepResult(Lifecycle(Wanted.of(options, context), context, do).run())
    call = _single_call(options, context)
    return StepResult(do(options.action.value, call, once=options.action is Action.SUBMIT))


def _single_call(options: QueryPieOptions, context: StepContext) -> Call:
    """The one call of an action."""

    def text(key: str) -> str:
        return rendered(context, key, getattr(options, key)) or ""

    match options.action:
        case Action.IDENTIFY:
            return lambda calls, inner: calls.identify(text("login_id"))
        case Action.RULES:
            return lambda calls, inner: calls.rules()
        case Action.RULE:
            return lambda calls, inner: calls.rule(text("rule_uuid"))
        case Action.CONNECTIONS:
            return lambda calls, inner: calls.connections(text("user_uuid"))
        case Action.DATABASES:
            return lambda calls, inner: calls.databases(
                text("connection_uuid"), text("cluster_uuid"), text("user_uuid")
            )
        case Action.SUBMIT:
            return lambda calls, inner: _submit(options, calls, inner)
        case Action.EXECUTE:
            return lambda calls, inner: {
                "executed_before": not calls.execute(text("workflow_uuid"), text("user_uuid")),
                "at": to_text(inner.now()),
            }
        case _:
            return lambda calls, inner: calls.status(text("workflow_uuid"))


def _submit(options: QueryPieOptions, calls: Calls, context: StepContext) -> JsonValue:
    must = "a list of {assignees: [uuid, …], condition: ANY or ALL}"
    given = context.render(
        options.approval_steps
        if isinstance(options.approval_steps, str)
        else [one.model_dump() for one in options.approval_steps or []]
    )
    steps = checked(_STEPS, given, where="querypie.approval_steps", must=must)
    body = submission(
        options,
        context,
        requester=rendered(context, "user_uuid", options.user_uuid) or "",
        rule=rendered(context, "rule_uuid", options.rule_uuid) or "",
        cluster=rendered(context, "cluster_uuid", options.cluster_uuid) or "",
        database=rendered(context, "database", options.database) or "",
        steps=[one.model_dump() for one in steps],
    )
    return {"workflow_uuid": calls.submit(body), "at": to_text(context.now())}


def _approve(options: QueryPieOptions, context: StepContext, do: Do) -> JsonValue:
    """One approval. Which step it is for is looked up and journaled before, so that it is for no other one later."""
    workflow = rendered(context, "workflow_uuid", options.workflow_uuid) or ""
    user = rendered(context, "user_uuid", options.user_uuid) or ""
    comments = rendered(context, "approval_comments", options.approval_comments, may_be_empty=True) or ""
    due = do("due", lambda calls, inner: due_step(calls.status(workflow), user))
    if due is None:
        return {"step": None, "remaining": None, "at": None}

    def approve(calls: Calls, inner: StepContext) -> JsonValue:
        remaining = calls.approve(workflow, user, comments, step=due)
        return {"step": due, "remaining": remaining, "at": to_text(inner.now())}

    return do("approve", approve)


def _calls(
    options: QueryPieOptions, context: StepContext, outcome: str | None, workflow: str | None
) -> Calls:
    """The calls of one step inside; a POST that may take effect once is a step in that one, for its own row says
    whether it may have been sent."""

    def once(send: Callable[[bool], JsonValue]) -> JsonValue:
        def made(inner: StepContext) -> JsonValue:
            with _marked(outcome, workflow):
                return send(inner.begun_before)

        # Begun again by whoever goes on: it looks for the POST before, and sends none.
        step = CallStep(name="send", call=_OneCall(made, True), on_interrupt=OnInterrupt.RERUN)
        return context.run_nested(step, "send").value

    return calls_of(options, context, once)


@contextmanager
def _marked(outcome: str | None, workflow: str | None) -> Iterator[None]:
    """Failures say what was done before, unless they know it better, and to which request."""
    try:
        yield
    except StepError as error:
        if workflow is not None:
            error.details.setdefault("workflow_uuid", workflow)
        if outcome is not None:
            error.details.setdefault("outcome", outcome)
        raise
