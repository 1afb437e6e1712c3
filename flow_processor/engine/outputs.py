"""The results of steps that are sent to queues, as the journal says so."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from flow_processor.documents import json_bytes
from flow_processor.errors import StepError
from flow_processor.spec.output import OutputSpec, OutputType
from flow_processor.spec.queue_settings import DEFAULTS


def where_sent(output: OutputSpec | None) -> dict[str, Any] | None:
    """Where a step's result is sent, as journal rows have it; None for nowhere."""
    if output is None:
        return None
    return {"queue": output.queue, "type": output.type.value, "priority": output.priority}


def to_send(
    output: Mapping[str, Any] | None, result: Any, max_item_bytes: Mapping[str, int] = MappingProxyType({})
) -> dict[str, Any]:
    """What the row of a step that succeeds says first: where its result is sent, as how many items; nothing if there is
    nothing to send.

    `output` is as `where_sent` gives it; `max_item_bytes` as workers are told. Raises StepError `output_invalid` for a
    result that cannot be sent so.
    """
    if output is None:
        return {}
    queue, is_list = output["queue"], output["type"] == OutputType.MULTIPLE
    if is_list and not isinstance(result, list | tuple):
        message = (
            f"output to the queue '{queue}' is multiple, which needs a list, and the result is {_named(result)}; "
            "let jq_expression make a list of it, or say type: single"
        )
        raise StepError(message, code="output_invalid")
    limit = max_item_bytes.get(queue, max_item_bytes.get(DEFAULTS))
    if limit is not None and len(json_bytes(result)) > limit:  # as a whole: most lists need no second look
        for number, value in enumerate(result if is_list else [result], 1):
            _check_size(
                len(json_bytes(value)), limit, queue, f"element {number}" if is_list else "the result"
            )
    if is_list and not result:
        return {}
    return {"output": dict(output), "items": len(result) if is_list else 1}


def _check_size(size: int, limit: int, queue: str, what: str) -> None:
    if size > limit:
        message = (
            f"{what} has {size} bytes, and the queue '{queue}' takes items of {limit} (queues: max_item_bytes in "
            "config.yml); write it to a file and send its path, or let jq_expression pick what is needed"
        )
        raise StepError(message, code="output_invalid")


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
