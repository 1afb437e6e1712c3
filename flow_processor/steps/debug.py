"""Write data into the run's log, to look at it.

```yaml
- name: look
  type: debug
  debug: {data_key: tickets, type: yaml}
```

The result is null. More than 64 KiB are cut off, and the line says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum

from flow_processor.documents import NotJson, dump_yaml
from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import JsonValue, StepContext, StepResult

_MAX_CHARACTERS = 65_536
"""A log is for reading; what is longer belongs into a file."""


class DebugType(StrEnum):
    """How data is written into the log."""

    JSON = "json"
    YAML = "yaml"
    TEXT = "text"


class DebugOptions(Spec):
    """Writes data into the run's log."""

    data_key: str = "."
    """Key of the flow data that is shown; default: the whole data."""
    type: DebugType = DebugType.JSON
    """`json`, `yaml`, or `text` (a text as it is, anything else as JSON in one line)."""


@step_type("debug", repeatable=True)
def run(options: DebugOptions, context: StepContext) -> StepResult:
    """Log the value of `data_key`."""
    text = context.redacted(_written(context.lookup(options.data_key), options.type))
    if len(text) > _MAX_CHARACTERS:
        text = text[:_MAX_CHARACTERS] + "… (cut off: too long for a log)"
    context.log(f"{options.data_key}: {text}")
    return StepResult()


def _written(value: JsonValue, kind: DebugType) -> str:
    if kind is DebugType.YAML:
        try:
            return "\n" + dump_yaml(value)
        except NotJson as error:
            raise StepError(f"data cannot be written as YAML: {error}", code="not_json") from error
    if kind is DebugType.TEXT:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _beginning(json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(value))


def _beginning(pieces: Iterable[str]) -> str:
    """As much as is logged and a little more: indenting the whole of large data would take long."""
    taken, length = [], 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece)
        if length > _MAX_CHARACTERS:
            break
    return "".join(taken)
