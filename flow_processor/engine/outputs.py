"""The results of steps that are sent to queues, as the journal says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flow_processor.errors import StepError
from flow_processor.spec.output import OutputSpec, OutputType


def where_sent(output: OutputSpec | None) -> dict[str, Any] | None:
    """Where a step's result is sent, as journal rows have it; None for nowhere."""
    if output is None:
        return None
    return {"queue": output.queue, "type": output.type.value, "priority": output.priority}


def to_send(output: Mapping[str, Any] | None, result: Any) -> dict[str, Any]:
    """What the row of a step that succeeds says first: where its result is sent; nothing if there is nothing to send.

    `output` is as `where_sent` gives it. Raises StepError `output_invalid` for a result that cannot be sent so.
    """
    if output is None or (output["type"] == OutputType.MULTIPLE and result == []):
        return {}
    if output["type"] == OutputType.MULTIPLE and not isinstance(result, list | tuple):
        message = (
            f"output to the queue '{output['queue']}' is multiple, which needs a list, and the result is "
            f"{_named(result)}; let jq_expression make a list of it, or say type: single"
        )
        raise StepError(message, code="output_invalid")
    return {"output": dict(output)}


def _named(value: Any) -> str:
    """What kind of value it is, in the words of a flow file."""
    for kind, name in (
        (dict, "a mapping"),
        (str, "a text"),
        (bool, "true or false"),
        (int | float, "a number"),
    ):
        if isinstance(value, kind):
            return name
    return "null"
