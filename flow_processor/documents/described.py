"""Models whose fields are described by the docstring under each.

pydantic can read those itself (`use_attribute_docstrings`), but does so whenever a model is made: a fifth of the
start of every process, for texts that only the schema, the pages and error messages show. Here they are read
when somebody asks.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import AliasChoices, BaseModel, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class RefusedKeys:
    """Keys that somebody may want to write and that a rule refuses."""

    code: str
    """Of the problem."""
    rules: Mapping[str, str]
    """Key -> the rule, in a sentence."""


class Described(BaseModel):
    """Base of models whose fields have docstrings: they are the descriptions in the JSON Schema."""

    refused_keys: ClassVar[RefusedKeys | None] = None
    """Unknown keys that are worth more than 'unknown key'."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        own = handler.resolve_ref_schema(schema)
        properties: dict[str, Any] = own.get("properties", {})
        for name, info in cls.model_fields.items():
            shown = next((properties[key] for key in (*aliases(info), name) if key in properties), None)
            if shown is not None and "description" not in shown and (text := field_description(cls, name)):
                shown["description"] = text
        return schema


def field_description(model: type[BaseModel], field: str) -> str:
    """What the model says of its field: its `description`, or the docstring under it; "" if nothing."""
    info = model.model_fields[field]
    if info.description is not None:
        return info.description
    found = (_docstrings(base.__module__).get(base.__qualname__, {}).get(field) for base in model.__mro__)
    return next((text for text in found if text), "")


def aliases(info: FieldInfo) -> list[str]:
    """The names under which a field is written instead of its own."""
    alias = info.validation_alias or info.alias
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)]
    return [alias] if isinstance(alias, str) else []


@functools.cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Of a module: class -> field -> the text that stands under it."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):
        return {}  # without source nothing is described, and nothing else is lost
    return {node.name: _under_fields(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _under_fields(body: ast.ClassDef) -> dict[str, str]:
    texts = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        is_field = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if is_field and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            texts[field.target.id] = inspect.cleandoc(str(after.value.value))  # type: ignore[attr-defined]
    return texts
