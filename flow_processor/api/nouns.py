"""The calls of the API by the noun they are about: routes at once, their OpenAPI document once it is asked for.

Making the document costs a JSON Schema for each model. A daemon that starts has runs to go on with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Blueprint, Response
from pydantic import BaseModel

from flow_processor.api.permissions import Permission

Answers = Mapping[int, type[BaseModel] | dict[str, Any]]
"""What a call may answer, by HTTP status: a model, or an entry of an OpenAPI document."""

_Handler = TypeVar("_Handler", bound=Callable[..., Response])


@dataclass(frozen=True)
class Call:
    """One call, as its description needs it."""

    method: str
    """In lower case."""
    rule: str
    """Its address below the noun's prefix, as Flask writes it."""
    handler: Callable[..., Response]
    """Annotated with the models of its path, query and body; its docstring says what it does."""
    answers: Answers
    description: str | None
    """What its docstring does not say."""
    more: Mapping[str, Any]
    """What its handler reads and sends itself, as an OpenAPI document has it: `requestBody`, `parameters` (headers),
    `responses` (headers, media types beside JSON)."""
    needs: Permission | None
    """What the caller's token must allow; None: the call needs no token."""


class Noun:
    """The calls about one noun, below one prefix."""

    def __init__(self, name: str, prefix: str, description: str) -> None:
        self.name = name
        self.prefix = prefix
        self.description = description
        self.calls: list[Call] = []
        self.routes = Blueprint(name, __name__, url_prefix=prefix)

    def get(self, rule: str, **described: Any) -> Callable[[_Handler], _Handler]:
        """A call with the method GET; `described` is what `call` takes."""
        return self.call("get", rule, **described)

    def post(self, rule: str, **described: Any) -> Callable[[_Handler], _Handler]:
        """A call with the method POST."""
        return self.call("post", rule, **described)

    def put(self, rule: str, **described: Any) -> Callable[[_Handler], _Handler]:
        """A call with the method PUT."""
        return self.call("put", rule, **described)

    def patch(self, rule: str, **described: Any) -> Callable[[_Handler], _Handler]:
        """A call with the method PATCH."""
        return self.call("patch", rule, **described)

    def delete(self, rule: str, **described: Any) -> Callable[[_Handler], _Handler]:
        """A call with the method DELETE."""
        return self.call("delete", rule, **described)

    def call(
        self,
        method: str,
        rule: str,
        *,
        needs: Permission | None,
        responses: Answers,
        description: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Callable[[_Handler], _Handler]:
        """Route a call to the handler that is decorated, and note what its document must say."""

        def note(handler: _Handler) -> _Handler:
            self.routes.add_url_rule(rule, view_func=handler, methods=[method.upper()])
            self.calls.append(Call(method, rule, handler, responses, description, more or {}, needs))
            return handler

        return note


def openapi_document(
    nouns: Sequence[Noun], *, title: str, version: str, description: str, error: type[BaseModel]
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of all calls of these nouns; `error` is the shape of every error answer."""
    # Here, because nothing but the document needs it.
    from flask_openapi3.blueprint import APIBlueprint
    from flask_openapi3.models.info import Info
    from flask_openapi3.models.tag import Tag
    from flask_openapi3.openapi import OpenAPI

    document = OpenAPI(
        __name__,
        info=Info(title=title, version=version, description=description),
        security_schemes={"token": {"type": "http", "scheme": "bearer"}},
        validation_error_model=error,
        validation_error_status=400,
        doc_ui=False,
        static_folder=None,
    )
    for noun in nouns:
        described = APIBlueprint(
            noun.name,
            __name__,
            url_prefix=noun.prefix,
            abp_tags=[Tag(name=noun.name, description=noun.description)],
            operation_id_callback=_operation_id,
        )
        for call in noun.calls:
            describe = getattr(described, call.method)(
                call.rule,
                responses=dict(call.answers),
                description=call.description,
                security=[{"token": []}] if call.needs is not None else None,
            )
            describe(call.handler)
        document.register_api(described)
    made: dict[str, Any] = document.api_doc
    for noun in nouns:
        for call in noun.calls:
            path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", noun.prefix + call.rule)
            _add(made["paths"][path][call.method], call.more)
    return made


def _add(described: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping):
            _add(described.setdefault(key, {}), value)
        else:
            described[key] = [*described.get(key, ()), *value] if isinstance(value, list) else value


def _operation_id(*, bp_name: str, name: str, path: str, method: str) -> str:
    """What generated clients call the function: `runs_cancel`."""
    return f"{bp_name}_{name}"
