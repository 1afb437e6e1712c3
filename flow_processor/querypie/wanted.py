"""What a step wants, its templates rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flow_processor.errors import StepError
from flow_processor.querypie.options import ConnectionChoice, QueryPieOptions
from flow_processor.step import StepContext


@dataclass(frozen=True)
class Wanted:
    """The choices of a step; other options are rendered where they are used."""

    options: QueryPieOptions
    login_id: str | None
    rule: str | None
    connection: ConnectionChoice
    cluster: str | None
    executor: str | None
    workflow_uuid: str | None

    @classmethod
    def of(cls, options: QueryPieOptions, context: StepContext) -> Wanted:
        """Raises StepError for a template that gives no text."""
        choice = options.connection
        return cls(
            options=options,
            login_id=rendered(context, "login_id", options.login_id),
            rule=rendered(context, "rule", options.rule),
            connection=ConnectionChoice.model_construct(
                name=rendered(context, "connection.name", choice.name),
                type=rendered(context, "connection.type", choice.type),
                database=rendered(context, "connection.database", choice.database),
                fallback_to_first=choice.fallback_to_first,
            ),
            cluster=rendered(context, "cluster", options.cluster),
            executor=rendered(context, "executor", options.executor),
            workflow_uuid=rendered(context, "workflow_uuid", options.workflow_uuid),
        )

    def comments_of(self, context: StepContext, step: int) -> str:
        """The comment of the approval of that step."""
        options = self.options
        comments = options.step_comments.get(f"step_{step}")
        if comments is None:
            comments = options.step_comments.get("default", options.approval_comments)
        return rendered(context, "approval_comments", comments, may_be_empty=True) or ""


def rendered(context: StepContext, key: str, given: str | None, *, may_be_empty: bool = False) -> str | None:
    """A text with its template rendered; None stays None. Raises StepError where it gives none."""
    if given is None:
        return None
    value: Any = context.render(given)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or (not value and not may_be_empty):
        shown = context.redacted(repr(value))[:200]
        raise StepError(f"querypie.{key} must be a text, found {shown}", code="invalid_value")
    return value
