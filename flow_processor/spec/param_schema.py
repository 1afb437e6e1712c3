"""The parameters of a flow as JSON Schema, from which a form can be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flow_processor.spec.param_types import ParamType, read_value
from flow_processor.spec.params import ParamSpec, whole_pattern

_TYPES: dict[ParamType, dict[str, Any]] = {
    ParamType.STR: {"type": "string"},
    ParamType.INT: {"type": "integer"},
    ParamType.FLOAT: {"type": "number"},
    ParamType.BOOL: {"type": "boolean"},
    ParamType.DATE: {"type": "string", "format": "date"},
    ParamType.DATETIME: {"type": "string", "format": "date-time"},
    ParamType.CHOICE: {"type": "string"},
    ParamType.LIST: {"type": "array"},
    ParamType.MAP: {"type": "object"},
}
_LENGTHS = {ParamType.STR: "Length", ParamType.LIST: "Items", ParamType.MAP: "Properties"}


def params_schema(specs: Mapping[str, ParamSpec]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of what may be given as `params` at a launch.

    The bounds of dates and moments, for which JSON Schema has no keyword, stand under `formatMinimum` and
    `formatMaximum`, as validators with formats know them.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {name: _property(spec) for name, spec in specs.items()},
        "required": [name for name, spec in specs.items() if spec.required],
        "additionalProperties": False,
    }


def _property(spec: ParamSpec) -> dict[str, Any]:
    schema = dict(_TYPES[spec.type])
    if spec.description is not None:
        schema["description"] = spec.description
    if spec.options:
        schema["enum"] = list(spec.options)
    if spec.items is not None:
        schema["items"] = dict(_TYPES[spec.items])
    is_moment = spec.type in (ParamType.DATE, ParamType.DATETIME)
    for end, bound in (("inimum", spec.min), ("aximum", spec.max)):
        if bound is not None:
            schema[f"formatM{end}" if is_moment else f"m{end}"] = read_value(spec.type, bound)
    for end, length in (("min", spec.min_length), ("max", spec.max_length)):
        if length is not None:
            schema[end + _LENGTHS[spec.type]] = length
    if spec.pattern is not None:
        schema["pattern"] = whole_pattern(spec.pattern)
    if spec.default is not None:
        schema["default"] = spec.read(spec.default)
    return schema
