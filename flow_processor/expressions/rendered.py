"""Looking at a value again that a template gave: only once it is rendered is it known what it is."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from flow_processor.errors import StepError
from flow_processor.shortened import shortened

_SHOWN_CHARACTERS = 200

T = TypeVar("T")


def checked(kind: TypeAdapter[T], value: object, *, where: str, must: str) -> T:
    """The value as `kind` wants it. Raises StepError: `{where} must be {must}, found …`."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        shown = shortened(json.dumps(value, ensure_ascii=False, default=str), _SHOWN_CHARACTERS)
        raise StepError(f"{where} must be {must}, found {shown}", code="invalid_value") from error
