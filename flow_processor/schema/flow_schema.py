"""The JSON Schema of flow files, for editors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import flow_processor.steps  # noqa: F401  registers the step types
from flow_processor.factory import defaults_spec, flow_model, step_types
from flow_processor.own_code.library import Function
from flow_processor.own_code.manifest import OwnStep
from flow_processor.own_code.registration import Kind
from flow_processor.spec.base import TEMPLATE_PATTERN

SCHEMA_ID = "urn:octospool:flow"


def flow_schema(own: Iterable[Function] = ()) -> dict[str, Any]:
    """JSON Schema (2020-12) of a flow file. What it refuses the loader refuses too; the loader sees more
    (names, targets, expressions). `own`: functions of own code, of which the step types are added."""
    steps = [function for function in own if function.kind is Kind.STEP]
    schema = flow_model(frozenset(OwnStep(one.name, one.repeatable) for one in steps)).model_json_schema(
        by_alias=True
    )
    definitions: dict[str, Any] = schema["$defs"]
    for function in steps:
        _add_own_step(definitions, function)
    for kind in step_types().values():
        step = definitions[f"{kind.name}_step"]
        # The step of a switch's case may leave out its name; one of a list may not (see below).
        step["required"] = [key for key in step["required"] if key != "name"]
        for alias in kind.aliases:
            _accept_alias(step, kind.name, alias)
    _name_steps_of_lists(schema)
    _add_defaults(schema)
    branches = definitions["ParallelOptions"]
    branches["additionalProperties"] = False  # what is no name of a branch is a mistake
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}


def _add_own_step(definitions: dict[str, Any], function: Function) -> None:
    """Its options as its own code has them; a template may stand for each."""
    text = json.dumps(function.arguments).replace("#/$defs/", f"#/$defs/{function.name}_step_")
    options = json.loads(text)
    for name, definition in options.pop("$defs", {}).items():
        definitions[f"{function.name}_step_{name}"] = definition
    template = {"type": "string", "pattern": TEMPLATE_PATTERN}
    for key, value in options.get("properties", {}).items():
        options["properties"][key] = {"anyOf": [value, template]}
    step = definitions[f"{function.name}_step"]
    step["required"] = [key for key in step["required"] if key != "name"]
    step["properties"][function.name] = options
    if options.get("required"):
        step["required"].append(function.name)


def _add_defaults(schema: dict[str, Any]) -> None:
    """The model of a flow keeps them as they are written; they have a spec of their own."""
    defaults = defaults_spec().model_json_schema(by_alias=True)
    schema["$defs"] |= {
        key: value for key, value in defaults.pop("$defs").items() if key not in schema["$defs"]
    }
    said = schema["properties"]["defaults"].get("description", "")
    schema["properties"]["defaults"] = {**defaults, "description": said}


def _name_steps_of_lists(value: Any) -> None:
    """A step of a list needs a name, wherever the list stands."""
    if isinstance(value, list):
        for item in value:
            _name_steps_of_lists(item)
    elif isinstance(value, dict):
        items = value.get("items")
        if isinstance(items, dict) and items.get("discriminator", {}).get("propertyName") == "type":
            value["items"] = {**items, "required": ["name"]}
        for item in value.values():
            _name_steps_of_lists(item)


def _accept_alias(step: dict[str, Any], name: str, alias: str) -> None:
    step["properties"][alias] = step["properties"][name]
    if name in step["required"]:
        step["required"].remove(name)
        step["anyOf"] = [*step.get("anyOf", [{"required": [name]}]), {"required": [alias]}]
