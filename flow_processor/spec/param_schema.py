"""The parameters of a flow as JSON Schema, from which a form can be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flow_processor.spec.param_types import ParamType, read_value
from flow_processor.spec.params import ParamSpec, searched_pattern, whole_pattern

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
_FLOW_FILE_KEYS = {
    "enum": "options",
    "items": "items",
    "minimum": "min",
    "maximum": "max",
    "formatMinimum": "min",
    "formatMaximum": "max",
    "pattern": "pattern",
    **{f"{end}{unit}": f"{end}_length" for end in ("min", "max") for unit in _LENGTHS.values()},
}


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


def flow_file_words(schema: Mapping[str, Any]) -> dict[str, Any]:
    """One of the `properties` of `params_schema` as the flow file says it: `type`, `min`, `max_length`, …, those of
    its keys that are there; without `default` and `description`."""
    words: dict[str, Any] = {"type": str(_type_of(schema))}
    for key, value in schema.items():
        if key in _FLOW_FILE_KEYS:
            words[_FLOW_FILE_KEYS[key]] = value
    if "pattern" in words:
        words["pattern"] = searched_pattern(words["pattern"])
    if "items" in words:
        words["items"] = str(_type_of(words["items"]))
    return words


def _type_of(schema: Mapping[str, Any]) -> ParamType:
    if "enum" in schema:
        return ParamType.CHOICE
    wanted = {key: schema[key] for key in ("type", "format") if key in schema}
    return next(kind for kind, one in _TYPES.items() if one == wanted)


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
