"""What a program or a container is given: arguments, and variables with values or with secrets by name."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from flow_processor.errors import StepError
from flow_processor.spec.base import TEMPLATE_PATTERN, Spec
from flow_processor.step import JsonValue, Secret, StepContext

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class SecretValueMissing(StepError):
    """The secret is there, but has not the value that the step wants of it."""

    code = "secret_value_missing"


class SecretVariable(Spec):
    """A secret for an environment variable."""

    secret: str
    """The secret's name in secrets.yml."""
    value: str | None = None
    """Which of its values; default: `token`, else `password`, else `value`."""


def _named(given: Any) -> Any:
    return {"secret": given} if isinstance(given, str) else given


SecretVariables = dict[
    VariableName, Annotated[SecretVariable, BeforeValidator(_named, json_schema_input_type=str | dict)]
]
"""`{NAME: secret}`, or `{NAME: {secret: name, value: username}}`."""


def _arguments(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    if re.search(TEMPLATE_PATTERN, given):
        raise ValueError(
            'a text takes no templates, for it is split at its blanks; give a list: [sh, "{{ … }}"]'
        )
    return shlex.split(given)


Arguments = Annotated[
    tuple[str | int | float | bool, ...],
    BeforeValidator(_arguments, json_schema_input_type=str | list[str | int | float | bool]),
]
"""A program and its arguments, each perhaps a template; also a text without templates, split at its blanks."""


def environment(
    context: StepContext, env: Mapping[str, Any], secret_env: Mapping[str, SecretVariable]
) -> dict[str, str]:
    """The variables, rendered: numbers and true/false as text, lists and mappings as JSON, null leaves one out.

    Raises SecretValueMissing, and what templates and secrets raise.
    """
    given = context.render(dict(env))
    found = {name: as_argument(value) for name, value in given.items() if value is not None}
    for name, wanted in secret_env.items():
        keys = ("token", "password", "value") if wanted.value is None else (wanted.value,)
        found[name] = secret_value(context.secret(wanted.secret), keys)
    return found


def secret_value(secret: Secret, keys: tuple[str, ...]) -> str:
    """The first of these values that the secret has. Raises SecretValueMissing."""
    found = next((secret.values[one] for one in keys if one in secret.values), None)
    if not isinstance(found, str | int | float) or found == "":
        there = ", ".join(sorted(secret.values)) or "nothing"
        raise SecretValueMissing(
            f"secret {secret.name!r} ({secret.type}) has no {' or '.join(keys)}; it has: {there}"
        )
    return str(found)


def as_argument(value: JsonValue) -> str:
    """A text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
