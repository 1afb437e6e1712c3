"""Reference pages in Markdown: what a spec says of itself, as tables."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

from pydantic import BaseModel, RootModel

from flow_processor.documents.described import field_description
from flow_processor.factory import StepType, flow_model

_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
    "array": "list",
}
_BOUNDS = (
    ("minimum", "from"),
    ("exclusiveMinimum", "more than"),
    ("maximum", "to"),
    ("exclusiveMaximum", "below"),
)


def step_page(kind: StepType) -> str:
    """The page of a step type: its module's docstring, and a table for its options and what they hold."""
    flow_model()  # it fills in what the options of types with steps inside hold
    docstring = inspect.getdoc(sys.modules[kind.module]) or ""
    lines = [f"# {kind.name}", "", docstring, ""]
    if kind.aliases:
        names = ", ".join(f"`{alias}`" for alias in kind.aliases)
        lines += [f"Also known as {names}, as `type` and as the key of the options.", ""]
    lines += [f"## Options (under `{kind.name}:`)", "", _options(kind)]
    lines += ["", "Every step also has the [common keys](../flow-file.md#common-step-keys).", ""]
    return "\n".join(lines)


def _options(kind: StepType) -> str:
    if issubclass(kind.options, RootModel):
        return " ".join((field_description(kind.options, "root")).split())
    return fields_table(kind.options)


def fields_table(model: type[BaseModel], *, without: tuple[str, ...] = ()) -> str:
    """A table of the model's fields, and one for each model that they hold, except steps and those named in
    `without`."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    own = schema if "properties" in schema else definitions[schema["$ref"].rsplit("/", 1)[-1]]
    parts = [_table(own, definitions)]
    for name in _held(own, definitions, seen=[*without])[len(without) :]:
        held = definitions[name]
        parts += ["", f"### {_title(name)}", "", " ".join(held.get("description", "").split()), ""]
        parts.append(_table(held, definitions))
    return "\n".join(parts)


def _table(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if not schema.get("properties"):
        return "None."
    lines = ["| key | value | default | |", "|---|---|---|---|"]
    for key, field in schema["properties"].items():
        if key in schema.get("required", ()):
            default = "*required*"
        else:
            given = field.get("default")
            default = (
                ""
                if given is None or isinstance(given, dict)
                else f"`{json.dumps(given, ensure_ascii=False)}`"
            )
        words = " ".join(field.get("description", "").split())
        cells = [f"`{key}`", _words(field, definitions), default, words]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _words(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The type of a field, in words."""
    if "$ref" in field:
        return _of_reference(field["$ref"].rsplit("/", 1)[-1], definitions)
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    branches = field.get("anyOf") or field.get("oneOf")
    if branches:
        if _are_steps(branches):
            return "a step"
        shown = [_words(branch, definitions) for branch in branches if branch.get("type") != "null"]
        return " or ".join(dict.fromkeys(shown))
    if field.get("pattern") == r"\{[\{%]":
        return "`{{ template }}`"
    kind = field.get("type")
    if kind == "array":
        items = field.get("items") or {}
        inner = _words(items, definitions) if items else "anything"
        return "list of steps" if inner == "a step" else f"list of {inner}"
    words = _TYPES.get(str(kind), "anything")
    bounds = [f"{word} {field[key]:,.12g}" for key, word in _BOUNDS if key in field]
    return f"{words} {' '.join(bounds)}" if bounds else words


def _of_reference(name: str, definitions: dict[str, Any]) -> str:
    definition = definitions[name]
    if "enum" in definition:
        return ", ".join(f"`{value}`" for value in definition["enum"])
    return (
        "a step" if name.endswith("_step") else f"[{_title(name)}](#{_title(name).lower().replace(' ', '-')})"
    )


def _are_steps(branches: list[dict[str, Any]]) -> bool:
    return all(branch.get("$ref", "").endswith("_step") for branch in branches)


def _held(schema: dict[str, Any], definitions: dict[str, Any], *, seen: list[str]) -> list[str]:
    """Names of the models that a model's fields hold, in the order in which they are met."""
    for name in _references(schema.get("properties", {})):
        definition = definitions[name]
        if name not in seen and not name.endswith("_step") and "properties" in definition:
            seen.append(name)
            _held(definition, definitions, seen=seen)
    return seen


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].rsplit("/", 1)[-1]] if isinstance(value.get("$ref"), str) else []
        return own + [name for item in value.values() for name in _references(item)]
    return [name for item in value for name in _references(item)] if isinstance(value, list) else []


def _title(name: str) -> str:
    """`RestAuthentication` -> `Rest authentication`."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    for ending in (" spec", " options"):
        spaced = spaced.removesuffix(ending)
    return spaced[:1].upper() + spaced[1:]
