"""Typed values that somebody gives from outside: the fields of an approval's form, the parameters of a flow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import SchemaError

from flow_processor.documents import did_you_mean
from flow_processor.errors import InvalidRequest, Problem
from flow_processor.shortened import shortened
from flow_processor.spec.base import Spec
from flow_processor.spec.param_types import WORDS, ParamType, read_value

_ORDERED = (ParamType.INT, ParamType.FLOAT, ParamType.DATE, ParamType.DATETIME)
_SIZED = {ParamType.STR: "characters", ParamType.LIST: "elements", ParamType.MAP: "keys"}
_ELEMENTS = (ParamType.LIST, ParamType.MAP, ParamType.CHOICE)


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
    min: int | float | str | None = None
    """The least value of an `int` or `float`; the first moment of a `date` or `datetime`."""
    max: int | float | str | None = None
    """The greatest value of an `int` or `float`; the last moment of a `date` or `datetime`."""
    min_length: Annotated[int, Field(ge=0)] | None = None
    """The fewest characters of a `str`, elements of a `list`, keys of a `map`."""
    max_length: Annotated[int, Field(ge=0)] | None = None
    """The most characters of a `str`, elements of a `list`, keys of a `map`."""
    pattern: str | None = None
    """A regular expression that must take the whole of a `str`. It has no look-around and no back-references, so that
    it is matched in linear time."""
    items: ParamType | None = None
    """What each element of a `list` must be; no `list`, `map` or `choice`."""
    description: str | None = None
    """What the value is for."""

    @model_validator(mode="after")
    def _fits(self) -> ParamSpec:
        wrong = list(self._misplaced()) or list(self._contradictions())
        if wrong:
            raise ValueError("; ".join(wrong))
        if self.default is None:
            return self
        if self.required:
            raise ValueError("a value that is required has no default")
        try:
            self.read(self.default)
        except ValueError as error:
            raise ValueError(f"the default {_short(self.default)} {error}") from None
        return self

    def _misplaced(self) -> Iterator[str]:
        """Keys that say nothing about a value of this type."""
        if (self.type is ParamType.CHOICE) != bool(self.options):
            yield "'options' and the type 'choice' belong together"
        if self.type not in _ORDERED:
            yield from (
                f"'{key}' is for numbers and dates, not for '{self.type}'"
                for key in ("min", "max")
                if getattr(self, key) is not None
            )
        if self.type not in _SIZED:
            yield from (
                f"'{key}' is for str, list and map, not for '{self.type}'"
                for key in ("min_length", "max_length")
                if getattr(self, key) is not None
            )
        if self.pattern is not None and self.type is not ParamType.STR:
            yield f"'pattern' is for str, not for '{self.type}'"
        if self.items is not None and (self.type is not ParamType.LIST or self.items in _ELEMENTS):
            yield "'items' says what the elements of a list are: str, int, float, bool, date or datetime"

    def _contradictions(self) -> Iterator[str]:
        if len(set(self.options)) < len(self.options):
            yield "'options' names one twice"
        ends: list[Any] = []
        for key in ("min", "max"):
            bound = getattr(self, key)
            try:
                ends += [] if bound is None else [_comparable(self.type, read_value(self.type, bound))]
            except ValueError as error:
                yield f"'{key}' {error}, found {_short(bound)}"
        if len(ends) == 2 and ends[0] > ends[1]:
            yield "'min' is greater than 'max'"
        if None not in (self.min_length, self.max_length) and (self.min_length or 0) > (self.max_length or 0):
            yield "'min_length' is greater than 'max_length'"
        if self.pattern is not None:
            try:
                _whole(self.pattern)
            except ValueError as error:
                yield f"'pattern' is no regular expression: {error}"

    def read(self, value: Any) -> Any:
        """The value as the flow data takes it. Raises ValueError, which says what it must be.

        A text is read as what the type says (command lines and forms have nothing else); nothing else is converted.
        """
        if self.type is ParamType.CHOICE:
            if not isinstance(value, str) or value not in self.options:
                raise ValueError(f"must be one of {', '.join(self.options)}")
            return value
        value = read_value(self.type, value)
        if self.items is not None:
            value = [_read_element(self.items, number, item) for number, item in enumerate(value, 1)]
        self._check_bounds(value)
        return value

    def _check_bounds(self, value: Any) -> None:
        if self.min is not None and _comparable(self.type, value) < self._end(self.min):
            raise ValueError(f"must be at least {self.min}")
        if self.max is not None and _comparable(self.type, value) > self._end(self.max):
            raise ValueError(f"must be at most {self.max}")
        if self.min_length is not None and len(value) < self.min_length:
            raise ValueError(f"must have at least {self.min_length} {_SIZED[self.type]}")
        if self.max_length is not None and len(value) > self.max_length:
            raise ValueError(f"must have at most {self.max_length} {_SIZED[self.type]}")
        if self.pattern is not None and not _whole(self.pattern)(value):
            raise ValueError(f"must match {self.pattern} as a whole")

    def _end(self, bound: Any) -> Any:
        return _comparable(self.type, read_value(self.type, bound))


def _of_short(raw: Any) -> Any:
    return {"type": raw} if isinstance(raw, str) else raw


PARAM_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"

Params = dict[
    Annotated[str, Field(max_length=100, pattern=PARAM_NAME_PATTERN)],
    Annotated[ParamSpec, BeforeValidator(_of_short, json_schema_input_type=ParamType | ParamSpec)],
]
"""The parameters of a flow by name; `day: date` is short for `day: {type: date}`."""


def clean_values(specs: Mapping[str, ParamSpec], given: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """A value for each of `specs`: the given one, else its default, else None.

    `where` names the place in messages: `form`, `params`. Raises InvalidRequest with all problems at once.
    """
    values, problems = read_values(specs, given, where=where)
    if problems:
        message = "; ".join(str(problem) for problem in problems)
        raise InvalidRequest(message, details={"problems": [asdict(problem) for problem in problems]})
    return values


def clean_params(specs: Mapping[str, ParamSpec], given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of a flow's parameters for a run; None for a flow that declares none.

    Raises InvalidRequest `params_invalid` with all problems at once.
    """
    values, problems = read_values(specs, given, where="params")
    if problems:
        error = params_error(problems)
        raise InvalidRequest(error["message"], code=error["code"], details=error["details"])
    return values if specs else None


def params_error(problems: Sequence[Problem]) -> dict[str, Any]:
    """The error of a sub-flow that was given wrong values, as records keep it."""
    message = "; ".join(str(problem) for problem in problems)
    details = {"problems": [asdict(problem) for problem in problems]}
    return {"code": "params_invalid", "message": message, "details": details}


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
            text = f"is missing; it {WORDS[spec.type]}"
            problems.append(Problem("missing_key", where, None, None, name, text))
        else:
            values[name] = None if spec.default is None else spec.read(spec.default)
    return values, problems


def _known(name: str, specs: Mapping[str, ParamSpec]) -> str:
    return did_you_mean(name, list(specs)) or f"known: {', '.join(specs) or 'none'}"


def _short(value: Any) -> str:
    return shortened(json.dumps(value, default=str, ensure_ascii=False), 60)


def _read_element(kind: ParamType, number: int, item: Any) -> Any:
    try:
        return read_value(kind, item)
    except ValueError as error:
        raise ValueError(f"must be a list whose element {number} {error}") from None


def _comparable(kind: ParamType, value: Any) -> Any:
    """The value as it is compared with its bounds; a moment that names no zone counts as UTC."""
    if kind is ParamType.DATE:
        return date.fromisoformat(value)
    if kind is ParamType.DATETIME:
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return value


@lru_cache(maxsize=512)
def _whole(pattern: str) -> Callable[[str], bool]:
    """Does a text match as a whole? pydantic's own engine: it cannot be made to take exponential time, so the daemon
    may use it. Raises ValueError for a pattern that it does not know."""
    try:
        adapter = TypeAdapter(Annotated[str, Field(pattern=whole_pattern(pattern))])
    except SchemaError as error:
        said = str(error).strip().splitlines()[-1]
        raise ValueError(said.removeprefix("error: ")) from None

    def matches(text: str) -> bool:
        try:
            adapter.validate_python(text)
        except ValidationError:
            return False
        return True

    return matches


_START, _END = "^(?:", ")$"


def whole_pattern(pattern: str) -> str:
    """The pattern as one that is searched for, as JSON Schema has them."""
    return f"{_START}{pattern}{_END}"


def searched_pattern(whole: str) -> str:
    """The pattern as it was written, of what `whole_pattern` gives."""
    return whole.removeprefix(_START).removesuffix(_END)
