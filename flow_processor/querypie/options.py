"""What a step `querypie` may say."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from flow_processor.spec.base import Pause, RelativePath, Seconds, Spec, Templated, TemplateText
from flow_processor.spec.step import RetrySpec

Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Action(StrEnum):
    """What is done: the whole lifecycle, or one call of it."""

    RUN = "run"
    IDENTIFY = "identify"
    RULES = "rules"
    RULE = "rule"
    CONNECTIONS = "connections"
    DATABASES = "databases"
    SUBMIT = "submit"
    APPROVE = "approve"
    EXECUTE = "execute"
    STATUS = "status"


NEEDS: dict[Action, tuple[str, ...]] = {
    Action.RUN: ("login_id", "request"),
    Action.IDENTIFY: ("login_id",),
    Action.RULES: (),
    Action.RULE: ("rule_uuid",),
    Action.CONNECTIONS: ("user_uuid",),
    Action.DATABASES: ("user_uuid", "connection_uuid", "cluster_uuid"),
    Action.SUBMIT: ("user_uuid", "rule_uuid", "cluster_uuid", "database", "approval_steps", "request"),
    Action.APPROVE: ("workflow_uuid", "user_uuid"),
    Action.EXECUTE: ("workflow_uuid", "user_uuid"),
    Action.STATUS: ("workflow_uuid",),
}
"""Options without which an action cannot be done."""


class ConnectionChoice(Spec):
    """Which of the user's connections and databases."""

    name: Text | None = None
    """Name of the connection that is preferred. A template."""
    type: Text | None = None
    """Its type, as QueryPie names it: `MySQL`, `PostgreSQL`, …. A template."""
    database: Text | None = None
    """Name of the database that is preferred. A template."""
    fallback_to_first: bool = False
    """Take the first connection or database where none of those preferred is there."""


def _literal(value: str) -> str:
    if "{{" in value or "{%" in value:
        raise ValueError(
            "is sent as it stands, for a value in SQL could be SQL: render it in a step 'jinja' and name that by "
            "'data_key', or keep it in a 'file'"
        )
    return value


class SqlRequest(Spec):
    """What is asked for."""

    query: Annotated[str, Field(min_length=1), AfterValidator(_literal)] | None = None
    """The SQL, sent as it stands: no template."""
    file: RelativePath | None = None
    """A file below the data folder with the SQL, in place of `query`."""
    data_key: str | None = None
    """Key of the flow data with the SQL, in place of `query`."""
    title: Text
    """The request's title. A template."""
    comments: Annotated[str, Field(max_length=10_000)] = ""
    """Why it is asked for. A template."""
    mark_comments: bool = True
    """End the comments with a line that names run and step, by which people find the request in QueryPie."""
    target_date: Text | None = None
    """The day on which it is to be executed, YYYY-MM-DD; default: today. A template."""
    expiration_date: Text | None = None
    """The day on which it expires, YYYY-MM-DD; default: a week after `target_date`. A template."""
    urgent: bool | TemplateText = False
    """Ask for it as urgent."""

    @model_validator(mode="after")
    def _one_source(self) -> SqlRequest:
        if sum(one is not None for one in (self.query, self.file, self.data_key)) != 1:
            raise ValueError("give exactly one of 'query', 'file' and 'data_key'")
        return self


def _is_http(value: str) -> str:
    if "{{" not in value and "{%" not in value and not value.lower().startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https:// (or be a template)")
    return value


class ApprovalStep(Spec):
    """One step of approval of a request that is submitted."""

    assignees: Annotated[list[str], Field(min_length=1)]
    """UUIDs of who may approve."""
    condition: Literal["ANY", "ALL"] = "ANY"
    """`ANY`: one of them approves; `ALL`: each of them does."""


class QueryPieOptions(Spec):
    """Submits, approves and executes an SQL request in QueryPie."""

    action: Action = Action.RUN
    """The whole lifecycle (`run`), or one call of it."""
    base_url: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_is_http)]
    """QueryPie's address; `/api/external/v2` is added unless it has it. A template."""
    secret: str
    """Name of the secret of type `token` with QueryPie's API token."""
    auth_prefix: str = "Bearer"
    """The word before the token in the header Authorization; empty: none."""
    verify: bool | str = True
    """Check the server's certificate. A text is the path of a file below the data folder with the certificates to
    trust."""
    timeout_seconds: Seconds = 30.0
    """Time of one call, in seconds; also how long QueryPie may take until it begins an execution that it took."""
    retry: RetrySpec | None = RetrySpec(attempts=3, backoff=2)
    """Further tries of single calls: GETs when the server is away, POSTs only where it certainly did not take them; a
    Retry-After of the server wins over the pause. Default: 3, after 1, 2 and 4 seconds."""
    show_response: bool = False
    """Write what QueryPie answers to the run's log."""
    login_id: Text | None = None
    """Login of the user who asks. A template."""
    rule: Text | None = None
    """Name of the approval rule; default: the first. A template."""
    connection: ConnectionChoice = ConnectionChoice()
    """The connection and database; default: the only ones."""
    cluster: Text | None = None
    """The connection's cluster, by host, `host:port` or UUID; default: the first. A template."""
    request: SqlRequest | None = None
    """What is asked for."""
    use_dml_query: bool = False
    """Say that the query changes data (`useDmlQuery`)."""
    use_rule_based_approval: bool = True
    """Approve in the name of the rule's assignees. False: wait until they have approved in QueryPie."""
    approval_comments: str = "Approved"
    """Comment of an approval. A template."""
    step_comments: dict[Annotated[str, Field(pattern=r"^(step_[1-9]\d*|default)$")], str] = Field(
        default_factory=dict
    )
    """Comments by step: `step_1`, `step_2`, …, `default`. Templates."""
    approval_delay_seconds: Pause = 1.0
    """Pause between two steps of approval, in seconds."""
    executor: Text | None = None
    """Name of who executes, among the rule's executors; default: the first. A template."""
    poll_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = 5.0
    """Pause between two looks at a request that is waited for, in seconds; also while QueryPie is away."""
    settle_seconds: Pause = 10.0
    """So long the request is looked at for signs of an approval or execution of which nobody knows whether it arrived,
    in seconds; then the step fails in doubt."""
    workflow_uuid: Text | None = None
    """The request, for single calls; with `run`: go on with this one, and submit none. A template."""
    user_uuid: Text | None = None
    """The user, for single calls. A template."""
    rule_uuid: Text | None = None
    """The rule, for `rule` and `submit`. A template."""
    connection_uuid: Text | None = None
    """The connection, for `databases`. A template."""
    cluster_uuid: Text | None = None
    """The cluster, for `databases` and `submit`. A template."""
    database: Text | None = None
    """The database, for `submit`. A template."""
    approval_steps: Templated[list[ApprovalStep]] | None = None
    """The steps of approval, for `submit`: a list, or a template that gives one."""

    @model_validator(mode="after")
    def _complete(self) -> QueryPieOptions:
        needed = NEEDS[self.action]
        if self.action is Action.RUN and self.workflow_uuid is not None:
            needed = ()
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"action '{self.action}' needs {', '.join(repr(name) for name in missing)}")
        return self
