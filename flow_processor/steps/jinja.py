"""Write a text with a Jinja template.

```yaml
- name: message
  type: jinja
  jinja:
    template: "{{ key }} is {{ status }} ({{ data | length }} fields)"
    data_key: ticket
```

Give `template`, or `path` of a file below TEMPLATES_PATH (which may `include` and `extend` others there). The
template sees the flow data; if the value of `data_key` is a mapping, its keys lie on top; the value itself is
`data`. With `parse: json` or `yaml` the text is read, and the result is what it says.
"""

from __future__ import annotations

import json
import math
from enum import StrEnum
from typing import Any, NoReturn

from pydantic import ConfigDict, model_validator

from flow_processor.documents import parse_data_yaml
from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import RelativePath, Spec
from flow_processor.step import JsonValue, StepContext, StepResult


class ParseAs(StrEnum):
    """As what the rendered text is read."""

    JSON = "json"
    YAML = "yaml"


def _one_of_both(schema: dict[str, Any]) -> None:
    """What the validator below says, for editors."""
    schema["oneOf"] = [{"required": ["path"]}, {"required": ["template"]}]


class JinjaOptions(Spec):
    """Writes a text with a Jinja template."""

    model_config = ConfigDict(json_schema_extra=_one_of_both)

    path: RelativePath | None = None
    """The template file, relative to TEMPLATES_PATH."""
    template: str | None = None
    """The template itself, instead of `path`."""
    data_key: str | None = None
    """Key of the flow data whose value the template sees as `data` (and its keys, if it is a mapping)."""
    parse: ParseAs | None = None
    """Read the text as `json` or `yaml`; absent: the result is the text."""

    @model_validator(mode="after")
    def _one_source(self) -> JinjaOptions:
        if (self.path is None) == (self.template is None):
            raise ValueError("give either 'path' or 'template'")
        return self


@step_type("jinja", repeatable=True)
def run(options: JinjaOptions, context: StepContext) -> StepResult:
    """Render, and read the text if asked to."""
    extra: dict[str, JsonValue] = {}
    if options.data_key is not None:
        value = context.lookup(options.data_key)
        if isinstance(value, dict):
            extra.update(value)
        extra["data"] = value
    text = context.render_template(path=options.path, text=options.template, extra=extra)
    if options.parse is ParseAs.JSON:
        return StepResult(_read_json(text))
    if options.parse is ParseAs.YAML:
        return StepResult(parse_data_yaml(text))
    return StepResult(text)


def _read_json(text: str) -> JsonValue:
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise StepError(
            f"the rendered text is no JSON: {error.msg} in line {error.lineno}, column {error.colno}",
            code="json_invalid",
            details={"line": error.lineno, "column": error.colno},
        ) from error
    except (ValueError, RecursionError) as error:
        raise StepError(f"the rendered text is no JSON: {error}", code="json_invalid") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text} is too large")
    return value
