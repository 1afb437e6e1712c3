"""What else starts a flow, beside a launch and its schedule."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, model_validator

from flow_processor.spec.base import QueueName, Spec
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

    @model_validator(mode="after")
    def _any(self) -> OnSpec:
        if all(getattr(self, key) is None for key in type(self).model_fields):
            raise ValueError(f"give at least one of: {', '.join(type(self).model_fields)}")
        return self
