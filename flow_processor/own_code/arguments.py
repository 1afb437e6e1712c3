"""What a function may be given: its annotations as a model, for checks before a run and for the call itself."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic_core import ErrorDetails

from flow_processor.documents import did_you_mean
from flow_processor.documents.wording import wording
from flow_processor.expressions.jinja import is_template
from flow_processor.own_code.registration import Kind, Registered
from flow_processor.step import Secret

Loc = tuple[str | int, ...]

_PLAIN = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class NotUsable(Exception):
    """A function's signature is none that flows can serve; the message says why."""


@dataclass(frozen=True)
class Wrong:
    """Something wrong with what a function is given."""

    loc: Loc
    """Below the arguments."""
    message: str
    hint: str | None = None


class Arguments:
    """The arguments of a caller, or the options of a step type."""

    def __init__(self, registered: Registered) -> None:
        """Raises NotUsable."""
        self.secrets: tuple[str, ...] = ()
        """Parameters that take secrets."""
        self.needed_secrets: tuple[str, ...] = ()
        """Those of them that have no default."""
        self._fields: dict[str, str] = {}
        """Field of the model -> parameter."""
        hints = _hints_of(registered.function)
        if registered.kind is Kind.STEP:
            self._model = _options_model(registered, hints)
        else:
            self._model = self._model_of(registered, hints)

    def schema(self) -> dict[str, Any]:
        """JSON Schema of what may be given. Raises NotUsable."""
        try:
            return self._model.model_json_schema(by_alias=True)
        except (PydanticUserError, ValueError, TypeError) as error:
            raise NotUsable(f"its types have no JSON Schema: {error}") from error

    def read(self, values: Mapping[str, Any]) -> BaseModel:
        """The values as the function's types. Raises ValidationError."""
        # As JSON and strictly: a date may be a text, but a text is never silently taken for a number.
        return self._model.model_validate_json(json.dumps(values), strict=True)

    def keywords(self, read: BaseModel) -> dict[str, Any]:
        """What `read` gave, as keyword arguments of a caller."""
        given = {parameter: getattr(read, name) for name, parameter in self._fields.items()}
        return {**given, **(read.model_extra or {})}

    def wrong(self, values: Mapping[str, Any]) -> list[Wrong]:
        """What is wrong with values that may hold templates: a template may become anything."""
        try:
            self.read(values)
        except ValidationError as error:
            found = error.errors(include_url=False)
        else:
            return []
        return list(self._told(found, values))

    def _told(self, found: list[ErrorDetails], values: Mapping[str, Any]) -> Iterator[Wrong]:
        by_place: dict[Loc, list[ErrorDetails]] = {}
        for error in found:
            at_root = error["type"] in ("missing", "extra_forbidden")
            if at_root or not _holds_template(error["input"]):
                by_place.setdefault(_place(error["loc"], values), []).append(error)
        known = [field.alias or name for name, field in self._model.model_fields.items()]
        for loc, errors in by_place.items():
            first = errors[0]
            name = str(first["loc"][-1]) if first["loc"] else ""
            if first["type"] == "missing":
                yield Wrong(loc, f"'{name}' is missing")
            elif first["type"] == "extra_forbidden":
                near = did_you_mean(name, known) or f"there are: {', '.join(known) or 'none'}"
                yield Wrong(loc, f"there is no '{name}'", near)
            elif len(errors) > 1:
                expected = dict.fromkeys(wording(error).expected for error in errors)
                yield Wrong(loc, f"must be {' or '.join(expected)}")
            else:
                yield Wrong(loc, wording(first).sentence, wording(first).hint)

    def _model_of(self, registered: Registered, hints: Mapping[str, Any]) -> type[BaseModel]:
        fields: dict[str, Any] = {}
        extra: typing.Literal["forbid", "allow"] = "forbid"
        parameters = inspect.signature(registered.function).parameters.values()
        for number, parameter in enumerate(parameters):
            hint = hints.get(parameter.name, Any)
            is_needed = parameter.default is inspect.Parameter.empty
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                extra = "allow"
            elif parameter.kind not in _PLAIN:
                raise NotUsable(f"the parameter '{parameter.name}' cannot be given by name")
            elif _is_secret(hint):
                self.secrets += (parameter.name,)
                self.needed_secrets += (parameter.name,) if is_needed else ()
            else:
                # By an alias: pydantic's models take no field named `json`, or `_x`.
                self._fields[f"p{number}"] = parameter.name
                default = ... if is_needed else parameter.default
                fields[f"p{number}"] = (hint, Field(default, alias=parameter.name))
        try:
            return create_model(registered.name, __config__=ConfigDict(extra=extra), **fields)
        except (PydanticUserError, TypeError, NameError) as error:
            raise NotUsable(
                f"a type of its parameters cannot be checked: {str(error).splitlines()[0]}"
            ) from error


def _hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    if not inspect.isfunction(function):
        raise NotUsable("it is no function")
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise NotUsable(f"its annotations cannot be read: {error}") from error


def _options_model(registered: Registered, hints: Mapping[str, Any]) -> type[BaseModel]:
    names = list(inspect.signature(registered.function).parameters)
    if names != ["options", "context"]:
        raise NotUsable("a step type is a function of 'options' and 'context'")
    model = hints.get("options")
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise NotUsable("its 'options' must be annotated with a class that is made from Options")
    return model


def _is_secret(hint: Any) -> bool:
    return hint is Secret or Secret in typing.get_args(hint)


def _holds_template(value: Any) -> bool:
    if isinstance(value, str):
        return is_template(value)
    if isinstance(value, Mapping):
        return any(map(_holds_template, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_template, value))


def _place(loc: Loc, values: Any) -> Loc:
    """The part of pydantic's place that leads through the values: it also names branches of unions."""
    place: list[str | int] = []
    for part in loc:
        try:
            values = values[part]
        except (LookupError, TypeError):
            continue
        place.append(part)
    return tuple(place)
