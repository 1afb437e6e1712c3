"""Typed values that somebody gives from outside: the fields of an approval's form, the parameters of a flow."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from pydantic import model_validator

from flow_processor.documents import did_you_mean
from flow_processor.errors import InvalidRequest, Problem
from flow_processor.spec.base import Spec


class ParamType(StrEnum):
    """What a value must be."""

    STR = "str"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    DATE = "date"
    DATETIME = "datetime"
    CHOICE = "choice"
    LIST = "list"
    MAP = "map"


class ParamSpec(Spec):
    """One value that may be given, and what it must be."""

    type: ParamType = ParamType.STR
    """What the value must be: `str`, `int`, `float`, `bool`, `date` (2026-11-21), `datetime`
    (2026-11-21T07:40:06+01:00), `choice` (one of `options`), `list` or `map`. A date stays a text in the flow data."""
    required: bool = False
    """True: it must be given. A value that is neither given nor has a default is null."""
    default: Any = None
    """The value where none is given."""
    options: tuple[str, ...] = ()
    """What a `choice` chooses from."""
    description: str | None = None
    """What the value is for."""

    @model_validator(mode="after")
    def _fits(self) -> ParamSpec:
        if (self.type is ParamType.CHOICE) != bool(self.options):
            raise ValueError("'options' and the type 'choice' belong together")
        if self.default is None:
            return self
        if self.required:
            raise ValueError("a value that is required has no default")
        self.read(self.default)
        return self

    def read(self, value: Any) -> Any:
        """The value as the flow data takes it. Raises ValueError, which says what it must be.

        A text is read as what the type says (command lines and forms have nothing else); nothing else is converted.
        """
        if self.type is ParamType.CHOICE:
            if not isinstance(value, str) or value not in self.options:
                raise ValueError(f"must be one of {', '.join(self.options)}")
            return value
        return _READERS[self.type](value)


def clean_values(specs: Mapping[str, ParamSpec], given: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """A value for each of `specs`: the given one, else its default, else None.

    `where` names the place in messages: `form`, `params`. Raises InvalidRequest with all problems at once.
    """
    values, problems = read_values(specs, given, where=where)
    if problems:
        message = "; ".join(str(problem) for problem in problems)
        raise InvalidRequest(message, details={"problems": [asdict(problem) for problem in problems]})
    return values


def read_values(
    specs: Mapping[str, ParamSpec], given: Mapping[str, Any], *, where: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Like `clean_values`, for who has more to complain about: the values that are right, and the problems."""
    values: dict[str, Any] = {}
    problems = [
        Problem("unknown_key", where, None, None, name[:100], "is not asked for", _known(name, specs))
        for name in given
        if name not in specs
    ]
    for name, spec in specs.items():
        value = given.get(name)
        if value is not None:
            try:
                values[name] = spec.read(value)
            except ValueError as error:
                text = f"{error}, found {_short(value)}"
                problems.append(Problem("invalid_value", where, None, None, name, text))
        elif spec.required:
            text = f"is missing; it {_WORDS[spec.type]}"
            problems.append(Problem("missing_key", where, None, None, name, text))
        else:
            values[name] = None if spec.default is None else spec.read(spec.default)
    return values, problems


def _known(name: str, specs: Mapping[str, ParamSpec]) -> str:
    return did_you_mean(name, list(specs)) or f"known: {', '.join(specs) or 'none'}"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


_WORDS = {
    ParamType.STR: "must be a text",
    ParamType.INT: "must be a whole number",
    ParamType.FLOAT: "must be a number",
    ParamType.BOOL: "must be true or false",
    ParamType.DATE: "must be a date such as 2026-11-21",
    ParamType.DATETIME: "must be a moment such as 2026-11-21T07:40:06+01:00",
    ParamType.CHOICE: "must be one of its options",
    ParamType.LIST: "must be a list",
    ParamType.MAP: "must be a mapping (key: value)",
}


def _wrong(kind: ParamType) -> ValueError:
    return ValueError(_WORDS[kind])


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(ParamType.STR)
    return value


def _int(value: Any) -> int:
    if isinstance(value, str):
        text = value.strip()
        # int() also takes 1_000 and digits of other scripts, which nobody means.
        if text.isascii() and text.lstrip("+-").isdigit():
            value = _quietly(int, text)
    if type(value) is not int:
        raise _wrong(ParamType.INT)
    return value


def _float(value: Any) -> float:
    if isinstance(value, str) and value.isascii() and "_" not in value:
        value = _quietly(float, value)
    if type(value) not in (int, float):
        raise _wrong(ParamType.FLOAT)
    try:
        number = float(value)
    except OverflowError:
        raise _wrong(ParamType.FLOAT) from None
    if not math.isfinite(number):
        raise _wrong(ParamType.FLOAT)
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower(), value)
    if type(value) is not bool:
        raise _wrong(ParamType.BOOL)
    return value


def _date(value: Any) -> str:
    found = _quietly(date.fromisoformat, value.strip()) if isinstance(value, str) else None
    if not isinstance(found, date):
        raise _wrong(ParamType.DATE)
    return found.isoformat()


def _datetime(value: Any) -> str:
    found = _quietly(datetime.fromisoformat, value.strip()) if isinstance(value, str) else None
    if not isinstance(found, datetime):
        raise _wrong(ParamType.DATETIME)
    return found.isoformat()


def _list(value: Any) -> list[Any]:
    found = _quietly(json.loads, value) if isinstance(value, str) else value
    if not isinstance(found, list | tuple):
        raise _wrong(ParamType.LIST)
    return list(found)


def _map(value: Any) -> dict[str, Any]:
    found = _quietly(json.loads, value) if isinstance(value, str) else value
    if not isinstance(found, Mapping):
        raise _wrong(ParamType.MAP)
    return dict(found)


def _quietly(read: Callable[[str], Any], text: str) -> Any:
    """What the text says, or the text itself where it says nothing of that kind."""
    try:
        return read(text)
    except (ValueError, RecursionError):
        return text


_READERS: dict[ParamType, Callable[[Any], Any]] = {
    ParamType.STR: _str,
    ParamType.INT: _int,
    ParamType.FLOAT: _float,
    ParamType.BOOL: _bool,
    ParamType.DATE: _date,
    ParamType.DATETIME: _datetime,
    ParamType.LIST: _list,
    ParamType.MAP: _map,
}
