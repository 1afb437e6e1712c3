"""A document against its spec: a value of the model, or every problem with its place and a hint."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flow_processor.documents.model_walk import Spot, coerced_texts, walk
from flow_processor.documents.reader import Document
from flow_processor.documents.refusal import Loc
from flow_processor.documents.wording import HIDDEN, Wording, describe, found, wording
from flow_processor.errors import Problem, SpecError

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class TagWords:
    """How to complain about an unknown tag of a union that is told apart by a key."""

    noun: str
    """`step type`: unknown step type 'x'."""
    code: str
    """The problem's code."""


TagCodes = Mapping[type[BaseModel], TagWords]
"""Base class of the union's members -> words."""


def validate(
    model: type[M],
    document: Document,
    *,
    code: str = "flow_invalid",
    tags: TagCodes | None = None,
    secret_keys: Collection[str] = (),
) -> M:
    """The document's data as `model`. Raises SpecError with all problems, in file order.

    Text is never silently taken for a number or a boolean: `0123`, `"5"` and `no` are problems there. What
    stands under one of the `secret_keys` is not shown in a problem.
    """
    try:
        value = model.model_validate(document.data)
    except ValidationError as error:
        problems = _problems(
            error.errors(include_url=False), model, document, tags=tags or {}, hidden=secret_keys
        )
        raise SpecError(problems, code=code) from None
    coerced = coerced_texts(model, document.data, value)
    if coerced:
        problems = [_coercion_problem(document, loc, expected, data) for loc, expected, data in coerced]
        raise SpecError(in_file_order(problems), code=code)
    return value


def problem_at(
    document: Document, loc: Loc, code: str, message: str, *, hint: str | None = None, of_value: bool = False
) -> Problem:
    """A problem at a place of the document; `of_value` points at the value instead of its key."""
    document, loc = document.origin(loc)
    line, column = document.position(loc, of_value=of_value) or (None, None)
    return Problem(code, document.file, line, column, key_path((*document.base, *loc)), message, hint)


def said_of(error: ValidationError, *, show_value: bool = True) -> tuple[str, str | None]:
    """(message, hint) of a value that stands alone, such as an environment variable."""
    first = error.errors(include_url=False)[0]
    said = wording(first)
    shown = f"; found {found(first['input'])}" if said.shows_value and show_value else ""
    near = did_you_mean(first["input"], said.allowed) if show_value and said.allowed else None
    return said.sentence + shown, near or said.hint


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """The problems as somebody reading the file from the top meets them."""
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def key_path(loc: Loc) -> str:
    """`("steps", 1, "rest", "uri")` -> `steps[1].rest.uri`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(name: object, known: Iterable[str]) -> str | None:
    """`did you mean 'uri'?`, where one of the known names is near."""
    names = list(known)
    if not isinstance(name, str):
        return None
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not near:
        lowered = {item.lower(): item for item in names}
        near = [lowered[item] for item in difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)]
    return f"did you mean '{near[0]}'?" if near else None


def _problems(
    errors: list[ErrorDetails],
    model: type[BaseModel],
    document: Document,
    *,
    tags: TagCodes,
    hidden: Collection[str],
) -> list[Problem]:
    spots = [(walk(model, document.data, error["loc"]), error) for error in errors]
    for spot, error in spots:
        if hidden and not {str(part) for part in spot.loc}.isdisjoint(hidden):
            spot.data = error["input"] = HIDDEN
    groups: dict[Loc, list[tuple[Spot, ErrorDetails]]] = {}
    for spot, error in spots:
        groups.setdefault(spot.union_at if spot.union_at is not None else spot.loc, []).append((spot, error))
    problems = []
    for group in groups.values():
        problems += _group_problems(group, document, tags)
    noise = {key_path(spot.loc) for spot, error in spots if _follows(spot, error, spots)}
    return in_file_order(problem for problem in problems if problem.key not in noise)


def _follows(spot: Spot, error: ErrorDetails, spots: list[tuple[Spot, ErrorDetails]]) -> bool:
    """Is this only the consequence of another problem? A list whose items failed is also called too short,
    and a misspelt key is also missing under its right name."""
    if error["type"] == "too_short":
        return any(other.loc[: len(spot.loc)] == spot.loc != other.loc for other, _ in spots)
    if error["type"] == "missing":
        unknown = [other for other, found in spots if found["type"] == "extra_forbidden"]
        beside = [str(other.loc[-1]) for other in unknown if other.loc[:-1] == spot.loc[:-1]]
        return any(did_you_mean(name, spot.keys) == f"did you mean '{spot.loc[-1]}'?" for name in beside)
    return False


def _group_problems(
    group: list[tuple[Spot, ErrorDetails]], document: Document, tags: TagCodes
) -> list[Problem]:
    """Branches of a union (`number or {{ template }}`) complain one by one: the branch that got furthest into
    the value is what the author meant; equal ones are said in one sentence."""
    if len(group) == 1 or all(spot.union_at is None for spot, _ in group):
        return [_problem(spot, error, document, tags) for spot, error in group]
    depth = max(len(spot.loc) for spot, _ in group)
    deepest = [(spot, error) for spot, error in group if len(spot.loc) == depth]
    if depth > len(deepest[0][0].union_at or ()):
        return [_problem(spot, error, document, tags) for spot, error in deepest]
    spot = deepest[0][0]
    expected = list(dict.fromkeys(_said(spot, error).expected for _, error in deepest))
    value_errors = [wording(error).sentence for _, error in deepest if error["type"] == "value_error"]
    message = value_errors[0] if value_errors else f"must be {' or '.join(expected)}"
    return [
        problem_at(document, spot.loc, "invalid_value", f"{message}; found {found(spot.data)}", of_value=True)
    ]


def _problem(spot: Spot, error: ErrorDetails, document: Document, tags: TagCodes) -> Problem:
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown_key(spot, document)
    if kind == "missing":
        return _missing_key(spot, document)
    if not spot.loc and spot.data is None:
        return problem_at(document, (), "invalid_value", "the file is empty")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_tag(spot, error, document, tags)
    said = _said(spot, error)
    hint = said.hint or (did_you_mean(spot.data, said.allowed) if said.allowed else None)
    shown = f"; found {found(spot.data)}" if said.shows_value else ""
    return problem_at(document, spot.loc, "invalid_value", said.sentence + shown, hint=hint, of_value=True)


def _said(spot: Spot, error: ErrorDetails) -> Wording:
    said = wording(error)
    if spot.takes_text and said.expected == "a list":
        return replace(said, expected="text or a list", sentence="must be text or a list")
    return said


def _unknown_key(spot: Spot, document: Document) -> Problem:
    key = str(spot.loc[-1])
    refused = spot.refused_keys
    if refused is not None and key in refused.rules:
        return problem_at(document, spot.loc, refused.code, f"'{key}' is refused: {refused.rules[key]}")
    hint = did_you_mean(key, spot.keys)
    if key in spot.keys_inside:
        hint = f"it belongs under '{spot.keys_inside[key]}'"
    elif key in spot.keys_around:
        hint = "it belongs one level further out"
    elif hint is None:
        inside = [
            f"{outer}.{inner}" for inner, outer in spot.keys_inside.items() if did_you_mean(key, [inner])
        ]
        hint = f"did you mean '{inside[0]}'?" if inside else f"allowed: {', '.join(spot.keys)}"
    return problem_at(document, spot.loc, "unknown_key", f"unknown key '{key}'", hint=hint)


def _missing_key(spot: Spot, document: Document) -> Problem:
    key = str(spot.loc[-1])
    hint = f"add '{key}: …'"
    if spot.description:
        hint += f", {describe(spot.description)}"
    return problem_at(document, spot.loc, "missing_key", f"the key '{key}' is missing", hint=hint)


def _unknown_tag(spot: Spot, error: ErrorDetails, document: Document, tags: TagCodes) -> Problem:
    context: Mapping[str, Any] = error.get("ctx", {})
    key = str(context.get("discriminator", "type")).strip("'")
    known = spot.tags
    said = next(
        (said for base, said in tags.items() if spot.members and issubclass(spot.members[0], base)),
        TagWords(key, "invalid_value"),
    )
    if error["type"] == "union_tag_not_found":
        named = [name for name in known if isinstance(spot.data, dict) and name in spot.data]
        hint = f"did you mean '{key}: {named[0]}'?" if named else f"known: {', '.join(known)}"
        return problem_at(document, (*spot.loc, key), "missing_key", f"the key '{key}' is missing", hint=hint)
    given = spot.data.get(key) if isinstance(spot.data, dict) else None
    shown = repr(given) if isinstance(given, str) else found(given)
    message = f"unknown {said.noun} {shown}; known: {', '.join(known)}"
    near = did_you_mean(given, known)
    return problem_at(document, (*spot.loc, key), said.code, message, hint=near, of_value=True)


def _coercion_problem(document: Document, loc: Loc, expected: str, data: Any) -> Problem:
    hint = None
    if isinstance(data, str) and expected == "true or false":
        hint = "YAML 1.2 knows only true and false"
    elif isinstance(data, str) and data[:1] == "0" and data.isdigit():
        hint = "a number has no leading zero"
    elif isinstance(data, str):
        hint = "write it without quotes"
    message = f"must be {expected}; found {found(data)}"
    return problem_at(document, loc, "invalid_value", message, hint=hint, of_value=True)
