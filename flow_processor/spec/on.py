"""What else starts a flow, beside a launch and its schedule."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, model_validator

from flow_processor.spec.base import QueueName, Spec, queue_name_problem
from flow_processor.spec.files import FilePath, FilesSpec
from flow_processor.spec.queue import QueueSpec
from flow_processor.spec.webhook import WebhookSpec


def _as_queue(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _as_files(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class OnSpec(Spec):
    """What else starts the flow, beside a launch and its schedule: at least one of them."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    webhook: WebhookSpec | None = None
    """A call from outside."""
    queue: (
        Annotated[QueueSpec, BeforeValidator(_as_queue, json_schema_input_type=QueueName | QueueSpec)] | None
    ) = None
    """The items of a queue: its name, or more about it."""
    files: (
        Annotated[FilesSpec, BeforeValidator(_as_files, json_schema_input_type=FilePath | FilesSpec)] | None
    ) = None
    """Files that come or change: the pattern of their paths, or more about it."""

    @model_validator(mode="before")
    @classmethod
    def _is_no_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            name = value if queue_name_problem(value) is None else "NAME"
            raise ValueError(
                f"must say what starts the flow: '{{queue: {name}}}', say, or '{{files: PATTERN}}'"
            )
        return value

    @model_validator(mode="after")
    def _any(self) -> OnSpec:
        if self.model_fields_set and all(getattr(self, key) is None for key in self.model_fields_set):
            said = " and ".join(sorted(self.model_fields_set))
            raise ValueError(
                f"{said}: has no value; say '{{queue: NAME}}', '{{files: PATTERN}}' or '{{webhook: …}}'"
            )
        if not self.model_fields_set:
            raise ValueError(f"give at least one of: {', '.join(type(self).model_fields)}")
        return self
