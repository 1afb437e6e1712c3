"""What stands in a file or in a message, as the value of an item. Shared by all backends."""

from __future__ import annotations

import json
from typing import Any

from flow_processor.documents import NotJson, parse_data_yaml, to_json_value
from flow_processor.errors import InvalidRequest, StepError


class ContentRefused(InvalidRequest):
    """The content of an item is not what it is said to be, so that no flow can have it."""

    code = "item_invalid"


def json_value(raw: bytes) -> Any:
    """The value of JSON text. Raises ContentRefused `invalid_json`, with the line where it can be told."""
    try:
        return to_json_value(json.loads(raw, parse_constant=_no_constant))
    except (ValueError, RecursionError, NotJson) as error:
        raise ContentRefused(f"it is not JSON: {error}", code="invalid_json") from None


def yaml_value(raw: bytes) -> Any:
    """The value of YAML text; several documents are a list. Raises ContentRefused `invalid_yaml`."""
    try:
        return parse_data_yaml(raw)
    except StepError as error:
        raise ContentRefused(error.message, code="invalid_yaml", details=dict(error.details)) from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
