"""The two ends of every API handler: the checked request goes in, a view goes out as JSON.

Requests are validated here and not by flask-openapi3 (its way costs a schema per call, and hides where a
body stops being JSON); the OpenAPI document is made from the same annotations (`nouns`).
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import pydantic_core
from flask import Response, current_app, request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from flow_processor.api.errors import InvalidJson
from flow_processor.documents.described import Described
from flow_processor.documents.wording import wording
from flow_processor.errors import InvalidRequest, Problem
from flow_processor.shortened import shortened

if TYPE_CHECKING:
    from flow_processor.service import Service

_Handler = TypeVar("_Handler", bound=Callable[..., Response])

SERVICE_KEY = "octospool.service"
"""Where an app keeps its service among its extensions."""


class Body(Described):
    """Base of request bodies: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class OptionalBody(Body):
    """A body that may be left out: then every field has its default."""


class Parameters(Described):
    """Base of query and path parameters: texts that are read as what the field says, no unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def service() -> Service:
    """The service of the app that handles the current call."""
    found: Service = current_app.extensions[SERVICE_KEY]
    return found


def handler(function: _Handler) -> _Handler:
    """Give a handler its `path`, `query` and `body` as its annotations ask for them.

    Raises:
        InvalidJson: the body is not JSON.
        InvalidRequest: values or names are wrong; holds every problem of query and body at once.
    """
    hints = get_type_hints(function)
    readers: list[tuple[str, type[BaseModel], Callable[[Mapping[str, Any]], Any]]] = [
        (name, hints[name], read)
        for name, read in (("path", _read_path), ("query", _read_query), ("body", _read_body))
        if name in hints
    ]
    may_be_empty = issubclass(hints.get("body", Body), OptionalBody)
    takes_query = "query" in hints

    @functools.wraps(function)
    def view(**path: Any) -> Response:
        arguments: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, model, read in readers:
            if name == "body" and may_be_empty and not request.get_data():
                arguments[name] = model()
                continue
            arguments[name] = _validate(name, model, read(path), problems)
        if not takes_query and request.query_string:
            problems += [_unknown("query", name, ()) for name in request.args]
        if problems:
            message = "; ".join(str(problem) for problem in problems)
            raise InvalidRequest(message, details={"problems": [asdict(problem) for problem in problems]})
        return function(**arguments)

    return view  # type: ignore[return-value]


def answer(view: BaseModel, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """A view as the answer of a call. Views are not validated again: they were when they were made."""
    try:
        text = view.model_dump_json()
    except pydantic_core.PydanticSerializationError:
        # A lone surrogate in somebody's data has no UTF-8; JSON's own escapes can carry it.
        text = json.dumps(view.model_dump(mode="json"))
    return Response(text, status, headers, mimetype="application/json")


def _read_path(path: Mapping[str, Any]) -> Any:
    return path


def _read_query(_path: Mapping[str, Any]) -> Any:
    """A name given several times means the same as a comma list."""
    return {name: ",".join(values) for name, values in request.args.lists()}


def _read_body(_path: Mapping[str, Any]) -> Any:
    text = request.get_data(cache=False)
    if not text.strip():
        raise InvalidJson("the body is empty; send a JSON object")
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidJson(f"the body is not JSON: {error}") from None


def _validate(part: str, model: type[BaseModel], value: Any, problems: list[Problem]) -> BaseModel | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems += [_problem(part, model, entry) for entry in error.errors(include_url=False)]
        return None


def _problem(part: str, model: type[BaseModel], entry: ErrorDetails) -> Problem:
    """One of pydantic's findings, said the way problems of files are said; `part` stands for the file."""
    place = entry["loc"]
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")
    if entry["type"] == "extra_forbidden":
        return _unknown(part, key, _names_of(model))
    if entry["type"] == "missing":
        return Problem("missing_key", part, None, None, key, "is missing")
    if not place:
        hint = "its keys: " + ", ".join(_names_of(model))
        return Problem("invalid_value", part, None, None, "", "must be a JSON object", hint)
    said = wording(entry)
    shown = f", found {_short(entry['input'])}" if said.shows_value or entry["type"] == "value_error" else ""
    return Problem("invalid_value", part, None, None, key, said.sentence + shown)


def _names_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The names of its fields as callers write them."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _unknown(part: str, key: str, known: tuple[str, ...]) -> Problem:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known) or 'none'}"
    return Problem("unknown_key", part, None, None, key[:100], "is not known here", hint)


def _short(value: Any) -> str:
    return shortened(json.dumps(value, default=str, ensure_ascii=False), 60)
