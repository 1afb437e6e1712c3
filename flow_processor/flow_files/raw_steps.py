"""The steps of a flow file before it is validated: found by where the model has steps, not by what looks like one."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from flow_processor.factory import step_types
from flow_processor.spec.defaults import holds_steps
from flow_processor.spec.step import StepSpec

Loc = tuple[str | int, ...]


def raw_steps(model: type[BaseModel], data: Any) -> Iterator[tuple[Loc, dict[str, Any]]]:
    """Every step of the flow `data`, with its place; those inside a step come after it."""
    yield from _in_model(model, data, ())


def _in_model(model: type[BaseModel], data: Any, loc: Loc) -> Iterator[tuple[Loc, dict[str, Any]]]:
    if "root" in model.model_fields:
        yield from _in_value(model.model_fields["root"].annotation, data, loc)
    elif isinstance(data, dict):
        for name, info in model.model_fields.items():
            if holds_steps(info.annotation):
                key = next((key for key in (name, *_aliases(info)) if key in data), name)
                yield from _in_value(info.annotation, data.get(key), (*loc, key))


def _in_value(annotation: Any, data: Any, loc: Loc) -> Iterator[tuple[Loc, dict[str, Any]]]:
    inner = [item for item in typing.get_args(annotation) if item is not ... and holds_steps(item)]
    if isinstance(data, list):
        for index, item in enumerate(data):
            for one in inner:
                yield from _in_value(one, item, (*loc, index))
    elif not isinstance(data, dict):
        return
    elif _is_step(annotation):
        yield loc, data
        kind = _kind_of(data)
        if kind is not None:
            under = next((name for name in (kind.name, *kind.aliases) if name in data), kind.name)
            yield from _in_model(kind.options, data.get(under), (*loc, under))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _in_model(annotation, data, loc)
    elif typing.get_origin(annotation) is dict:
        for key, item in data.items():
            yield from _in_value(inner[-1], item, (*loc, key))
    else:
        for one in inner:
            yield from _in_value(one, data, loc)


def _is_step(annotation: Any) -> bool:
    """Is it a step, or the union of all kinds of steps?"""
    if isinstance(annotation, typing.ForwardRef):
        return True
    if isinstance(annotation, type):
        return issubclass(annotation, StepSpec)
    members = typing.get_args(annotation)
    return bool(members) and isinstance(members[0], type) and issubclass(members[0], StepSpec)


def _kind_of(step: dict[str, Any]) -> Any:
    name = step.get("type")
    return next((kind for kind in step_types().values() if name in (kind.name, *kind.aliases)), None)


def _aliases(info: FieldInfo) -> list[str]:
    alias = info.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [choice for choice in choices if isinstance(choice, str)]
