"""Where the result of a step is sent, beside the flow data."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from flow_processor.spec.base import QueueName, Spec


class OutputType(StrEnum):
    """How many items a result becomes."""

    SINGLE = "single"
    MULTIPLE = "multiple"


class OutputSpec(Spec):
    """A step's result is put on a queue, exactly if the step succeeds; short: `output: NAME`."""

    queue: QueueName
    """The queue's name."""
    type: OutputType = OutputType.SINGLE
    """`single`: the result is one item, whatever it is. `multiple`: it must be a list, each element is an item, and
    `[]` sends nothing; any other result fails the step (`output_invalid`)."""
    priority: Annotated[int, Field(ge=0, le=9)] = 0
    """Priority of the items: 9 comes first."""


def _as_spec(value: Any) -> Any:
    return {"queue": value} if isinstance(value, str) else value


Output = Annotated[OutputSpec, BeforeValidator(_as_spec, json_schema_input_type=QueueName | OutputSpec)]
"""An OutputSpec, or the name of its queue alone."""
