"""The base of every spec, and the small types that specs share."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from flow_processor.documents.described import Described


class Spec(Described):
    """Frozen, refuses unknown keys; the docstring under a field becomes its description in the schema."""

    model_config = ConfigDict(
        frozen=True,
        defer_build=True,
        extra="forbid",
        validate_default=True,
        populate_by_name=True,
        ser_json_inf_nan="constants",
    )


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
"""One text or a list of texts; always a tuple afterwards."""

TEMPLATE_PATTERN = r"\{[\{%]"

_T = TypeVar("_T")
TemplateText = Annotated[str, Field(pattern=TEMPLATE_PATTERN, description="A {{ template }}")]
"""A text that holds a template; its value is known only when the step runs."""

Templated = Annotated[_T | TemplateText, Field(union_mode="left_to_right")]
"""Either a value, or a template that gives one. Checked again once rendered."""

Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]
"""A length of time in seconds, more than 0 and at most a year."""


Pause = Annotated[float, Field(ge=0, le=366 * 86_400, allow_inf_nan=False)]
"""A length of time in seconds that may be none at all, and at most a year."""


def _relative(value: str) -> str:
    parts = value.replace("\\", "/").split("/")
    if not value or value.startswith(("/", "\\")) or ":" in parts[0] or ".." in parts or "\0" in value:
        raise ValueError("must be a relative path inside its folder (no '..', no absolute path)")
    return "/".join(part for part in parts if part not in ("", "."))


RelativePath = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_relative)]
"""A path inside a folder that is named by the field's description; `/` separates on every system."""

_QUEUE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def queue_name_problem(name: str) -> str | None:
    """Why no queue can be called so; None where one can."""
    if re.fullmatch(_QUEUE_NAME, name):
        return None
    if not name:
        return "the name of the queue is missing"
    rule = "up to 100 of A-Z a-z 0-9 . _ -, a letter or digit first"
    return f"{name[:100]!r} cannot be a queue's name: {rule}"


def _queue_name(value: str) -> str:
    if (problem := queue_name_problem(value)) is not None:
        raise ValueError(problem)
    return value


QueueName = Annotated[
    str,
    AfterValidator(_queue_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100, "pattern": f"^{_QUEUE_NAME}$"}),
]
"""What a queue is called: it is also a folder, and part of an address."""
